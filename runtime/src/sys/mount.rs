//! The mount API by descriptor (Linux 5.2, `mount_setattr` 5.12), and its
//! fall-back to mount(2) on older kernels.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount as api;
use rustix::mount::{MoveMountFlags, UnmountFlags};
use rustix::process::fchdir;

use super::clone::last_errno;
pub use super::detached::{
    clone_tree, clone_tree_at, configured, has_api, new_fs, new_fs_told, open_fs,
    show_pid_namespace,
};
use super::procfs::Procfs;
pub use crate::plan::mount_attr::{FsParam, MountAttr, attr};

/// `mount_setattr(2)` on the mount that `mount` refers to; `recursive`: on all
/// below it too. Falls back to a bind remount and `MS_*` propagation.
pub fn set_attr(mount: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> Result<(), Errno> {
    match set_attr_detached(mount, attr, recursive) {
        Err(Errno::NOSYS) => set_attr_old(mount, attr, recursive),
        set => set,
    }
}

/// The same of a mount that is attached nowhere yet.
///
/// # Errors
/// `ENOSYS` before Linux 5.12: mount(2) changes attached mounts only.
pub fn set_attr_detached(
    mount: BorrowedFd<'_>,
    attr: &MountAttr,
    recursive: bool,
) -> Result<(), Errno> {
    if attr.is_empty() {
        return Ok(());
    }
    const AT_EMPTY_PATH: u32 = 0x1000;
    const AT_RECURSIVE: u32 = 0x8000;
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: an empty C string, a valid mount_attr and its size.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const *attr,
            std::mem::size_of::<MountAttr>(),
        )
    };
    if ret == -1 { Err(last_errno()) } else { Ok(()) }
}

fn set_attr_old(mount: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> Result<(), Errno> {
    if attr.set & attr::IDMAP != 0 {
        return Err(Errno::NOSYS);
    }
    named([mount], |[path]| {
        if attr.propagation != 0 {
            let rec = if recursive { libc::MS_REC } else { 0 };
            old_mount(None, path, None, attr.propagation | rec, None)?;
        }
        if attr.set != 0 || attr.clear != 0 {
            let now = rustix::fs::fstatvfs(mount)?.f_flag.bits();
            let flags = (old_flags_of_statvfs(now) & !old_flags(attr.clear)) | old_flags(attr.set);
            old_mount(None, path, None, libc::MS_REMOUNT | libc::MS_BIND | flags, None)?;
        }
        Ok(())
    })
}

/// The `MS_*` flags of mount(2) for mount attributes.
fn old_flags(attrs: u64) -> u64 {
    let table = [
        (attr::RDONLY, libc::MS_RDONLY),
        (attr::NOSUID, libc::MS_NOSUID),
        (attr::NODEV, libc::MS_NODEV),
        (attr::NOEXEC, libc::MS_NOEXEC),
        (attr::NOATIME, libc::MS_NOATIME),
        (attr::STRICTATIME, libc::MS_STRICTATIME),
        (attr::NODIRATIME, libc::MS_NODIRATIME),
        (attr::NOSYMFOLLOW, 256),
    ];
    table.iter().filter(|row| attrs & row.0 != 0).fold(0, |flags, row| flags | row.1)
}

/// statvfs(3) reports `ST_*` flags; those that a remount must repeat.
fn old_flags_of_statvfs(flags: u64) -> u64 {
    let table = [
        (libc::ST_RDONLY, libc::MS_RDONLY),
        (libc::ST_NOSUID, libc::MS_NOSUID),
        (libc::ST_NODEV, libc::MS_NODEV),
        (libc::ST_NOEXEC, libc::MS_NOEXEC),
        (libc::ST_NOATIME, libc::MS_NOATIME),
        (libc::ST_NODIRATIME, libc::MS_NODIRATIME),
        (libc::ST_RELATIME, libc::MS_RELATIME),
    ];
    table.iter().filter(|row| flags & row.0 != 0).fold(0, |all, row| all | row.1)
}

/// Attaches a detached mount on top of an open file or directory.
///
/// # Errors
/// `ENOTDIR` for a directory over a file and the reverse, as mount(2) has it
/// (move_mount(2) says `EINVAL`).
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match api::move_mount(mount, c"", target, c"", flags) {
        Err(Errno::INVAL) if is_dir(mount)? != is_dir(target)? => Err(Errno::NOTDIR),
        moved => moved,
    }
}

