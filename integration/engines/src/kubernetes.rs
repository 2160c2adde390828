//! A Kubernetes of one node in a sandbox: etcd, the control plane, a kubelet
//! over containerd's CRI plugin, and `kubectl` as its client.
//!
//! The programs are Debian's, of `integration/peers.sh kubernetes`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::command::{Outcome, PATIENCE, find, run};
use crate::cri::PodDaemon;
use crate::runtimes::{RICH_NAME, peers};
use crate::sandbox::Sandbox;
use crate::{Verdict, within};

/// What must be there besides a CRI plugin.
const PROGRAMS: [&str; 6] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"];

/// The cgroup controllers without which a kubelet starts no pod, or no runtime does as it says.
pub const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// The node's address, on the sandbox's loopback interface.
const NODE: &str = "10.87.0.1";

/// What the administrator is known by, inside.
const TOKEN: &str = "administrator";

/// Where `integration/peers.sh kubernetes` puts the programs.
fn home() -> PathBuf {
    peers().join("kubernetes")
}

/// Why there is no Kubernetes here.
pub fn lacks() -> Option<String> {
    let absent = PROGRAMS.iter().find(|program| !home().join(program).is_file());
    absent
        .map(|program| format!("no {program}: integration/peers.sh kubernetes"))
        .or_else(|| find("openssl").is_none().then(|| "no openssl".to_owned()))
        .or_else(|| (!Path::new("/dev/kmsg").exists()).then(|| "no /dev/kmsg".to_owned()))
        .or_else(|| {
            let bridge = Path::new(crate::cri::PLUGINS).join("bridge");
            (!bridge.is_file()).then(|| format!("no {}", bridge.display()))
        })
}

/// A Kubernetes of its own in a sandbox; it ends with the value.
#[derive(Debug)]
pub struct Cluster {
    daemons: Vec<Child>,
    settings: PathBuf,
}

