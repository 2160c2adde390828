//! Walks the groups below a group, however deep: one descriptor is held at a
//! time, so that a container which nests thousands of groups can still be
//! listed and deleted.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};

type Result<T> = std::result::Result<T, Errno>;

/// What a walk has reached.
pub(super) enum Reached<'a> {
    /// A group, all groups below which have been visited.
    Group(&'a OwnedFd),
    /// The walk has left a nested group: it is back in its parent.
    Left {
        /// The parent's directory.
        parent: &'a OwnedFd,
        /// The nested group's name in it.
        name: &'a CStr,
    },
}

/// Visits `top` and every group below it, parents after their children.
/// Groups that vanish meanwhile are skipped.
pub(super) fn walk(top: impl AsFd, visit: &mut dyn FnMut(Reached<'_>) -> Result<()>) -> Result<()> {
    let mut here = open_dir(&top, c".")?;
    // For each level from `top` to `here`: the groups still to be visited, the
    // last one being where the walk has descended.
    let mut pending = vec![children(&here)?];
    loop {
        let descended = match pending.last_mut().and_then(|level| level.last()) {
            Some(name) => match open_dir(&here, name) {
                Ok(child) => Some(child),
                Err(Errno::NOENT | Errno::NODEV) => {
                    pending.last_mut().and_then(Vec::pop);
                    continue;
                }
                Err(errno) => return Err(errno),
            },
            None => None,
        };
        if let Some(child) = descended {
            pending.push(children(&child)?);
            here = child;
            continue;
        }
        visit(Reached::Group(&here))?;
        pending.pop();
        let Some(level) = pending.last_mut() else { return Ok(()) };
        here = open_dir(&here, c"..")?;
        if let Some(name) = level.pop() {
            visit(Reached::Left { parent: &here, name: &name })?;
        }
    }
}

/// The names of the groups right below `dir`; none when it is gone.
fn children(dir: impl AsFd) -> Result<Vec<CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = match retry_on_intr(|| openat(&dir, c".", flags, Mode::empty())) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(listing)? {
        let entry = match entry {
            Err(Errno::NOENT | Errno::NODEV) => break,
            entry => entry?,
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Opens a group's directory, for look-ups below it only.
pub(super) fn open_dir(at: impl AsFd, path: impl rustix::path::Arg + Copy) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(&at, path, flags, Mode::empty()))
}
