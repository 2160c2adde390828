//! Pods, as a kubelet asks containerd's CRI plugin for them: over its socket, by curl.
//!
//! The messages are those of `k8s.io/cri-api`, version `runtime.v1`; field
//! numbers stand in the calls below.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::{PATIENCE, run};
use crate::image;
use crate::sandbox::Sandbox;
use crate::{Verdict, ensure, within};

mod message;

pub use message::Message;

/// Where Debian has the plugins for the networks of pods.
pub const PLUGINS: &str = "/usr/lib/cni";

/// The network of pods that do not use the sandbox's own: a bridge.
const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
    "type": "bridge", "bridge": "pods0", "isGateway": true, "ipam": {
        "type": "host-local", "dataDir": "DIR", "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": "10.86.0.0/16"}]]}}]}"#;

/// Where a containerd with the CRI plugin is.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its socket, as the sandbox sees it.
    pub socket: PathBuf,
    /// Where the logs of pods go, as it sees it.
    pub logs: PathBuf,
    /// The same, as the sandbox sees it.
    pub logs_seen: PathBuf,
    /// The pods' control group, as a kubelet has it by its driver: a path, or a slice.
    pub parent: String,
}

impl Site {
    /// Waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn is_up(&self, sandbox: &Sandbox) -> Verdict {
        within("containerd's CRI plugin answers", || {
            self.call(sandbox, "Version", &Message::default()).ok()
        })
        .map(drop)
    }

    /// Calls a method of the service; the answer's fields.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub fn call(
        &self,
        sandbox: &Sandbox,
        method: &str,
        message: &Message,
    ) -> Result<Message, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| sandbox.work.join(format!("cri-{number}.{kind}"));
        let (asked, answer, headers) = (file("asked"), file("answer"), file("headers"));
        let told = |error: std::io::Error| format!("{method}: {error}");
        fs::write(&asked, message.framed()).map_err(told)?;
        let mut curl = sandbox.command("curl");
        curl.args(["--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket"]);
        curl.arg(&self.socket).args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
        curl.arg("--data-binary").arg(format!("@{}", asked.display()));
        curl.arg("-o").arg(&answer).arg("-D").arg(&headers);
        curl.arg(format!("http://localhost/runtime.v1.RuntimeService/{method}"));
        run(curl, b"", PATIENCE)?.exits(0)?;
        let said = fs::read_to_string(&headers).map_err(told)?;
        if !said.lines().any(|line| line.trim() == "grpc-status: 0") {
            return Err(format!("{method}: {said}"));
        }
        // A byte for the compression and four for the length stand first.
        let bytes = fs::read(&answer).unwrap_or_default();
        Ok(Message(bytes.get(5..).unwrap_or_default().to_vec()))
    }
}

/// A containerd of its own in a sandbox, with the CRI plugin; it ends with the value.
#[derive(Debug)]
pub struct PodDaemon {
    daemon: Child,
    site: Site,
}

