//! Starting a program with another signal mask than the caller's.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;

/// Makes `command` begin with this signal mask.
pub fn with_mask(command: &mut Command, mask: SigSet) {
    let begin = move || mask.thread_set_mask().map_err(io::Error::from);
    // SAFETY: between fork and execve the closure makes one system call, and allocates
    // nothing.
    unsafe { command.pre_exec(begin) };
}
