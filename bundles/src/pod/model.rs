//! A pod as the controller has it: everything looked up, every default filled in.
//!
//! The readers ([`super::read`]) make it of the pod controller's JSON and of
//! Kubernetes manifests; what follows knows nothing of either. It is also what is
//! kept on disk, so that a supervisor that was killed can be replaced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names to values.
pub type Map = BTreeMap<String, String>;

/// One pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`: whose it is.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: Map,
    /// `metadata.annotations`.
    pub annotations: Map,
    /// Init containers and sidecars in their order, then the main ones.
    pub containers: Vec<Container>,
    /// What containers mount, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Seconds between the request to end and KILL.
    pub grace: u64,
    /// Seconds after which the pod has failed.
    pub deadline: Option<u64>,
    /// One pid namespace for all containers.
    pub share_pid: bool,
    /// The host's pid namespace.
    pub host_pid: bool,
    /// The host's IPC namespace.
    pub host_ipc: bool,
    /// The host's network.
    pub host_network: bool,
    /// The name inside.
    pub hostname: String,
    /// Lines of `/etc/hosts`: an address and its names.
    pub host_aliases: Vec<(String, Vec<String>)>,
    /// The resolver's file; `None`: the host's own.
    pub dns: Option<Dns>,
    /// Kernel settings of the pod's namespaces.
    pub sysctls: Map,
    /// The group that owns the volumes.
    pub fs_group: Option<u32>,
}

/// `/etc/resolv.conf` inside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dns {
    /// Whether the host's own lines come first (`dnsPolicy` other than None).
    pub with_host: bool,
    /// Addresses.
    pub nameservers: Vec<String>,
    /// Domains.
    pub searches: Vec<String>,
    /// `ndots:2`, `edns0`.
    pub options: Vec<String>,
}

/// When a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// To its end, before whatever comes after it.
    Init,
    /// From its turn among the init containers until the main ones have ended.
    Sidecar,
    /// The pod's work.
    Main,
}

/// What follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Another start, whatever the status.
    Always,
    /// Another start after a status other than 0.
    OnFailure,
    /// Nothing.
    Never,
}

/// An exception from a container's [`Restart`] by exit status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// Whether the statuses are those it holds for (`In`), or those it does not.
    pub within: bool,
    /// Exit statuses.
    pub codes: Vec<i32>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// When it runs.
    pub role: Role,
    /// What it is made of: an image or a root file system, as `richctl run` takes it.
    pub image: Option<String>,
    /// The pod controller's `spec`: a part of a `config.json`, laid over the rest.
    pub spec: Option<serde_json::Value>,
    /// Instead of the image's entry point.
    pub command: Vec<String>,
    /// Instead of the image's arguments.
    pub args: Vec<String>,
    /// Environment, looked up and expanded.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: Option<String>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Ports of the host that lead to its own.
    pub ports: Vec<Port>,
    /// Users, capabilities and filters.
    pub security: Security,
    /// Limits.
    pub resources: Resources,
    /// Has it come up? Holds the other two back.
    pub startup: Option<Probe>,
    /// Is it to be restarted?
    pub liveness: Option<Probe>,
    /// Does it take work?
    pub readiness: Option<Probe>,
    /// Runs after the start; if it fails the container is ended.
    pub post_start: Option<Handler>,
    /// Runs before the request to end.
    pub pre_stop: Option<Handler>,
    /// The signal that asks it to end; `None`: the image's, or TERM.
    pub stop_signal: Option<String>,
    /// What follows its end.
    pub restart: Restart,
    /// Statuses after which it is started again whatever `restart` says.
    pub restart_rules: Vec<RestartRule>,
    /// A terminal.
    pub tty: bool,
}

/// Where a volume appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// The path inside.
    pub path: String,
    /// A path in the volume, relative and without `..`.
    pub sub_path: Option<String>,
    /// No writes.
    pub read_only: bool,
    /// Mounts made later go in (`HostToContainer`) or both ways (`Bidirectional`).
    pub propagation: Option<String>,
}

/// A port that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name, for probes.
    pub name: Option<String>,
    /// Inside.
    pub container: u16,
    /// On the host; `None`: not published.
    pub host: Option<u16>,
    /// The host's address.
    pub host_ip: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volume {
    /// A path of the host, and what has to be there (`Directory`, `FileOrCreate`...).
    HostPath {
        /// The path.
        path: String,
        /// Kubernetes' `type`, empty for any.
        kind: String,
    },
    /// An empty directory that ends with the pod.
    EmptyDir {
        /// In memory.
        memory: bool,
        /// Its bound in bytes; of one on disk it cannot be kept.
        size: Option<u64>,
    },
    /// Files that are written anew at each start of the pod.
    Files(Vec<File>),
    /// A directory that outlives pods, by its name.
    Claim {
        /// The claim.
        name: String,
        /// No writes through any mount.
        read_only: bool,
    },
}

/// A file of a [`Volume::Files`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Relative, without `..`.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Permissions.
    pub mode: u32,
}

/// Who a container is and what it may.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Security {
    /// User; `None`: the image's.
    pub user: Option<u32>,
    /// Group; `None`: the image's.
    pub group: Option<u32>,
    /// More groups.
    pub groups: Vec<u32>,
    /// Refuse to run as user 0.
    pub non_root: bool,
    /// Everything that the host's root may.
    pub privileged: bool,
    /// Capabilities on top of the default ones, without `CAP_`; `ALL` too.
    pub add: Vec<String>,
    /// Capabilities that are taken away.
    pub drop: Vec<String>,
    /// The root file system cannot be written to.
    pub read_only_root: bool,
    /// Set-user-ID programs work.
    pub escalation: bool,
    /// A filter of system calls.
    pub seccomp: Seccomp,
    /// An AppArmor profile that is loaded on the host.
    pub apparmor: Option<String>,
    /// An SELinux label.
    pub selinux: Option<String>,
    /// Nothing of `/proc` is covered.
    pub unmasked_proc: bool,
}

/// Which filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// None.
    #[default]
    Unconfined,
    /// The one that engines use.
    RuntimeDefault,
    /// A file of the host, as in `config.json`.
    File(String),
}

/// Limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu: Option<u64>,
    /// The share of a busy machine, in thousandths of a processor.
    pub cpu_request: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Huge pages: the size (`2Mi`) and bytes.
    pub hugepages: Vec<(String, u64)>,
}

/// A probe; times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub handler: Handler,
    /// After the start.
    pub delay: u64,
    /// Between two.
    pub period: u64,
    /// For one.
    pub timeout: u64,
    /// Good ones in a row that count.
    pub success: u32,
    /// Bad ones in a row that count.
    pub failure: u32,
    /// Instead of the pod's grace, for what this probe ends.
    pub grace: Option<u64>,
}

/// What a probe or a hook does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Handler {
    /// A program in the container.
    Exec(Vec<String>),
    /// 200 to 399 is good.
    Http {
        /// An address or name; `None`: the pod itself.
        host: Option<String>,
        /// Port.
        port: u16,
        /// Path and query.
        path: String,
        /// More header lines.
        headers: Vec<(String, String)>,
    },
    /// A connection is good.
    Tcp {
        /// An address or name; `None`: the pod itself.
        host: Option<String>,
        /// Port.
        port: u16,
    },
    /// Wait, in seconds (a hook only).
    Sleep(u64),
}

impl Pod {
    /// The containers of one role with their places.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (usize, &Container)> {
        self.containers.iter().enumerate().filter(move |(_, container)| container.role == role)
    }

    /// The place of a container.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.name == name)
    }
}
