//! Checkpoint and restore: what CRIU is asked, and what it answers, as data (images/rpc.proto of
//! CRIU 3.15 and later).

pub mod externals;
pub mod image;
pub mod wire;

use wire::{Malformed, Message, Value, fields};

use crate::config::annotations::CRIU_CONFIG;
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;

/// The name of CRIU's log of a dump, in the work directory.
pub const DUMP_LOG: &str = "dump.log";
/// The same of a restore.
pub const RESTORE_LOG: &str = "restore.log";
/// A file beside the images: what the standard streams were, an array of texts (runc's file, so
/// that images can be exchanged).
pub const STREAMS: &str = "descriptors.json";
/// A file beside the images: what only this runtime knows of a container.
pub const OWN: &str = "richrun.json";
/// What configures CRIU where no annotation says so: this runtime's file if there is one, else runc's.
pub const DEFAULT_CONFIGS: [&str; 2] = ["/etc/criu/richrun.conf", "/etc/criu/runc.conf"];

/// `CLONE_NEWNET`, for `--empty-ns network`.
const NEWNET: u32 = 0x4000_0000;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Write a container's memory, and let it run.
    PreDump,
    /// Write all of a container.
    Dump,
    /// Make a container of what was written.
    Restore,
    /// Say what can be done.
    Features,
}

impl Act {
    /// `criu_req_type`.
    fn number(self) -> u32 {
        match self {
            Act::Dump => 1,
            Act::Restore => 2,
            Act::PreDump => 4,
            Act::Features => 9,
        }
    }
}

/// How control groups are written and restored (`criu_cg_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupMode {
    /// What CRIU takes for the default: soft.
    #[default]
    Default,
    /// Not at all.
    Ignore,
    /// The values of groups that CRIU makes itself.
    Soft,
    /// The values of all.
    Full,
    /// Every group must be made by CRIU.
    Strict,
}

impl CgroupMode {
    fn number(self) -> u32 {
        match self {
            CgroupMode::Ignore => 0,
            CgroupMode::Soft => 3,
            CgroupMode::Full => 4,
            CgroupMode::Strict => 5,
            CgroupMode::Default => 6,
        }
    }
}

/// What the command line can say of both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Established TCP connections are kept.
    pub tcp_established: bool,
    /// Those that are being made are passed over (dump).
    pub tcp_skip_in_flight: bool,
    /// Files that were unlinked may get a name meanwhile (dump).
    pub link_remap: bool,
    /// Unix sockets may be connected to what is outside.
    pub ext_unix_sk: bool,
    /// The terminal is that of who calls.
    pub shell_job: bool,
    /// File locks are kept.
    pub file_locks: bool,
    /// Memory that is in a later image is taken out of earlier ones.
    pub auto_dedup: bool,
    /// Memory is fetched when it is used.
    pub lazy_pages: bool,
    /// It runs on (dump).
    pub leave_running: bool,
    /// Network namespaces are made empty.
    pub empty_network: bool,
    /// Control groups.
    pub cgroups: CgroupMode,
    /// Where memory goes: address, port (dump).
    pub page_server: Option<(String, u16)>,
    /// An earlier image, from the new one (dump).
    pub parent: Option<String>,
    /// The LSM profile that processes get (restore).
    pub lsm_profile: Option<String>,
    /// The context that mounts get (restore).
    pub lsm_mount_context: Option<String>,
}

/// An existing namespace that a restored container joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinNs {
    /// `uts`, `ipc`, ...
    pub kind: &'static str,
    /// A file that stands for it.
    pub file: String,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is to be done.
    pub act: Act,
    /// How.
    pub options: &'a Options,
    /// The images' directory: a descriptor of who asks.
    pub images: i32,
    /// That of the log, if it is another.
    pub work: Option<i32>,
    /// The container's root.
    pub root: String,
    /// Whom to write: its first process.
    pub pid: Option<i32>,
    /// A group by which its processes are stopped.
    pub freezer: Option<String>,
    /// What stands for something outside: `mnt[/data]:/srv/data`.
    pub external: Vec<String>,
    /// Descriptors of the restored, by name: key, number in CRIU.
    pub inherited: Vec<(String, i32)>,
    /// Namespaces to be joined.
    pub joined: Vec<JoinNs>,
    /// The groups that take the place of the written ones: controller, path.
    pub groups: Vec<(String, String)>,
    /// A file that says more.
    pub config: Option<String>,
}

