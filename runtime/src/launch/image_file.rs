//! Regular files of a root that may be hostile: looked at before they are opened.
//!
//! An open(2) of a device node runs its driver on the host, and one of a FIFO may
//! wait for ever. So whatever is at the path is looked at by an `O_PATH` descriptor,
//! and only a regular file is opened, by that descriptor.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use crate::sys::inroot;
use crate::sys::procfs::Procfs;

/// Reads the file at `path` inside `root`: at most its first `longest` bytes.
///
/// # Errors
/// `EINVAL`: it is not a regular file.
pub fn read(root: BorrowedFd<'_>, path: &Path, longest: u64) -> Result<Vec<u8>, Errno> {
    read_found(inroot::open(root, path, OFlags::PATH)?.as_fd(), longest)
}

/// Reads the file that an `O_PATH` descriptor refers to.
///
/// # Errors
/// `EINVAL`: it is not a regular file.
pub fn read_found(found: BorrowedFd<'_>, longest: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    let read = File::from(open(found)?).take(longest).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Opens the file that an `O_PATH` descriptor refers to, for reading.
///
/// # Errors
/// `EINVAL`: it is not a regular file.
pub fn open(found: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    if FileType::from_raw_mode(fstat(found)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    // What is mounted will do for reading; in a container it may be anything.
    let proc = Procfs::that_shows_us()?;
    proc.reopen(found, OFlags::RDONLY | OFlags::NONBLOCK)
}
