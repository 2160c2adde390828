//! Stopping and resuming all processes of a container at once.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use super::walk::{Reached, walk};
use super::{Cgroup, Group, file};
use crate::error::{Error, Result};

/// How long a group may take to freeze: a task in an uninterruptible sleep
/// does not stop before it wakes.
const FREEZE_BOUND: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Freezes the container; returns when every process has stopped.
    ///
    /// # Errors
    /// There is no group or no freezer, or the processes do not stop within 10
    /// seconds: then they are thawed again.
    pub fn freeze(&self) -> Result<()> {
        self.freeze_within(FREEZE_BOUND)
    }

    pub(super) fn freeze_within(&self, bound: Duration) -> Result<()> {
        let result = match self.freezer()? {
            Freezer::V1(group) => freeze_v1(group, bound),
            Freezer::V2(group) => freeze_v2(group, bound),
        };
        if result.is_err() {
            // The container was running: it goes on running.
            let _ = self.thaw();
        }
        result
    }

    /// Lets the container run again.
    ///
    /// # Errors
    /// There is no group or no freezer, or it refuses.
    pub fn thaw(&self) -> Result<()> {
        match self.freezer()? {
            Freezer::V1(group) => group.put("freezer.state", "THAWED"),
            Freezer::V2(group) => group.put("cgroup.freeze", "0"),
        }
    }

    /// Lets run whatever has to die: v1 processes take KILL only when they are
    /// thawed, and groups below the container's may be frozen by themselves. On
    /// v2 a container that is frozen is thawed. Without a group there is nothing to do.
    ///
    /// # Errors
    /// The freezer refuses.
    pub fn thaw_to_die(&self) -> Result<()> {
        match self.freezer() {
            Err(_) => Ok(()),
            Ok(Freezer::V1(group)) => {
                let thaw = |dir: &OwnedFd| file::put(dir, "freezer.state", "THAWED");
                let thawed = walk(&group.dir, &mut |reached| match reached {
                    Reached::Group(dir) => thaw(dir),
                    Reached::Left { .. } => Ok(()),
                });
                match thawed {
                    // Removed meanwhile.
                    Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
                    Err(errno) => Err(group.error("write THAWED to", "freezer.state", errno)),
                }
            }
            Ok(Freezer::V2(_)) if self.is_frozen()? => self.thaw(),
            Ok(Freezer::V2(_)) => Ok(()),
        }
    }

    /// Whether the container is frozen, by itself or by a group above it. A
    /// container without a freezer is not.
    ///
    /// # Errors
    /// The freezer cannot be read.
    pub fn is_frozen(&self) -> Result<bool> {
        let frozen = match self.freezer() {
            Err(_) => return Ok(false),
            Ok(Freezer::V1(group)) => {
                file::get(&group.dir, "freezer.state").map(|text| text.starts_with("FR"))
            }
            // While a process of a frozen group ends, its events say that it is not: then what was
            // asked for counts. The events know of a group above that is frozen.
            Ok(Freezer::V2(group)) => match file::get(&group.dir, "cgroup.events") {
                Ok(text) if has_event(&text, "frozen 1") => Ok(true),
                Ok(_) => file::get(&group.dir, "cgroup.freeze").map(|text| text.trim() == "1"),
                Err(errno) => Err(errno),
            },
        };
        match frozen {
            Ok(frozen) => Ok(frozen),
            // The group has been removed meanwhile.
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(Error::os("read the freezer's state", errno)),
        }
    }

    /// The group that freezes: v1's freezer where it is mounted (a process is
    /// thawed only when both are), else the unified group.
    fn freezer(&self) -> Result<Freezer<'_>> {
        match (self.with("freezer"), &self.unified) {
            (Some(group), _) => Ok(Freezer::V1(group)),
            (None, Some(group)) => Ok(Freezer::V2(group)),
            (None, None) => Err(Error::system("the container has no cgroup that can freeze it")),
        }
    }
}

enum Freezer<'a> {
    V1(&'a Group),
    V2(&'a Group),
}

/// v1: the state reads FREEZING until every task has stopped, and a task that
/// forks meanwhile can keep it there: the state is written again and again, with
/// a short thaw in between now and then (kernel: cgroup-v1/freezer-subsystem.rst).
fn freeze_v1(group: &Group, bound: Duration) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    for round in 1_u32.. {
        if round % 50 == 0 {
            group.put("freezer.state", "THAWED")?;
            std::thread::sleep(Duration::from_millis(1));
        }
        group.put("freezer.state", "FROZEN")?;
        if group.get("freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
        if start.elapsed() >= bound {
            break;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Err(timed_out(group, bound))
}

/// v2: the kernel freezes newcomers too, and tells in `cgroup.events`.
fn freeze_v2(group: &Group, bound: Duration) -> Result<()> {
    group.put("cgroup.freeze", "1")?;
    match group.await_event("frozen 1", bound)? {
        true => Ok(()),
        false => Err(timed_out(group, bound)),
    }
}

fn timed_out(group: &Group, bound: Duration) -> Error {
    Error::system(format!(
        "freeze {}: processes still run after {} s",
        group.place.directory(),
        bound.as_secs()
    ))
}

impl Group {
    /// Waits until `cgroup.events` has the line `event`; `false` when it has not
    /// within `bound`, `true` too when the group is gone.
    pub(super) fn await_event(&self, event: &str, bound: Duration) -> Result<bool> {
        match await_event(&self.dir, event, bound) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(true),
            other => other.map_err(|errno| self.error("watch", "cgroup.events", errno)),
        }
    }
}

fn await_event(dir: impl AsFd, event: &str, bound: Duration) -> std::result::Result<bool, Errno> {
    let events = file::open(dir, "cgroup.events", OFlags::RDONLY)?;
    let end = Instant::now() + bound;
    loop {
        seek(&events, SeekFrom::Start(0))?;
        if has_event(&file::read_all(&events)?, event) {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn has_event(text: &str, event: &str) -> bool {
    text.lines().any(|line| line == event)
}
