//! Files of procfs, reached through a procfs that nobody can have changed.
//!
//! What lies at `/proc` in a container is what its configuration, its image or a
//! process inside has put there: a directory of links, a FIFO, a procfs with
//! something mounted over parts of it (CVE-2019-16884, CVE-2025-52881). A handle
//! of this kind refers to the root of a real procfs, every file is opened in one
//! step that follows no link and crosses no mount, and is checked to be procfs's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rich_hooks::procfs::{is_root, mount_of, own_name};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, fstat, fstatfs, openat};
use rustix::io::Errno;

use super::{detached, inroot};

/// `PROC_SUPER_MAGIC` (statfs(2)).
pub const PROC_MAGIC: i64 = 0x9fa0;
/// `NSFS_MAGIC` (statfs(2)).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The root of a procfs.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Procfs {
    /// A procfs of this process's pid namespace that is attached nowhere, so that
    /// nobody can mount anything over it. Where none may be made (a user namespace
    /// that sees no whole one), a copy of the mount at `/proc` without what is
    /// mounted in it; before Linux 5.2, what is at `/proc`.
    ///
    /// # Errors
    /// `/proc` is no procfs.
    pub fn own() -> Result<Procfs, Errno> {
        if let Ok(made) = detached::new_fs(c"proc", Some(c"proc"), &[], 0) {
            return Procfs::of(made);
        }
        let here = Procfs::here()?;
        here.own_directory()?;
        match detached::clone_tree(here.0.as_fd(), false) {
            Ok(copy) => Procfs::of(copy),
            Err(_) => Ok(here),
        }
    }

    /// What is mounted at `/proc`: enough for who reads, and for who is still
    /// among the host's mounts.
    ///
    /// # Errors
    /// It is no procfs.
    pub fn here() -> Result<Procfs, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Procfs::of(openat(CWD, c"/proc", flags, Mode::empty())?)
    }

    /// What is mounted at `/proc`, if it is a procfs that shows this process; else one of our own.
    ///
    /// # Errors
    /// There is neither.
    pub fn that_shows_us() -> Result<Procfs, Errno> {
        let here = Procfs::here();
        match here.and_then(|here| here.own_directory().map(|_| here)) {
            Ok(here) => Ok(here),
            Err(_) => Procfs::own(),
        }
    }

    /// A mount that should be a procfs.
    ///
    /// # Errors
    /// `EXDEV`: it is none, or only a part of one.
    pub fn of(root: OwnedFd) -> Result<Procfs, Errno> {
        if is_root(&root)? { Ok(Procfs(root)) } else { Err(Errno::XDEV) }
    }

    /// Opens exactly the file that `path` names, with `flags`.
    pub fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        // Should it be a FIFO or a terminal after all, on a kernel without
        // openat2(2), nothing waits and nothing becomes anybody's terminal.
        let careful = match flags.contains(OFlags::PATH) {
            true => OFlags::empty(),
            false => OFlags::NONBLOCK | OFlags::NOCTTY,
        };
        let file = inroot::open_exact(self.0.as_fd(), path, flags | careful)?;
        match fstatfs(&file)?.f_type {
            PROC_MAGIC => Ok(file),
            _ => Err(Errno::XDEV),
        }
    }

    /// Opens a file of this process's own directory.
    pub fn open_own(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open(&self.own_directory()?.join(file), flags)
    }

    /// Opens a namespace of this process by its name below `ns`.
    pub fn namespace(&self, name: &str) -> Result<OwnedFd, Errno> {
        let directory = self.open_own("ns", OFlags::PATH | OFlags::DIRECTORY)?;
        self.is_bare(directory.as_fd(), name)?;
        let open = openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        match fstatfs(&open)?.f_type {
            NSFS_MAGIC => Ok(open),
            _ => Err(Errno::XDEV),
        }
    }

    /// Opens the very file that `fd`, often an `O_PATH` descriptor, refers to.
    ///
    /// # Errors
    /// `EXDEV`: something else was opened.
    pub fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let (links, name) = self.link_of(fd)?;
        let flags = (flags - OFlags::NOFOLLOW) | OFlags::CLOEXEC | OFlags::NOCTTY;
        let open = openat(&links, name.as_str(), flags, Mode::empty())?;
        let (is, should) = (fstat(&open)?, fstat(fd)?);
        let same = (is.st_dev, is.st_ino) == (should.st_dev, should.st_ino);
        if same { Ok(open) } else { Err(Errno::XDEV) }
    }

    /// Changes the permissions of the very file that `fd` refers to: fchmod(2)
    /// refuses `O_PATH` descriptors, and fchmodat(2) would follow a link.
    pub fn chmod(&self, fd: BorrowedFd<'_>, mode: Mode) -> Result<(), Errno> {
        let (links, name) = self.link_of(fd)?;
        chmodat(&links, name.as_str(), mode, AtFlags::empty())
    }

    /// The directory of our descriptors, and the name of the one for `fd` in it.
    pub fn link_of(&self, fd: BorrowedFd<'_>) -> Result<(OwnedFd, String), Errno> {
        let links = self.open_own("fd", OFlags::PATH | OFlags::DIRECTORY)?;
        let name = fd.as_raw_fd().to_string();
        self.is_bare(links.as_fd(), &name)?;
        Ok((links, name))
    }

    /// Refuses an entry that something is mounted over (seen since Linux 5.8).
    fn is_bare(&self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        match (mount_of(self.0.as_fd(), "")?, mount_of(directory, name)?) {
            (Some(ours), Some(its)) if ours != its => Err(Errno::XDEV),
            _ => Ok(()),
        }
    }

    /// Our directory by the number that we have in this procfs's pid namespace.
    fn own_directory(&self) -> Result<PathBuf, Errno> {
        own_name(&self.0).map(PathBuf::from)
    }

    /// The numbers of our open descriptors.
    pub fn descriptors(&self) -> Result<Vec<i32>, Errno> {
        let directory = self.open_own("fd", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut numbers = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            numbers.extend(name.parse::<i32>().ok());
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::fcntl_getfl;

    #[test]
    fn a_directory_is_no_procfs_and_a_part_of_one_neither() {
        for place in ["/", "/proc/self", "/sys"] {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let open = rustix::fs::open(place, flags, Mode::empty()).unwrap();
            assert_eq!(Procfs::of(open).unwrap_err(), Errno::XDEV, "{place}");
        }
        assert!(Procfs::here().is_ok());
    }

    #[test]
    fn a_file_is_opened_again_as_itself() {
        let proc = Procfs::here().unwrap();
        let exe = std::env::current_exe().unwrap();
        let open = rustix::fs::open(&exe, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let again = proc.reopen(open.as_fd(), OFlags::RDONLY).unwrap();
        assert!(!fcntl_getfl(&again).unwrap().contains(OFlags::PATH));
        assert_eq!(fstat(&again).unwrap().st_ino, fstat(&open).unwrap().st_ino);
        assert!(proc.descriptors().unwrap().contains(&again.as_raw_fd()));
        proc.namespace("mnt").unwrap();
        assert_eq!(proc.open(Path::new("self/stat"), OFlags::RDONLY).unwrap_err(), Errno::LOOP);
        assert_eq!(proc.open_own("exe", OFlags::RDONLY).unwrap_err(), Errno::LOOP);
        assert!(proc.open_own("stat", OFlags::RDONLY).is_ok());
    }
}