impl PodDaemon {
    /// Starts containerd with these runtimes as handlers, each by the name of
    /// its file, and imports images.
    pub fn start(
        sandbox: &Sandbox,
        runtimes: &[PathBuf],
        archives: &[PathBuf],
    ) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("containerd: {error}");
        let home = sandbox.private().join("cri");
        let socket = home.join("sock");
        let networks = sandbox.work.join("networks");
        fs::create_dir_all(&networks).map_err(told)?;
        let addresses = home.join("addresses").to_string_lossy().into_owned();
        fs::write(networks.join("pods.conflist"), NETWORK.replace("DIR", &addresses))
            .map_err(told)?;
        let mut config = format!(
            "version = 2\nroot = \"{home}/root\"\nstate = \"{home}/state\"\n\
             [grpc]\naddress = \"{home}/sock\"\n[ttrpc]\naddress = \"{home}/sock.ttrpc\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{home}/opt\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{pause}\"\n\
             restrict_oom_score_adj = true\ndisable_apparmor = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
             default_runtime_name = \"richrun\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
             bin_dir = \"{PLUGINS}\"\nconf_dir = \"{networks}\"\n",
            networks = networks.display(),
            home = home.display(),
            pause = image::PAUSE
        );
        for path in runtimes {
            let table = format!(
                "plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{}",
                path.file_name().unwrap_or_default().to_string_lossy()
            );
            config += &format!(
                "[{table}]\nruntime_type = \"io.containerd.runc.v2\"\n\
                 pod_annotations = [\"io.richrun.*\"]\n\
                 [{table}.options]\nBinaryName = \"{}\"\n",
                path.display()
            );
        }
        let file = sandbox.work.join("cri.toml");
        fs::write(&file, config).map_err(told)?;
        let log = fs::File::create(sandbox.work.join("cri.log")).map_err(told)?;
        let mut command = sandbox.command("containerd");
        command.arg("-c").arg(&file).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(told)?).stderr(log);
        let logs = sandbox.private().join("logs");
        let parent = format!("/{}", sandbox.cgroup);
        let site = Site { socket, logs_seen: logs.clone(), logs, parent };
        let daemon = Self { daemon: command.spawn().map_err(told)?, site };
        daemon.site.is_up(sandbox)?;
        for archive in archives {
            daemon.import(sandbox, archive)?;
        }
        Ok(daemon)
    }

    /// Where it is.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Imports an image.
    pub fn import(&self, sandbox: &Sandbox, archive: &Path) -> Verdict {
        let mut import = sandbox.command("ctr");
        import.arg("--address").arg(&self.site.socket).args(["--namespace", "k8s.io", "image"]);
        import.args(["import", "--snapshotter", "native"]).arg(archive);
        run(import, b"", PATIENCE)?.exits(0).map(drop)
    }
}

impl Drop for PodDaemon {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Pods with one runtime.
#[derive(Debug, Clone, Copy)]
pub struct Cri<'a> {
    /// Where they run.
    pub sandbox: &'a Sandbox,
    /// Where the plugin is.
    pub site: &'a Site,
    /// The runtime, by the name that a RuntimeClass has for it.
    pub handler: &'a str,
}

/// What a pod is to be; its network is its host's own, but for one with users of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The pod's annotations.
    pub annotations: &'a [(&'a str, &'a str)],
    /// The image of its one container.
    pub image: &'a str,
    /// That container's command.
    pub command: &'a [&'a str],
    /// That container's environment.
    pub environment: &'a [(&'a str, &'a str)],
    /// Whether the container shares the pod's pid namespace.
    pub shares_pids: bool,
    /// The first of the host's 65536 users that are those of the pod, if it has a user namespace.
    pub users: Option<u64>,
    /// A directory of the host's that the container has at the same place, where it and what is
    /// mounted below it is for reading only.
    pub frozen: Option<&'a str>,
}

/// A pod of the small image whose payload ends with 3 when TERM comes.
pub const OBEDIENT: Wish<'static> = Wish {
    annotations: &[],
    image: image::NAME,
    command: &["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"],
    environment: &[],
    shares_pids: false,
    users: None,
    frozen: None,
};

impl Wish<'_> {
    /// A `NamespaceOption`: network NODE or POD, pid CONTAINER or POD, and a user namespace.
    fn namespaces(&self) -> Message {
        let namespaces = Message::default().number(2, u64::from(!self.shares_pids));
        let Some(first) = self.users else { return namespaces.number(1, 2) };
        let ids = Message::default().number(1, first).number(2, 0).number(3, 65536);
        namespaces.message(5, &Message::default().message(2, &ids).message(3, &ids))
    }
}

/// A pod with one container; removed when dropped.
#[derive(Debug)]
pub struct Pod<'a> {
    cri: &'a Cri<'a>,
    sandbox: String,
    container: String,
}

