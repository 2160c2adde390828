//! Paths resolved inside a root, by descriptor.
//!
//! The tree below the root is hostile: its links may point anywhere and may
//! change at any time. `openat2(2)` with `RESOLVE_IN_ROOT` (Linux 5.6) lets the
//! kernel do the walk; where it is missing, `walk` takes one component at a
//! time with `O_NOFOLLOW` and follows links itself.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

/// What is to be made where a path ends and nothing is there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// A directory, mode 0755.
    Dir,
    /// An empty regular file, mode 0644.
    File,
}

/// Limit on links followed in one path, as the kernel's own.
const MAX_LINKS: u32 = 40;
/// `openat2` gives `EAGAIN` when a rename races with the walk.
const MAX_RETRIES: u32 = 64;

/// Opens `path` inside `root` with `flags` (often `O_PATH`). Links are
/// followed inside the root, magic links (`/proc/N/fd/...`) never.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, how) {
        Err(Errno::NOSYS) => walk(root, path, flags),
        other => other,
    }
}

/// Opens `path` inside `root` without following any link at all and without
/// leaving the root's mount (before Linux 5.8: its file system): for `/proc`,
/// `/sys`, and what is to lie in the root itself.
pub fn open_exact(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(root, relative(path), flags, how) {
        Err(Errno::NOSYS) => walk_exact(root, path, flags),
        other => other,
    }
}

/// Opens what `path` inside `root` is, without following any link: the mounts on the way are
/// those that the path names, whatever links a container has put elsewhere.
pub fn open_without_links(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(root, relative(path), flags, how) {
        Err(Errno::NOSYS) => walk_without_links(root, path, flags, None),
        other => other,
    }
}

fn openat2(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    for _ in 0..MAX_RETRIES {
        match fs::openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Opens `path` inside `root` as `O_PATH`, making what is missing: directories
/// on the way, and `make` at its end. A dangling link is followed inside the
/// root and its target made there: images link `/etc/resolv.conf` to a file
/// that only a running system has, and engines mount over it.
///
/// # Errors
/// `ENOENT` for `..` below a missing directory, `ELOOP` for too many links.
pub fn open_or_make(root: BorrowedFd<'_>, path: &Path, make: Make) -> Result<OwnedFd, Errno> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match open(root, &path, OFlags::PATH) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        match make_missing(root, &path, make)? {
            Step::Made(fd) => return Ok(fd),
            Step::Link(target) => path = target,
        }
    }
    Err(Errno::LOOP)
}

enum Step {
    Made(OwnedFd),
    /// A dangling link stands in the way: the path with it replaced by its
    /// target.
    Link(PathBuf),
}

/// Opens the longest part of `path` that exists and makes the rest one
/// component at a time below its descriptor.
fn make_missing(root: BorrowedFd<'_>, path: &Path, make: Make) -> Result<Step, Errno> {
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            _ => None,
        })
        .collect();
    let mut have = names.len();
    let mut dir = loop {
        have = have.checked_sub(1).ok_or(Errno::NOENT)?;
        let prefix: PathBuf = names[..have].iter().collect();
        let prefix = if have == 0 { Path::new("/") } else { prefix.as_path() };
        match open(root, prefix, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            other => break other?,
        }
    };
    for (index, name) in names.iter().enumerate().skip(have) {
        let last = index + 1 == names.len();
        let made = make_one(dir.as_fd(), name, if last { make } else { Make::Dir })?;
        if FileType::from_raw_mode(fs::fstat(&made)?.st_mode) == FileType::Symlink {
            let target = fs::readlinkat(&made, c"", Vec::new())?;
            let target = Path::new(OsStr::from_bytes(target.as_bytes()));
            // Joining an absolute target replaces what stands before it.
            let mut whole: PathBuf =
                Path::new("/").join(names[..index].iter().collect::<PathBuf>());
            whole.push(target);
            whole.extend(&names[index + 1..]);
            return Ok(Step::Link(whole));
        }
        dir = made;
    }
    Ok(Step::Made(dir))
}

