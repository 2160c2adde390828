//! `tmpcopyup`: the content of a directory, copied into the tmpfs that covers it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    mkdirat, mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Result, Step};
use crate::sys::inroot::reopen;

/// Copies what is in `from` into `to`, with owners, permissions and times.
/// Sockets are left out; a link is copied as a link.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let from = reopen(from, OFlags::RDONLY | OFlags::DIRECTORY).step(|| "open the directory")?;
    let to = reopen(to, OFlags::RDONLY | OFlags::DIRECTORY).step(|| "open the tmpfs")?;
    let stat = rustix::fs::fstat(&from).step(|| "stat the directory")?;
    chownat(&to, c"", owner(&stat).0, owner(&stat).1, AtFlags::EMPTY_PATH).step(|| "chown")?;
    // One directory of each side is open a level; the tree is the image's.
    let mut todo = vec![(from, to)];
    while let Some((from, to)) = todo.pop() {
        for entry in Dir::read_from(&from).step(|| "read a directory")? {
            let entry = entry.step(|| "read a directory")?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let copied = copy_one(&from, &to, name);
            if let Some(pair) = copied.step(|| format!("copy {}", name.to_string_lossy()))? {
                todo.push(pair);
            }
        }
    }
    Ok(())
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// Copies one entry; a directory comes back to be filled.
fn copy_one(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
) -> std::result::Result<Option<(OwnedFd, OwnedFd)>, Errno> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut pair = None;
    match kind {
        FileType::Directory => {
            mkdirat(to, name, mode)?;
            let fresh = openat(to, name, directory, Mode::empty())?;
            pair = Some((openat(from, name, directory, Mode::empty())?, fresh));
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => symlinkat(readlinkat(from, name, Vec::new())?.as_c_str(), to, name)?,
        FileType::Socket => return Ok(None),
        other => mknodat(to, name, other, mode, stat.st_rdev)?,
    }
    let (uid, gid) = owner(&stat);
    chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    match &pair {
        Some((_, fresh)) => fchmod(fresh, mode)?,
        None if kind != FileType::Symlink => {
            rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
        }
        None => {}
    }
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos as _ };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(pair)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> std::result::Result<(), Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(from, name, OFlags::RDONLY | flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | flags;
    let fresh = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    loop {
        match rustix::fs::sendfile(fresh.as_fd(), source.as_fd(), None, 1 << 20) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
