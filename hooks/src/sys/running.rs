//! A hook that runs, with or without a warden above it, and how it ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::spawn::{Exec, StartError, spawn};
use super::warden;

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
    fn of(status: &WaitIdStatus) -> Self {
        if let Some(code) = status.exit_status() {
            Ending::Exited(code)
        } else if let Some(signal) = status.terminating_signal() {
            Ending::Signaled { signal, core: status.dumped() }
        } else {
            Ending::Unknown
        }
    }
}

/// A started hook.
pub(crate) struct Running {
    /// Readable when it is over.
    pidfd: OwnedFd,
    /// Where its warden reports, if it has one.
    report: Option<OwnedFd>,
}

impl Running {
    /// Starts `exec`; with a deadline, below a warden.
    pub(crate) fn start(exec: &Exec<'_>, deadline: Option<Instant>) -> Result<Self, StartError> {
        match deadline {
            None => Ok(Running { pidfd: spawn(exec)?.pidfd, report: None }),
            Some(deadline) => {
                let (pidfd, report) = warden::start(exec, deadline)?;
                Ok(Running { pidfd, report: Some(report) })
            }
        }
    }

    /// Becomes readable when the hook is over.
    pub(crate) fn over(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How it ended; to be called once [`Running::over`] is readable.
    pub(crate) fn ending(self) -> Ending {
        let status = reap(&self.pidfd);
        match self.report {
            Some(report) => warden::read_report(&report),
            None => status.map_or(Ending::Unknown, |status| Ending::of(&status)),
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
