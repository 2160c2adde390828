//! Masked and read-only paths, and sysctls: what takes away, done in the new
//! root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::error::{Error, Result, Step};
use crate::plan::mount_attr::{FsParam, MountAttr, attr};
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

/// Writes sysctls through the container's own procfs, to exactly the files
/// that they name (CVE-2025-52881).
pub fn sysctls(proc: Option<&OwnedFd>, rows: &[(String, String)]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let fresh;
    let proc = match proc {
        Some(proc) => proc,
        None => {
            fresh = own_procfs()?;
            &fresh
        }
    };
    for (key, value) in rows {
        let step = || format!("linux.sysctl: write {value:?} to /proc/sys/{key}");
        let path = Path::new("sys").join(key);
        let file = inroot::open_exact(proc.as_fd(), &path, OFlags::PATH).step(step)?;
        let file = inroot::reopen(file.as_fd(), OFlags::WRONLY).step(step)?;
        rustix::io::write(&file, value.as_bytes()).step(step)?;
    }
    Ok(())
}

/// A procfs of this pid namespace that nothing is mounted over.
pub fn own_procfs() -> Result<OwnedFd> {
    let step = || "mount a procfs of our own";
    match mount::new_fs(c"proc", Some(c"proc"), &[], 0) {
        // Without the mount API, or the right: /proc, if procfs it is.
        Err(Errno::NOSYS | Errno::PERM) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let proc = openat(rustix::fs::CWD, "/proc", flags, Mode::empty()).step(step)?;
            match rustix::fs::fstatfs(&proc) {
                Ok(stat) if stat.f_type == 0x9fa0 => Ok(proc),
                _ => Err(Error::system("/proc is not a procfs")),
            }
        }
        made => made.step(step),
    }
}