/// Makes `name` in `dir` unless it is there, and opens it (a link: itself).
fn make_one(dir: BorrowedFd<'_>, name: &OsStr, make: Make) -> Result<OwnedFd, Errno> {
    if name == ".." {
        return Err(Errno::NOENT);
    }
    let made = match make {
        Make::Dir => fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)),
        Make::File => {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Writes a new file `name` in `dir`. What has that name is replaced: it is neither
/// opened nor followed.
pub fn write_new(dir: BorrowedFd<'_>, name: &OsStr, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    match fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(dir, name, flags, mode)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Resolution without `openat2`: a stack of directory descriptors, so that
/// `..` is what we came from and can never be above the root.
pub fn walk(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut todo: Vec<Vec<u8>> = parts(path);
    if todo.is_empty() && !path.has_root() {
        return Err(Errno::NOENT);
    }
    let mut stack: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    let mut last: Option<(OwnedFd, Vec<u8>)> = None;
    while let Some(name) = todo.pop() {
        if name == b".." {
            stack.pop();
            last = None;
            continue;
        }
        if name == b"." {
            continue;
        }
        let here = stack.last().map_or(root, |dir| dir.as_fd());
        let probe = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(here, name.as_slice(), probe, Mode::empty())?;
        match FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) {
            FileType::Symlink if todo.is_empty() && flags.contains(OFlags::NOFOLLOW) => {
                last = Some((fd, name));
            }
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                if rustix::fs::fstatfs(&fd).is_ok_and(|stat| stat.f_type == 0x9fa0) {
                    // A link of procfs may be a magic one.
                    return Err(Errno::LOOP);
                }
                let target = fs::readlinkat(&fd, c"", Vec::new())?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                if target.is_absolute() {
                    stack.clear();
                }
                todo.extend(parts(target));
                last = None;
            }
            FileType::Directory => {
                stack.push(fd);
                last = None;
            }
            _ if todo.is_empty() => last = Some((fd, name)),
            _ => return Err(Errno::NOTDIR),
        }
    }
    let here = stack.last().map_or(root, |dir| dir.as_fd());
    match last {
        Some((found, name)) => open_found(here, &name, found, flags),
        None => fs::openat(here, c".", flags | OFlags::CLOEXEC, Mode::empty()),
    }
}

/// Opens with `flags` what was `found` at `name` in `here`: never anything else.
fn open_found(
    here: BorrowedFd<'_>,
    name: &[u8],
    found: OwnedFd,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    if flags.contains(OFlags::PATH) && !flags.contains(OFlags::DIRECTORY) {
        return Ok(found);
    }
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = fs::openat(here, name, flags, Mode::empty())?;
    let (is, should) = (fs::fstat(&open)?, fs::fstat(&found)?);
    let same = (is.st_dev, is.st_ino) == (should.st_dev, should.st_ino);
    if same { Ok(open) } else { Err(Errno::AGAIN) }
}

fn walk_exact(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    walk_without_links(root, path, flags, Some(place_of(root)?))
}

/// A walk that follows no link, and crosses no mount where there is a `home` to stay in.
fn walk_without_links(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    home: Option<MountPlace>,
) -> Result<OwnedFd, Errno> {
    let mut dir: Option<OwnedFd> = None;
    let mut names = parts(path);
    while let Some(name) = names.pop() {
        if name == b".." {
            return Err(Errno::XDEV);
        }
        let here = dir.as_ref().map_or(root, |dir| dir.as_fd());
        let probe = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = fs::openat(here, name.as_slice(), probe, Mode::empty())?;
        if FileType::from_raw_mode(fs::fstat(&found)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        if home.is_some() && Some(place_of(found.as_fd())?) != home {
            return Err(Errno::XDEV);
        }
        if names.is_empty() {
            return open_found(here, &name, found, flags);
        }
        dir = Some(found);
    }
    fs::openat(root, c".", flags | OFlags::CLOEXEC, Mode::empty())
}

/// The file system that an open file lies on, and since Linux 5.8 the mount.
type MountPlace = (u64, Option<u64>);

fn place_of(fd: BorrowedFd<'_>) -> Result<MountPlace, Errno> {
    let device = fs::fstat(fd)?.st_dev;
    match fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Ok(found) => {
            let said = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
            Ok((device, said.then_some(found.stx_mnt_id)))
        }
        Err(Errno::NOSYS) => Ok((device, None)),
        Err(errno) => Err(errno),
    }
}

