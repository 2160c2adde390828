//! Mounts that are attached nowhere yet, by the mount API (Linux 5.2).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount as api;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use crate::plan::mount_attr::FsParam;

/// Makes a new mount of a file system, not yet attached anywhere
/// (`fsopen`, `fsconfig`, `fsmount`).
///
/// # Errors
/// `ENOSYS` before Linux 5.2; otherwise what the file system says.
pub fn new_fs(
    kind: &CStr,
    source: Option<&CStr>,
    params: &[FsParam],
    attrs: u64,
) -> Result<OwnedFd, Errno> {
    new_fs_told(kind, source, params, attrs, &mut String::new())
}

/// The same; `why` is told which option was refused and what the file system
/// says of it.
///
/// # Errors
/// As [`new_fs`].
pub fn new_fs_told(
    kind: &CStr,
    source: Option<&CStr>,
    params: &[FsParam],
    attrs: u64,
    why: &mut String,
) -> Result<OwnedFd, Errno> {
    let context = open_fs(kind).inspect_err(|errno| {
        if *errno == Errno::NODEV {
            ": unknown file system type".clone_into(why);
        }
    })?;
    configured(context.as_fd(), source, params, attrs, why)
}

/// Whether the kernel has the mount API.
pub fn has_api() -> bool {
    !matches!(open_fs(c"proc"), Err(Errno::NOSYS))
}

/// What a new mount of a file system of this kind is made of (fsopen(2)).
///
/// # Errors
/// `ENOSYS` before Linux 5.2; `ENODEV`: the kernel does not know the kind.
pub fn open_fs(kind: &CStr) -> Result<OwnedFd, Errno> {
    api::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
}

/// Has a procfs that is to be made show this pid namespace (Linux 6.17).
///
/// # Errors
/// `EINVAL`: the kernel is older.
pub fn show_pid_namespace(context: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    api::fsconfig_set_fd(context, c"pidns", namespace)
}

/// The mount of a file system that was opened by [`open_fs`].
///
/// # Errors
/// As [`new_fs_told`].
pub fn configured(
    context: BorrowedFd<'_>,
    source: Option<&CStr>,
    params: &[FsParam],
    attrs: u64,
    why: &mut String,
) -> Result<OwnedFd, Errno> {
    if let Some(source) = source {
        api::fsconfig_set_string(context, c"source", source)
            .inspect_err(|_| *why = said(context))?;
    }
    for param in params {
        let key = param.key.as_c_str();
        match &param.value {
            None => api::fsconfig_set_flag(context, key),
            Some(value) => api::fsconfig_set_string(context, key, value.as_c_str()),
        }
        .inspect_err(|_| *why = format!(": option {param}{}", said(context)))?;
    }
    api::fsconfig_create(context).inspect_err(|_| *why = said(context))?;
    let attrs = MountAttrFlags::from_bits_retain(attrs as u32);
    api::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attrs)
}

/// What the kernel has to say of a file system that was refused: its messages
/// (fsopen(2)), each with its sort in front (`e tmpfs: Bad value for 'size'`).
fn said(context: BorrowedFd<'_>) -> String {
    let mut all = String::new();
    let mut line = [0; 1024];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        let words = text.trim_end().split_once(' ').map_or("", |(_, words)| words);
        // It says some things twice.
        if !all.ends_with(words) {
            all.push_str(": ");
            all.push_str(words);
        }
    }
    all
}

/// A detached copy of the mount at an open file (`open_tree` with
/// `OPEN_TREE_CLONE`): what a bind mount is made of.
pub fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    open_tree(source, c"", recursive)
}

/// A detached copy of the mount at a path of the current root.
pub fn clone_tree_at(source: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    open_tree(CWD, source, recursive)
}

fn open_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.is_empty());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    api::open_tree(dir, path, flags)
}
