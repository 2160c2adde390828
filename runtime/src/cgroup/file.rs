//! Reading and writing the small files of a group, by the descriptor of its
//! directory.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read, retry_on_intr, write};

/// Reads `name` in `dir`.
pub fn get(dir: impl AsFd, name: &str) -> Result<String, Errno> {
    let fd = open(dir, name, OFlags::RDONLY)?;
    read_all(&fd)
}

/// Writes `value` into `name` in `dir`, in one write.
pub fn put(dir: impl AsFd, name: &str, value: &str) -> Result<(), Errno> {
    let fd = open(dir, name, OFlags::WRONLY)?;
    put_fd(&fd, value)
}

/// Writes `value` into an open file, in one write: the kernel parses each
/// write by itself.
pub fn put_fd(fd: impl AsFd, value: &str) -> Result<(), Errno> {
    match retry_on_intr(|| write(&fd, value.as_bytes()))? {
        n if n == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Opens `name` in `dir`.
pub fn open(dir: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| openat(&dir, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()))
}

/// Reads to the end: a text of the kernel.
pub fn read_all(fd: impl AsFd) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        match retry_on_intr(|| read(&fd, &mut chunk))? {
            0 => break,
            n => text.extend_from_slice(&chunk[..n]),
        }
    }
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}