/// The components of a path, last first. A slash at its end is a `.` there: what stands
/// before it must be a directory, and is followed if it is a link (path_resolution(7)).
fn parts(path: &Path) -> Vec<Vec<u8>> {
    let bytes = path.as_os_str().as_bytes();
    let directory = bytes.ends_with(b"/").then_some(b".".as_slice());
    let names = bytes.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
    let mut parts: Vec<Vec<u8>> = names.chain(directory).map(<[u8]>::to_vec).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> (Tree, OwnedFd) {
            let dir = std::env::temp_dir().join(format!("inroot-{name}-{}", std::process::id()));
            std::fs::create_dir_all(dir.join("root/a/b")).unwrap();
            std::fs::write(dir.join("secret"), "host").unwrap();
            std::fs::write(dir.join("root/secret"), "inside").unwrap();
            symlink("/secret", dir.join("root/a/abs")).unwrap();
            symlink("../../../../secret", dir.join("root/a/b/up")).unwrap();
            symlink("loop", dir.join("root/loop")).unwrap();
            symlink("/nowhere/x", dir.join("root/dangling")).unwrap();
            let root = fs::open(
                dir.join("root"),
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            );
            (Tree(dir), root.unwrap())
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn read(fd: OwnedFd) -> String {
        std::io::read_to_string(std::fs::File::from(fd)).unwrap()
    }

    #[test]
    fn links_stay_inside_with_and_without_openat2() {
        let (_tree, root) = Tree::new("links");
        for path in ["/a/abs", "a/b/up", "/../../secret", "a/b/../../secret", "//a//./abs"] {
            let path = Path::new(path);
            assert_eq!(read(open(root.as_fd(), path, OFlags::RDONLY).unwrap()), "inside");
            assert_eq!(read(walk(root.as_fd(), path, OFlags::RDONLY).unwrap()), "inside");
            assert!(walk(root.as_fd(), path, OFlags::PATH).is_ok());
        }
        for path in ["loop", "loop/x"] {
            let path = Path::new(path);
            assert_eq!(open(root.as_fd(), path, OFlags::PATH).unwrap_err(), Errno::LOOP);
            assert_eq!(walk(root.as_fd(), path, OFlags::PATH).unwrap_err(), Errno::LOOP);
        }
    }

    #[test]
    fn exact_paths_refuse_every_link() {
        let (_tree, root) = Tree::new("exact");
        let exact = |path: &str| open_exact(root.as_fd(), Path::new(path), OFlags::PATH);
        let walked = |path: &str| walk_exact(root.as_fd(), Path::new(path), OFlags::PATH);
        assert!(exact("a/b").is_ok() && walked("a/b").is_ok());
        assert_eq!(exact("a/abs").unwrap_err(), Errno::LOOP);
        assert_eq!(walked("a/abs").unwrap_err(), Errno::LOOP);
        assert_eq!(exact("../secret").unwrap_err(), Errno::XDEV);
        assert_eq!(walked("../secret").unwrap_err(), Errno::XDEV);
        let read_by = |path| walk_exact(root.as_fd(), Path::new(path), OFlags::RDONLY);
        assert_eq!(read(read_by("secret").unwrap()), "inside");
        // A directory of the host's root with another mount on it.
        let host = fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for by in [open_exact, walk_exact] {
            let proc = by(host.as_fd(), Path::new("proc"), OFlags::PATH);
            assert_eq!(proc.unwrap_err(), Errno::XDEV);
        }
        fn walk_over(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
            walk_without_links(root, path, flags, None)
        }
        for by in [open_without_links, walk_over] {
            assert!(by(host.as_fd(), Path::new("/proc"), OFlags::PATH).is_ok());
            let link = by(root.as_fd(), Path::new("/a/abs"), OFlags::PATH);
            assert_eq!(link.unwrap_err(), Errno::LOOP);
        }
    }

    #[test]
    fn missing_parts_are_made_inside() {
        let (tree, root) = Tree::new("make");
        let make = |path: &str, make| open_or_make(root.as_fd(), Path::new(path), make);
        make("/x/y/z", Make::Dir).unwrap();
        make("/x/f", Make::File).unwrap();
        assert!(tree.0.join("root/x/y/z").is_dir());
        assert!(tree.0.join("root/x/f").is_file());
        // Existing ones are left as they are.
        make("/secret", Make::File).unwrap();
        assert_eq!(std::fs::read_to_string(tree.0.join("root/secret")).unwrap(), "inside");
        // The target of a dangling link is made inside the root.
        make("/dangling", Make::File).unwrap();
        assert!(tree.0.join("root/nowhere/x").is_file());
        assert!(make("/x/missing/../../../out", Make::Dir).is_err());
        assert!(!tree.0.join("out").exists() && !tree.0.join("nowhere").exists());
    }
}