/// A plain question.
pub fn question(act: Act, asked: Feature) -> Vec<u8> {
    let mut features = Message::default();
    features.flag(asked.field(), true);
    let mut request = Message::default();
    request.number(1, act.number());
    request.message(5, &features);
    request.encoded().to_vec()
}

/// The answer to a notification.
pub fn noted(success: bool) -> Vec<u8> {
    let mut request = Message::default();
    request.number(1, NOTIFY);
    request.flag(3, success);
    request.encoded().to_vec()
}

const NOTIFY: u32 = 6;

/// A descriptor's or a process's number; none is negative.
fn number(value: i32) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

impl Request<'_> {
    /// What is sent.
    pub fn encoded(&self) -> Vec<u8> {
        let mut request = Message::default();
        request.number(1, self.act.number());
        request.message(2, &self.opts());
        request.encoded().to_vec()
    }

    /// `criu_opts`.
    fn opts(&self) -> Message {
        let restore = self.act == Act::Restore;
        let asked = self.options;
        let mut opts = Message::default();
        opts.number(1, number(self.images));
        for (field, value) in [
            (3, asked.leave_running),
            (4, asked.ext_unix_sk),
            (5, asked.tcp_established),
            (6, restore),
            (7, asked.shell_job),
            (8, asked.file_locks),
            (12, true),
            (16, asked.auto_dedup),
            (18, asked.link_remap),
            (24, true),
            (26, restore),
            (46, asked.tcp_skip_in_flight),
            (48, asked.lazy_pages),
            (50, true),
        ] {
            if value {
                opts.flag(field, true);
            }
        }
        opts.number(9, 4);
        opts.text(10, if restore { RESTORE_LOG } else { DUMP_LOG });
        opts.text(13, &self.root);
        opts.number(34, asked.cgroups.number());
        if asked.empty_network {
            opts.number(38, NEWNET);
        }
        for (field, fd) in [(2, self.pid), (17, self.work)] {
            if let Some(fd) = fd {
                opts.number(field, number(fd));
            }
        }
        if asked.parent.is_some() || self.act == Act::PreDump {
            opts.flag(15, true);
        }
        for (field, text) in [
            (14, &asked.parent),
            (44, &self.freezer),
            (51, &self.config),
            (53, &asked.lsm_profile),
            (63, &asked.lsm_mount_context),
        ] {
            if let Some(text) = text {
                opts.text(field, text);
            }
        }
        if let Some((address, port)) = &asked.page_server {
            let mut server = Message::default();
            server.text(1, address);
            server.number(2, u32::from(*port));
            opts.message(11, &server);
        }
        self.lists(&mut opts);
        opts
    }

    /// What there may be several of.
    fn lists(&self, opts: &mut Message) {
        for (controller, path) in &self.groups {
            let mut root = Message::default();
            root.text(1, controller);
            root.text(2, path);
            opts.message(25, &root);
        }
        for (key, fd) in &self.inherited {
            let mut inherited = Message::default();
            inherited.text(1, key);
            inherited.number(2, number(*fd));
            opts.message(27, &inherited);
        }
        for external in &self.external {
            opts.text(37, external);
        }
        for join in &self.joined {
            let mut joined = Message::default();
            joined.text(1, join.kind);
            joined.text(2, &join.file);
            opts.message(39, &joined);
        }
    }
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Which pages were written since (soft-dirty bits).
    MemTrack,
    /// Memory that is fetched when it is used (userfaultfd).
    LazyPages,
}

impl Feature {
    fn field(self) -> u32 {
        match self {
            Feature::MemTrack => 1,
            Feature::LazyPages => 2,
        }
    }

    /// runc's word for it, and what is missing.
    pub fn lacking(self) -> Error {
        Error::system(match self {
            Feature::MemTrack => {
                "criu is missing features: [MemTrack]: this kernel cannot tell which memory was written (criu check --feature mem_dirty_track)"
            }
            Feature::LazyPages => {
                "criu is missing features: [LazyPages]: this kernel has no userfaultfd for it (criu check --feature uffd-noncoop)"
            }
        })
    }
}

