//! Hearing of a container that runs out of memory: of any of its processes, also where the
//! first one lives on.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use super::{Cgroup, Group, file};
use crate::error::{Result, Step};

/// A watch on a container's group of the memory controller.
#[derive(Debug)]
pub struct OomWatch {
    /// Told of by the kernel: an eventfd (v1), or `memory.events` itself (v2).
    told: OwnedFd,
    /// v1: a file of the group, which is there as long as the group.
    control: Option<OwnedFd>,
    /// v2: kills so far.
    kills: u64,
}

impl Cgroup {
    /// Watches; `None` where the container's memory is not controlled.
    ///
    /// # Errors
    /// The kernel refuses the watch.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let Some(group) = self.of("memory") else { return Ok(None) };
        let watch =
            if group.place.controllers.is_empty() { watch_v2(group) } else { watch_v1(group) };
        match watch {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(errno) => {
                Err(errno).step(|| format!("watch memory of {}", group.place.directory()))
            }
        }
    }
}

impl Cgroup {
    /// How many of the container's processes were killed for memory; `None` where its memory is
    /// not controlled, or the kernel does not count (v1 before 4.13).
    pub fn memory_kills(&self) -> Option<u64> {
        let group = self.of("memory")?;
        let v2 = group.place.controllers.is_empty();
        let name = if v2 { "memory.events" } else { "memory.oom_control" };
        counted(&file::get(&group.dir, name).ok()?)
    }
}

/// memory.txt, "OOM Control" (Documentation/admin-guide/cgroup-v1).
fn watch_v1(group: &Group) -> std::result::Result<OomWatch, Errno> {
    let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = file::open(&group.dir, "memory.oom_control", OFlags::RDONLY)?;
    let line = format!("{} {}", told.as_raw_fd(), control.as_raw_fd());
    file::put(&group.dir, "cgroup.event_control", &line)?;
    Ok(OomWatch { told, control: Some(control), kills: 0 })
}

fn watch_v2(group: &Group) -> std::result::Result<OomWatch, Errno> {
    let told = file::open(&group.dir, "memory.events", OFlags::RDONLY)?;
    let kills = kills(&file::read_all(&told)?);
    Ok(OomWatch { told, control: None, kills })
}

/// How often processes of the group or of one below it were killed.
fn kills(text: &str) -> u64 {
    counted(text).unwrap_or(0)
}

/// The line `oom_kill N`.
fn counted(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

impl OomWatch {
    /// What to poll, and for what.
    pub fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = if self.control.is_some() { PollFlags::IN } else { PollFlags::PRI };
        (self.told.as_fd(), flags)
    }

    /// How often it has happened since the last time. `None`: the group is gone.
    pub fn news(&mut self) -> Option<u64> {
        match &self.control {
            Some(control) => {
                let there = seek(control, SeekFrom::Start(0)).and_then(|_| file::read_all(control));
                let mut count = [0; 8];
                let count = match rustix::io::read(&self.told, &mut count) {
                    Ok(8) => u64::from_ne_bytes(count),
                    _ => 0,
                };
                match there {
                    Ok(_) => Some(count),
                    // The group's end is told in the same way, once.
                    Err(_) => Some(count.saturating_sub(1)).filter(|count| *count > 0),
                }
            }
            None => {
                seek(&self.told, SeekFrom::Start(0)).ok()?;
                let now = kills(&file::read_all(&self.told).ok()?);
                let news = now.saturating_sub(self.kills);
                self.kills = now;
                Some(news)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::kills;

    #[test]
    fn kills_are_counted() {
        assert_eq!(kills("low 0\nmax 3\noom 2\noom_kill 7\noom_group_kill 0\n"), 7);
        assert_eq!(kills(""), 0);
    }
}
