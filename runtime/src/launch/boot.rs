//! The image's own init as PID 1: finding it, and laying out what it finds.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;

use super::host_path;
use super::{identity, image_file};
use crate::config::Config;
use crate::config::rich::{RichMode, init_named};
use crate::error::{Error, Result, Step};
use crate::plan::boot::{
    BootFile, BootPlan, BootWhat, Cover, Family, FoundInit, INIT, payload_file, systemd,
};
use crate::rich_init::RICH_INIT;
use crate::sys::{inroot, mount};

/// Where systemd is, in images with and without a merged `/usr`.
const SYSTEMD: &[&str] = &["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/// Where an image's init is, whatever it is.
const ANY: &[&str] = &["/sbin/init", "/usr/sbin/init", "/bin/init"];
/// Of more names in a directory the rest is not looked at.
const MOST_NAMES: usize = 4096;
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
    let root = host_path::open(&path, flags).step(step)?;
    for place in &places {
        let Ok(found) = inroot::open(root.as_fd(), Path::new(place), OFlags::PATH) else {
            continue;
        };
        let real = host_path::name_of(found.as_fd())
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
        let version = (family == Family::Systemd).then(|| version(root.as_fd())).flatten();
        return Ok(Some(FoundInit { path, family, inittab: inittab.flatten(), version }));
    }
    Err(Error::config(format!(
        "rich mode {name}: no such file in the container's root: {}",
        places.join(", ")
    )))
}

/// The version of the image's systemd, by the name of its library.
fn version(root: BorrowedFd<'_>) -> Option<u32> {
    let multiarch = names(root, "/usr/lib").into_iter().filter(|name| name.contains("-linux-"));
    let multiarch = multiarch.map(|name| format!("/usr/lib/{name}/systemd"));
    let places = ["/usr/lib/systemd", "/lib/systemd", "/usr/lib64/systemd"].map(str::to_owned);
    let version = |name: String| {
        let rest = name.strip_prefix("libsystemd-shared-")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    };
    let all = places.into_iter().chain(multiarch).flat_map(|place| names(root, &place));
    all.filter_map(version).next()
}

/// The names in a directory of the image's, as far as it is one; of very many only some.
fn names(root: BorrowedFd<'_>, path: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = inroot::open(root, Path::new(path), flags).and_then(Dir::new);
    let entries = directory.into_iter().flatten().take(MOST_NAMES).flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn read_inittab(root: BorrowedFd<'_>) -> Option<String> {
    String::from_utf8(image_file::read(root, Path::new("/etc/inittab"), LONGEST).ok()?).ok()
}

fn is_sysv(root: BorrowedFd<'_>, place: &Path) -> bool {
    let program = image_file::read(root, place, LONGEST_INIT).unwrap_or_default();
    program.windows(SYSV_MARK.len()).any(|window| window == SYSV_MARK)
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
        lay(root, file).step(|| format!("write {}", file.path.display()))?;
    }
    let init = Path::new(INIT);
    write(root, init, RICH_INIT, 0o755).step(|| format!("write {INIT}"))?;
    plan.covers.iter().try_for_each(|cover| lay_over(root, cover))?;
    let Some(payload) = &plan.payload else { return Ok(()) };
    if plan.family == Family::Systemd {
        keep_the_unit(root)?;
    }
    identity::enter_directory(root, &payload.cwd, true)?;
    let mut env = payload.env.clone();
    identity::complete_environment(&mut env, payload.user.uid, root);
    identity::find_program(&payload.args, &env)?;
    let file = payload_file(payload, &env, plan.family);
    write(root, &file.path, &file.bytes, 0o600).step(|| format!("write {}", file.path.display()))
}

/// What the image says for all of its services is not said for the payload's unit.
fn keep_the_unit(root: BorrowedFd<'_>) -> Result<()> {
    let all = systemd::FOR_EVERY_SERVICE.iter().flat_map(|place| names(root, place));
    let names: Vec<String> = all.filter(|name| name.ends_with(".conf")).collect();
    for file in names.iter().flat_map(|name| systemd::not_for_the_payload(name)) {
        lay(root, &file).step(|| format!("write {}", file.path.display()))?;
    }
    Ok(())
}

type Done = std::result::Result<(), Errno>;

/// The directory of a path, made where it is missing, and the path's last name.
fn place_of<'a>(
    root: BorrowedFd<'_>,
    path: &'a Path,
) -> std::result::Result<(OwnedFd, &'a OsStr), Errno> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok((inroot::open_or_make(root, parent, inroot::Make::Dir)?, name))
}

fn lay(root: BorrowedFd<'_>, file: &BootFile) -> Done {
    let (mode, text) = match &file.what {
        BootWhat::Text(text) => (0o644, text),
        BootWhat::Script(text) => (0o755, text),
        other => return lay_node(root, &file.path, other),
    };
    write(root, &file.path, text.as_bytes(), mode)
}

/// What is there already stays.
fn lay_node(root: BorrowedFd<'_>, path: &Path, what: &BootWhat) -> Done {
    let (parent, name) = place_of(root, path)?;
    let made = match what {
        BootWhat::Link(target) => symlinkat(target, &parent, name),
        BootWhat::Inaccessible(0o040_000) => mkdirat(&parent, name, Mode::empty()),
        BootWhat::Inaccessible(kind) => {
            mknodat(&parent, name, FileType::from_raw_mode(*kind), Mode::empty(), 0)
        }
        BootWhat::Text(_) | BootWhat::Script(_) => Ok(()),
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

fn write(root: BorrowedFd<'_>, path: &Path, bytes: &[u8], mode: u32) -> Done {
    let (parent, name) = place_of(root, path)?;
    inroot::write_new(parent.as_fd(), name, bytes, Mode::from_raw_mode(mode))
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
