//! Starting a program in a user namespace of its own.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::UnshareFlags;

/// Makes `command` begin in a new user and mount namespace. Before its execve it writes
/// its process id to `ready`, and waits for a byte from `go`: its ids are mapped meanwhile.
pub fn unshare_at_start(command: &mut Command, ready: OwnedFd, go: OwnedFd) {
    let begin = move || -> io::Result<()> {
        let namespaces = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
        // SAFETY: the process has just been forked and has one thread, and shares no
        // descriptor table that others rely on.
        unsafe { rustix::thread::unshare_unsafe(namespaces) }?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        rustix::io::write(&ready, &pid.to_ne_bytes())?;
        let mut byte = [0];
        match rustix::io::read(&go, &mut byte)? {
            1 => Ok(()),
            _ => Err(io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error())),
        }
    };
    // SAFETY: between fork and execve the closure makes system calls only, and allocates
    // nothing: its errors are plain numbers.
    unsafe { command.pre_exec(begin) };
}
