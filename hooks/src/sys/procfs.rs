//! Files of procfs, whatever lies at `/proc`: a hook may run in a container's root, where that is
//! what an image or a process inside has made it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, StatxFlags, fstat, fstatfs, openat,
    openat2, readlinkat, statx,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsmount, fsopen,
    open_tree,
};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How often openat2(2) is asked that is disturbed each time.
const TRIES: usize = 32;
/// The number of procfs's root directory (`PROC_ROOT_INO`).
const ROOT_INODE: u64 = 1;

/// The root of a procfs.
pub(super) struct Procfs(OwnedFd);

impl Procfs {
    /// What is mounted at `/proc`, if it is a procfs.
    pub(super) fn here() -> Option<Procfs> {
        Procfs::of(openat(CWD, c"/proc", DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).ok()?)
    }

    /// One that nobody can have mounted anything over: a private one, or a copy of the mount at
    /// `/proc` without what is mounted in it; where neither may be made, [`Procfs::here`].
    pub(super) fn own() -> Option<Procfs> {
        private().ok().and_then(Procfs::of).or_else(|| {
            let here = Procfs::here()?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            let copy = open_tree(&here.0, c"", flags).ok().and_then(Procfs::of);
            Some(copy.unwrap_or(here))
        })
    }

    fn of(root: OwnedFd) -> Option<Procfs> {
        is_root(&root).ok()?.then_some(Procfs(root))
    }

    /// Opens a file or directory by its name, which has no links in it.
    pub(super) fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_in(self.0.as_fd(), name, flags)
    }

    /// The name of this process's own directory.
    pub(super) fn own_name(&self) -> Result<String, Errno> {
        own_name(&self.0)
    }

    /// Opens anew what an open descriptor of this process refers to.
    pub(super) fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let links = self.open(&format!("{}/fd", self.own_name()?), DIRECTORY)?;
        let name = fd.as_raw_fd().to_string();
        if mount_of(self.0.as_fd(), "")? != mount_of(links.as_fd(), &name)? {
            return Err(Errno::XDEV);
        }
        let careful = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat(&links, name.as_str(), flags | careful, Mode::empty())
    }
}

/// Whether this is the root of a procfs, and not only a part of one.
///
/// # Errors
/// The kernel's.
pub fn is_root(file: impl AsFd) -> Result<bool, Errno> {
    Ok(fstatfs(&file)?.f_type == PROC_SUPER_MAGIC && fstat(&file)?.st_ino == ROOT_INODE)
}

/// The name of this process's own directory in a procfs, by its root: a number of the pid
/// namespace that the procfs shows.
///
/// # Errors
/// `XDEV`: it does not show this process.
pub fn own_name(root: impl AsFd) -> Result<String, Errno> {
    let name = readlinkat(&root, c"self", Vec::new())?;
    let name = name.into_string().map_err(|_| Errno::XDEV)?;
    let number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if number { Ok(name) } else { Err(Errno::XDEV) }
}

/// Opens what lies below an open directory of procfs, in one step that follows no link and crosses
/// no mount; before Linux 5.6 in a plain one, checked afterwards.
pub(super) fn open_in(
    directory: BorrowedFd<'_>,
    name: &str,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    // Should it be a FIFO after all, nothing waits.
    let careful = match flags.contains(OFlags::PATH) {
        true => OFlags::CLOEXEC,
        false => OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
    };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | careful;
    let mut tries = 0;
    let open = loop {
        tries += 1;
        match openat2(directory, name, flags, Mode::empty(), how) {
            // Something was renamed meanwhile, or a signal came.
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => {}
            Err(Errno::NOSYS) => {
                break openat(directory, name, flags | OFlags::NOFOLLOW, Mode::empty());
            }
            open => break open,
        }
    }?;
    if fstatfs(&open)?.f_type == PROC_SUPER_MAGIC { Ok(open) } else { Err(Errno::XDEV) }
}

fn private() -> Result<OwnedFd, Errno> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// The mount that an entry of a directory lies on, or by an empty name the directory itself;
/// `None` before Linux 5.8.
///
/// # Errors
/// The kernel's.
pub fn mount_of(directory: BorrowedFd<'_>, name: &str) -> Result<Option<u64>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    match statx(directory, name, flags, StatxFlags::MNT_ID) {
        Ok(found) => {
            let said = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
            Ok(said.then_some(found.stx_mnt_id))
        }
        Err(Errno::NOSYS) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_and_nothing_else_is_opened() {
        for proc in [Procfs::here().unwrap(), Procfs::own().unwrap()] {
            let own = proc.own_name().unwrap();
            assert!(proc.open(&format!("{own}/stat"), OFlags::RDONLY).is_ok());
            assert!(proc.open("self/stat", OFlags::RDONLY).is_err());
            assert!(proc.open(&format!("{own}/cwd"), OFlags::RDONLY).is_err());
        }
        for other in [c"/", c"/proc/self"] {
            let open = openat(CWD, other, DIRECTORY, Mode::empty()).unwrap();
            assert!(Procfs::of(open).is_none(), "{other:?}");
        }
    }
}
