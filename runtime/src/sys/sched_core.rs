//! Core scheduling: who may run on the threads of one core at the same time (prctl(2),
//! `PR_SCHED_CORE`, Linux 5.14).
#![allow(unsafe_code)]

use rustix::io::Errno;

use super::clone::last_errno;

const PR_SCHED_CORE: i32 = 62;
const CREATE: u64 = 1;
const SHARE_FROM: u64 = 3;
/// The calling thread alone: there is one, and its children are born with its cookie.
const THREAD: u64 = 0;

fn call(command: u64, pid: i32) -> Result<(), Errno> {
    // SAFETY: five numbers; with neither of the commands does the kernel write anywhere.
    let done =
        unsafe { libc::syscall(libc::SYS_prctl, PR_SCHED_CORE, command, pid as u64, THREAD, 0) };
    if done == -1 { Err(last_errno()) } else { Ok(()) }
}

/// Gives this process a new cookie: from now on only those that have it run beside it.
pub fn create() -> Result<(), Errno> {
    call(CREATE, 0)
}

/// Takes the cookie of process `pid`, which one must be allowed to trace.
pub fn share_from(pid: i32) -> Result<(), Errno> {
    call(SHARE_FROM, pid)
}