/// Whether an open file is a directory. A FUSE mount of somebody else's does not
/// let itself be looked at; but what it is, the kernel knows.
pub fn is_dir(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    match rustix::fs::fstat(file) {
        Ok(stat) => {
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            Ok(kind == rustix::fs::FileType::Directory)
        }
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let (links, name) = Procfs::own()?.link_of(file)?;
            match openat(&links, name, flags, Mode::empty()) {
                Ok(_) => Ok(true),
                Err(Errno::NOTDIR) => Ok(false),
                Err(errno) => Err(errno),
            }
        }
        Err(errno) => Err(errno),
    }
}

/// The id of the mount that an open file lies on; `None` before Linux 5.8.
pub fn id(file: BorrowedFd<'_>) -> Option<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// Takes the mount at an open directory away.
pub fn detach(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    inside(mount, || api::unmount(c".", UnmountFlags::DETACH))
}

/// Takes the mount whose root an open file or directory is away, and all that is mounted below
/// it. `proc` shows this process.
///
/// # Errors
/// `EINVAL`: it is no mount's root, or the kernel has it locked.
pub fn detach_open(proc: &Procfs, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let (links, name) = proc.link_of(mount)?;
    inside(links.as_fd(), || api::unmount(name.as_str(), UnmountFlags::DETACH))
}

/// mount(2) of a file system on an open directory, for kernels without the
/// mount API. The mount is to be opened again afterwards.
pub fn old_fs(
    kind: &CStr,
    source: Option<&CStr>,
    params: &[FsParam],
    attrs: u64,
    target: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut data = Vec::new();
    for param in params {
        if !data.is_empty() {
            data.push(b',');
        }
        data.extend_from_slice(param.key.as_bytes());
        if let Some(value) = &param.value {
            data.push(b'=');
            data.extend_from_slice(value.as_bytes());
        }
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    named([target], |[target]| {
        old_mount(source.or(Some(kind)), target, Some(kind), old_flags(attrs), Some(&data))
    })
}

/// mount(2) with `MS_BIND` from one open file onto another, for kernels
/// without the mount API. The mount is to be opened again afterwards.
pub fn old_bind(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    recursive: bool,
) -> Result<(), Errno> {
    let rec = if recursive { libc::MS_REC } else { 0 };
    named([source, target], |[source, target]| {
        old_mount(Some(source), target, None, libc::MS_BIND | rec, None)
    })
}

/// Calls `act` with names by which open files can be mounted and mounted upon: links of a procfs
/// that is one, whatever lies at `/proc`, in the working directory, which is that one's meanwhile.
fn named<const N: usize, T>(
    files: [BorrowedFd<'_>; N],
    act: impl FnOnce([&CStr; N]) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let proc = Procfs::own()?;
    let mut links = None;
    let mut names = [const { None }; N];
    for (name, file) in names.iter_mut().zip(files) {
        let (directory, number) = proc.link_of(file)?;
        links = Some(directory);
        *name = CString::new(number).ok();
    }
    let links = links.ok_or(Errno::INVAL)?;
    inside(links.as_fd(), || act(names.each_ref().map(|name| name.as_deref().unwrap_or_default())))
}

/// Calls `act` with an open directory as the working directory.
fn inside<T>(
    directory: BorrowedFd<'_>,
    act: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = openat(rustix::fs::CWD, c".", flags, Mode::empty())?;
    fchdir(directory)?;
    let done = act();
    fchdir(&here)?;
    done
}

fn old_mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<(), Errno> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or a C string that outlives the call.
    let ret = unsafe {
        libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, pointer(data).cast())
    };
    if ret == -1 { Err(last_errno()) } else { Ok(()) }
}

/// Makes the directory `new_root` the root of this mount namespace and lets
/// go of the old one: the kernel puts the old root on top of the new one when
/// both arguments of pivot_root(2) are ".", from where it is detached.
pub fn pivot_into(new_root: BorrowedFd<'_>) -> Result<(), Errno> {
    let old_root = rustix::fs::open(
        c"/",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    rustix::process::fchdir(new_root)?;
    rustix::process::pivot_root(c".", c".")?;
    // The old root lies on "." now; nothing unmounted there may reach the
    // host, so it is made a slave first.
    rustix::process::fchdir(&old_root)?;
    set_attr(
        old_root.as_fd(),
        &MountAttr { propagation: libc::MS_SLAVE, ..Default::default() },
        true,
    )?;
    api::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}
