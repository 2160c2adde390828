//! Nothing that runs in a container's namespaces is a file that the container
//! could write to through `/proc/PID/exe` (CVE-2019-5736).
//!
//! Before it touches a container the runtime executes itself again from a
//! read-only mount that is attached nowhere and belongs to no namespace: a
//! write through it fails with EROFS, for whoever has it, and nobody can
//! reach it to make it writable. That costs one execve and copies nothing.
//! Where such a mount may not be made, a sealed copy in memory does the same.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{
    Access, AtFlags, CWD, MemfdFlags, OFlags, SealFlags, accessat, fcntl_add_seals,
    fcntl_get_seals, memfd_create,
};
use rustix::io::Errno;

use super::host_path;
use crate::error::{Error, Result, Step};
use crate::plan::mount_attr::{MountAttr, attr};
use crate::sys::{mount, process};

/// This process's own program.
const EXE: &std::ffi::CStr = c"/proc/self/exe";

/// Makes sure that this process runs from an image that nobody can write to;
/// executes the runtime again, with the same arguments, if it does not yet.
pub fn protect() -> Result<()> {
    if is_protected()? {
        // Executed by descriptor, it is called by a number.
        return rustix::thread::set_name(c"richrun").step(|| "set the process's name");
    }
    let image = match read_only_mount() {
        Ok(image) => image,
        Err(_) => sealed_copy()?,
    };
    let c = |text: &OsStr| CString::new(text.as_bytes());
    let nul = |_| Error::system("an argument contains a NUL byte");
    let argv: Vec<CString> = std::env::args_os()
        .map(|arg| c(&arg))
        .collect::<std::result::Result<_, _>>()
        .map_err(nul)?;
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(name, value)| {
            CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok()
        })
        .collect();
    let argv: Vec<_> = argv.iter().map(CString::as_c_str).collect();
    let env: Vec<_> = env.iter().map(CString::as_c_str).collect();
    let errno = process::execveat(image.as_fd(), c"", &argv, &env);
    Err(Error::os("execute the runtime from its protected image", errno))
}

/// Whether a write to our own program must fail, for everybody in a container
/// that we make.
fn is_protected() -> Result<bool> {
    match accessat(CWD, EXE, Access::WRITE_OK, AtFlags::EACCESS) {
        // A read-only mount or file system, as after `protect`.
        Err(Errno::ROFS) => Ok(true),
        // An ordinary user's containers are this user on the host; a program
        // of the superuser's is safe from them.
        Err(Errno::ACCESS) => {
            let stat = host_path::stat(EXE).step(|| "stat /proc/self/exe")?;
            let own = rustix::process::geteuid().as_raw();
            Ok(own != 0 && stat.st_uid != own && stat.st_uid == 0)
        }
        _ => {
            let open = host_path::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC)
                .step(|| "open /proc/self/exe")?;
            let sealed = fcntl_get_seals(&open).unwrap_or(SealFlags::empty());
            Ok(sealed.contains(SealFlags::WRITE))
        }
    }
}

/// A copy of our program's mount, read-only and attached nowhere.
fn read_only_mount() -> std::result::Result<OwnedFd, Errno> {
    let tree = mount::clone_tree_at(EXE, false)?;
    mount::set_attr(tree.as_fd(), &MountAttr::setting(attr::RDONLY), false)?;
    Ok(tree)
}

fn sealed_copy() -> Result<OwnedFd> {
    let own = host_path::read("/proc/self/exe").step(|| "read /proc/self/exe")?;
    sealed_image(c"richrun", &own)
}

/// A program in memory that nobody can write to, close-on-exec.
pub fn sealed_image(name: &std::ffi::CStr, bytes: &[u8]) -> Result<OwnedFd> {
    let step = || format!("image of {} in memory", name.to_string_lossy());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(name, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every memfd is executable.
        Err(Errno::INVAL) => memfd_create(name, flags),
        made => made,
    };
    let memory = memory.step(step)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&memory, rest)).step(step)?;
        rest = &rest[written..];
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&memory, seals).step(step)?;
    Ok(memory)
}
