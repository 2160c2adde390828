//! What bind mounts are made of: sources, detached copies, attributes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat, readlinkat, symlinkat};
use rustix::io::Errno;

use super::host_path;
use crate::error::{Error, Result, Step};
use crate::plan::mount_attr::{MountAttr, attr};
use crate::plan::mount_options::Links;
use crate::plan::mounts::MountStep;
use crate::sys::{inroot, mount};

/// A path of this process's root, opened for what can be done to a mount.
pub fn open_path(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    host_path::open(path, OFlags::PATH)
}

/// Opens the source of a bind mount on the host.
pub fn source(path: &Path) -> Result<OwnedFd> {
    open_path(path).step(|| format!("source: open {}", path.display()))
}

/// The same, with what `links` says of a link there.
pub fn source_of(path: &Path, links: Links) -> Result<OwnedFd> {
    if !links.source && !links.copy {
        return source(path);
    }
    host_path::open(path, OFlags::PATH | OFlags::NOFOLLOW)
        .step(|| format!("source: open {}", path.display()))
}

/// Whether an open source is a link.
pub fn is_link(source: BorrowedFd<'_>) -> Result<bool> {
    let mode = fstat(source).step(|| "stat the source")?.st_mode;
    Ok(FileType::from_raw_mode(mode) == FileType::Symlink)
}

/// Makes at `path` inside the root what the link `source` is. Nothing but the
/// same link may be there.
pub fn copy_link(root: BorrowedFd<'_>, source: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let step = || format!("copy-symlink: make the link {}", path.display());
    let text = readlinkat(source, "", Vec::new()).step(step)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::os(step(), Errno::INVAL));
    };
    let parent = inroot::open_or_make(root, parent, inroot::Make::Dir).step(step)?;
    match symlinkat(&text, &parent, name) {
        Err(Errno::EXIST) if readlinkat(&parent, name, Vec::new()).ok().as_ref() == Some(&text) => {
            Ok(())
        }
        made => made.step(step),
    }
}

/// A detached copy of the root's tree; `None` on a kernel without the mount API.
pub fn root_tree(path: &Path) -> Result<Option<OwnedFd>> {
    let step = || format!("root.path: open {}", path.display());
    let root = open_path(path).step(step)?;
    if FileType::from_raw_mode(fstat(&root).step(step)?.st_mode) != FileType::Directory {
        return Err(Error::os(step(), Errno::NOTDIR));
    }
    match mount::clone_tree(root.as_fd(), true) {
        Ok(tree) => Ok(Some(tree)),
        Err(Errno::NOSYS) => Ok(None),
        Err(errno) => Err(Error::os(step(), errno)),
    }
}

/// A detached copy of a source's mount with the attributes of `step`; `None`
/// on a kernel without the mount API, or without attributes for detached mounts.
pub fn tree(source: BorrowedFd<'_>, recursive: bool, step: &MountStep) -> Result<Option<OwnedFd>> {
    let describe = || format!("bind on {}", step.destination.display());
    let tree = match mount::clone_tree(source, recursive) {
        Ok(tree) => tree,
        Err(Errno::NOSYS) => return Ok(None),
        Err(errno) => return Err(Error::os(describe(), errno)),
    };
    match set(tree.as_fd(), step, mount::set_attr_detached) {
        Err(Errno::NOSYS) => Ok(None),
        set => set.step(describe).map(|()| Some(tree)),
    }
}

/// Gives a bind mount the attributes of `step`. Those that it only loses because
/// others are named it keeps where a user namespace has them locked; one that is
/// to go by name and is locked is refused by the kernel (EPERM).
pub fn set(
    mount: BorrowedFd<'_>,
    step: &MountStep,
    set_attr: impl Fn(BorrowedFd<'_>, &MountAttr, bool) -> std::result::Result<(), Errno>,
) -> std::result::Result<(), Errno> {
    let all = step.implied_clear;
    // Linux before 5.14 does not know nosymfollow.
    let known = all & !attr::NOSYMFOLLOW;
    let mut done = Err(Errno::PERM);
    for implied in [all, known, 0] {
        let attrs = MountAttr { clear: step.attr.clear | implied, ..step.attr };
        done = set_attr(mount, &attrs, false);
        if implied == 0 || !matches!(done, Err(Errno::PERM | Errno::INVAL)) {
            break;
        }
    }
    done?;
    set_attr(mount, &step.recursive, true)
}
