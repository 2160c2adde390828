//! What the kernel tells of a process by its pidfd.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// The beginning of the kernel's `struct pidfd_info` (64 bytes, its first version).
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)` for 64 bytes.
const GET_INFO: libc::c_ulong = 0xC040_FF0B;
/// `PIDFD_INFO_EXIT`, since Linux 6.15.
const EXIT: u64 = 1 << 3;

fn info(pidfd: BorrowedFd<'_>) -> Result<Info, Errno> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the kernel writes at most the size in the request's number, which is that of `info`.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    if done >= 0 {
        return Ok(info);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// What the kernel says of the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Its wait status: its parent has taken it.
    Status(i32),
    /// Nothing yet.
    NotYet,
    /// It never will: the kernel does not know the request (before Linux 6.15).
    Never,
}

/// What the kernel says now of the end of a process.
pub fn end_of(pidfd: BorrowedFd<'_>) -> Told {
    told(info(pidfd).map(|info| (info.mask & EXIT != 0).then_some(info.exit_code)))
}

fn told(answer: Result<Option<i32>, Errno>) -> Told {
    match answer {
        Ok(Some(status)) => Told::Status(status),
        // The second: it was taken while the kernel looked at it; the next answer is another.
        Ok(None) | Err(Errno::SRCH) => Told::NotYet,
        Err(_) => Told::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_of_what_it_fills() {
        assert_eq!(size_of::<Info>(), 64);
    }

    #[test]
    fn who_is_taken_meanwhile_is_asked_about_again() {
        assert_eq!(told(Ok(Some(0x900))), Told::Status(0x900));
        assert_eq!(told(Ok(None)), Told::NotYet);
        assert_eq!(told(Err(Errno::SRCH)), Told::NotYet);
        assert_eq!(told(Err(Errno::NOTTY)), Told::Never);
    }
}