impl Cluster {
    /// Starts one whose pods `daemon` runs, with a RuntimeClass for each of these
    /// handlers, and waits until it is ready for pods.
    pub fn start(sandbox: &Sandbox, daemon: &PodDaemon, classes: &[&str]) -> Result<Self, String> {
        prepare(sandbox)?;
        let settings = sandbox.work.join("kubeconfig.json");
        write(&settings, &kubeconfig())?;
        let mut cluster = Self { daemons: Vec::new(), settings };
        let dir = sandbox.private().join("kubernetes");
        let of = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let own = cluster.settings.to_string_lossy().into_owned();

        let etcd = "http://127.0.0.1:2379";
        let options = [("data-dir", of("etcd")), ("listen-client-urls", etcd.into())];
        let more = [("advertise-client-urls", etcd.into())];
        cluster.daemon(sandbox, "etcd", options.iter().chain(&more))?;

        let api = [
            ("etcd-servers", etcd.to_owned()),
            ("advertise-address", NODE.into()),
            ("bind-address", "127.0.0.1".into()),
            ("secure-port", "6443".into()),
            ("cert-dir", of("certificates")),
            ("token-auth-file", sandbox.work.join("tokens.csv").to_string_lossy().into_owned()),
            ("authorization-mode", "RBAC".into()),
            ("service-cluster-ip-range", "10.96.0.0/16".into()),
            ("service-account-issuer", "https://kubernetes.default.svc".into()),
            ("service-account-key-file", of("accounts.key")),
            ("service-account-signing-key-file", of("accounts.key")),
            ("kubelet-preferred-address-types", "InternalIP".into()),
        ];
        cluster.daemon(sandbox, "kube-apiserver", api.iter())?;
        within("the API server answers", || {
            cluster.ctl(sandbox, &["get", "--raw", "/readyz"], "").ok()?.exits(0).ok()
        })
        .map_err(|error| with_log(sandbox, "kube-apiserver", error))?;

        let manager = [
            ("kubeconfig", own.clone()),
            ("leader-elect", "false".into()),
            ("cert-dir", of("certificates-manager")),
            ("service-account-private-key-file", of("accounts.key")),
        ];
        cluster.daemon(sandbox, "kube-controller-manager", manager.iter())?;
        let scheduler = [
            ("kubeconfig", own.clone()),
            ("leader-elect", "false".into()),
            ("cert-dir", of("certificates-scheduler")),
        ];
        cluster.daemon(sandbox, "kube-scheduler", scheduler.iter())?;

        let config = sandbox.work.join("kubelet.json");
        write(&config, &kubelet(sandbox, &dir))?;
        let node = [
            ("config", config.to_string_lossy().into_owned()),
            ("kubeconfig", own),
            ("container-runtime", "remote".into()),
            ("container-runtime-endpoint", format!("unix://{}", daemon.site().socket.display())),
            ("hostname-override", "node".into()),
            ("node-ip", NODE.into()),
            ("root-dir", of("kubelet")),
            ("cert-dir", of("certificates-kubelet")),
        ];
        cluster.daemon(sandbox, "kubelet", node.iter())?;

        for class in classes {
            let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
                "metadata": {"name": class}, "handler": class});
            cluster.ctl(sandbox, &["create", "-f", "-"], &class.to_string())?.exits(0)?;
        }
        let ready = "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].status}";
        within("the node is ready", || {
            let said = cluster.ctl(sandbox, &["get", "nodes", "-o", ready], "").ok()?;
            (said.stdout.trim() == "True").then_some(())
        })
        .map_err(|error| with_log(sandbox, "kubelet", error))?;
        // Pods are refused before the namespace has it.
        within("the service account", || {
            cluster.ctl(sandbox, &["get", "serviceaccount", "default"], "").ok()?.exits(0).ok()
        })?;
        Ok(cluster)
    }

    fn daemon<'a>(
        &mut self,
        sandbox: &Sandbox,
        name: &str,
        options: impl Iterator<Item = &'a (&'a str, String)>,
    ) -> Verdict {
        let told = |error: std::io::Error| format!("{name}: {error}");
        let log = fs::File::create(log_of(sandbox, name)).map_err(told)?;
        let mut command = sandbox.command(home().join(name));
        command.args(options.map(|(option, value)| format!("--{option}={value}")));
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(told)?).stderr(log);
        self.daemons.push(command.spawn().map_err(told)?);
        Ok(())
    }

    fn command(&self, sandbox: &Sandbox) -> Command {
        let mut command = sandbox.command(home().join("kubectl"));
        command.arg("--kubeconfig").arg(&self.settings);
        // Its cache of what the server offers.
        command.arg("--cache-dir").arg(sandbox.private().join("kubectl"));
        command
    }

    /// Runs `kubectl ARGS` with `input` on its standard input.
    fn ctl(&self, sandbox: &Sandbox, args: &[&str], input: &str) -> Result<Outcome, String> {
        let mut command = self.command(sandbox);
        command.args(args);
        run(command, input.as_bytes(), PATIENCE)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What watches others goes first.
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn log_of(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.work.join(format!("{name}.log"))
}

/// The end of a daemon's log, for those who must find out why it does not come up.
fn with_log(sandbox: &Sandbox, name: &str, error: String) -> String {
    let log = fs::read_to_string(log_of(sandbox, name)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(20)..].join("\n");
    format!("{error}\n--- the end of {name}'s log\n{last}")
}

fn write(file: &Path, value: &Value) -> Verdict {
    fs::write(file, value.to_string()).map_err(|error| format!("{}: {error}", file.display()))
}

/// Makes the sandbox fit for a kubelet, which has fixed places for some files and
/// changes the kernel's settings unless they are as it wants them: it finds them so.
fn prepare(sandbox: &Sandbox) -> Verdict {
    let tokens = sandbox.work.join("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},admin,admin,system:masters\n"))
        .map_err(|error| format!("{}: {error}", tokens.display()))?;
    let mut command = sandbox.command("sh");
    command.args(["-ec", include_str!("kubernetes.sh"), "sh"]);
    command.arg(sandbox.private().join("kubernetes")).arg(NODE).arg(&sandbox.cgroup);
    run(command, b"", PATIENCE)?.exits(0).map(drop)
}

fn kubeconfig() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster":
            {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": true}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
    })
}

fn kubelet(sandbox: &Sandbox, dir: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", sandbox.cgroup),
        "enforceNodeAllocatable": [],
        "protectKernelDefaults": true,
        "makeIPTablesUtilChains": false,
        "failSwapOn": false,
        // A full disk of the machine is not what is tested.
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "volumePluginDir": dir.join("plugins"),
        "resolvConf": "",
        "featureGates": {"DevicePlugins": false},
    })
}

/// `kubectl` against a cluster, with one RuntimeClass.
#[derive(Debug, Clone, Copy)]
pub struct Kube<'a> {
    /// Where it runs.
    pub sandbox: &'a Sandbox,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The RuntimeClass, which has the name of the runtime.
    pub class: &'a str,
}

