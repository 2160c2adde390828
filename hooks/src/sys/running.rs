//! A hook that runs, with or without a subreaper above it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

use super::ending::{Ending, StartError, reap};
use super::spawn::{Exec, Spawned, spawn};
use super::subreaper;

/// A started hook.
pub(crate) struct Running {
    /// Readable when it is over.
    pidfd: OwnedFd,
    /// Where its subreaper reports, if it has one.
    report: Option<OwnedFd>,
    /// Its process group, where it has no subreaper.
    group: Option<Pid>,
}

impl Running {
    /// Starts `exec`; with a deadline, below a subreaper of its own.
    pub(crate) fn start(exec: &Exec<'_>, deadline: Option<Instant>) -> Result<Self, StartError> {
        match deadline {
            None => {
                let Spawned { pid, pidfd } = spawn(exec)?;
                Ok(Running { pidfd, report: None, group: Some(pid) })
            }
            Some(deadline) => {
                let (pidfd, report) = subreaper::start(exec, deadline)?;
                Ok(Running { pidfd, report: Some(report), group: None })
            }
        }
    }

    /// Becomes readable when the hook is over.
    pub(crate) fn over(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills it, and with a subreaper all that it has started; [`Running::over`] tells when it
    /// is dead.
    pub(crate) fn give_up(&mut self) {
        self.report = None;
        if let Some(group) = self.group {
            // It may be dead, and is not reaped: the number is its own.
            let _dead = kill_process_group(group, Signal::KILL);
        }
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
