//! Kills all descendants of this process: the subreaper's only weapon.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid,
};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

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
        match kill_found(proc.as_fd()) {
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

/// A `/proc` that knows this process: the one that is mounted, or else a
/// private one, since a container's root may not have it mounted.
fn process_files() -> Option<OwnedFd> {
    let mounted = rustix::fs::open("/proc", DIRECTORY, Mode::empty());
    if let Ok(proc) = mounted
        && fstatfs(&proc).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
        && children(proc.as_fd(), "self").is_ok()
    {
        return Some(proc);
    }
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    fsconfig_create(context.as_fd()).ok()?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    fsmount(context.as_fd(), flags, MountAttrFlags::empty()).ok()
}

/// One round over the tree; returns how many processes may not be killed by this one.
///
/// Numbers in `/proc` may be of another pid namespace than this process's, and
/// may be used again at any time: so a process is signalled by the
/// descriptor of its directory, once it has shown that its parent is in the tree.
fn kill_found(proc: rustix::fd::BorrowedFd<'_>) -> Result<usize, Errno> {
    let subreaper = stat_of(proc, "self")?.0;
    let mut refused = 0;
    let mut found: Vec<(u32, u32)> = Vec::new();
    found.extend(children(proc, "self")?.into_iter().map(|child| (child, subreaper)));
    while let Some((pid, parent)) = found.pop() {
        let name = pid.to_string();
        let Ok(directory) = openat(proc, &name, DIRECTORY, Mode::empty()) else { continue };
        let Ok((_, actual)) = stat_of(directory.as_fd(), ".") else { continue };
        if actual != parent && actual != subreaper {
            continue;
        }
        let below = children(directory.as_fd(), ".").unwrap_or_default();
        found.extend(below.into_iter().map(|child| (child, pid)));
        if pidfd_send_signal(&directory, Signal::KILL) == Err(Errno::PERM) {
            refused += 1;
        }
    }
    Ok(refused)
}

/// The pid and the parent's pid in `NAME/stat` (proc_pid_stat(5)), as this `/proc` numbers them.
fn stat_of(at: rustix::fd::BorrowedFd<'_>, name: &str) -> Result<(u32, u32), Errno> {
    let text = read_text(at, &format!("{name}/stat"))?;
    parse_stat(&text).ok_or(Errno::INVAL)
}

/// `PID (COMMAND) STATE PPID ...`; the command may itself contain `) `.
fn parse_stat(text: &str) -> Option<(u32, u32)> {
    let pid = text.split(' ').next()?.parse().ok()?;
    let (_, after) = text.rsplit_once(") ")?;
    let parent = after.split(' ').nth(1)?.parse().ok()?;
    Some((pid, parent))
}

/// The children of every thread of `NAME` (`NAME/task/*/children`, proc_tid_children(5)).
fn children(at: rustix::fd::BorrowedFd<'_>, name: &str) -> Result<Vec<u32>, Errno> {
    let tasks = openat(at, format!("{name}/task"), DIRECTORY, Mode::empty())?;
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

fn read_text(at: rustix::fd::BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let file = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
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
        let found = children(proc.as_fd(), "self").unwrap();
        assert!(found.contains(&child.id()), "{found:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
