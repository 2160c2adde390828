//! Device nodes and links under the container's `/dev`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mknodat, openat, symlinkat,
};
use rustix::io::Errno;

use super::bind::open_path;
use super::host_path;
use crate::error::{Error, Result, Step};
use crate::plan::Plan;
use crate::plan::devices::{DeviceStep, LINKS, NodeKind};
use crate::sys::procfs::Procfs;
use crate::sys::{inroot, mount};

type Done = std::result::Result<(), Errno>;

/// Where nodes come from.
#[derive(Debug)]
pub enum Nodes {
    /// They are made.
    Made,
    /// The host's are bound: a user namespace may make none.
    Bound,
    /// The host's are bound; those that the configuration lists are in this file
    /// system of the runtime's, by their numbers in the list.
    Lent(OwnedFd),
}

/// Makes the nodes and links of the plan.
pub fn make(root: BorrowedFd<'_>, plan: &Plan, nodes: &Nodes) -> Result<()> {
    if !plan.own_dev {
        return Ok(());
    }
    let dev =
        inroot::open_or_make(root, Path::new("/dev"), inroot::Make::Dir).step(|| "open /dev")?;
    let lent = match nodes {
        Nodes::Lent(nodes) => Some(nodes.as_fd()),
        _ => None,
    };
    if let Some(nodes) = lent {
        // What is on top of / is on no path; but only from an attached mount may others be made.
        let top = open_path(Path::new("/")).step(|| "open /")?;
        mount::attach(nodes, top.as_fd()).step(|| "linux.devices: mount the nodes")?;
    }
    let mut binding = !matches!(nodes, Nodes::Made);
    for (number, device) in plan.devices.iter().enumerate() {
        let step = || format!("device {}", device.path.display());
        let (place, name) = place_of(root, &dev, device).step(step)?;
        let at = place.as_ref().unwrap_or(&dev);
        if !binding || device.kind == NodeKind::Fifo {
            match node(at, name, device) {
                // The kernel lets nobody make nodes here, whatever the mappings.
                Err(Errno::PERM) if device.kind != NodeKind::Fifo => binding = true,
                made => {
                    made.step(step)?;
                    continue;
                }
            }
        }
        let source = match lent.filter(|_| device.listed) {
            Some(nodes) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(nodes, number.to_string(), flags, Mode::empty()).step(step)?
            }
            None => host_node(device).map_err(|error| error.within(step()))?,
        };
        bind_node(at, name, source.as_fd()).step(step)?;
    }
    if let Some(nodes) = lent {
        mount::detach(nodes).step(|| "linux.devices: unmount the nodes")?;
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

/// A device as mknod(2) and stat(2) name it.
pub fn kind_of(device: &DeviceStep) -> (FileType, u64) {
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

/// The host's node at a device's path, which must be that very device.
fn host_node(device: &DeviceStep) -> Result<OwnedFd> {
    let step = || "open the host's";
    let node = open_path(&device.path).step(step)?;
    if is_it(node.as_fd(), device).step(step)? {
        return Ok(node);
    }
    let stat = fstat(&node).step(step)?;
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Err(Error::system(format!(
        "the host's is another device ({major}:{minor}), and a node {}:{} cannot be made here",
        device.major, device.minor
    )))
}

/// Binds a node on a file of this name.
fn bind_node(at: &OwnedFd, name: &Path, source: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = match openat(at, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => inroot::open_or_make(at.as_fd(), name, inroot::Make::File)?,
        found => found?,
    };
    if FileType::from_raw_mode(fstat(&target)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    match mount::clone_tree(source, false) {
        Ok(tree) => mount::attach(tree.as_fd(), target.as_fd()),
        Err(Errno::NOSYS) => mount::old_bind(source, target.as_fd(), false),
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
