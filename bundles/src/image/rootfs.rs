//! A container's root: the image's layers under a writable one, by overlayfs.
//!
//! The overlay is a mount of the container's configuration, on `/`: the runtime makes it
//! in the container's own mount namespace, as root and as an ordinary user alike. Nothing
//! is mounted on the host, so nothing is left there whoever dies.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_spec::runtime::{Mount, MountBuilder};

use super::fetch::Options;
use super::store::{Record, Store};
use super::userns;
use crate::error::{Error, Kind, Result};

/// A root that was made ready.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// `root.path` of the configuration.
    pub path: PathBuf,
    /// The mount to stand before all others; none where the tree was copied.
    pub mount: Option<Mount>,
    /// Directories with the image's files, the topmost first.
    pub layers: Vec<PathBuf>,
}

/// Bytes of an overlay's options: mount(2) takes a page, with the other options.
const OPTIONS: usize = 4000;

/// Makes the root of a container of `record` in `dir`, the container's own directory:
/// `rootfs`, `upper` and `work`. `ephemeral`: what the container writes need not survive
/// a crash of the machine.
///
/// # Errors
/// A failed system call; layers whose names are too long together; no way to join them.
pub fn prepare(
    store: &Store,
    record: &Record,
    dir: &Path,
    ephemeral: bool,
    options: &Options,
) -> Result<Rootfs> {
    let id = record.digest()?;
    store.note_user(&id, dir)?;
    let digests = record.layers()?;
    let layers: Vec<PathBuf> = digests.iter().rev().map(|layer| store.files(layer)).collect();
    let path = make(dir, "rootfs", 0o755)?;
    if !overlay_works(store) {
        return copied(store, record, path, layers, options);
    }
    let lower = digests.iter().rev().map(|layer| store.short(layer)).collect();
    joined(store, lower, layers, dir, ephemeral)
}

/// The same for directories that are root file systems already, the topmost first: the
/// container writes beside them. Where there is no overlayfs, into the first.
///
/// # Errors
/// As [`prepare`].
pub fn over(store: &Store, lower: Vec<PathBuf>, dir: &Path, ephemeral: bool) -> Result<Rootfs> {
    if overlay_works(store) {
        return joined(store, lower.clone(), lower, dir, ephemeral);
    }
    let path = lower.first().cloned().unwrap_or_default();
    Ok(Rootfs { path, mount: None, layers: lower })
}

fn joined(
    store: &Store,
    lower: Vec<PathBuf>,
    layers: Vec<PathBuf>,
    dir: &Path,
    ephemeral: bool,
) -> Result<Rootfs> {
    let path = make(dir, "rootfs", 0o755)?;
    let upper = make(dir, "upper", 0o755)?;
    like_root(&upper, layers.first())?;
    let work = make(dir, "work", 0o700)?;
    let lower = if lower.is_empty() { vec![make(dir, "empty", 0o755)?] } else { lower };
    let text = overlay_options(&lower, &upper, &work, !userns::is_initial_root(), ephemeral);
    let length: usize = text.iter().map(|option| option.len() + 1).sum();
    if length > OPTIONS {
        return Err(Error::new(
            Kind::Refused,
            format!(
                "image: the names of its {} layers are too long for overlayfs; use a store with a \
                 shorter path than {}",
                layers.len(),
                store.dir().display()
            ),
        ));
    }
    let mount = MountBuilder::default()
        .destination("/")
        .typ("overlay")
        .source("overlay")
        .options(text)
        .build()
        .map_err(|error| Error::system(format!("image: mount: {error}")))?;
    Ok(Rootfs { path, mount: Some(mount), layers })
}

fn make(dir: &Path, name: &str, mode: u32) -> Result<PathBuf> {
    let path = dir.join(name);
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(&path);
    let made = made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
    made.map_err(|error| {
        Error::new(Kind::Refused, format!("image: make {}: {error}", path.display()))
    })?;
    Ok(path)
}

/// The writable layer's own directory is what the container sees as `/`.
fn like_root(upper: &Path, top: Option<&PathBuf>) -> Result<()> {
    let Some(top) = top else { return Ok(()) };
    let copy = || -> io::Result<()> {
        let stat = fs::metadata(top)?;
        if userns::is_root() {
            std::os::unix::fs::chown(upper, Some(stat.uid()), Some(stat.gid()))?;
        }
        fs::set_permissions(upper, fs::Permissions::from_mode(stat.mode() & 0o7777))
    };
    copy().map_err(|error| {
        Error::new(Kind::Refused, format!("image: make {}: {error}", upper.display()))
    })
}

fn overlay_options(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    userxattr: bool,
    ephemeral: bool,
) -> Vec<String> {
    let lower: Vec<String> = lower.iter().map(|path| escaped(path)).collect();
    let mut options = vec![
        format!("lowerdir={}", lower.join(":")),
        format!("upperdir={}", escaped(upper)),
        format!("workdir={}", escaped(work)),
    ];
    if userxattr {
        options.push("userxattr".to_owned());
    }
    if ephemeral {
        // Its end would wait until all of the disk is written.
        options.push("volatile".to_owned());
    }
    options
}

