//! A process that outlives the runtime: its pid together with its start time,
//! so that a recycled pid is never taken for it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// A pid and the start time of the process that had it (clock ticks since
/// boot, field 22 of `/proc/PID/stat`, proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// The pid in the runtime's pid namespace.
    pub pid: i32,
    /// Clock ticks between boot and the start of the process.
    pub start_time: u64,
}

/// What `/proc/PID/stat` says about one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: i32,
    flags: u32,
    threads: u32,
    start_time: u64,
}

impl Stat {
    /// A first thread that has ended is a zombie beside others that run.
    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

impl ProcessId {
    /// The identity of the living process `pid`.
    ///
    /// # Errors
    /// [`Kind::NoSuchProcess`] when there is none.
    pub fn of(pid: i32) -> Result<Self> {
        match look_at(pid)? {
            Some(stat) => Ok(ProcessId { pid, start_time: stat.start_time }),
            None => Err(Error::new(Kind::NoSuchProcess, format!("process {pid}: no such process"))),
        }
    }

    /// Whether this very process still runs: same pid, same start time, and
    /// no thread of it left but a zombie. One that cannot be looked at (no descriptor or memory is
    /// left for that) has not ended: what it has is not to be taken away.
    pub fn is_alive(&self) -> bool {
        self.lives().unwrap_or(true)
    }

    fn lives(&self) -> Result<bool> {
        let stat = look_at(self.pid)?;
        Ok(stat.is_some_and(|stat| stat.start_time == self.start_time && !stat.has_ended()))
    }

    /// A pidfd for this very process: opened first and checked afterwards, so
    /// that the descriptor can never name a recycled pid.
    ///
    /// # Errors
    /// [`Kind::NoSuchProcess`] when it has ended; another one when that cannot be told.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        let gone = || Error::new(Kind::NoSuchProcess, "container not running");
        let pid = Pid::from_raw(self.pid).ok_or_else(gone)?;
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH | Errno::INVAL) => return Err(gone()),
            Err(errno) => return Err(Error::os(format!("pidfd_open {}", self.pid), errno)),
        };
        if self.lives()? { Ok(fd) } else { Err(gone()) }
    }

    /// Whether it is the first process of a pid namespace, with which all
    /// others in it end (pid_namespaces(7)). One that cannot be read is not.
    pub fn leads_pid_namespace(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        is_first(&status.unwrap_or_default())
    }

    /// Whether KILL waits for it, or its end has begun: then it ends, however long that takes.
    pub fn is_ending(&self) -> bool {
        if self.has_lost_its_first_thread() {
            // The end of the first one says nothing of the others.
            let tasks = format!("/proc/{}/task", self.pid);
            let others = std::fs::read_dir(tasks).into_iter().flatten().flatten();
            return others.map(|task| task.path()).all(|task| task_is_ending(&task));
        }
        task_is_ending(Path::new(&format!("/proc/{}", self.pid)))
    }

    /// Whether its first thread has ended and others have not. Such a process has none of its
    /// namespaces and no root any more that others could enter.
    pub fn has_lost_its_first_thread(&self) -> bool {
        read_stat(self.pid).is_some_and(|stat| stat.state == b'Z' && !stat.has_ended())
    }
}

/// Whether KILL waits for the thread or process whose directory of procfs this is, or its end has
/// begun.
fn task_is_ending(directory: &Path) -> bool {
    let status = std::fs::read_to_string(directory.join("status"));
    status.map_or(true, |status| is_killed(&status))
        || look_at_file(&directory.join("stat"))
            .ok()
            .flatten()
            .is_none_or(|stat| stat.flags & EXITING != 0)
}

/// `PF_EXITING` of proc_pid_stat(5)'s flags.
const EXITING: u32 = 4;

/// Whether KILL is pending, for the thread or the process (proc_pid_status(5)).
fn is_killed(status: &str) -> bool {
    let pending = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    let kill = 1 << (libc::SIGKILL - 1);
    pending
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & kill != 0)
}

/// The last number of `NSpid` in `/proc/PID/status` is the pid in the
/// process's own namespace.
fn is_first(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.is_some_and(|pids| pids.split_whitespace().next_back() == Some("1"))
}

/// The pid of the parent of process `pid`; `None` where there is none that this
/// process could see.
pub fn parent(pid: i32) -> Option<i32> {
    let stat = read_stat(pid)?;
    (stat.parent > 0).then_some(stat.parent)
}

/// The pid namespace in which this process counts others: its number in nsfs (namespaces(7)).
pub fn own_pid_namespace() -> Option<u64> {
    rustix::fs::stat("/proc/self/ns/pid").ok().map(|stat| stat.st_ino)
}

/// Every process that can be seen.
pub fn all_pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether process `pid` is stopped, by a signal or by who traces it.
pub fn is_stopped(pid: i32) -> bool {
    read_stat(pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'))
}

/// Whether process `pid` has ended and nobody has taken it in.
pub fn is_zombie(pid: i32) -> bool {
    read_stat(pid).is_some_and(|stat| stat.state == b'Z')
}

fn read_stat(pid: i32) -> Option<Stat> {
    look_at(pid).ok().flatten()
}

/// `None`: there is no such process.
fn look_at(pid: i32) -> Result<Option<Stat>> {
    look_at_file(Path::new(&format!("/proc/{pid}/stat")))
}

fn look_at_file(path: &Path) -> Result<Option<Stat>> {
    // The kernel gives the whole line at once, and it has some 50 numbers.
    let mut line = [0; 1024];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let read = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|file| rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut line)));
    match read {
        Ok(length) => Ok(parse_stat(&line[..length])),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::os(format!("read {}", path.display()), errno)),
    }
}

/// Field 3 (state), field 4 (parent), field 9 (flags), field 20 (threads) and field 22 (start
/// time); the command in field 2 may hold blanks and parentheses, so fields are counted after
/// the last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let flags = fields.nth(4)?.parse().ok()?;
    let threads = fields.nth(10)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, parent, flags, threads, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_may_hold_anything() {
        let text = b"7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 1";
        assert_eq!(
            parse_stat(text),
            Some(Stat { state: b'S', parent: 1, flags: 4194560, threads: 1, start_time: 4711 })
        );
        assert_eq!(parse_stat(b"7 (a"), None);
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_lives_with_the_others() {
        for (state, threads, ended) in
            [('S', 1, false), ('Z', 1, true), ('Z', 0, true), ('Z', 2, false), ('X', 1, true)]
        {
            let text =
                format!("7 (a) {state} 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 {threads} 0 4711 1 1");
            let stat = parse_stat(text.as_bytes()).unwrap();
            assert_eq!(stat.has_ended(), ended, "{state} {threads}");
        }
    }

    #[test]
    fn the_first_process_of_a_namespace_is_number_one_there() {
        assert!(is_first("Name:\tsh\nNSpid:\t711\t5\t1\n"));
        assert!(!is_first("Name:\tsh\nNSpid:\t1\t5\n"));
        assert!(!is_first("Name:\tsh\n"));
    }

    #[test]
    fn kill_is_seen_while_it_waits() {
        assert!(is_killed("Name:\tsh\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"));
        assert!(!is_killed(
            "SigPnd:\t0000000000004000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000100\n"
        ));
        assert!(!ProcessId::of(std::process::id() as i32).unwrap().is_ending());
    }

    #[test]
    fn a_forged_start_time_is_not_alive() {
        let mut me = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        me.start_time += 1;
        assert!(!me.is_alive());
        assert!(me.pidfd().is_err());
    }
}
