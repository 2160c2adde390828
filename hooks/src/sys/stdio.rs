//! The three descriptors of a hook.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_setfl, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};

use super::procfs::Procfs;

/// A file in memory that holds `bytes`, sealed, positioned at its start. Unlike a pipe it
/// needs nobody to feed it: a reader that stops early, or never starts, is nothing special.
pub(crate) fn document(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match memfd_create("hook-state", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("hook-state", flags)?, // before Linux 6.3
        other => other?,
    };
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::pwrite(&file, &bytes[written..], written as u64) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    above_stdio(file)
}

/// A pipe from a hook's standard output or error.
pub(crate) struct OutputPipe {
    /// The caller's end: never blocks.
    pub(crate) read: OwnedFd,
    /// The hook's end: blocks.
    pub(crate) write: OwnedFd,
}

impl OutputPipe {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&read, OFlags::NONBLOCK)?;
        let write = above_stdio(readable_too(write))?;
        Ok(OutputPipe { read, write })
    }
}

/// Opens a pipe's writing end again for both ways: a daemon that a hook leaves behind
/// then counts as a reader of its own output, and writing more does not
/// kill it with SIGPIPE. Where `/proc` does not allow it, the end stays as it is.
fn readable_too(write: OwnedFd) -> OwnedFd {
    let both = Procfs::here().and_then(|proc| proc.reopen(write.as_fd(), OFlags::RDWR).ok());
    let same = both.filter(|both| same_file(both, &write));
    // It was opened so that nothing is waited for.
    same.filter(|both| fcntl_setfl(both, OFlags::empty()).is_ok()).unwrap_or(write)
}

/// `/proc` may be anything inside a container: what it gave must be the same pipe.
fn same_file(one: &OwnedFd, other: &OwnedFd) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => one.st_dev == other.st_dev && one.st_ino == other.st_ino,
        _ => false,
    }
}

/// The same file at a number above 2, so that placing 0, 1 and 2 overwrites no source.
fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { fcntl_dupfd_cloexec(fd.as_fd(), 3) }
}
