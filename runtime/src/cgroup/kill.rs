//! Signals to every process of a container.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::{Cgroup, file};
use crate::error::{Error, Result};
use crate::sys::signals;

/// How long the freezer may take before signals are sent to running processes.
const FREEZE_BOUND: Duration = Duration::from_millis(500);
/// How often the list of processes is read again for newcomers.
const ROUNDS: u32 = 10;

/// What [`Cgroup::kill`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// Processes were sent the signal.
    Some,
    /// There was none.
    Nobody,
}

impl Cgroup {
    /// Sends `signal` to every process of the container, nested groups
    /// included. KILL goes through `cgroup.kill` where the kernel has it (5.14),
    /// so that a fork bomb does not outrun it; a frozen v1 group is thawed
    /// for KILL, since its processes could not die otherwise.
    ///
    /// # Errors
    /// The processes cannot be listed or signalled.
    pub fn kill(&self, signal: Signal) -> Result<Killed> {
        self.signal(signal.as_raw())
    }

    /// [`Cgroup::kill`] by the signal's number (0 to 64): real-time signals
    /// have no name here.
    ///
    /// # Errors
    /// The processes cannot be listed or signalled.
    pub fn signal(&self, signal: i32) -> Result<Killed> {
        if signal == Signal::KILL.as_raw() {
            return self.kill_all();
        }
        // Stopped processes neither fork nor let their pids be used again.
        let froze = !self.is_frozen()? && self.freeze_within(FREEZE_BOUND).is_ok();
        let result = self.signal_listed(signal);
        if froze {
            self.thaw()?;
        }
        result
    }

    fn kill_all(&self) -> Result<Killed> {
        let before = self.pids()?;
        if let Some(group) = &self.unified {
            match file::put(&group.dir, "cgroup.kill", "1") {
                // Before 5.14, or gone already.
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(group.error("write 1 to", "cgroup.kill", errno)),
            }
        }
        // In v1 hierarchies, processes may be elsewhere than in the unified one.
        let unified_only = self.v1.is_empty() && self.pids()?.is_empty();
        if !before.is_empty() && !unified_only {
            self.kill_listed()?;
        }
        Ok(if before.is_empty() { Killed::Nobody } else { Killed::Some })
    }

    /// Kills what is listed, until nothing new is.
    fn kill_listed(&self) -> Result<()> {
        if self.with("freezer").is_some() {
            // Not in time: signalled while they run.
            let _ = self.freeze_within(FREEZE_BOUND);
        }
        let result = self.signal_listed(Signal::KILL.as_raw());
        self.thaw_to_die()?;
        result.map(|_| ())
    }

    /// Sends `signal` once to each process that is listed, newcomers too.
    fn signal_listed(&self, signal: i32) -> Result<Killed> {
        let mut done: Vec<i32> = Vec::new();
        for _ in 0..ROUNDS {
            let fresh: Vec<i32> =
                self.pids()?.into_iter().filter(|pid| done.binary_search(pid).is_err()).collect();
            if fresh.is_empty() {
                break;
            }
            let held: Vec<(i32, OwnedFd)> = fresh.iter().filter_map(|&pid| hold(pid)).collect();
            // A pid that is still listed was not another's when it was opened:
            // what the descriptor holds is, or was, in this container.
            let still = self.pids()?;
            for (pid, process) in held.iter().filter(|(pid, _)| still.binary_search(pid).is_ok()) {
                match signals::send(process.as_fd(), signal) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => {
                        return Err(Error::os(format!("send signal {signal} to {pid}"), errno));
                    }
                }
            }
            done.extend(fresh);
            done.sort_unstable();
        }
        Ok(if done.is_empty() { Killed::Nobody } else { Killed::Some })
    }
}

fn hold(pid: i32) -> Option<(i32, OwnedFd)> {
    let process = Pid::from_raw(pid)?;
    pidfd_open(process, PidfdFlags::empty()).ok().map(|fd| (pid, fd))
}