/// What CRIU says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Something happens, and CRIU waits to be told to go on.
    Notify {
        /// What.
        script: String,
        /// The container's first process, where there is one.
        pid: Option<i32>,
    },
    /// The end: the first process of what was restored.
    Done(Option<i32>),
    /// What can be done: memory tracking, lazy pages.
    Features(bool, bool),
    /// It failed: while doing what, errno, in words.
    Failed {
        /// runc's word for what was asked.
        kind: &'static str,
        /// 0: none is told.
        errno: i32,
        /// What CRIU adds, or nothing.
        text: String,
    },
}

/// Reads an answer.
///
/// # Errors
/// It is none.
pub fn answer(bytes: &[u8]) -> Result<Answer> {
    read(bytes).map_err(|Malformed| Error::system("criu: its answer cannot be read"))
}

fn read(bytes: &[u8]) -> std::result::Result<Answer, Malformed> {
    let (mut kind, mut success, mut errno) = (0, false, 0);
    let (mut text, mut pid, mut notify, mut features) = (String::new(), None, None, None);
    for field in fields(bytes)? {
        match field {
            (1, Value::Number(number)) => kind = number,
            (2, Value::Number(number)) => success = number != 0,
            (4, Value::Bytes(bytes)) => pid = number_of(bytes, 1)?,
            (5, Value::Bytes(bytes)) => notify = Some((text_of(bytes, 1)?, number_of(bytes, 2)?)),
            (7, Value::Number(number)) => errno = number as i32,
            (8, Value::Bytes(bytes)) => {
                let has = |field| Ok::<_, Malformed>(number_of(bytes, field)? == Some(1));
                features = Some((has(1)?, has(2)?));
            }
            (9, Value::Bytes(bytes)) => text = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
    }
    if !success {
        return Ok(Answer::Failed { kind: name(kind), errno, text });
    }
    Ok(match (notify, features) {
        (Some((script, pid)), _) => Answer::Notify { script, pid },
        (None, Some((track, lazy))) => Answer::Features(track, lazy),
        (None, None) => Answer::Done(pid),
    })
}

fn name(kind: u64) -> &'static str {
    match kind {
        1 => "DUMP",
        2 => "RESTORE",
        4 => "PRE_DUMP",
        6 => "NOTIFY",
        9 => "FEATURE_CHECK",
        _ => "EMPTY",
    }
}

fn number_of(bytes: &[u8], wanted: u32) -> std::result::Result<Option<i32>, Malformed> {
    let found = fields(bytes)?.into_iter().find_map(|field| match field {
        (field, Value::Number(number)) if field == wanted => i32::try_from(number).ok(),
        _ => None,
    });
    Ok(found)
}

fn text_of(bytes: &[u8], wanted: u32) -> std::result::Result<String, Malformed> {
    let found = fields(bytes)?.into_iter().find_map(|field| match field {
        (field, Value::Bytes(text)) if field == wanted => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
        _ => None,
    });
    Ok(found.unwrap_or_default())
}

/// The file by which CRIU is configured besides, if an annotation names one that counts
/// (`allowed`: what the administrator allows), and what is to be told. CRIU runs what such a
/// file names, as root. An empty name: none, also not the default one.
pub fn config_file(spec: &Spec, allowed: &[String]) -> (Option<String>, Option<String>) {
    let annotations = spec.annotations().as_ref();
    match annotations.and_then(|all| all.get(CRIU_CONFIG)) {
        None => (None, None),
        Some(file) if file.is_empty() || allowed.iter().any(|name| name == CRIU_CONFIG) => {
            (Some(file.clone()), None)
        }
        Some(_) => {
            let why = "ignored: annotations.allow of the settings does not have it";
            (None, Some(format!("annotation {CRIU_CONFIG}: {why}")))
        }
    }
}

/// The line of CRIU's log that says what was wrong: the last error before CRIU says that it has
/// failed. What follows is what falls over then.
pub fn reason(log: &str) -> Option<&str> {
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("Error (")).collect();
    let failed = errors.iter().position(|line| line.contains("FAILED"));
    let before = &errors[..failed.unwrap_or(errors.len())];
    // What only passes on that something has failed, and what CRIU goes on without.
    let empty = ["failed with", "Can't setup RLIMIT_NOFILE", "exited, status="];
    let says = |line: &&&str| !empty.iter().any(|word| line.contains(word));
    let line = before.iter().rfind(says).or_else(|| errors.last())?;
    line.find("Error (").map(|at| &line[at..])
}

#[cfg(test)]
mod tests;
