//! Waiting for a container's lock: within bounds, and never for somebody who
//! waits for us.
//!
//! `create`, `start`, `run` and `delete` hold the lock while their hooks run. A
//! hook that calls the runtime for its own container would wait for the command
//! that waits for the hook. The kernel says who holds a lock
//! (proc_locks(5)): if that is an ancestor of this process, waiting is in vain.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Stat, flock, fstat, major, minor};
use rustix::io::Errno;

use super::copies;
use super::process::{is_stopped, parent};
use crate::error::{Error, Kind, Result};

/// How long another command may hold the lock while this one waits.
const BOUND: Duration = Duration::from_secs(30);
/// How long an ancestor may: it is soon done if this process is not of a hook
/// that it waits for, but of one that it has left behind.
const ANCESTOR_BOUND: Duration = Duration::from_secs(1);
/// The longest pause between two tries: flock(2) knows no time limit.
const PAUSE: Duration = Duration::from_millis(20);
/// The most of a command line that an error shows, in bytes.
const SHOWN: usize = 120;

/// The process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pid: i32,
    /// Its command line, for people.
    command: String,
}

impl Holder {
    fn of(pid: i32) -> Holder {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Holder { pid, command: shown(&words) }
    }

    /// The error of a command that cannot do its work within a hook of the
    /// command that holds the lock.
    pub fn waits_for_us(&self, id: &str) -> Error {
        let Holder { pid, command } = self;
        Error::new(
            Kind::WrongState,
            format!(
                "container {id} is busy: process {pid} ({command}) holds its lock and waits for \
                 the hook that this command is part of"
            ),
        )
    }

    /// It lets go when it is continued, not before.
    fn is_stopped(&self, id: &str) -> Error {
        let Holder { pid, command } = self;
        let words = format!(
            "container {id} is busy: process {pid} ({command}) holds its lock and is stopped; kill -CONT or kill -KILL it"
        );
        Error::new(Kind::WrongState, words)
    }

    fn does_not_let_go(&self, id: &str) -> Error {
        let Holder { pid, command } = self;
        let seconds = BOUND.as_secs();
        let words = format!(
            "container {id} is busy: process {pid} ({command}) holds its lock; gave up after {seconds} s"
        );
        Error::new(Kind::WrongState, words)
    }
}

/// What becomes of processes that have a copy of the lock of a command that is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// They are waited for.
    Left,
    /// They are killed: the command was cut off, and they are parts of what it had begun.
    Killed,
}

/// Takes the lock on an open directory, the state of container `id`. Returns
/// the holder, and has no lock, where that is an ancestor of this process.
///
/// # Errors
/// Another command held it all the time, or is stopped.
pub fn take(dir: impl AsFd, id: &str, copies: Copies) -> Result<Option<Holder>> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut looked = Duration::ZERO;
    loop {
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(None),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(errno) => return Err(Error::os(format!("lock container {id}"), errno)),
        }
        let waited = begin.elapsed();
        // All processes are looked through: not at each try.
        if waited >= looked + ANCESTOR_BOUND && copies == Copies::Killed {
            looked = waited;
            copies::kill(&file_id(&dir)?, id);
        }
        if waited >= ANCESTOR_BOUND
            && let Some(pid) = holder_of(&dir)?
        {
            if is_ancestor(pid) {
                return Ok(Some(Holder::of(pid)));
            }
            if is_stopped(pid) {
                return Err(Holder::of(pid).is_stopped(id));
            }
            if waited >= BOUND {
                return Err(Holder::of(pid).does_not_let_go(id));
            }
        }
        if waited >= 2 * BOUND {
            // Held by nobody whom this process can see, in another pid namespace.
            return Err(Error::new(Kind::WrongState, format!("container {id} is busy")));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE);
    }
}

/// The pid of the process that holds the flock on a file.
fn holder_of(file: impl AsFd) -> Result<Option<i32>> {
    let file = file_id(file)?;
    let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    Ok(find(&table, &file))
}

/// How `/proc/locks` names a file.
fn file_id(file: impl AsFd) -> Result<String> {
    let stat = fstat(&file).map_err(|errno| Error::os("stat the container's directory", errno))?;
    Ok(name_of(&stat))
}

fn name_of(stat: &Stat) -> String {
    format!("{:02x}:{:02x}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino)
}

/// Finds a file's holder in the text of `/proc/locks`:
/// `1: FLOCK  ADVISORY  WRITE 708 00:13:1062 0 EOF`; `->` in front of the sort
/// marks those who wait.
fn find(table: &str, file: &str) -> Option<i32> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, place, ..] if place == file => pid.parse().ok(),
            _ => None,
        }
    })
}

/// Whether the process is the parent of this one, or the parent's, and so on.
fn is_ancestor(pid: i32) -> bool {
    let mut above = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    while let Some(one) = above {
        if one == pid {
            return true;
        }
        above = parent(one);
    }
    false
}

/// A command line as one line, its program without the directory.
fn shown(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let mut words = text.split_terminator('\0');
    let program = words.next().unwrap_or("?");
    let program = program.rsplit('/').next().unwrap_or(program);
    let line: Vec<&str> = std::iter::once(program).chain(words).collect();
    let line = line.join(" ").replace(crate::shown::is_hidden, " ");
    match line.char_indices().find(|(at, _)| *at >= SHOWN) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_found_by_the_file() {
        let mut stat = fstat(std::fs::File::open("/").unwrap()).unwrap();
        stat.st_dev = rustix::fs::makedev(0, 0x13);
        stat.st_ino = 1062;
        let table = "1: POSIX  ADVISORY  WRITE 5 00:13:1062 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 6 00:14:1062 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 7 00:13:1062 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 8 00:13:1062 0 EOF\n";
        assert_eq!(find(table, &name_of(&stat)), Some(7));
        stat.st_ino = 1;
        assert_eq!(find(table, &name_of(&stat)), None);
    }

    #[test]
    fn the_kernel_names_this_process() {
        let name = format!("richrun-lock-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        let dir = std::fs::File::open(&path).unwrap();
        assert_eq!(take(&dir, "x", Copies::Left), Ok(None));
        let own = std::process::id() as i32;
        assert_eq!(holder_of(&dir), Ok(Some(own)));
        assert!(!is_ancestor(own));
        assert!(is_ancestor(rustix::process::getppid().unwrap().as_raw_nonzero().get()));
        std::fs::remove_dir(path).unwrap();
    }

    #[test]
    fn command_lines_are_shown_in_one_line() {
        assert_eq!(shown(b"/usr/bin/richrun\0start\0a\nb\0"), "richrun start a b");
        assert_eq!(shown(b""), "?");
        let long = shown(&[b"x\0".as_slice(), "ä".repeat(200).as_bytes()].concat());
        assert!(long.ends_with("...") && long.len() <= SHOWN + 5, "{long}");
    }
}
