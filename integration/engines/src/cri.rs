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
use crate::{Verdict, within};

/// Where Debian has the plugins for the networks of pods.
pub const PLUGINS: &str = "/usr/lib/cni";

/// The network of pods that do not use the sandbox's own: a bridge.
const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
    "type": "bridge", "bridge": "pods0", "isGateway": true, "ipam": {
        "type": "host-local", "dataDir": "DIR", "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": "10.86.0.0/16"}]]}}]}"#;

/// A containerd of its own in a sandbox, with the CRI plugin; it ends with the value.
#[derive(Debug)]
pub struct PodDaemon {
    daemon: Child,
    socket: PathBuf,
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
        let daemon = Self { daemon: command.spawn().map_err(told)?, socket };
        within("containerd's CRI plugin answers", || {
            daemon.call(sandbox, "Version", &Message::default()).ok()
        })?;
        for archive in archives {
            daemon.import(sandbox, archive)?;
        }
        Ok(daemon)
    }

    /// Its socket, inside.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Imports an image.
    pub fn import(&self, sandbox: &Sandbox, archive: &Path) -> Verdict {
        let mut import = sandbox.command("ctr");
        import.arg("--address").arg(&self.socket).args(["--namespace", "k8s.io", "image"]);
        import.args(["import", "--snapshotter", "native"]).arg(archive);
        run(import, b"", PATIENCE)?.exits(0).map(drop)
    }

    /// Calls a method of the service; the answer's fields.
    fn call(&self, sandbox: &Sandbox, method: &str, message: &Message) -> Result<Message, String> {
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

impl Drop for PodDaemon {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A protocol-buffers message, as bytes.
#[derive(Debug, Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        self.0.push((field << 3) | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn text(self, field: u8, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn texts(self, field: u8, values: &[&str]) -> Self {
        values.iter().fold(self, |all, value| all.text(field, value))
    }

    fn pairs(self, field: u8, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self, |all, (key, value)| {
            all.message(field, &Message::default().text(1, key).text(2, value))
        })
    }

    fn message(self, field: u8, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// As gRPC sends it: not compressed, and its length.
    fn framed(&self) -> Vec<u8> {
        let mut all = vec![0];
        all.extend((self.0.len() as u32).to_be_bytes());
        all.extend(&self.0);
        all
    }

    /// The last value of a field that is a text or a message.
    fn part(&self, field: u64) -> Message {
        Message(self.field(field).map(|found| found.1.to_vec()).unwrap_or_default())
    }

    /// The last value of a field that is a number; 0 when it is not there.
    fn value(&self, field: u64) -> u64 {
        self.field(field).map(|found| found.0).unwrap_or_default()
    }

    fn string(&self, field: u64) -> String {
        String::from_utf8_lossy(&self.part(field).0).into_owned()
    }

    fn field(&self, wanted: u64) -> Option<(u64, &[u8])> {
        let (mut rest, mut found) = (&self.0[..], None);
        while !rest.is_empty() {
            let key = read_varint(&mut rest)?;
            let value = read_varint(&mut rest)?;
            let length = if key & 7 == 2 { usize::try_from(value).ok()? } else { 0 };
            let (bytes, after) = rest.split_at_checked(length)?;
            rest = after;
            if key >> 3 == wanted {
                found = Some((value, bytes));
            }
        }
        found
    }
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Pods with one runtime.
#[derive(Debug, Clone, Copy)]
pub struct Cri<'a> {
    /// Where they run.
    pub sandbox: &'a Sandbox,
    /// The daemon.
    pub daemon: &'a PodDaemon,
    /// The runtime, by the name that a RuntimeClass has for it.
    pub handler: &'a str,
}

/// What a pod is to be; its network is the sandbox's own.
#[derive(Debug, Clone, Copy)]
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
}

/// A pod with one container; removed when dropped.
#[derive(Debug)]
pub struct Pod<'a> {
    cri: &'a Cri<'a>,
    sandbox: String,
    container: String,
}

impl Cri<'_> {
    fn call(&self, method: &str, message: &Message) -> Result<Message, String> {
        self.daemon.call(self.sandbox, method, message)
    }

    /// Starts a pod and its container.
    pub fn pod(&self, name: &str, wish: Wish<'_>) -> Result<Pod<'_>, String> {
        let name = format!("{}-{name}", self.handler);
        let pids = u64::from(!wish.shares_pids);
        // NamespaceOption: network NODE, pid POD or CONTAINER.
        let namespaces = Message::default().number(1, 2).number(2, pids);
        let metadata = Message::default().text(1, &name).text(2, &name).text(3, "default");
        let security = Message::default().message(1, &namespaces);
        let parent = format!("/{}", self.sandbox.cgroup);
        let linux = Message::default().text(1, &parent).message(2, &security);
        let logs = self.sandbox.private().join("logs").join(&name);
        let pod = Message::default()
            .message(1, &metadata)
            .text(3, &logs.to_string_lossy())
            .pairs(7, wish.annotations)
            .message(8, &linux);
        let asked = Message::default().message(1, &pod).text(2, self.handler);
        let sandbox = self.call("RunPodSandbox", &asked)?.string(1);
        let mut made = Pod { cri: self, sandbox, container: String::new() };
        let security = Message::default().message(3, &namespaces);
        let container = Message::default()
            .message(1, &Message::default().text(1, "main"))
            .message(2, &Message::default().text(1, wish.image))
            .texts(3, wish.command)
            .pairs(6, wish.environment)
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
        let file = self.cri.sandbox.private().join("logs").join(pod).join("main.log");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let inner = Message::default().text(1, "a").number(7, 300);
        let whole =
            Message::default().number(1, 5).message(2, &inner).text(2, "").message(2, &inner);
        assert_eq!(whole.value(1), 5);
        assert_eq!((whole.part(2).string(1), whole.part(2).value(7)), ("a".to_owned(), 300));
        assert_eq!((whole.value(9), whole.string(9)), (0, String::new()));
        assert_eq!(Message::default().text(1, "ab").framed(), b"\0\0\0\0\x04\x0a\x02ab");
    }

    #[test]
    fn a_torn_message_has_nothing_more() {
        assert_eq!(Message(vec![0x0a, 200]).string(1), "");
        assert_eq!(Message(vec![0xff]).value(1), 0);
    }
}
