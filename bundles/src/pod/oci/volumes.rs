//! Volumes as directories and mounts.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use serde_json::{Value, json};

use crate::error::{At, Error, Kind, Result};
use crate::pod::model::{File, Mount, Pod, Volume};
use crate::pod::setup::{PodDirs, Setup};
use crate::source::PreparedRoot;
use crate::store::{Undo, read_json};

/// Undoes what a container's source left the last time.
pub fn undo(dir: &Path) {
    let file = dir.join("undo.json");
    let steps: Vec<Undo> = read_json(&file).ok().flatten().unwrap_or_default();
    for step in steps.iter().rev() {
        match step {
            Undo::Unmount(path) => drop(unmount(path, UnmountFlags::DETACH)),
            Undo::Remove(path) => drop(fs::remove_dir_all(path)),
            Undo::Run(words) => {
                if let Some((program, arguments)) = words.split_first() {
                    let _ = std::process::Command::new(program).args(arguments).output();
                }
            }
        }
    }
    let _ = fs::remove_file(file);
}

/// Lays a layer of the container's own over a directory that others use too.
///
/// # Errors
/// The kernel's.
pub fn overlay(dir: &Path, root: &mut PreparedRoot) -> Result<()> {
    let (top, work, merged) = (dir.join("upper"), dir.join("work"), dir.join("rootfs"));
    for dir in [&top, &work, &merged] {
        fs::create_dir_all(dir).at("make", dir.display())?;
    }
    // Colons and commas mean something in these options.
    let plain = |path: &Path| {
        path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
    };
    let options =
        format!("lowerdir={},upperdir={},workdir={}", plain(&root.root), plain(&top), plain(&work));
    let options = std::ffi::CString::new(options).at("mount", merged.display())?;
    mount("overlay", &merged, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .at("mount an overlay at", merged.display())?;
    root.undo.push(Undo::Remove(top));
    root.undo.push(Undo::Remove(work));
    root.undo.push(Undo::Unmount(merged.clone()));
    root.root = merged;
    Ok(())
}

/// The directory of a volume.
fn dir_of(dirs: &PodDirs, setup: &Setup, name: &str, volume: &Volume) -> PathBuf {
    match volume {
        Volume::HostPath { path, .. } => path.into(),
        Volume::EmptyDir { memory: true, .. } => dirs.run.join("volumes").join(name),
        Volume::EmptyDir { memory: false, .. } | Volume::Files(_) => {
            dirs.data.join("volumes").join(name)
        }
        Volume::Claim { name, .. } => {
            let claims = setup.place().data.join("claims");
            claims.join(&setup.pod.namespace).join(name)
        }
    }
}

/// Makes a pod's volumes.
///
/// # Errors
/// What is not there or cannot be made.
pub fn make(setup: &Setup, dirs: &PodDirs) -> Result<()> {
    for (name, volume) in &setup.pod.volumes {
        let dir = dir_of(dirs, setup, name, volume);
        match volume {
            Volume::HostPath { kind, .. } => host_path(&dir, kind)?,
            Volume::EmptyDir { memory, size } => {
                fs::create_dir_all(&dir).at("make", dir.display())?;
                if *memory {
                    memory_at(&dir, *size)?;
                }
                open_to(&dir, 0o777, setup.pod.fs_group)?;
            }
            Volume::Files(files) => files_at(&dir, files, setup.pod.fs_group)?,
            Volume::Claim { .. } => {
                if !dir.is_dir() {
                    fs::create_dir_all(&dir).at("make", dir.display())?;
                    open_to(&dir, 0o777, setup.pod.fs_group)?;
                }
            }
        }
    }
    Ok(())
}

/// A file system in memory.
pub fn memory_at(dir: &Path, size: Option<u64>) -> Result<()> {
    let options = size.map_or("mode=1777".to_owned(), |size| format!("mode=1777,size={size}"));
    let options = std::ffi::CString::new(options).at("mount", dir.display())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", dir, "tmpfs", flags, Some(options.as_c_str())).at("mount", dir.display())
}

/// Everybody may use it, as Kubernetes has it; a group owns what is made in it.
fn open_to(dir: &Path, mode: u32, group: Option<u32>) -> Result<()> {
    let mode = if group.is_some() { mode | 0o2000 } else { mode };
    chown(dir, None, group).at("give away", dir.display())?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).at("open", dir.display())
}

fn host_path(path: &Path, kind: &str) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let found = fs::metadata(path);
    let missing = found.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    match (kind, missing) {
        ("DirectoryOrCreate", true) => return fs::create_dir_all(path).at("make", path.display()),
        ("FileOrCreate", true) => {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o644);
            return options.open(path).map(drop).at("make", path.display());
        }
        _ => {}
    }
    let kinds = found.at("hostPath", path.display())?.file_type();
    let fits = match kind {
        "" => true,
        "Directory" | "DirectoryOrCreate" => kinds.is_dir(),
        "File" | "FileOrCreate" => kinds.is_file(),
        "Socket" => kinds.is_socket(),
        "CharDevice" => kinds.is_char_device(),
        "BlockDevice" => kinds.is_block_device(),
        other => {
            let what = format!("hostPath {}: nobody knows the type {other:?}", path.display());
            return Err(Error::usage(what));
        }
    };
    match fits {
        true => Ok(()),
        false => {
            let what = format!("hostPath {}: it is no {kind}", path.display());
            Err(Error::new(Kind::Refused, what))
        }
    }
}

