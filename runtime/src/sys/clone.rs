//! `clone3(2)` straight into namespaces and a cgroup.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Which side of the clone the caller is on.
#[derive(Debug)]
pub enum Cloned {
    /// The caller: the child's pid (in the caller's pid namespace) and pidfd.
    Parent(i32, OwnedFd),
    /// The new process.
    Child,
}

/// `CLONE_NEW*` and other flags of clone(2).
pub mod flags {
    /// New time namespace (Linux 5.6).
    pub const NEWTIME: u64 = 0x80;
    /// New mount namespace.
    pub const NEWNS: u64 = 0x0002_0000;
    /// New cgroup namespace (Linux 4.6).
    pub const NEWCGROUP: u64 = 0x0200_0000;
    /// New UTS namespace.
    pub const NEWUTS: u64 = 0x0400_0000;
    /// New IPC namespace.
    pub const NEWIPC: u64 = 0x0800_0000;
    /// New user namespace.
    pub const NEWUSER: u64 = 0x1000_0000;
    /// New pid namespace.
    pub const NEWPID: u64 = 0x2000_0000;
    /// New network namespace.
    pub const NEWNET: u64 = 0x4000_0000;
    /// The child's parent is the caller's parent.
    pub const PARENT: u64 = 0x8000;
}

pub(super) const CLONE_PIDFD: u64 = 0x1000;
pub(super) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of clone3(2), up to the `cgroup` field (Linux 5.7).
#[repr(C)]
#[derive(Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

/// Clones this process: like fork(2), with namespaces `flags`, and with the
/// child a member of `cgroup` (a cgroup v2 directory, Linux 5.7) from its
/// first moment.
///
/// With an old kernel (`ENOSYS`) clone(2) is used where no cgroup is asked
/// for; with one, `ENOSYS` is returned and the caller joins by writing.
///
/// The runtime is single-threaded, so the child's copy of the address space
/// is consistent and it may allocate.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        // CLONE_PARENT takes the parent's exit signal over.
        exit_signal: if flags & self::flags::PARENT != 0 { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the size given, `pidfd` outlives
    // the call, and without CLONE_VM the child gets its own copy of memory.
    let ret =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, std::mem::size_of::<CloneArgs>()) };
    let ret = match ret {
        -1 if last_errno() == Errno::NOSYS && cgroup.is_none() => clone2(flags, &mut pidfd)?,
        -1 => return Err(last_errno()),
        ret => ret,
    };
    if ret == 0 {
        return Ok(Cloned::Child);
    }
    let pid = ret as i32;
    let fd = if pidfd >= 0 {
        // SAFETY: the kernel has just put this descriptor there for us alone.
        unsafe { OwnedFd::from_raw_fd(pidfd) }
    } else {
        pidfd_open(Pid::from_raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::empty())?
    };
    Ok(Cloned::Parent(pid, fd))
}

/// clone(2) for kernels before 5.3.
fn clone2(flags: u64, pidfd: &mut i32) -> Result<i64, Errno> {
    let signal = if flags & self::flags::PARENT != 0 { 0 } else { libc::SIGCHLD as u64 };
    // SAFETY: no CLONE_VM and no stack: a plain fork into namespaces; the
    // third argument receives the pidfd and outlives the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags | CLONE_PIDFD | signal,
            0usize,
            &raw mut *pidfd,
            0usize,
            0usize,
        )
    };
    if ret == -1 { Err(last_errno()) } else { Ok(ret) }
}

/// The calling thread's errno.
pub(super) fn last_errno() -> Errno {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Errno::from_raw_os_error(code)
}
