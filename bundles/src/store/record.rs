//! What is recorded of a container: how it was asked for, and how it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What was asked for; written by who makes the container, read by its monitor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// 32 hexadecimal digits, unique; also its id at the OCI runtime.
    pub id: String,
    /// The tenant.
    pub namespace: String,
    /// Unique in the namespace.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// As it was given: `oci:DIR`, a directory.
    pub source: String,
    /// The command that runs.
    pub command: Vec<String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// The OCI runtime's program.
    pub runtime: PathBuf,
    /// Its `--root`.
    pub runtime_root: PathBuf,
    /// More of its global options.
    pub runtime_options: Vec<String>,
    /// More options of its `create` and `run`: `--rich`.
    pub launch_options: Vec<String>,
    /// The directory with config.json.
    pub bundle: PathBuf,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether its standard input is kept open for who attaches.
    pub interactive: bool,
    /// Forget it when it has ended.
    pub remove: bool,
    /// When to start it anew.
    pub restart: Restart,
    /// What asks it to end: `TERM` where nothing is said.
    pub stop_signal: Option<String>,
    /// Seconds between that and KILL, where `stop` does not say.
    pub stop_timeout: Option<u32>,
    /// Where its output goes.
    pub log: LogOptions,
    /// Its network.
    pub network: Network,
    /// Ports that are published.
    pub ports: Vec<Port>,
    /// What is to be undone when it is forgotten, last first.
    pub undo: Vec<Undo>,
    /// The pod that it belongs to.
    pub pod: Option<String>,
}

/// What a source left that `rm` undoes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// A mount point, detached.
    Unmount(PathBuf),
    /// A directory with all below it.
    Remove(PathBuf),
    /// A program with its arguments.
    Run(Vec<String>),
}

/// When a container is started anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After a failure, so many times at most.
    OnFailure(Option<u32>),
    /// Whenever it ended, and by `richctl start --all` after a boot.
    Always,
    /// The same, but not when somebody had stopped it.
    UnlessStopped,
}

impl Restart {
    /// `no`, `on-failure[:N]`, `always` or `unless-stopped`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Restart> {
        match word.split_once(':') {
            None if word == "no" => Some(Restart::No),
            None if word == "on-failure" => Some(Restart::OnFailure(None)),
            None if word == "always" => Some(Restart::Always),
            None if word == "unless-stopped" => Some(Restart::UnlessStopped),
            Some(("on-failure", number)) => Some(Restart::OnFailure(Some(number.parse().ok()?))),
            _ => None,
        }
    }
}

/// Where output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// By which way.
    pub driver: Driver,
    /// How lines look in the file.
    pub format: Format,
    /// The file.
    pub path: PathBuf,
    /// It is rotated before it has more bytes than that; 0: never.
    pub max_size: u64,
    /// So many files are kept, the current one included.
    pub max_files: u32,
}

/// Where output goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// Nowhere.
    None,
    /// A file.
    #[default]
    File,
    /// systemd's journal.
    Journald,
}

/// How a log file looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `TIME stdout|stderr F|P text`, as Kubernetes' container runtime interface has it.
    #[default]
    Cri,
    /// The bytes as they come.
    Plain,
}

/// A container's network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// An empty network namespace of its own.
    #[default]
    None,
    /// The host's.
    Host,
    /// A network namespace that is there.
    Path(PathBuf),
    /// Its own, connected by passt's `pasta`.
    Pasta,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// On which address of the host; all where empty.
    pub address: String,
    /// The host's.
    pub host: u16,
    /// The container's.
    pub container: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It was made and has never run.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It has ended and waits to be started anew.
    Restarting,
    /// It has ended.
    Exited,
    /// It could not be started.
    Failed,
}

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Running => "running",
            Phase::Restarting => "restarting",
            Phase::Exited => "exited",
            Phase::Failed => "failed",
        }
    }
}

/// How the container is; written by its monitor, atomically, before anybody is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// Where it is.
    pub phase: Phase,
    /// The first process, while it runs.
    pub pid: Option<i32>,
    /// When that process was made, in the kernel's ticks: a pid alone can be somebody else's later.
    pub pid_start: Option<u64>,
    /// Its monitor.
    pub monitor: Option<i32>,
    /// When it started last.
    pub started: Option<Timestamp>,
    /// The last end.
    pub exit: Option<Exit>,
    /// How often it was started anew.
    pub restarts: u32,
    /// Bytes of its output that the log has not.
    pub log_lost: u64,
    /// What failed.
    pub error: Option<String>,
    /// Its control group below the mount of cgroup v2, or of v1's memory controller.
    pub cgroup: Option<PathBuf>,
    /// Somebody asked it to stop.
    pub stopped: bool,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 and the signal's number after a signal; nothing where nobody can know.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How many of its processes the kernel killed for memory.
    pub oom_kills: u64,
    /// Which these were, where the kernel's log may be read.
    #[serde(default)]
    pub oom_killed: Vec<Victim>,
    /// When.
    pub finished: Timestamp,
}

/// A process that the kernel killed for memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Victim {
    /// Its id, as the host has it.
    pub pid: i32,
    /// Its name, as `ps` has it: 15 bytes at most.
    pub name: String,
}