/// Files whose names the reader has checked: relative and without `..`.
fn files_at(dir: &Path, files: &[File], group: Option<u32>) -> Result<()> {
    // Written anew: what a container left of them is not taken over.
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).at("make", dir.display())?;
    for file in files {
        let path = dir.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("make", parent.display())?;
        }
        fs::write(&path, &file.bytes).at("write", path.display())?;
        let readable = if group.is_some() { file.mode | 0o040 } else { file.mode };
        chown(&path, None, group).at("give away", path.display())?;
        let mode = fs::Permissions::from_mode(readable);
        fs::set_permissions(&path, mode).at("open", path.display())?;
    }
    Ok(())
}

/// A mount that is there until the container has started, which has its own then.
pub struct Held(PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_file(&self.0).or_else(|_| fs::remove_dir(&self.0));
    }
}

/// Binds what a descriptor is of to a path that nobody else can exchange. The runtime
/// could not mount the descriptor itself: it has a mount namespace of its own.
fn hold(dirs: &PodDirs, name: &str, fd: &OwnedFd) -> Result<Held> {
    let dir = dirs.run.join("sub");
    fs::create_dir_all(&dir).at("make", dir.display())?;
    let place = dir.join(name);
    let source = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let made = match fs::metadata(&source).at("look at", name)?.is_dir() {
        true => fs::create_dir_all(&place),
        false => fs::write(&place, ""),
    };
    made.at("make", place.display())?;
    let held = Held(place);
    mount_bind(&source, &held.0).at("mount", held.0.display())?;
    Ok(held)
}

/// The mounts of a container, as `config.json` has them, and those that have to stay
/// until it has started.
///
/// # Errors
/// A `subPath` that leads out of its volume.
pub fn mounts(
    setup: &Setup,
    dirs: &PodDirs,
    pod: &Pod,
    place: usize,
) -> Result<(Vec<Value>, Vec<Held>)> {
    let mut mounts = Vec::new();
    let mut held = Vec::new();
    // Outer ones first, whatever their order in the manifest.
    let mut own: Vec<&Mount> = pod.containers[place].mounts.iter().collect();
    own.sort_by_key(|mount| mount.path.matches('/').count());
    for mount in own {
        let Some(volume) = pod.volumes.get(&mount.volume) else { continue };
        let dir = dir_of(dirs, setup, &mount.volume, volume);
        let source = match &mount.sub_path {
            None => dir,
            Some(sub) => {
                let name = format!("{}-{}", pod.containers[place].name, held.len());
                let mount = hold(dirs, &name, &below(&dir, sub)?)?;
                let path = mount.0.clone();
                held.push(mount);
                path
            }
        };
        let written = matches!(volume, Volume::EmptyDir { .. } | Volume::HostPath { .. })
            || matches!(volume, Volume::Claim { read_only: false, .. });
        let read_only = mount.read_only || !written;
        let propagation = match mount.propagation.as_deref() {
            Some("HostToContainer") => "rslave",
            Some("Bidirectional") => "rshared",
            _ => "rprivate",
        };
        let how = if read_only { "ro" } else { "rw" };
        mounts.push(json!({
            "destination": mount.path,
            "source": source,
            "type": "bind",
            "options": ["rbind", how, propagation],
        }));
    }
    Ok((mounts, held))
}

/// A path in a volume, made if it is missing. What is in a volume is the containers': a
/// link in it is followed no further than its top, and the descriptor is what is mounted.
fn below(dir: &Path, sub: &str) -> Result<OwnedFd> {
    let path = || format!("{sub} in {}", dir.display());
    let how = OFlags::PATH | OFlags::CLOEXEC;
    let top = rustix::fs::open(dir, how, Mode::empty()).at("open", dir.display())?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(&top, sub, how, Mode::empty(), inside) {
        Ok(fd) => return Ok(fd),
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error).at("open", path()),
    }
    let mut at = top.try_clone().at("open", dir.display())?;
    let mut so_far = PathBuf::new();
    for part in Path::new(sub).components() {
        so_far.push(part);
        match mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).at("make", path()),
        }
        at = openat2(&top, &so_far, how, Mode::empty(), inside).at("open", path())?;
    }
    Ok(at)
}

/// Unmounts what [`make`] mounted.
pub fn clear(dirs: &PodDirs) {
    for dir in ["volumes", "sub"] {
        for entry in fs::read_dir(dirs.run.join(dir)).into_iter().flatten().flatten() {
            let _ = unmount(entry.path(), UnmountFlags::DETACH);
        }
    }
}
