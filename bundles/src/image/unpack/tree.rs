//! A layer's directory while it is filled, by descriptors.
//!
//! What the layer has written before is hostile: a link may stand where its next
//! entry wants to walk. Directories are walked by `openat2(2)` in the root, as if it
//! were the root of the system, and nothing is ever opened, linked or changed through
//! a link at the end of a path.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::entry::{Kind, Meta, Place};

/// What the host lets the unpacker do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Owners can be set: the superuser, or a user namespace with ranges of ids.
    pub owners: bool,
    /// Devices can be made: the superuser.
    pub devices: bool,
    /// overlayfs reads `user.overlay.*`, since it will be mounted in a user namespace.
    pub userxattr: bool,
}

/// What a layer has and this host's user cannot make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files that belong to the caller and not to their owner.
    pub owners: u64,
    /// Devices left out.
    pub devices: u64,
    /// Extended attributes left out.
    pub xattrs: u64,
}

/// The tree.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    rights: Rights,
    /// What was lost so far.
    pub lost: Lost,
    /// Directories get their times last: each entry below changes them.
    times: Vec<(PathBuf, (i64, u32))>,
}

/// Zeros of this length become a hole.
const BLOCK: usize = 4096;

impl Tree {
    /// The tree in this directory, which is empty.
    ///
    /// # Errors
    /// A failed system call.
    pub fn open(directory: &Path, rights: Rights) -> io::Result<Tree> {
        let root = fs::open(
            directory,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        Ok(Tree { root, rights, lost: Lost::default(), times: Vec::new() })
    }

    /// Makes one entry; `data` is a file's content.
    ///
    /// # Errors
    /// A failed system call, with the path; what cannot stand at the place.
    pub fn put(
        &mut self,
        place: &Place,
        kind: &Kind,
        meta: &Meta,
        data: &mut dyn Read,
    ) -> io::Result<()> {
        if place.is_root() {
            return self.put_root(kind, meta);
        }
        let parent = self.directory(&place.parent)?;
        let (parent, name) = (parent.as_fd(), place.name.as_os_str());
        match kind {
            Kind::Directory => self.put_directory(parent, place, meta),
            Kind::File => self.put_file(parent, name, meta, data),
            Kind::Symlink(target) => {
                clear(parent, name)?;
                fs::symlinkat(target.as_path(), parent, name)?;
                self.dress(parent, name, meta, true)
            }
            Kind::HardLink(target) => self.put_link(parent, name, target),
            Kind::Device { block, numbers } => {
                clear(parent, name)?;
                self.put_device(parent, name, *block, *numbers, meta)
            }
            Kind::Fifo => {
                clear(parent, name)?;
                fs::mknodat(parent, name, FileType::Fifo, Mode::from(0o600), 0)?;
                self.dress(parent, name, meta, false)
            }
            Kind::Whiteout => self.put_whiteout(parent, name),
            Kind::Opaque => {
                if found(parent, name)?.is_none() {
                    fs::mkdirat(parent, name, Mode::from(0o755))?;
                }
                self.make_opaque(parent, name)
            }
        }
    }

    /// Sets the times of directories.
    ///
    /// # Errors
    /// A failed system call.
    pub fn finish(&mut self) -> io::Result<()> {
        for (path, mtime) in std::mem::take(&mut self.times).into_iter().rev() {
            match self.open_in_root(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
                Ok(directory) => set_times(directory.as_fd(), OsStr::new(""), mtime)?,
                // A later entry of the layer has replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    fn put_root(&mut self, kind: &Kind, meta: &Meta) -> io::Result<()> {
        match kind {
            Kind::Directory => {
                let root = self.root.try_clone()?;
                self.dress(root.as_fd(), OsStr::new("."), meta, false)?;
                self.times.push((PathBuf::from("."), meta.mtime));
                Ok(())
            }
            // Nothing of the layers below: the same as a layer that has no lower ones.
            Kind::Opaque => {
                let root = self.root.try_clone()?;
                self.make_opaque(root.as_fd(), OsStr::new("."))
            }
            _ => Err(refused("the root of the image can only be a directory")),
        }
    }

    fn open_in_root(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        loop {
            match fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The directory at `path`, made where the layer has none: its owner is root, as
    /// those are that an image's builder did not think worth an entry.
    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open_in_root(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => {
                return Err(refused(&format!("{} is a file, and it lies below", path.display())));
            }
            other => return Ok(other?),
        }
        let mut current = self.open_in_root(Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?;
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            match fs::mkdirat(&current, part.as_os_str(), Mode::from(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(other) => return Err(other.into()),
            }
            let opened = self.open_in_root(&so_far, OFlags::PATH | OFlags::DIRECTORY);
            current = opened.map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => refused(&format!(
                    "{} is a link out of the image, or to nothing in it",
                    so_far.display()
                )),
                other => other.into(),
            })?;
        }
        Ok(current)
    }

    fn put_directory(
        &mut self,
        parent: BorrowedFd<'_>,
        place: &Place,
        meta: &Meta,
    ) -> io::Result<()> {
        let name = place.name.as_os_str();
        match found(parent, name)? {
            Some(Found::Directory) => {}
            before => {
                clear(parent, name)?;
                fs::mkdirat(parent, name, Mode::from(0o755))?;
                // The whiteout said that what lies below is gone; the directory is new.
                if before == Some(Found::Whiteout) {
                    self.make_opaque(parent, name)?;
                }
            }
        }
        self.dress(parent, name, meta, false)?;
        self.times.push((place.path(), meta.mtime));
        Ok(())
    }

    fn put_file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        meta: &Meta,
        data: &mut dyn Read,
    ) -> io::Result<()> {
        clear(parent, name)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(parent, name, flags, Mode::from(0o600))?;
        copy(data, file.as_fd())?;
        drop(file);
        self.dress(parent, name, meta, false)
    }

    fn put_link(&self, parent: BorrowedFd<'_>, name: &OsStr, target: &Place) -> io::Result<()> {
        let missing = || {
            refused(&format!(
                "it is a hard link to {}, which the layer does not have",
                target.path().display()
            ))
        };
        let other = self.open_in_root(&target.parent, OFlags::PATH | OFlags::DIRECTORY);
        let other = other.map_err(|_| missing())?;
        match found(other.as_fd(), &target.name)? {
            None | Some(Found::Whiteout) => return Err(missing()),
            Some(Found::Directory) => return Err(refused("it is a hard link to a directory")),
            Some(Found::Other) => {}
        }
        if same_file(other.as_fd(), &target.name, parent, name)? {
            return Ok(());
        }
        clear(parent, name)?;
        Ok(fs::linkat(other, target.name.as_os_str(), parent, name, AtFlags::empty())?)
    }

    fn put_device(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        block: bool,
        (major, minor): (u32, u32),
        meta: &Meta,
    ) -> io::Result<()> {
        if !self.rights.devices {
            self.lost.devices += 1;
            return Ok(());
        }
        let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
        fs::mknodat(parent, name, kind, Mode::from(0o600), fs::makedev(major, minor))?;
        self.dress(parent, name, meta, false)
    }

    /// A whiteout hides what lies below, never what the same layer has.
    fn put_whiteout(&self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        match found(parent, name)? {
            Some(Found::Directory) => self.make_opaque(parent, name),
            Some(_) => Ok(()),
            None => {
                let kind = FileType::CharacterDevice;
                Ok(fs::mknodat(parent, name, kind, Mode::empty(), 0)?)
            }
        }
    }

    fn make_opaque(&self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = fs::openat(parent, name, flags, Mode::empty()).map_err(|error| {
            if matches!(error, Errno::NOTDIR | Errno::LOOP) {
                refused("only a directory can hide what lies below in it")
            } else {
                error.into()
            }
        })?;
        let prefix = if self.rights.userxattr { "user" } else { "trusted" };
        let attribute = format!("{prefix}.overlay.opaque");
        Ok(fs::fsetxattr(directory, attribute.as_str(), b"y", XattrFlags::empty())?)
    }

    /// Owner, mode, attributes and time, in the order in which none undoes another.
    fn dress(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        meta: &Meta,
        link: bool,
    ) -> io::Result<()> {
        if self.rights.owners {
            let (uid, gid) = meta.owner;
            fs::chownat(
                parent,
                name,
                Some(Uid::from_raw(uid)),
                Some(Gid::from_raw(gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|error| match error {
                Errno::INVAL => refused(&format!(
                    "its owner {uid}:{gid} is not among the ids that you have; add to your lines \
                     in /etc/subuid and /etc/subgid"
                )),
                other => other.into(),
            })?;
        } else if meta.owner != (0, 0) {
            self.lost.owners += 1;
        }
        if !link {
            // No link stands there: it was made or found just now, and nobody else is here.
            fs::chmodat(parent, name, Mode::from(meta.mode & 0o7777), AtFlags::empty())?;
        }
        self.set_xattrs(parent, name, meta)?;
        set_times(parent, name, meta.mtime)
    }

    fn set_xattrs(&mut self, parent: BorrowedFd<'_>, name: &OsStr, meta: &Meta) -> io::Result<()> {
        if meta.xattrs.is_empty() {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(parent, name, flags, Mode::empty())?;
        // The kernel has no call that takes a descriptor of a link or a device.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        for (key, value) in &meta.xattrs {
            match fs::setxattr(path.as_str(), key.as_str(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL | Errno::ACCESS) => {
                    self.lost.xattrs += 1;
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }
}

/// What stands at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Directory,
    /// A device 0:0.
    Whiteout,
    Other,
}

fn found(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Found>> {
    let stat = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Found::Directory,
        FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
        _ => Found::Other,
    }))
}

fn same_file(
    one: BorrowedFd<'_>,
    name: &OsStr,
    other: BorrowedFd<'_>,
    other_name: &OsStr,
) -> io::Result<bool> {
    let key = |parent, name| {
        fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
    };
    match key(other, other_name) {
        Ok(there) => Ok(key(one, name)? == there),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes what an earlier entry has put there: the last one counts.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => super::remove::tree(parent, name),
        Err(other) => Err(other.into()),
    }
}

fn set_times(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    (seconds, nanoseconds): (i64, u32),
) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    match fs::utimensat(parent, name, &times, flags) {
        // A time that the file system does not have.
        Ok(()) | Err(Errno::INVAL | Errno::OVERFLOW) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Copies, leaving out blocks of zeros.
fn copy(data: &mut dyn Read, file: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = vec![0; 16 * BLOCK];
    let mut length = 0u64;
    loop {
        let count = fill(data, &mut buffer)?;
        for block in buffer[..count].chunks(BLOCK) {
            if block.iter().any(|byte| *byte != 0) {
                write_at(file, block, length)?;
            }
            length += block.len() as u64;
        }
        if count < buffer.len() {
            break;
        }
    }
    Ok(fs::ftruncate(file, length)?)
}

fn fill(data: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match data.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn write_at(file: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::pwrite(file, bytes, at)?;
        bytes = &bytes[count..];
        at += count as u64;
    }
    Ok(())
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}
