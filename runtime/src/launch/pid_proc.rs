//! A procfs of a pid namespace that this process is not in.
//!
//! A procfs shows the pid namespace of who opens it (fsopen(2)), or since Linux 6.17 the one
//! that it is told. Before that somebody must do so inside, where others may trace him: a
//! process without a root, a directory or a descriptor of anybody's, with the one capability
//! that it takes and a filter that leaves it nothing but this call.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use oci_spec::runtime::LinuxSeccomp;
use rustix::fs::fstatfs;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{confine, console, join};
use crate::plan::mount_attr::{FsParam, attr};
use crate::plan::namespaces::flag;
use crate::plan::seccomp::{Arch, Filter, compile};
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::procfs::PROC_MAGIC;
use crate::sys::{arguments, mount, process, seccomp};

/// All that the process inside may call, and the one before it.
const CALLS: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"action": "SCMP_ACT_ALLOW",
    "names": ["clone", "clone3", "prctl", "fsopen", "sendmsg", "exit_group"]}]}"#;

/// A mount of a procfs that shows this pid namespace, attached nowhere.
pub fn new(
    namespace: BorrowedFd<'_>,
    source: &CStr,
    params: &[FsParam],
    attrs: u64,
    why: &mut String,
) -> Result<OwnedFd, Errno> {
    let own = mount::open_fs(c"proc")?;
    let context = match mount::show_pid_namespace(own.as_fd(), namespace) {
        Err(Errno::INVAL) => opened_inside(namespace)?,
        shown => shown.map(|()| own)?,
    };
    let made = mount::configured(context.as_fd(), Some(source), params, attrs, why)?;
    // Who was inside may have been made to open something else.
    match fstatfs(&made)?.f_type {
        PROC_MAGIC => Ok(made),
        _ => Err(Errno::XDEV),
    }
}

/// What a process inside has opened.
fn opened_inside(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let profile: LinuxSeccomp = serde_json::from_str(CALLS).map_err(|_| Errno::INVAL)?;
    let filter = compile(&profile, Arch::NATIVE).map_err(|_| Errno::INVAL)?;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    if matches!(clone3(0, None)?, Cloned::Child) {
        let _failed = send_inside(namespace, &theirs, &filter);
        process::exit_now(1);
    }
    // Its end is that of both others.
    drop(theirs);
    let received = console::receive(ours.as_fd());
    // There are no other children here.
    let wait = || waitid(WaitId::All, WaitIdOptions::EXITED);
    while rustix::io::retry_on_intr(wait).is_ok() {}
    received?.ok_or(Errno::PERM)
}

/// Outside of the pid namespace still: lets go of everything, and clones the one inside.
fn send_inside(namespace: BorrowedFd<'_>, socket: &OwnedFd, filter: &Filter) -> Result<(), Errno> {
    arguments::wipe();
    let nothing = mount::new_fs(c"tmpfs", None, &[], attr::RDONLY)?;
    join::enter_root(nothing.as_fd())?;
    process::setns(namespace, flag(Kind::Pid))?;
    process::close_except(0, &[socket.as_raw_fd()])?;
    confine::to_mounting()?;
    seccomp::install(filter).map_err(|error| error.errno().unwrap_or(Errno::PERM))?;
    if matches!(clone3(flags::PARENT, None)?, Cloned::Parent(..)) {
        process::exit_now(0);
    }
    process::die_with_parent()?;
    let context = mount::open_fs(c"proc")?;
    console::send(socket.as_fd(), b"proc", context.as_fd())?;
    process::exit_now(0)
}
