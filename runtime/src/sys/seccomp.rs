//! seccomp(2): installing a filter, and what the kernel supports.

#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use seccompiler::sock_filter;

use crate::error::{Error, Result};
use crate::plan::seccomp::{Filter, Flags};

/// `struct sock_fprog` (linux/filter.h).
#[repr(C)]
struct Program {
    len: libc::c_ushort,
    filter: *const sock_filter,
}

/// Installs a filter on the calling thread, and on its threads with
/// [`Flags::TSYNC`]; returns the listener if the filter has one. The
/// descriptor is close-on-exec.
///
/// Without no_new_privs this takes CAP_SYS_ADMIN in the caller's user
/// namespace, so it comes before capabilities are dropped. Allocates nothing
/// unless it fails: a freshly cloned child may call it. The filter rules from
/// the moment this returns.
///
/// Where the kernel does not know SPEC_ALLOW (before 4.17) the filter is
/// installed without: the mitigation then stays on.
pub fn install(filter: &Filter) -> Result<Option<OwnedFd>> {
    match set_filter(filter, filter.flags) {
        Err(Errno::INVAL) if filter.flags.contains(Flags::SPEC_ALLOW) => {
            set_filter(filter, filter.flags - Flags::SPEC_ALLOW)
        }
        done => done,
    }
    .map_err(|errno| Error::os("load the seccomp filter", errno))
}

fn set_filter(filter: &Filter, flags: Flags) -> std::result::Result<Option<OwnedFd>, Errno> {
    let len = libc::c_ushort::try_from(filter.program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { len, filter: filter.program.as_ptr() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which
    // `filter.program` keeps alive during the call; `sock_filter` has C's layout.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_ulong::from(flags.bits()),
            &raw const program,
        )
    };
    match done {
        ..0 => Err(last_errno()),
        0 if !flags.contains(Flags::NEW_LISTENER) => Ok(None),
        fd if flags.contains(Flags::NEW_LISTENER) => {
            // SAFETY: with NEW_LISTENER the kernel returns a new descriptor,
            // which nobody else owns.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
        }
        // TSYNC: the id of a thread that has another filter.
        _ => Err(Errno::SRCH),
    }
}

/// The actions that the kernel supports, by the specification's names.
pub fn supported_actions() -> Vec<&'static str> {
    const ACTIONS: [(&str, u32); 9] = [
        ("SCMP_ACT_ALLOW", 0x7fff_0000),
        ("SCMP_ACT_ERRNO", 0x0005_0000),
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_PROCESS", 0x8000_0000),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_LOG", 0x7ffc_0000),
        ("SCMP_ACT_NOTIFY", 0x7fc0_0000),
        ("SCMP_ACT_TRACE", 0x7ff0_0000),
        ("SCMP_ACT_TRAP", 0x0003_0000),
    ];
    let supported = |action: u32| {
        // SAFETY: the kernel reads one u32, which `action` is.
        let done = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::c_ulong::from(libc::SECCOMP_GET_ACTION_AVAIL),
                0 as libc::c_ulong,
                &raw const action,
            )
        };
        done == 0
    };
    ACTIONS.iter().filter(|(_, action)| supported(*action)).map(|(name, _)| *name).collect()
}

/// The flags of `linux.seccomp.flags` that the kernel supports, by the
/// specification's names.
pub fn supported_flags() -> Vec<&'static str> {
    const FLAGS: [(&str, Flags); 4] = [
        ("SECCOMP_FILTER_FLAG_LOG", Flags::LOG),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", Flags::SPEC_ALLOW),
        ("SECCOMP_FILTER_FLAG_TSYNC", Flags::TSYNC),
        (
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            Flags::WAIT_KILLABLE_RECV.union(Flags::NEW_LISTENER),
        ),
    ];
    let supported = |flags: Flags| {
        // SAFETY: the null program is never read: the kernel checks the flags
        // first (EINVAL), then fails to copy it (EFAULT). See seccomp(2).
        let done = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
                libc::c_ulong::from(flags.bits()),
                std::ptr::null::<Program>(),
            )
        };
        done < 0 && last_errno() == Errno::FAULT
    };
    FLAGS.iter().filter(|(_, flags)| supported(*flags)).map(|(name, _)| *name).collect()
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_supports_what_the_runtime_compiles_to() {
        assert!(supported_actions().contains(&"SCMP_ACT_ERRNO"));
        assert!(supported_flags().contains(&"SECCOMP_FILTER_FLAG_LOG"));
    }
}
