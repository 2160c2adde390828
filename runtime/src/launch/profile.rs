//! `/etc/profile.d/richrun.sh`: the container's environment for later logins.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, openat, renameat};
use rustix::io::Errno;

use crate::error::{Result, Step};
use crate::sys::inroot;

/// The directory that login shells read.
const DIRECTORY: &str = "/etc/profile.d";
const NAME: &str = "richrun.sh";
const FRESH: &str = ".richrun.sh.new";

/// Writes the file, where the directory exists and belongs to the root's own
/// file system: what is mounted there is somebody else's.
pub fn write(root: BorrowedFd<'_>, text: &str) -> Result<()> {
    let step = || format!("environment file {DIRECTORY}/{NAME}");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = match inroot::open(root, Path::new(DIRECTORY), flags) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        opened => opened.step(step)?,
    };
    let device = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| stat.st_dev);
    if device(root).step(step)? != device(directory.as_fd()).step(step)? {
        return Ok(());
    }
    // Beside it and renamed: a link of that name is replaced, never followed.
    match rustix::fs::unlinkat(&directory, FRESH, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ROFS) => {}
        Err(errno) => return Err(crate::error::Error::os(step(), errno)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(&directory, FRESH, flags, Mode::from_raw_mode(0o644)) {
        // Nothing can be kept in a root that nobody can write to.
        Err(Errno::ROFS) => return Ok(()),
        opened => opened.step(step)?,
    };
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest)).step(step)?;
        rest = &rest[written..];
    }
    renameat(&directory, FRESH, &directory, NAME).step(step)
}
