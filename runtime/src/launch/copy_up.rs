//! `tmpcopyup`: the content of a directory, copied into the tmpfs that covers it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    fchown, fstat, futimens, mkdirat, mknodat, openat, readlinkat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Result, Step};
use crate::sys::procfs::Procfs;

/// A directory that is being copied.
struct Level {
    /// The directories in it that are still to be copied.
    below: Vec<CString>,
    /// What it is: where the way back must lead.
    stat: Stat,
}

/// A directory and its copy.
type Pair = (OwnedFd, OwnedFd);

/// Copies what is in `from` into `to`, with owners, permissions and times.
/// Sockets are left out; a link is copied as a link. The tree is the image's, or a
/// volume's that others change meanwhile: nothing is opened before it was looked at,
/// and what is made is changed by its descriptor.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let tops = (
        open_below(from, c".").step(|| "open the directory")?,
        open_below(to, c".").step(|| "open the tmpfs")?,
    );
    let proc = Procfs::here().step(|| "open /proc")?;
    // Besides the top, one directory of each side is open, however many there are.
    let mut here: Option<Pair> = None;
    let mut levels = vec![fill(&tops, &proc)?];
    while let Some(level) = levels.last_mut() {
        let pair = here.as_ref().unwrap_or(&tops);
        if let Some(name) = level.below.pop() {
            let step = || format!("copy {}", name.to_string_lossy());
            let below =
                (open_below(&pair.0, &name).step(step)?, open_below(&pair.1, &name).step(step)?);
            levels.push(fill(&below, &proc)?);
            here = Some(below);
            continue;
        }
        // Its times not before it is full.
        dress(&pair.1, &level.stat).step(|| "give a directory its owner")?;
        levels.pop();
        here = match levels.as_slice() {
            // Up from here would be the tmpfs that covers the top by now.
            [] | [_] => None,
            [.., parent] => Some(leave(pair, parent).step(|| "return from a directory")?),
        };
    }
    Ok(())
}

/// Copies what is in a directory; directories are made and left to be filled.
fn fill((from, to): &Pair, proc: &Procfs) -> Result<Level> {
    let stat = fstat(from).step(|| "stat a directory")?;
    let mut below = Vec::new();
    for entry in Dir::read_from(from).step(|| "read a directory")? {
        let entry = entry.step(|| "read a directory")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let copied = copy_one(from, to, name, proc);
        if copied.step(|| format!("copy {}", name.to_string_lossy()))? {
            below.push(name.to_owned());
        }
    }
    Ok(Level { below, stat })
}

fn open_below(dir: impl AsFd, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    openat(dir, name, DIRECTORY, Mode::empty())
}

/// The way back up, which must lead where it came from: whoever shares the tree
/// may have moved the directory meanwhile.
fn leave(here: &Pair, parent: &Level) -> std::result::Result<Pair, Errno> {
    let up = (open_below(&here.0, c"..")?, open_below(&here.1, c"..")?);
    let stat = fstat(&up.0)?;
    match (stat.st_dev, stat.st_ino) == (parent.stat.st_dev, parent.stat.st_ino) {
        true => Ok(up),
        false => Err(Errno::XDEV),
    }
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

/// Copies one entry; whether it is a directory, which is to be filled.
fn copy_one(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    proc: &Procfs,
) -> std::result::Result<bool, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(from, name, flags, Mode::empty())?;
    let stat = fstat(&found)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match kind {
        FileType::Directory => {
            mkdirat(to, name, mode)?;
            return Ok(true);
        }
        FileType::RegularFile => {
            let source = proc.reopen(found.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let fresh = openat(to, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?;
            send(&source, &fresh)?;
            dress(&fresh, &stat)?;
            return Ok(false);
        }
        FileType::Socket => return Ok(false),
        FileType::Symlink => {
            symlinkat(readlinkat(&found, c"", Vec::new())?.as_c_str(), to, name)?;
        }
        // The umask is empty.
        other => mknodat(to, name, other, mode, stat.st_rdev)?,
    }
    let (uid, gid) = owner(&stat);
    chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(false)
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
