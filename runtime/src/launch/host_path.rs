//! The host's own files, by their paths: all that `launch` names so.
//!
//! Paths of the configuration (the root, sources of bind mounts, devices, namespaces,
//! `--services`) are the administrator's and mean what they say on the host; a process's
//! directory in the host's `/proc` is named by the pid of a child that was not reaped. What
//! is in the container is never reached from here: clippy refuses such calls elsewhere in
//! `launch` (runtime/clippy.toml).
#![expect(clippy::disallowed_methods, reason = "this is the place for them")]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

/// Opens a file of the host's, close-on-exec.
pub fn open(path: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Writes to a file of the host's procfs, as the runtime.
pub fn write_proc(path: impl AsRef<Path>, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}

/// stat(2) of a file of the host's.
pub fn stat(path: impl rustix::path::Arg) -> Result<Stat, Errno> {
    rustix::fs::stat(path)
}

/// What a file of the host's says.
pub fn read(path: impl AsRef<Path>) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The same as text.
pub fn read_text(path: impl AsRef<Path>) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// What a link of the host's says.
pub fn link(path: impl AsRef<Path>) -> std::io::Result<PathBuf> {
    std::fs::read_link(path)
}

/// The path of an open file, as the host's procfs tells it.
pub fn name_of(fd: BorrowedFd<'_>) -> std::io::Result<PathBuf> {
    link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// A path of the host's without links.
pub fn canonical(path: &Path) -> std::io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// Makes a directory of the host's, if it is not there.
pub fn make_directory(path: &Path, mode: Mode) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}
