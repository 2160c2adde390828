//! Kills all descendants of this process: the subreaper's only weapon.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid,
};

use super::procfs::{Procfs, open_in};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Kills and reaps every descendant of this process, a child subreaper, until
/// none is left. `group` is the group of the first, not reaped yet. Returns whether all are gone.
///
/// Each round kills what it finds and then sleeps until a child has ended. That
/// cannot sleep for ever: a process that a round missed had an ancestor
/// that ended meanwhile, and the end of that one, or of the one above it
/// that the round did kill, still has to be reaped here.
pub(super) fn kill(group: Pid) -> bool {
    let proc = process_files();
    let _ = kill_process_group(group, Signal::KILL);
    let Some(proc) = proc else { return reap_ended(group) };
    loop {
        match kill_found(&proc) {
            Ok(refused) if refused > 0 => return false,
            Ok(_) => {}
            Err(_) => return reap_ended(group),
        }
        match wait(WaitId::All, WaitIdOptions::EXITED) {
            Ok(_) => while matches!(wait(WaitId::All, NOW), Ok(true)) {},
            Err(errno) => return errno == Errno::CHILD,
        }
    }
}

const NOW: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG);

/// Whether a child was reaped.
fn wait(which: WaitId<'_>, options: WaitIdOptions) -> Result<bool, Errno> {
    loop {
        match waitid(which.clone(), options) {
            Err(Errno::INTR) => {}
            other => return other.map(|status| status.is_some()),
        }
    }
}

/// Without a usable `/proc`: waits for the first, which is in the killed group.
fn reap_ended(first: Pid) -> bool {
    let _ = wait(WaitId::Pid(first), WaitIdOptions::EXITED);
    loop {
        match wait(WaitId::All, NOW) {
            Ok(true) => {}
            other => return other == Err(Errno::CHILD),
        }
    }
}

/// A procfs that knows this process, and that nobody has hidden anything in.
fn process_files() -> Option<Procfs> {
    Procfs::own().filter(|proc| own_children(proc).is_ok())
}

fn own_children(proc: &Procfs) -> Result<Vec<u32>, Errno> {
    children(proc.open(&proc.own_name()?, DIRECTORY)?.as_fd())
}

/// One round over the tree; returns how many processes may not be killed by this one.
///
/// Numbers in `/proc` may be of another pid namespace than this process's, and
/// may be used again at any time: so a process is signalled by the
/// descriptor of its directory, once it has shown that its parent is in the tree.
fn kill_found(proc: &Procfs) -> Result<usize, Errno> {
    let own = proc.open(&proc.own_name()?, DIRECTORY)?;
    let subreaper = stat_of(own.as_fd())?.0;
    let mut refused = 0;
    let mut found: Vec<(u32, u32)> = Vec::new();
    found.extend(children(own.as_fd())?.into_iter().map(|child| (child, subreaper)));
    while let Some((pid, parent)) = found.pop() {
        let Ok(directory) = proc.open(&pid.to_string(), DIRECTORY) else { continue };
        let Ok((_, actual)) = stat_of(directory.as_fd()) else { continue };
        if actual != parent && actual != subreaper {
            continue;
        }
        let below = children(directory.as_fd()).unwrap_or_default();
        found.extend(below.into_iter().map(|child| (child, pid)));
        if pidfd_send_signal(&directory, Signal::KILL) == Err(Errno::PERM) {
            refused += 1;
        }
    }
    Ok(refused)
}

/// The pid and the parent's pid in a process's `stat` (proc_pid_stat(5)), as its procfs numbers them.
fn stat_of(process: BorrowedFd<'_>) -> Result<(u32, u32), Errno> {
    let text = read_text(process, "stat")?;
    parse_stat(&text).ok_or(Errno::INVAL)
}

/// `PID (COMMAND) STATE PPID ...`; the command may itself contain `) `.
fn parse_stat(text: &str) -> Option<(u32, u32)> {
    let pid = text.split(' ').next()?.parse().ok()?;
    let (_, after) = text.rsplit_once(") ")?;
    let parent = after.split(' ').nth(1)?.parse().ok()?;
    Some((pid, parent))
}

/// The children of every thread of a process (`task/*/children`, proc_tid_children(5)).
fn children(process: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let tasks = open_in(process, "task", DIRECTORY)?;
    let mut all = Vec::new();
    for entry in Dir::read_from(&tasks)? {
        let entry = entry?;
        let thread = entry.file_name().to_string_lossy();
        if thread.starts_with('.') {
            continue;
        }
        let text = read_text(tasks.as_fd(), &format!("{thread}/children"))?;
        all.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(all)
}

fn read_text(at: BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let file = open_in(at, path, OFlags::RDONLY)?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match rustix::io::read(&file, &mut chunk) {
            Ok(0) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_forge_a_parent() {
        assert_eq!(parse_stat("7 (sh) S 3 7 7 0"), Some((7, 3)));
        assert_eq!(parse_stat("7 (a) S 99 (b) R 3 7 7 0"), Some((7, 3)));
        assert_eq!(parse_stat("7 sh"), None);
    }

    #[test]
    fn children_are_found_by_the_thread_that_made_them() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let proc = process_files().unwrap();
        let found = own_children(&proc).unwrap();
        assert!(found.contains(&child.id()), "{found:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
