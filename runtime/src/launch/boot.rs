//! The image's own init as PID 1: finding it, and laying out what it finds.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::io::Errno;

use super::identity;
use crate::config::Config;
use crate::config::rich::{RichMode, init_named};
use crate::error::{Error, Result, Step};
use crate::plan::boot::{
    BootFile, BootPlan, BootWhat, Cover, Family, FoundInit, INIT, payload_file,
};
use crate::rich_init::RICH_INIT;
use crate::sys::{inroot, mount};

/// Where systemd is, in images with and without a merged `/usr`.
const SYSTEMD: &[&str] = &["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/// Where an image's init is, whatever it is.
const ANY: &[&str] = &["/sbin/init", "/usr/sbin/init", "/bin/init"];
/// A longer inittab is none.
const LONGEST: u64 = 64 << 10;
/// A longer program is not SysV's init, which has some 50 KiB.
const LONGEST_INIT: u64 = 4 << 20;
/// What SysV's init, and nobody else, tells its children it is.
const SYSV_MARK: &[u8] = b"INIT_VERSION=sysvinit-";

/// The init that the mode asks for, in the container's root on the host;
/// `None` for the built-in one.
///
/// # Errors
/// There is none, or one that cannot be given a payload.
pub fn find(config: &Config, mode: RichMode) -> Result<Option<FoundInit>> {
    let (name, usual) = match mode {
        RichMode::DumbInit => return Ok(None),
        RichMode::Systemd => ("systemd", SYSTEMD),
        RichMode::SbinInit => ("sbin-init", ANY),
    };
    let process = config.spec.process().as_ref();
    let args = process.and_then(|process| process.args().clone()).unwrap_or_default();
    // A command that is an init itself says which.
    let own = args.first().filter(|first| init_named(&args).is_some() && first.contains('/'));
    let places = own.map_or(usual.to_vec(), |own| vec![own.as_str()]);
    let Some(root) = config.spec.root() else { return Ok(None) };
    let path = config.bundle.join(root.path());
    let step = || format!("root.path: open {}", path.display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty()).step(step)?;
    for place in &places {
        let Ok(found) = inroot::open(root.as_fd(), Path::new(place), OFlags::PATH) else {
            continue;
        };
        let real = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
            .step(|| format!("rich mode {name}: resolve {place}"))?;
        let program = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let family = match program.as_str() {
            "systemd" => Family::Systemd,
            other if other.starts_with("busybox") => Family::Busybox,
            _ if is_sysv(root.as_fd(), Path::new(place)) => Family::SysV,
            other => {
                return Err(Error::config(format!(
                    "rich mode {name}: {place} is {other}, none of systemd, busybox and SysV's \
                     init: it cannot be given a payload"
                )));
            }
        };
        let inittab = (family != Family::Systemd).then(|| read_inittab(root.as_fd()));
        let path = PathBuf::from(place);
        return Ok(Some(FoundInit { path, family, inittab: inittab.flatten() }));
    }
    Err(Error::config(format!(
        "rich mode {name}: no such file in the container's root: {}",
        places.join(", ")
    )))
}

fn read_inittab(root: BorrowedFd<'_>) -> Option<String> {
    String::from_utf8(read(root, Path::new("/etc/inittab"), LONGEST)?).ok()
}

fn is_sysv(root: BorrowedFd<'_>, place: &Path) -> bool {
    let program = read(root, place, LONGEST_INIT).unwrap_or_default();
    program.windows(SYSV_MARK.len()).any(|window| window == SYSV_MARK)
}

/// The beginning of a regular file of the image's.
fn read(root: BorrowedFd<'_>, path: &Path, longest: u64) -> Option<Vec<u8>> {
    use std::io::Read;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = inroot::open(root, path, flags).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    File::from(file).take(longest).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Why systemd cannot work without groups of its own.
pub fn without_groups() -> Error {
    Error::system(
        "must using privileged mode when create systemd rich container: missing a cgroup of its \
         own; an ordinary user needs one delegated (systemd-run --user --scope -p Delegate=yes)",
    )
}

/// Child, in the container's root: lays out what the init finds. Everything
/// is on file systems of memory, the image stays as it is.
pub fn prepare(root: BorrowedFd<'_>, plan: &BootPlan) -> Result<()> {
    for file in &plan.files {
        let step = || format!("write {}", file.path.display());
        make_parent(&file.path).step(step)?;
        lay(file).step(step)?;
    }
    write(Path::new(INIT), RICH_INIT, 0o755).step(|| format!("write {INIT}"))?;
    plan.covers.iter().try_for_each(|cover| lay_over(root, cover))?;
    let Some(payload) = &plan.payload else { return Ok(()) };
    identity::enter_directory(&payload.cwd, true)?;
    let mut env = payload.env.clone();
    identity::complete_environment(&mut env, payload.user.uid, root);
    identity::find_program(&payload.args, &env)?;
    let file = payload_file(payload, &env, plan.family);
    write(&file.path, &file.bytes, 0o600).step(|| format!("write {}", file.path.display()))
}

fn make_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(parent)
}

fn lay(file: &BootFile) -> std::io::Result<()> {
    match &file.what {
        BootWhat::Text(text) => write(&file.path, text.as_bytes(), 0o644),
        BootWhat::Script(text) => write(&file.path, text.as_bytes(), 0o755),
        BootWhat::Link(target) => match symlink(target, &file.path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        },
        BootWhat::Inaccessible(0o040_000) => match DirBuilder::new().mode(0o000).create(&file.path)
        {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        },
        BootWhat::Inaccessible(kind) => {
            let kind = FileType::from_raw_mode(*kind);
            match mknodat(CWD, &file.path, kind, Mode::empty(), 0) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(errno.into()),
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)
}

fn lay_over(root: BorrowedFd<'_>, cover: &Cover) -> Result<()> {
    let step = || format!("cover {}", cover.place.display());
    let target = match cover.make {
        true => inroot::open_or_make(root, &cover.place, inroot::Make::File).step(step)?,
        false => match inroot::open(root, &cover.place, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            other => other.step(step)?,
        },
    };
    let source = inroot::open(root, &cover.source, OFlags::PATH).step(step)?;
    match mount::clone_tree(source.as_fd(), false) {
        Ok(tree) => mount::attach(tree.as_fd(), target.as_fd()).step(step),
        Err(Errno::NOSYS) => mount::old_bind(source.as_fd(), target.as_fd(), false).step(step),
        Err(errno) => Err(Error::os(step(), errno)),
    }
}
