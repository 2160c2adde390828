//! The record of how a container ended, beside its state: `exit.json`.
//!
//! Written by whoever learns it, before anybody is told: the parent (`run --keep`), or who waits
//! beside another parent and is told by the kernel (`wait`, `stop`). Whole or not at all, once: the
//! first word stays. Nothing of the container's can reach the file.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Stat, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::store::RESULT_FIFO;
use super::{Entry, State, Status, Store};
use crate::cgroup::Cgroup;
use crate::error::{Result, Step};
use crate::log;

/// The record's name in a container's directory.
const RECORD: &str = "exit.json";
/// What PID 1 of a rich container writes itself: the wait status of its payload, in digits.
const WORD: &str = "exit.status";
/// No record is longer, in bytes.
const LONGEST: usize = 4096;

/// How a first process ended, as wait(2) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// As a shell has it: the exit code, 128+n after signal n.
    pub code: u8,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// What a status of wait(2) says.
    pub fn of_wait(status: i32) -> Exit {
        match status & 0x7f {
            0 => Exit { code: (status >> 8) as u8, signal: None },
            signal => Exit { code: 128 + signal as u8, signal: Some(signal) },
        }
    }
}

/// Whose word a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Teller {
    /// The runtime's, which was the parent.
    Parent,
    /// The kernel's, to somebody who was not (pidfd information, Linux 6.15).
    Kernel,
    /// That of the container's rich-init, of its payload: nobody else has seen it.
    Init,
}

/// What is known of a container's end; what is not is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The exit code of its first process, 128+n after signal n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal that ended its first process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How many of its processes the kernel killed because memory lacked (`oom_kill`, cgroups(7)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_kills: Option<u64>,
    /// When its payload was executed (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When its end was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Who says code and signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_by: Option<Teller>,
}

impl Ended {
    fn is_empty(&self) -> bool {
        *self == Ended::default()
    }
}

/// A container's directory, held while its end is awaited: another one may have the id by then.
#[derive(Debug)]
pub struct Recorder {
    dir: OwnedFd,
    path: PathBuf,
}

impl Recorder {
    /// Holds the directory of the container.
    ///
    /// # Errors
    /// It is gone.
    pub fn new(store: &Store, id: &str) -> Result<Recorder> {
        Ok(Recorder { dir: store.directory(id)?, path: store.root().join(id) })
    }

    /// Writes the record of an end that was seen just now, unless there is one. `started`: when
    /// the payload was executed, where the caller knows better than the directory.
    ///
    /// What hinders it warns: an exit code is worth more than its record.
    pub fn keep(&self, state: &State, exit: Exit, told_by: Teller, started: Option<SystemTime>) {
        let ended = Ended {
            code: Some(exit.code),
            signal: exit.signal,
            memory_kills: memory_kills(state),
            started: started.or_else(|| self.started()).map(shown),
            finished: Some(shown(SystemTime::now())),
            told_by: Some(told_by),
        };
        if let Err(error) = self.write(&ended) {
            log::warn(error);
        }
    }

    fn write(&self, ended: &Ended) -> Result<()> {
        let step = || format!("write {}/{RECORD}", self.path.display());
        // A structure of strings and numbers: encoding it cannot fail.
        let bytes = serde_json::to_vec(ended).unwrap_or_default();
        let fresh = format!(".{RECORD}.{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = match openat(&self.dir, &fresh, flags, Mode::from_raw_mode(0o600)) {
            // Deleted meanwhile: nobody will ask.
            Err(Errno::NOENT) => return Ok(()),
            file => file.step(step)?,
        };
        let written = rustix::io::write(&file, &bytes);
        let kept = match written {
            Ok(count) if count == bytes.len() => {
                renameat_with(&self.dir, &fresh, &self.dir, RECORD, RenameFlags::NOREPLACE)
            }
            Ok(_) => Err(Errno::NOSPC),
            Err(errno) => Err(errno),
        };
        if kept.is_err() {
            let _gone = unlinkat(&self.dir, &fresh, AtFlags::empty());
        }
        match kept {
            // Somebody else saw it first, or `delete` was quicker.
            Err(Errno::EXIST | Errno::NOENT) => Ok(()),
            kept => kept.step(step),
        }
    }

    /// When the payload of a created container was executed: its first process wrote to this
    /// FIFO then, and nobody later.
    fn started(&self) -> Option<SystemTime> {
        let fifo = rustix::fs::statat(&self.dir, RESULT_FIFO, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        modified(&fifo)
    }

    /// What rich-init has left; it wrote when its payload ended.
    fn word(&self) -> Option<(Exit, SystemTime)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, WORD, flags, Mode::empty()).ok()?;
        let mut bytes = [0; 16];
        let count = rustix::io::read(&file, &mut bytes).ok()?;
        let status = std::str::from_utf8(&bytes[..count]).ok()?.parse().ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        Some((Exit::of_wait(status), modified(&stat)?))
    }

    fn read(&self) -> Option<Ended> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, RECORD, flags, Mode::empty()).ok()?;
        let mut bytes = [0; LONGEST];
        let count = rustix::io::read(&file, &mut bytes).ok()?;
        serde_json::from_slice(&bytes[..count]).ok()
    }
}

/// What is known of the end of a container of this status; nothing of one that has not ended.
pub fn ended(store: &Store, state: &State, status: Status) -> Option<Ended> {
    if status != Status::Stopped || !state.ready {
        return None;
    }
    let recorder = Recorder::new(store, &state.id).ok()?;
    let known = recorder.read().unwrap_or_else(|| {
        let word = recorder.word();
        Ended {
            code: word.map(|(exit, _)| exit.code),
            signal: word.and_then(|(exit, _)| exit.signal),
            memory_kills: memory_kills(state),
            started: recorder.started().map(shown),
            finished: word.map(|(_, time)| shown(time)),
            told_by: word.map(|_| Teller::Init),
        }
    });
    Some(known).filter(|known| !known.is_empty())
}

/// What its group of the memory controller has counted, unless others are in it by now: then it
/// is theirs.
fn memory_kills(state: &State) -> Option<u64> {
    let cgroup = Cgroup::open(state.cgroup.as_ref()?).ok()?;
    let empty = state.none_left() && cgroup.pids().is_ok_and(|pids| pids.is_empty());
    empty.then(|| cgroup.memory_kills()).flatten()
}

/// Makes the file for the word of a container's rich-init, to be written to.
///
/// # Errors
/// The kernel's.
pub fn for_init(entry: &Entry) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(entry.dir(), WORD, flags, Mode::from_raw_mode(0o600));
    file.step(|| format!("make {}/{WORD}", entry.path().display()))
}

/// The file that [`for_init`] has made, if it is there.
#[must_use]
pub fn made_for_init(entry: &Entry) -> Option<Stat> {
    statat(entry.dir(), WORD, AtFlags::SYMLINK_NOFOLLOW).ok()
}

fn modified(stat: &Stat) -> Option<SystemTime> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).ok()?))
}

fn shown(time: SystemTime) -> String {
    let mut text = String::new();
    log::push_time(&mut text, time.duration_since(UNIX_EPOCH).unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_what_wait_tells() {
        assert_eq!(Exit::of_wait(0), Exit { code: 0, signal: None });
        assert_eq!(Exit::of_wait(0xff00), Exit { code: 255, signal: None });
        assert_eq!(Exit::of_wait(9), Exit { code: 137, signal: Some(9) });
        // With a core.
        assert_eq!(Exit::of_wait(0x86), Exit { code: 134, signal: Some(6) });
    }
}
