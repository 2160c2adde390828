//! What the kernel tells of a process by its pidfd.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

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

fn info(pidfd: BorrowedFd<'_>) -> Option<Info> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the kernel writes at most the size in the request's number, which is that of `info`.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    (done >= 0).then_some(info)
}

/// The wait status of a process that has ended and whose parent has taken it.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    info(pidfd).filter(|info| info.mask & EXIT != 0).map(|info| info.exit_code)
}

/// Whether the kernel may still tell: it knows the request, or the process is not gone yet.
pub fn knows_exits(pidfd: BorrowedFd<'_>) -> bool {
    info(pidfd).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_of_what_it_fills() {
        assert_eq!(size_of::<Info>(), 64);
    }
}