/// A path as overlayfs reads it among its options.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for one in path.display().to_string().chars() {
        if matches!(one, '\\' | ':' | ',') {
            text.push('\\');
        }
        text.push(one);
    }
    text
}

/// Whether this kernel mounts an overlay in the store's file system with the rights that
/// the containers will have; found out once for each boot.
fn overlay_works(store: &Store) -> bool {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let path = store.dir().join("overlay");
    let known = fs::read_to_string(&path).unwrap_or_default();
    if let Some(answer) = known.strip_prefix(boot.trim()) {
        return answer.trim() == "yes";
    }
    let answer = tried(store);
    let word = if answer { "yes" } else { "no" };
    let _ = fs::write(&path, format!("{} {word}\n", boot.trim()));
    answer
}

/// Mounts a small overlay in namespaces that end at once, by util-linux.
fn tried(store: &Store) -> bool {
    let dir = store.scratch().join(format!("try-{}", std::process::id()));
    let parts = ["lower", "upper", "work", "on"].map(|name| dir.join(name));
    if parts.iter().any(|part| fs::create_dir_all(part).is_err()) {
        return false;
    }
    let userxattr = !userns::is_initial_root();
    let lower = [parts[0].clone()];
    let options = overlay_options(&lower, &parts[1], &parts[2], userxattr, false).join(",");
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !userns::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["mount", "-t", "overlay", "-o", &options, "overlay"]).arg(&parts[3]);
    let answer = command.output().is_ok_and(|output| output.status.success());
    let _ = super::unpack::remove::at(&dir);
    answer
}

/// Without overlayfs the tree is copied, by fuse-overlayfs and cp.
fn copied(
    store: &Store,
    record: &Record,
    path: PathBuf,
    layers: Vec<PathBuf>,
    options: &Options,
) -> Result<Rootfs> {
    let mut command = Command::new(&options.program);
    command
        .args(["image", "copy", "--store"])
        .arg(store.dir())
        .arg("--")
        .arg(&record.id)
        .arg(&path);
    command.stderr(std::process::Stdio::inherit());
    let status = if userns::is_root() {
        command
            .status()
            .map_err(|error| Error::new(Kind::Refused, format!("image: copy: {error}")))?
    } else {
        userns::output(command)?.status
    };
    if !status.success() {
        return Err(Error::new(
            Kind::Refused,
            format!("image {}: its files were not copied", record.id),
        ));
    }
    Ok(Rootfs { path, mount: None, layers })
}

/// Copies an image's files into `target`, as root (of a user namespace): what
/// `richctl image copy` does.
///
/// # Errors
/// fuse-overlayfs is missing or fails.
pub fn copy(store: &Store, record: &Record, target: &Path) -> Result<()> {
    let digests = record.layers()?;
    let lower: Vec<String> =
        digests.iter().rev().map(|layer| escaped(&store.short(layer))).collect();
    let on = store.scratch().join(format!("fuse-{}", std::process::id()));
    fs::create_dir_all(&on).map_err(|error| {
        Error::new(Kind::Refused, format!("image: make {}: {error}", on.display()))
    })?;
    let mut mounted = Command::new("fuse-overlayfs");
    mounted.arg("-o").arg(format!("lowerdir={}", lower.join(":"))).arg(&on);
    let step = |what: &str, command: &mut Command| {
        let status = command.status().map_err(|error| {
            Error::new(
                Kind::Refused,
                format!(
                    "image: {what}: {error}; this kernel cannot mount overlayfs here (a user \
                 namespace takes Linux 5.11): install fuse-overlayfs"
                ),
            )
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::new(Kind::Refused, format!("image: {what}: {status}")))
        }
    };
    step("fuse-overlayfs", &mut mounted)?;
    let mut from = on.clone().into_os_string();
    from.push("/.");
    let copied = step("cp", Command::new("cp").arg("-a").arg("--").arg(from).arg(target));
    let unmounted = step("umount", Command::new("umount").arg(&on));
    let _ = fs::remove_dir(&on);
    copied.and(unmounted)
}

/// Removes a container's directory, and what its other users own in it.
///
/// # Errors
/// A failed system call.
pub fn clean(dir: &Path, options: &Options) -> Result<()> {
    let plain = super::unpack::remove::at(dir);
    match plain {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !userns::is_root() => {
            let mut command = Command::new(&options.program);
            command.args(["image", "clean", "--"]).arg(dir);
            let output = userns::output(command)?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() { Ok(()) } else { Err(Error::system(said.trim())) }
        }
        Err(error) => Err(Error::system(format!("remove {}: {error}", dir.display()))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let lower = [PathBuf::from("/s/l/b"), PathBuf::from("/s/l/a:1,x")];
        let made = overlay_options(&lower, Path::new("/c/upper"), Path::new("/c/work"), true, true);
        assert_eq!(
            made,
            [
                "lowerdir=/s/l/b:/s/l/a\\:1\\,x",
                "upperdir=/c/upper",
                "workdir=/c/work",
                "userxattr",
                "volatile"
            ]
        );
    }
}
