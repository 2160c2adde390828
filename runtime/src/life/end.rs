//! The end of a first process that is not a child of this one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::ProcessId;
use super::record::Exit;
use crate::error::{Error, Kind, Result};
use crate::sys::pidfd::{self, Told};

/// The kernel tells an exit status when the parent has taken it; so long is waited for a parent.
const TAKEN: Duration = Duration::from_secs(5);

/// Waits for the end of this very process, or so long; whether it has ended.
///
/// # Errors
/// The kernel's.
pub fn wait_for_end(process: ProcessId, bound: Option<Duration>) -> Result<bool> {
    match watched(process)? {
        Some(pidfd) => ended(process, &pidfd, bound),
        None => Ok(true),
    }
}

/// Waits for the end of this very process, or so long. `None`: it has not ended. Else how it
/// ended, where that can be known (Linux 6.15).
///
/// # Errors
/// The kernel's.
pub fn wait_for_exit(process: ProcessId, bound: Option<Duration>) -> Result<Option<Option<Exit>>> {
    let Some(pidfd) = watched(process)? else { return Ok(Some(None)) };
    let over = ended(process, &pidfd, bound)?;
    Ok(over.then(|| exit(pidfd.as_fd())))
}

/// A pidfd of it; none when it has ended and was taken in.
fn watched(process: ProcessId) -> Result<Option<OwnedFd>> {
    match process.pidfd() {
        Err(error) if error.kind() == Kind::NoSuchProcess => Ok(None),
        pidfd => pidfd.map(Some),
    }
}

fn ended(process: ProcessId, pidfd: &OwnedFd, bound: Option<Duration>) -> Result<bool> {
    ends_within(pidfd, bound)
        .map_err(|errno| Error::os(format!("poll process {}", process.pid), errno))
}

/// Waits until the process behind a pidfd has ended (pidfd_open(2): it becomes readable); false
/// when it has not within `bound`.
///
/// # Errors
/// The kernel's.
pub fn ends_within(pidfd: impl AsFd, bound: Option<Duration>) -> std::result::Result<bool, Errno> {
    let end = bound.map(|bound| Instant::now() + bound);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        // Longer than the kernel can count is for ever.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// What the kernel says of a process that has ended.
fn exit(fd: BorrowedFd<'_>) -> Option<Exit> {
    let until = Instant::now() + TAKEN;
    loop {
        match pidfd::end_of(fd) {
            Told::Status(status) => return Some(Exit::of_wait(status)),
            Told::NotYet if Instant::now() < until => {}
            Told::NotYet | Told::Never => return None,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_awaited_within_bounds() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap();
        let pidfd = id.pidfd().unwrap();
        assert_eq!(ends_within(&pidfd, Some(Duration::from_millis(20))), Ok(false));
        assert_eq!(wait_for_end(id, Some(Duration::ZERO)), Ok(false));
        child.kill().unwrap();
        assert_eq!(ends_within(&pidfd, Some(Duration::from_secs(10))), Ok(true));
        assert_eq!(ends_within(&pidfd, None), Ok(true));
        child.wait().unwrap();
        assert_eq!(wait_for_end(id, None), Ok(true));
    }
}
