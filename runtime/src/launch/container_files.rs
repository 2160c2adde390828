//! The container's files before there is a container: those of its root, and those of
//! bind mounts where the root's will be covered by them.
//!
//! A path is looked for where the last mount above it comes from, as a process in the
//! container will find it. What only comes to be with the mounts themselves (a tmpfs, an overlay) is
//! not there yet. What is bound may be as hostile as an image: nothing in it leads out of it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use super::{host_path, image_file};
use crate::config::Config;
use crate::error::{Result, Step};
use crate::plan::mounts::cleaned;
use crate::sys::inroot;

/// The root and what is mounted on it.
#[derive(Debug)]
pub struct Files {
    root: OwnedFd,
    mounts: Vec<Covering>,
}

/// What lies over a part of the root.
#[derive(Debug)]
struct Covering {
    destination: PathBuf,
    /// Where its files are on the host; none: nowhere yet.
    source: Option<PathBuf>,
}

impl Files {
    /// Those of a container.
    ///
    /// # Errors
    /// There is no root.
    pub fn of(config: &Config) -> Result<Files> {
        let path = root_of(config);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = host_path::open(path.as_path(), flags)
            .step(|| format!("root.path: open {}", path.display()))?;
        let mounts = config.spec.mounts().iter().flatten();
        let mounts = mounts.filter_map(|mount| Covering::of(mount, &config.bundle)).collect();
        Ok(Files { root, mounts })
    }

    /// Opens a file or directory: with `O_PATH`, unless it is a directory that is to be read.
    pub fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = cleaned(path);
        let Some((covering, rest)) =
            self.mounts.iter().rev().find_map(|mount| {
                path.strip_prefix(&mount.destination).ok().map(|rest| (mount, rest))
            })
        else {
            return inroot::open(self.root.as_fd(), &path, flags);
        };
        let source = covering.source.as_deref().ok_or(Errno::NOENT)?;
        if rest.as_os_str().is_empty() {
            return host_path::open(source, flags);
        }
        let top = host_path::open(source, OFlags::PATH | OFlags::DIRECTORY)?;
        inroot::open(top.as_fd(), rest, flags)
    }

    /// Reads a regular file: at most its first `longest` bytes.
    pub fn read(&self, path: &Path, longest: u64) -> rustix::io::Result<Vec<u8>> {
        image_file::read_found(self.open(path, OFlags::PATH)?.as_fd(), longest)
    }

    /// What is mounted right in a directory, by name, where nothing covers it.
    pub fn mounted_in(&self, directory: &Path) -> Vec<String> {
        let covering = |path: &Path| {
            self.mounts.iter().rev().find(|mount| path.starts_with(&mount.destination))
        };
        let mounts = self.mounts.iter().filter(|mount| {
            mount.destination.parent() == Some(directory)
                && covering(&mount.destination).is_some_and(|top| std::ptr::eq(top, *mount))
        });
        let names = mounts.filter_map(|mount| mount.destination.file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// Whether something that could be executed is at a path: a regular file.
    pub fn has_program(&self, path: &Path) -> bool {
        let stat = self.open(path, OFlags::PATH).and_then(fstat);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }
}

impl Covering {
    fn of(mount: &Mount, bundle: &Path) -> Option<Covering> {
        let option = |wanted: &str| mount.options().iter().flatten().any(|option| option == wanted);
        let kind = mount.typ().as_deref().unwrap_or_default();
        let bind = kind == "bind" || option("bind") || option("rbind");
        if !bind && option("tmpcopyup") {
            // What it covers is copied into it.
            return None;
        }
        let source = mount.source().as_ref().filter(|_| bind);
        let source = source.map(|source| bundle.join(source));
        Some(Covering { destination: cleaned(mount.destination()), source })
    }
}

/// The root file system's path.
pub fn root_of(config: &Config) -> PathBuf {
    let root = config.spec.root().as_ref();
    root.map_or_else(|| config.bundle.clone(), |root| config.bundle.join(root.path()))
}
