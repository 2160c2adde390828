//! How the start of a program, or the program, ended.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

/// The step at which a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Making the process.
    Clone,
    /// Placing its three descriptors and its process group.
    Prepare,
    /// Changing to its working directory.
    Chdir,
    /// Executing the program.
    Exec,
}

impl Step {
    pub(super) fn from_number(number: i32) -> Self {
        [Step::Clone, Step::Prepare, Step::Chdir, Step::Exec]
            .into_iter()
            .find(|step| *step as i32 == number)
            .unwrap_or(Step::Clone)
    }
}

/// A program could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartError {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

impl StartError {
    pub(super) fn last(step: Step) -> Self {
        StartError { step, errno: last_errno() }
    }
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// How a hook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Signaled { signal: i32, core: bool },
    /// Its deadline passed, and it was killed with all that it had started.
    TimedOut { survivors: bool },
    /// It could not be started.
    NotStarted(StartError),
    /// Nobody can tell any more.
    Unknown,
}

impl Ending {
    pub(super) fn of(status: &WaitIdStatus) -> Self {
        if let Some(code) = status.exit_status() {
            Ending::Exited(code)
        } else if let Some(signal) = status.terminating_signal() {
            Ending::Signaled { signal, core: status.dumped() }
        } else {
            Ending::Unknown
        }
    }
}

/// Waits for one child, and no other; `None` if it is not ours to wait for.
pub(super) fn reap(pidfd: &OwnedFd) -> Option<WaitIdStatus> {
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(status) => return status,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// As [`reap`], as an [`Ending`].
pub(super) fn ending_of(pidfd: &OwnedFd) -> Ending {
    reap(pidfd).map_or(Ending::Unknown, |status| Ending::of(&status))
}
