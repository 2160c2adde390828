//! The only unsafe code: what no crate has a safe call for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The beginning of the kernel's `struct pidfd_info` (64 bytes, its first version).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)` for 64 bytes.
const PIDFD_GET_INFO: libc::c_ulong = 0xC040_FF0B;
/// `PIDFD_INFO_EXIT`, since Linux 6.15.
const EXIT: u64 = 1 << 3;

/// What the kernel says of the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Its wait status: its parent has reaped it.
    Status(i32),
    /// Nothing yet.
    NotYet,
    /// It never will: the kernel does not know the request (before Linux 6.15).
    Never,
}

/// What the kernel says now of the end of a process.
pub fn end_of(pidfd: BorrowedFd<'_>) -> Told {
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most the size in the request's number, which is that of `info`.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    match done {
        ..0 => told(Err(io::Error::last_os_error())),
        _ => told(Ok((info.mask & EXIT != 0).then_some(info.exit_code))),
    }
}

fn told(answer: io::Result<Option<i32>>) -> Told {
    match answer {
        Ok(Some(status)) => Told::Status(status),
        Ok(None) => Told::NotYet,
        // It was reaped while the kernel looked at it: the next answer is another.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Told::NotYet,
        Err(_) => Told::Never,
    }
}

/// The wait status of a process that has ended, as soon as whoever must has reaped it: the kernel
/// tells it only then. `None`: that takes longer than `patience`, or the kernel does not tell.
pub fn reaped_exit_of(pidfd: BorrowedFd<'_>, patience: Duration) -> Option<i32> {
    let until = Instant::now() + patience;
    loop {
        match end_of(pidfd) {
            Told::Status(status) => return Some(status),
            Told::NotYet if Instant::now() < until => {}
            Told::NotYet | Told::Never => return None,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A copy of this process, which has one thread, that does `act` and ends. It keeps the standard
/// streams and these descriptors, and nothing else.
///
/// # Errors
/// As fork(2).
pub fn fork(kept: &[i32], act: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: there is one thread, so that no lock is held by another one.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            close_but(kept);
            act();
            // SAFETY: it never returns, and runs nothing of the copy's.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(pid),
    }
}

/// Closes every descriptor from 3 on but these.
fn close_but(kept: &[i32]) {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().filter(|fd| *fd >= 3).chain([u32::MAX]) {
        if fd > first {
            // SAFETY: what is closed is used by nothing that this copy does.
            unsafe { libc::close_range(first, fd - 1, 0) };
        }
        first = fd.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_of_what_it_fills() {
        assert_eq!(size_of::<PidfdInfo>(), 64);
    }

    #[test]
    fn who_is_reaped_meanwhile_is_asked_about_again() {
        let error = |number| Err(io::Error::from_raw_os_error(number));
        assert_eq!(told(Ok(Some(0x900))), Told::Status(0x900));
        assert_eq!(told(Ok(None)), Told::NotYet);
        assert_eq!(told(error(libc::ESRCH)), Told::NotYet);
        assert_eq!(told(error(libc::ENOTTY)), Told::Never);
    }
}
