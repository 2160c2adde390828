//! A process that does nothing but be in a scope: systemd makes none without.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions};

use crate::error::{Result, Step};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::{process, signals};

/// Such a process. It ends with this value, and with the runtime.
#[derive(Debug)]
pub struct Holder {
    pid: i32,
    pidfd: OwnedFd,
}

impl Holder {
    /// Makes one.
    ///
    /// # Errors
    /// The kernel makes no process.
    pub fn new() -> Result<Holder> {
        let runtime = std::process::id();
        match clone3(0, None).step(|| "clone a process to hold the scope")? {
            Cloned::Parent(pid, pidfd) => Ok(Holder { pid, pidfd }),
            Cloned::Child => hold(runtime),
        }
    }

    /// Its pid, as long as it lives.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

fn hold(runtime: u32) -> ! {
    // The runtime may have ended in between.
    if process::die_with_parent().is_err()
        || rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get() as u32) != Some(runtime)
    {
        process::exit_now(1);
    }
    loop {
        process::pause();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Gone already: nothing to do.
        let _gone = signals::send(self.pidfd.as_fd(), libc::SIGKILL);
        let wait =
            || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let _reaped = rustix::io::retry_on_intr(wait);
    }
}
