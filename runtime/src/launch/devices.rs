//! Device nodes and links under the container's `/dev`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mknodat, openat, symlinkat,
};
use rustix::io::Errno;

use super::host_path;
use crate::error::{Error, Result, Step};
use crate::plan::Plan;
use crate::plan::devices::{DeviceStep, LINKS, NodeKind};
use crate::sys::procfs::Procfs;
use crate::sys::{inroot, mount};

type Done = std::result::Result<(), Errno>;

/// Makes the nodes and links of the plan. `bind`: nodes may not be made here
/// (a user namespace), so the host's are bound.
pub fn make(root: BorrowedFd<'_>, plan: &Plan, bind: bool) -> Result<()> {
    if !plan.own_dev {
        return Ok(());
    }
    let dev =
        inroot::open_or_make(root, Path::new("/dev"), inroot::Make::Dir).step(|| "open /dev")?;
    let mut binding = bind;
    for device in &plan.devices {
        let step = || format!("device {}", device.path.display());
        let (place, name) = place_of(root, &dev, device).step(step)?;
        let at = place.as_ref().unwrap_or(&dev);
        if !binding {
            match node(at, name, device) {
                // The kernel lets nobody make nodes here, whatever the mappings.
                Err(Errno::PERM) => binding = true,
                made => made.step(step)?,
            }
        }
        if binding {
            bind_node(at, name, device).step(step)?;
        }
    }
    for (name, target) in LINKS {
        link(&dev, target, name)?;
    }
    if host_path::stat("/proc/kcore").is_ok() {
        link(&dev, "/proc/kcore", "core")?;
    }
    ptmx(&dev)
}

/// The directory of a device, made where it is missing, and the node's name.
/// `None`: it is `/dev` itself.
fn place_of<'a>(
    root: BorrowedFd<'_>,
    dev: &OwnedFd,
    device: &'a DeviceStep,
) -> std::result::Result<(Option<OwnedFd>, &'a Path), Errno> {
    let name = device.path.file_name().ok_or(Errno::INVAL)?;
    let parent = device.path.parent().ok_or(Errno::INVAL)?;
    let place = match parent.strip_prefix("/dev") {
        Ok(below) if below.as_os_str().is_empty() => None,
        Ok(below) => Some(inroot::open_or_make(dev.as_fd(), below, inroot::Make::Dir)?),
        Err(_) => Some(inroot::open_or_make(root, parent, inroot::Make::Dir)?),
    };
    Ok((place, Path::new(name)))
}

/// Makes a node; one that is there already must be the same device. Its permissions
/// and owner are changed by its descriptor: the name may be something else by then.
fn node(at: &OwnedFd, name: &Path, device: &DeviceStep) -> Done {
    let (kind, number) = kind_of(device);
    let mode = Mode::from_raw_mode(device.mode);
    let made = match mknodat(at, name, kind, mode, number) {
        Err(Errno::EXIST) => false,
        made => made.map(|()| true)?,
    };
    let owned = (device.uid, device.gid) != (0, 0);
    if made && !owned {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = openat(at, name, flags, Mode::empty())?;
    if !is_it(there.as_fd(), device)? {
        return Err(Errno::EXIST);
    }
    if !made {
        Procfs::here()?.chmod(there.as_fd(), mode)?;
    }
    if owned {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        chownat(&there, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

fn kind_of(device: &DeviceStep) -> (FileType, u64) {
    let number = makedev(device.major, device.minor);
    match device.kind {
        NodeKind::Char => (FileType::CharacterDevice, number),
        NodeKind::Block => (FileType::BlockDevice, number),
        NodeKind::Fifo => (FileType::Fifo, 0),
    }
}

/// Whether an open file is the device.
fn is_it(fd: BorrowedFd<'_>, device: &DeviceStep) -> std::result::Result<bool, Errno> {
    let (kind, number) = kind_of(device);
    let stat = fstat(fd)?;
    let same = kind == FileType::Fifo || stat.st_rdev == number;
    Ok(same && FileType::from_raw_mode(stat.st_mode) == kind)
}

/// Binds the host's node on a file of the same name.
fn bind_node(at: &OwnedFd, name: &Path, device: &DeviceStep) -> Done {
    if device.kind == NodeKind::Fifo {
        return node(at, name, device);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = host_path::open(&device.path, OFlags::PATH | OFlags::CLOEXEC)?;
    // Another device at that path of the host's is not the one that was asked for.
    if !is_it(source.as_fd(), device)? {
        return Err(Errno::NODEV);
    }
    let target = match openat(at, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => inroot::open_or_make(at.as_fd(), name, inroot::Make::File)?,
        found => found?,
    };
    if FileType::from_raw_mode(fstat(&target)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    match mount::clone_tree(source.as_fd(), false) {
        Ok(tree) => mount::attach(tree.as_fd(), target.as_fd()),
        Err(Errno::NOSYS) => mount::old_bind(source.as_fd(), target.as_fd(), false),
        Err(errno) => Err(errno),
    }
}

/// A link that is there already stays: the image may have its own.
fn link(dev: &OwnedFd, target: &str, name: &str) -> Result<()> {
    match symlinkat(target, dev, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::os(format!("link /dev/{name} to {target}"), errno)),
    }
}

/// `/dev/ptmx` is always the container's own devpts.
fn ptmx(dev: &OwnedFd) -> Result<()> {
    let step = || "link /dev/ptmx to pts/ptmx";
    match symlinkat("pts/ptmx", dev, "ptmx") {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(dev, "ptmx", AtFlags::empty()).step(step)?;
            symlinkat("pts/ptmx", dev, "ptmx").step(step)
        }
        made => made.step(step),
    }
}
