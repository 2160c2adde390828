//! Copies of a container's lock that have outlived the command that took it.
//!
//! A process that a command has just cloned has its descriptors until it closes them, and with
//! them the lock. If it is stopped at that very moment and the command is killed, nobody would
//! ever have the lock again.

use std::fs;
use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::process::all_pids;
use crate::sys::signals;

/// Kills every process that has the lock on `file` (as `/proc/locks` names it), the directory
/// of container `id`, unless the command that took it is among them: that lives.
pub fn kill(file: &str, id: &str) {
    let holders: Vec<(i32, i32)> =
        all_pids().filter_map(|pid| taken_by(pid, file, id).map(|by| (pid, by))).collect();
    if holders.iter().any(|(pid, by)| pid == by) {
        return;
    }
    for (pid, _) in holders {
        let Some(raw) = Pid::from_raw(pid) else { continue };
        let Ok(pidfd) = pidfd_open(raw, PidfdFlags::empty()) else { continue };
        // Still the one that was found, and not another of that number.
        if taken_by(pid, file, id).is_some() {
            let _ended = signals::send(pidfd.as_fd(), libc::SIGKILL);
        }
    }
}

/// By whom the lock was taken that process `pid` has, if it has it.
fn taken_by(pid: i32, file: &str, id: &str) -> Option<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    // Few descriptors are of a directory of that name: the others are not looked at.
    let likely = entries.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|to| to.file_name().is_some_and(|name| name == id))
    });
    likely.filter_map(|entry| entry.file_name().into_string().ok()).find_map(|number| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        lock_in(&info, file)
    })
}

/// Who took the lock on `file` that a descriptor has (proc_pid_fdinfo(5)); 0 where he is dead or
/// in another pid namespace: `lock:\t1: FLOCK  ADVISORY  WRITE 708 00:13:1062 0 EOF`.
fn lock_in(info: &str, file: &str) -> Option<i32> {
    let locks = info.lines().filter_map(|line| line.strip_prefix("lock:"));
    locks.map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|fields| {
        match fields[..] {
            [_, "FLOCK", _, _, pid, place, ..] if place == file => pid.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_found_in_what_a_descriptor_says() {
        let info = "pos:\t0\nflags:\t0100000\nmnt_id:\t19\nino:\t63107\n\
                    lock:\t1: FLOCK  ADVISORY  WRITE 359 08:13:63107 0 EOF\n";
        assert_eq!(lock_in(info, "08:13:63107"), Some(359));
        assert_eq!(lock_in(info, "08:13:63108"), None);
        assert_eq!(lock_in("pos:\t0\n", "08:13:63107"), None);
    }
}
