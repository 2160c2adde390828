//! `/etc/profile.d/richrun.sh`: the container's environment for later logins.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, renameat};
use rustix::io::Errno;

use crate::error::{Result, Step};
use crate::sys::inroot;

/// The directory that login shells read.
const DIRECTORY: &str = "/etc/profile.d";
const NAME: &str = "richrun.sh";
const FRESH: &str = ".richrun.sh.new";

/// Writes the file, where the directory exists and belongs to the root itself: what
/// is mounted there is somebody else's, and so is what a link may lead to.
pub fn write(root: BorrowedFd<'_>, text: &str) -> Result<()> {
    let step = || format!("environment file {DIRECTORY}/{NAME}");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = match inroot::open_exact(root, Path::new(DIRECTORY), flags) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
        opened => opened.step(step)?,
    };
    // Beside it and renamed: a link of that name is replaced, never followed.
    let mode = Mode::from_raw_mode(0o644);
    match inroot::write_new(directory.as_fd(), OsStr::new(FRESH), text.as_bytes(), mode) {
        // Nothing can be kept in a root that nobody can write to.
        Err(Errno::ROFS) => return Ok(()),
        written => written.step(step)?,
    }
    renameat(&directory, FRESH, &directory, NAME).step(step)
}
