//! Removing trees by descriptors: no link in them is followed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes the directory `name` of `parent` and all that is in it.
///
/// # Errors
/// A failed system call.
pub fn tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    // A stack of open directories would be as deep as a hostile tree: names are kept,
    // and `..` is never used, since a directory can be moved meanwhile.
    let mut path: Vec<(OwnedFd, OsString)> = vec![(open(parent, name)?, name.to_owned())];
    while let Some((directory, _)) = path.last() {
        match empty(directory.as_fd())? {
            Some(below) => {
                if path.len() > DEEPEST {
                    raise(directory.as_fd(), &below, path[0].0.as_fd())?;
                    continue;
                }
                let opened = open(directory.as_fd(), &below)?;
                path.push((opened, below));
            }
            None => {
                let Some((_, name)) = path.pop() else { break };
                let above = path.last().map_or(parent, |(directory, _)| directory.as_fd());
                fs::unlinkat(above, name.as_os_str(), AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}

/// Directories open at once. What lies deeper is moved up, since a process may have no
/// more than a thousand descriptors and a tree be deeper than any path is long.
const DEEPEST: usize = 64;

fn raise(parent: BorrowedFd<'_>, name: &OsStr, top: BorrowedFd<'_>) -> io::Result<()> {
    for number in 0u64.. {
        match fs::renameat(parent, name, top, format!(".deep-{number}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            other => return Ok(other?),
        }
    }
    Ok(())
}

fn open(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat(parent, name, flags, Mode::empty()) {
        // A user's own directory that he may not read.
        Err(Errno::ACCESS) => {
            fs::chmodat(parent, name, Mode::from(0o700), AtFlags::empty())?;
            Ok(fs::openat(parent, name, flags, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// Unlinks all files of a directory; the name of a directory in it that is left.
fn empty(directory: BorrowedFd<'_>) -> io::Result<Option<OsString>> {
    let mut below = None;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let again = fs::openat(directory, ".", flags, Mode::empty())?;
    for entry in Dir::new(again)? {
        let entry = entry?;
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        if name == "." || name == ".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            below = Some(name);
            continue;
        }
        match fs::unlinkat(directory, name.as_os_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => below = Some(name),
            Err(Errno::ACCESS) => {
                fs::fchmod(fs::openat(directory, ".", flags, Mode::empty())?, Mode::from(0o700))?;
                fs::unlinkat(directory, name.as_os_str(), AtFlags::empty())?;
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(below)
}

/// Removes a file or a whole tree at a path; nothing there is fine.
///
/// # Errors
/// A failed system call.
pub fn at(path: &std::path::Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("a path without a name"));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    match fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => tree(parent.as_fd(), name),
        Err(other) => Err(other.into()),
    }
}
