//! What a container uses, by its control group.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::monitor::oom_kills;
use crate::store::{Life, Record};

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Processor time so far, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Its limit, where there is one.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// How many of its processes were killed for memory.
    pub oom_kills: u64,
}

/// What a container uses now.
///
/// # Errors
/// One that has no control group of its own.
pub fn stats(record: &Record, life: &Life) -> Result<Stats> {
    let none = || {
        Error::new(
            Kind::State,
            format!("container {} has no control group of its own", record.name),
        )
    };
    let memory = life.cgroup.as_deref().filter(|path| path.is_dir()).ok_or_else(none)?;
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let row = |path: &Path, key: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
    };
    let v1 = memory.join("memory.usage_in_bytes").exists();
    let beside = |controller: &str| -> PathBuf {
        let below = memory.strip_prefix("/sys/fs/cgroup/memory").unwrap_or(memory);
        Path::new("/sys/fs/cgroup").join(controller).join(below)
    };
    let mut found = Stats { name: record.name.clone(), id: record.id.clone(), ..Stats::default() };
    if v1 {
        found.memory = number(&memory.join("memory.usage_in_bytes"));
        found.memory_limit =
            number(&memory.join("memory.limit_in_bytes")).filter(|limit| *limit < 1 << 60);
        let nanoseconds = number(&beside("cpuacct").join("cpuacct.usage"));
        found.cpu_usec = nanoseconds.map(|time| time / 1000);
        found.pids = number(&beside("pids").join("pids.current"));
    } else {
        found.memory = number(&memory.join("memory.current"));
        found.memory_limit = number(&memory.join("memory.max"));
        found.cpu_usec = row(&memory.join("cpu.stat"), "usage_usec");
        found.pids = number(&memory.join("pids.current"));
    }
    found.oom_kills = oom_kills(memory);
    Ok(found)
}