impl Cri<'_> {
    /// Calls a method of the service; the answer.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub fn call(&self, method: &str, message: &Message) -> Result<Message, String> {
        self.site.call(self.sandbox, method, message)
    }

    /// Starts a pod and its container.
    pub fn pod(&self, name: &str, wish: Wish<'_>) -> Result<Pod<'_>, String> {
        let name = format!("{}-{name}", self.handler);
        let namespaces = wish.namespaces();
        let metadata = Message::default().text(1, &name).text(2, &name).text(3, "default");
        let security = Message::default().message(1, &namespaces);
        let linux = Message::default().text(1, &self.site.parent).message(2, &security);
        let logs = self.site.logs.join(&name);
        let pod = Message::default()
            .message(1, &metadata)
            .text(3, &logs.to_string_lossy())
            .pairs(7, wish.annotations)
            .message(8, &linux);
        let asked = Message::default().message(1, &pod).text(2, self.handler);
        let sandbox = self.call("RunPodSandbox", &asked)?.string(1);
        let mut made = Pod { cri: self, sandbox, container: String::new() };
        let security = Message::default().message(3, &namespaces);
        let frozen = wish.frozen.map(|place| {
            Message::default().text(1, place).text(2, place).number(3, 1).number(8, 1)
        });
        let container = Message::default()
            .message(1, &Message::default().text(1, "main"))
            .message(2, &Message::default().text(1, wish.image))
            .texts(3, wish.command)
            .pairs(6, wish.environment)
            .messages(7, frozen.as_slice())
            .text(11, "main.log")
            .message(15, &Message::default().message(2, &security));
        let asked =
            Message::default().text(1, &made.sandbox).message(2, &container).message(3, &pod);
        made.container = self.call("CreateContainer", &asked)?.string(1);
        self.call("StartContainer", &Message::default().text(1, &made.container))?;
        Ok(made)
    }
}

impl Pod<'_> {
    /// The container's id.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Sets knobs of the container's group (`UpdateContainerResources`, as for a resize in place).
    ///
    /// # Errors
    /// They are refused.
    pub fn update(&self, knobs: &[(&str, &str)]) -> Verdict {
        let resources = Message::default().pairs(9, knobs);
        let asked = Message::default().text(1, &self.container).message(2, &resources);
        self.cri.call("UpdateContainerResources", &asked).map(drop)
    }

    /// Asks for the container's stats (`ContainerStats`); what they count goes by the controllers.
    ///
    /// # Errors
    /// There are none of this container.
    pub fn has_stats(&self) -> Verdict {
        let stats =
            self.cri.call("ContainerStats", &Message::default().text(1, &self.container))?;
        let id = stats.part(1).part(1).string(1);
        ensure(id == self.container, || format!("stats of {id:?}, not of {}", self.container))
    }

    /// Runs a command in the container: its exit status, and what it printed.
    pub fn exec(&self, command: &[&str]) -> Result<(u64, String), String> {
        let asked = Message::default().text(1, &self.container).texts(2, command).number(3, 30);
        let answer = self.cri.call("ExecSync", &asked)?;
        Ok((answer.value(3), answer.string(1)))
    }

    /// What the container has written, with time and stream before each line.
    pub fn log(&self) -> Result<String, String> {
        let name = self.cri.call("PodSandboxStatus", &Message::default().text(1, &self.sandbox))?;
        let pod = name.part(1).part(2).string(1);
        let file = self.cri.site.logs_seen.join(pod).join("main.log");
        let mut cat = self.cri.sandbox.command("cat");
        cat.arg(file);
        run(cat, b"", PATIENCE)?.text()
    }

    /// Stops the container within the given seconds; its exit code.
    pub fn stop(&self, seconds: u64) -> Result<u64, String> {
        let id = Message::default().text(1, &self.container);
        self.cri.call("StopContainer", &id.clone().number(2, seconds))?;
        Ok(self.cri.call("ContainerStatus", &id)?.part(1).value(7))
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let id = Message::default().text(1, &self.sandbox);
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let _ = self.cri.call(method, &id);
        }
    }
}
