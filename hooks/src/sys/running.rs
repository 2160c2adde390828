//! A hook that runs, with or without a subreaper above it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use super::ending::{Ending, StartError, reap};
use super::spawn::{Exec, spawn};
use super::subreaper;

/// A started hook.
pub(crate) struct Running {
    /// Readable when it is over.
    pidfd: OwnedFd,
    /// Where its subreaper reports, if it has one.
    report: Option<OwnedFd>,
}

impl Running {
    /// Starts `exec`; with a deadline, below a subreaper of its own.
    pub(crate) fn start(exec: &Exec<'_>, deadline: Option<Instant>) -> Result<Self, StartError> {
        match deadline {
            None => Ok(Running { pidfd: spawn(exec)?.pidfd, report: None }),
            Some(deadline) => {
                let (pidfd, report) = subreaper::start(exec, deadline)?;
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
            Some(report) => subreaper::read_report(&report),
            None => status.map_or(Ending::Unknown, |status| Ending::of(&status)),
        }
    }
}
