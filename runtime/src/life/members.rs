//! Which processes belong to a container.

use std::ffi::OsString;
use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::State;
use super::process::{all_pids, is_stopped, is_zombie, parent};
use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::sys::signals;

/// The processes of a container, ascending: those of its control groups, or,
/// where it has none (rootless without delegation), the members of its pid
/// namespace. A container without either is its first process alone.
///
/// # Errors
/// The control groups exist and cannot be read.
pub fn members(state: &State) -> Result<Vec<i32>> {
    if let Some(record) = &state.cgroup {
        let cgroup = Cgroup::open(record)?;
        if !cgroup.is_none() {
            return cgroup.pids();
        }
    }
    let Some(init) = state.init.filter(|init| init.is_alive()) else { return Ok(Vec::new()) };
    let namespace = pid_namespace(init.pid);
    let ours = pid_namespace(std::process::id() as i32);
    if namespace.is_none() || namespace == ours {
        return Ok(vec![init.pid]);
    }
    let mut pids: Vec<i32> = all_pids().filter(|pid| pid_namespace(*pid) == namespace).collect();
    pids.sort_unstable();
    // Its pid may have become another's while we read.
    Ok(if init.is_alive() { pids } else { Vec::new() })
}

/// What names a process's pid namespace (namespaces(7)).
fn pid_namespace(pid: i32) -> Option<OsString> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok().map(Into::into)
}

/// Lets stopped parents of dead processes in the pid namespace of `init` go on: an `exec` that
/// is stopped takes in nobody, and until all are taken in the namespace's first process
/// does not end (pid_namespaces(7)).
pub fn wake_parents(init: i32) {
    let Some(namespace) = pid_namespace(init) else { return };
    let dead = all_pids().filter(|pid| *pid != init && is_zombie(*pid));
    for parent in
        dead.filter(|pid| pid_namespace(*pid).as_ref() == Some(&namespace)).filter_map(parent)
    {
        let pidfd = Pid::from_raw(parent).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if let Some(pidfd) = pidfd.filter(|_| is_stopped(parent)) {
            let _ended = signals::send(pidfd.as_fd(), libc::SIGCONT);
        }
    }
}
