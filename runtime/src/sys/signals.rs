//! Signals by number: nix and rustix know the named ones only, a container's
//! init is sent real-time signals too.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::clone::last_errno;

/// `pidfd_send_signal(2)` (Linux 5.1): signal `number` (1 to 64; 0 only asks)
/// to the process that `pidfd` refers to.
///
/// # Errors
/// `ESRCH` when the process has ended and was waited for, `EPERM`, `EINVAL`
/// for a number that is no signal.
pub fn send(pidfd: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    // SAFETY: a valid descriptor, a number, no siginfo, no flags; no memory
    // is involved.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if ret == -1 { Err(last_errno()) } else { Ok(()) }
}