impl Kube<'_> {
    /// Whether the runtime makes everything rich.
    pub fn is_rich(&self) -> bool {
        self.class == RICH_NAME
    }

    /// Runs `kubectl ARGS`.
    pub fn call(&self, args: &[&str]) -> Result<Outcome, String> {
        self.cluster.ctl(self.sandbox, args, "")
    }

    /// Runs `kubectl ARGS` with `input` on its standard input.
    pub fn call_with(&self, args: &[&str], input: &str) -> Result<Outcome, String> {
        self.cluster.ctl(self.sandbox, args, input)
    }

    /// `kubectl ARGS`, to be run on a terminal.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.cluster.command(self.sandbox);
        command.args(args);
        command
    }

    /// A name that no other trial, and no other attempt at one, has.
    pub fn unique(&self, what: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("{}-{what}-{}", self.class, NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes an object, of a kind as `kubectl` has it; it is removed when dropped.
    pub fn create(
        &self,
        kind: &'static str,
        what: &str,
        object: &Value,
    ) -> Result<Object<'_>, String> {
        let name = self.unique(what);
        let mut object = object.clone();
        object["metadata"]["name"] = json!(name);
        let made = Object { kube: self, kind, name };
        self.call_with(&["create", "-f", "-"], &object.to_string())?.exits(0)?;
        Ok(made)
    }

    /// Makes a pod with these annotations; `spec` without the RuntimeClass.
    pub fn pod(&self, what: &str, annotations: Value, spec: Value) -> Result<Object<'_>, String> {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"annotations": annotations}, "spec": self.classed(spec)});
        self.create("pod", what, &pod)
    }

    /// A pod's `spec` with the RuntimeClass.
    pub fn classed(&self, mut spec: Value) -> Value {
        spec["runtimeClassName"] = json!(self.class);
        // What is not used need not be mounted.
        spec["enableServiceLinks"] = json!(false);
        spec
    }
}

/// A pod or another object; removed when dropped.
#[derive(Debug)]
pub struct Object<'a> {
    kube: &'a Kube<'a>,
    kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Object<'_> {
    /// What a path of `kubectl -o jsonpath` names; empty when it is not there.
    pub fn field(&self, path: &str) -> Result<String, String> {
        let template = format!("jsonpath={{{path}}}");
        self.kube.call(&["get", self.kind, &self.name, "-o", &template])?.text()
    }

    /// Waits until that is `value`.
    pub fn becomes(&self, path: &str, value: &str) -> Verdict {
        let what = format!("{path} of {} {} is {value:?}", self.kind, self.name);
        let found = within(&what, || self.field(path).ok().filter(|found| found == value));
        found.map(drop).map_err(|error| {
            let told = self.kube.call(&["describe", self.kind, &self.name]);
            format!("{error}\n{}", told.map_or_else(|error| error, |outcome| outcome.stdout))
        })
    }

    /// Waits until a pod's containers run and its readiness probes succeed.
    pub fn ready(&self) -> Verdict {
        self.becomes(".status.conditions[?(@.type=='Ready')].status", "True")
    }

    /// `kubectl exec OPTIONS POD -- COMMAND`.
    pub fn exec(&self, options: &[&str], command: &[&str]) -> Result<Outcome, String> {
        let line = self.exec_line(options, command);
        self.kube.call(&line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Its arguments.
    pub fn exec_line(&self, options: &[&str], command: &[&str]) -> Vec<String> {
        let line = [&["exec"], options, &[self.name.as_str(), "--"], command].concat();
        line.into_iter().map(str::to_owned).collect()
    }

    /// `kubectl logs OPTIONS POD`.
    pub fn logs(&self, options: &[&str]) -> Result<String, String> {
        self.kube.call(&[&["logs", self.name.as_str()], options].concat())?.text()
    }

    /// Waits until the log holds `text`.
    pub fn says(&self, text: &str) -> Verdict {
        let what = format!("{text:?} in the log of {}", self.name);
        within(&what, || self.logs(&[]).ok().filter(|log| log.contains(text))).map(drop)
    }

    /// `kubectl delete OPTIONS`, which waits until it is gone.
    pub fn delete(self, options: &[&str]) -> Verdict {
        self.kube.call(&[&["delete", self.kind, &self.name], options].concat())?.exits(0).map(drop)
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        let options = ["--ignore-not-found", "--grace-period=1", "--wait=false"];
        let _ = self.kube.call(&[&["delete", self.kind, &self.name][..], &options].concat());
    }
}
