//! `--no-pivot`: for a host whose root is the initial ramdisk, which cannot be
//! exchanged for another. The container's tree is moved onto `/`, and a chroot makes it
//! the root.
//!
//! The host's mounts stay in the mount namespace below it. The kernel lets a process in a
//! user namespace mount procfs and sysfs where its mount namespace has a whole one: so
//! the host's would undo every mask of the container's. They are taken away, and with
//! them all else that can go.
#![expect(
    clippy::disallowed_methods,
    reason = "the mounts below the new root have nothing but their paths"
)]

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::host_path;
use crate::error::{Error, Result, Step};
use crate::plan::RootPlan;
use crate::plan::mount_attr::{MountAttr, attr, propagation};
use crate::sys::mount;

/// The file systems that a user namespace may mount if it sees a whole one.
const TELLING: [&str; 2] = ["proc", "sysfs"];

/// A mount of the host's.
struct Old {
    point: PathBuf,
    telling: bool,
}

/// Makes `root`, the container's tree, the root.
pub fn move_over(root: BorrowedFd<'_>, plan: &RootPlan) -> Result<()> {
    let step = || format!("move {} to /", plan.path.display());
    let old = mounts_outside(&plan.path)?;
    let top = open(Path::new("/")).step(step)?;
    if plan.propagation.0 == propagation::SHARED {
        // What is unmounted here stays where the host has it.
        let slave = MountAttr::propagate(propagation::SLAVE);
        mount::set_attr(top.as_fd(), &slave, true).step(step)?;
    }
    mount::attach(root, top.as_fd()).step(step)?;
    // This process's root is still the old one: its paths lead below the new one.
    for old in old.iter().rev() {
        take_away(old).step(|| format!("take the host's {} away", old.point.display()))?;
    }
    rustix::process::fchdir(root).step(step)?;
    rustix::process::chroot(c".").step(step)?;
    rustix::process::chdir(c"/").step(step)
}

/// What is mounted, apart from `/` and the container's own tree, the lower first.
fn mounts_outside(root: &Path) -> Result<Vec<Old>> {
    let read = procfs::process::Process::myself().and_then(|me| me.mountinfo());
    let mounts = read.map_err(|error| Error::system(format!("read mountinfo: {error}")))?;
    let foreign = |point: &Path| point != Path::new("/") && !point.starts_with(root);
    let old = mounts.into_iter().filter(|mount| foreign(&mount.mount_point));
    let old = old.map(|mount| Old {
        telling: mount.root == "/" && TELLING.contains(&mount.fs_type.as_str()),
        point: mount.mount_point,
    });
    Ok(old.collect())
}

fn take_away(old: &Old) -> std::result::Result<(), Errno> {
    let place = match open(&old.point) {
        // Gone with what it was mounted in, or never to be reached.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
        opened => opened?,
    };
    match unmount(&old.point, UnmountFlags::DETACH) {
        Err(_) if old.telling => cover(place.as_fd()),
        // Mounted by somebody with more rights (EINVAL): there to stay.
        _ => Ok(()),
    }
}

/// Mounts an empty file system over a part of it: then it is no whole one any more.
fn cover(place: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let kind: &CStr = c"tmpfs";
    match mount::new_fs(kind, Some(kind), &[], attr::RDONLY) {
        Ok(made) => mount::attach(made.as_fd(), place),
        Err(Errno::NOSYS) => mount::old_fs(kind, Some(kind), &[], attr::RDONLY, place),
        Err(errno) => Err(errno),
    }
}

fn open(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    host_path::open(path, OFlags::PATH | OFlags::CLOEXEC)
}
