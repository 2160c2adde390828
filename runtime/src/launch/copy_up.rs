//! `tmpcopyup`: the content of a directory, copied into the tmpfs that covers it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    fchown, fstat, futimens, mkdirat, mknodat, openat, readlinkat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Result, Step};
use crate::sys::procfs::Procfs;

/// Copies what is in `from` into `to`, with owners, permissions and times.
/// Sockets are left out; a link is copied as a link. The tree is the image's, or a
/// volume's that others change meanwhile: nothing is opened before it was looked at,
/// and what is made is changed by its descriptor.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let from = openat(from, c".", DIRECTORY, Mode::empty()).step(|| "open the directory")?;
    let to = openat(to, c".", DIRECTORY, Mode::empty()).step(|| "open the tmpfs")?;
    let stat = fstat(&from).step(|| "stat the directory")?;
    let (uid, gid) = owner(&stat);
    fchown(&to, uid, gid).step(|| "chown")?;
    let proc = Procfs::here().step(|| "open /proc")?;
    // One directory of each side is open a level: as many as the tree is deep.
    let read = |from: &OwnedFd| Dir::read_from(from).step(|| "read a directory");
    let mut open = vec![(read(&from)?, from, to)];
    while let Some((entries, from, to)) = open.last_mut() {
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let entry = entry.step(|| "read a directory")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let copied = copy_one(from, to, name, &proc);
        if let Some((from, to)) = copied.step(|| format!("copy {}", name.to_string_lossy()))? {
            open.push((read(&from)?, from, to));
        }
    }
    Ok(())
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Copies one entry; a directory comes back to be filled.
fn copy_one(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    proc: &Procfs,
) -> std::result::Result<Option<(OwnedFd, OwnedFd)>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(from, name, flags, Mode::empty())?;
    let stat = fstat(&found)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match kind {
        FileType::Directory => {
            mkdirat(to, name, mode)?;
            let fresh = openat(to, name, DIRECTORY, Mode::empty())?;
            dress(&fresh, &stat)?;
            let found = openat(&found, c".", DIRECTORY, Mode::empty())?;
            return Ok(Some((found, fresh)));
        }
        FileType::RegularFile => {
            let source = proc.reopen(found.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let fresh = openat(to, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?;
            send(&source, &fresh)?;
            dress(&fresh, &stat)?;
            return Ok(None);
        }
        FileType::Socket => return Ok(None),
        FileType::Symlink => {
            symlinkat(readlinkat(&found, c"", Vec::new())?.as_c_str(), to, name)?;
        }
        // The umask is empty.
        other => mknodat(to, name, other, mode, stat.st_rdev)?,
    }
    let (uid, gid) = owner(&stat);
    chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(None)
}

/// Owner, permissions and times: in this order, since a new owner takes set-id bits away.
fn dress(fresh: &OwnedFd, stat: &Stat) -> std::result::Result<(), Errno> {
    let (uid, gid) = owner(stat);
    fchown(fresh, uid, gid)?;
    fchmod(fresh, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    futimens(fresh, &times(stat))
}

fn send(source: &OwnedFd, fresh: &OwnedFd) -> std::result::Result<(), Errno> {
    loop {
        match rustix::fs::sendfile(fresh.as_fd(), source.as_fd(), None, 1 << 20) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
