//! Masked and read-only paths, and sysctls: what takes away, done in the new
//! root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use crate::error::{Error, Result, Step};
use crate::plan::mount_attr::{FsParam, MountAttr, attr};
use crate::sys::procfs::Procfs;
use crate::sys::{inroot, mount};

/// Covers each path that exists: a directory by an empty read-only tmpfs that
/// all of them share, a file by the null device.
pub fn mask(root: BorrowedFd<'_>, paths: &[PathBuf]) -> Result<()> {
    let mut cover = Cover::default();
    for path in paths {
        let step = || format!("linux.maskedPaths: mask {}", path.display());
        let target = match inroot::open(root, path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            found => found.step(step)?,
        };
        let stat = fstat(&target).step(step)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => cover.directory(root, path, target).step(step)?,
            _ => cover.file(root, target.as_fd()).map_err(|error| error.within(step()))?,
        }
    }
    Ok(())
}

/// What paths are covered with, made when first needed.
#[derive(Default)]
struct Cover {
    /// The tmpfs, attached where it was needed first.
    empty: Option<OwnedFd>,
    /// The null device, checked.
    null: Option<OwnedFd>,
}

impl Cover {
    fn directory(
        &mut self,
        root: BorrowedFd<'_>,
        path: &Path,
        target: OwnedFd,
    ) -> std::result::Result<(), Errno> {
        if let Some(empty) = &self.empty {
            return bind(empty.as_fd(), target.as_fd());
        }
        let size = |key: &std::ffi::CStr, value: &std::ffi::CStr| FsParam {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        };
        let params = [size(c"nr_blocks", c"1"), size(c"nr_inodes", c"1")];
        let kind = c"tmpfs";
        // Attached, not kept detached: dropping a detached mount waits for RCU.
        self.empty = Some(match mount::new_fs(kind, Some(kind), &params, attr::RDONLY) {
            Ok(made) => {
                mount::attach(made.as_fd(), target.as_fd())?;
                made
            }
            Err(Errno::NOSYS) => {
                mount::old_fs(kind, Some(kind), &params, attr::RDONLY, target.as_fd())?;
                inroot::open(root, path, OFlags::PATH)?
            }
            Err(errno) => return Err(errno),
        });
        Ok(())
    }

    fn file(&mut self, root: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
        let null = match self.null.take() {
            Some(null) => null,
            None => null_device(root)?,
        };
        let bound = bind(null.as_fd(), target).step(|| "bind the null device");
        self.null = Some(null);
        bound
    }
}

/// The container's `/dev/null`, refused unless it is the null device: anything
/// else would be a file of somebody's choice (CVE-2025-31133).
fn null_device(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let step = || "open /dev/null";
    let null =
        inroot::open(root, Path::new("/dev/null"), OFlags::PATH | OFlags::NOFOLLOW).step(step)?;
    let stat = fstat(&null).step(step)?;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    match character && device == (1, 3) {
        true => Ok(null),
        false => Err(Error::system("/dev/null of the container is not the null device")),
    }
}

/// Makes each path that exists read-only, with what is mounted below it.
pub fn make_readonly(root: BorrowedFd<'_>, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let step = || format!("linux.readonlyPaths: {}", path.display());
        let target = match inroot::open(root, path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            found => found.step(step)?,
        };
        let attrs = MountAttr::setting(attr::RDONLY);
        let bound = mount::clone_tree(target.as_fd(), true).and_then(|tree| {
            mount::set_attr_detached(tree.as_fd(), &attrs, true)?;
            mount::attach(tree.as_fd(), target.as_fd())
        });
        match bound {
            Err(Errno::NOSYS) => {
                mount::old_bind(target.as_fd(), target.as_fd(), true).step(step)?;
                let bound = inroot::open(root, path, OFlags::PATH).step(step)?;
                mount::set_attr(bound.as_fd(), &attrs, false).step(step)?;
            }
            bound => bound.step(step)?,
        }
    }
    Ok(())
}

fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    match mount::clone_tree(source, false) {
        Ok(tree) => mount::attach(tree.as_fd(), target),
        Err(Errno::NOSYS) => mount::old_bind(source, target, false),
        Err(errno) => Err(errno),
    }
}

/// Writes sysctls to exactly the files that they name (CVE-2025-52881): through
/// `proc`, the procfs that was mounted for the container, or one of our own where
/// that has them not or not for writing.
pub fn sysctls(proc: Option<&Procfs>, rows: &[(String, String)]) -> Result<()> {
    let mut own = None;
    for (key, value) in rows {
        let step = || format!("linux.sysctl: write {value:?} to /proc/sys/{key}");
        let path = Path::new("sys").join(key);
        let first = proc.and_then(|proc| proc.open(&path, OFlags::WRONLY).ok());
        let file = match first {
            Some(file) => file,
            None => {
                let own = match &own {
                    Some(own) => own,
                    None => own.insert(own_procfs()?),
                };
                own.open(&path, OFlags::WRONLY).step(step)?
            }
        };
        rustix::io::write(&file, value.as_bytes()).step(step)?;
    }
    Ok(())
}

/// [`Procfs::own`], with its error in words.
pub fn own_procfs() -> Result<Procfs> {
    Procfs::own().map_err(|errno| match errno {
        Errno::XDEV => Error::system("/proc is not a procfs"),
        errno => Error::os("mount a procfs of our own", errno),
    })
}
