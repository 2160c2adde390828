//! Taking a container's groups away, however they were left: nested, frozen
//! or busy.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;
use rustix::process::Signal;

use super::walk::{Reached, walk};
use super::{Cgroup, Group, open_if_there};
use crate::error::{Error, Result};

/// How long the last process may take to leave a group after its parent has
/// seen it dead.
const SETTLE_BOUND: Duration = Duration::from_secs(2);
/// How long killed processes may take to die: one in an uninterruptible sleep
/// does not before it wakes.
const KILL_BOUND: Duration = Duration::from_secs(10);

/// What is done about processes that are still in a group to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// Nothing: a group with processes is an error.
    Refuse,
    /// They are killed.
    Kill,
}

impl Cgroup {
    /// Removes the groups if nobody and nothing is in them; whether that was so.
    /// One system call a group: what the end of nearly every container takes.
    pub fn remove_empty(&self) -> bool {
        self.groups().all(|group| rmdir(CWD, group.place.directory().as_str()).is_ok())
    }

    /// Removes the groups and all groups below them. Removing twice is no error.
    ///
    /// # Errors
    /// A group is still busy after a bounded wait (2 seconds; 10 after KILL); the
    /// others have been removed all the same.
    pub fn remove(&self, leftovers: Leftovers) -> Result<()> {
        let mut busy = self.remove_once()?;
        if busy.is_empty() {
            return Ok(());
        }
        self.thaw_to_die()?;
        let bound = match leftovers {
            Leftovers::Refuse => SETTLE_BOUND,
            Leftovers::Kill => KILL_BOUND,
        };
        let end = Instant::now() + bound;
        let mut pause = Duration::from_micros(100);
        while Instant::now() < end {
            if leftovers == Leftovers::Kill {
                self.kill_in(&busy)?;
            }
            match busy.iter().find(|group| group.place.controllers.is_empty()) {
                Some(unified) => {
                    unified.await_event("populated 0", pause)?;
                }
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
            busy = self.remove_once()?;
            if busy.is_empty() {
                return Ok(());
            }
        }
        Err(still_busy(&busy))
    }

    /// One attempt at each group; returns those that are busy.
    fn remove_once(&self) -> Result<Vec<&Group>> {
        let mut busy = Vec::new();
        let mut failed = None;
        for group in self.groups() {
            match group.remove_once() {
                Ok(()) => {}
                Err(Errno::BUSY) => busy.push(group),
                Err(errno) => {
                    let step = format!("remove cgroup {}", group.place.directory());
                    failed.get_or_insert(Error::os(step, errno));
                }
            }
        }
        failed.map_or(Ok(busy), Err)
    }

    /// Kills what lives in the groups that could not be removed.
    fn kill_in(&self, busy: &[&Group]) -> Result<()> {
        self.kill(Signal::KILL)?;
        // A process may have left the group that lists them, and stay in others.
        for group in busy {
            let v1 = open_if_there(&group.place)?.into_iter().collect();
            Cgroup { mode: self.mode, v1, ..Cgroup::none() }.kill(Signal::KILL)?;
        }
        Ok(())
    }
}

impl Group {
    fn remove_once(&self) -> std::result::Result<(), Errno> {
        let path = self.place.directory();
        match rmdir(CWD, path.as_str()) {
            // Groups below it, or processes: take away what can be.
            Err(Errno::BUSY) => {}
            result => return result,
        }
        walk(&self.dir, &mut |reached| match reached {
            Reached::Group(_) => Ok(()),
            Reached::Left { parent, name } => rmdir(parent, name),
        })?;
        rmdir(CWD, path.as_str())
    }
}

fn rmdir(at: impl AsFd, path: impl rustix::path::Arg) -> std::result::Result<(), Errno> {
    match unlinkat(at, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        result => result,
    }
}

fn still_busy(busy: &[&Group]) -> Error {
    let mut pids = Vec::new();
    let mut places = Vec::new();
    for group in busy {
        // What cannot be listed is still named.
        let _ = group.pids_into(&mut pids);
        places.push(group.place.directory());
    }
    pids.sort_unstable();
    pids.dedup();
    Error::os(format!("remove cgroup {} (processes: {pids:?})", places.join(", ")), Errno::BUSY)
}
