//! The end of a first process that is not a child of this one.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::ProcessId;
use crate::error::{Error, Kind, Result};
use crate::sys::pidfd::{self, Told};

/// The kernel tells an exit status when the parent has taken it; so long is waited for a parent.
const TAKEN: Duration = Duration::from_secs(5);

/// Waits for the end of this very process, or so long: `None` when the time is over, else its
/// exit status as a shell has it, where that can be known (Linux 6.15).
///
/// # Errors
/// The kernel's.
pub fn wait_for_end(process: ProcessId, bound: Option<Duration>) -> Result<Option<Option<i32>>> {
    let fd = match process.pidfd() {
        Err(error) if error.kind() == Kind::NoSuchProcess => return Ok(Some(None)),
        fd => fd?,
    };
    let until = bound.map(|bound| Instant::now() + bound);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], left.as_ref()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::os(format!("poll process {}", process.pid), errno)),
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(status(fd.as_fd()))),
        }
    }
}

/// What the kernel says of a process that has ended.
fn status(fd: BorrowedFd<'_>) -> Option<i32> {
    let until = Instant::now() + TAKEN;
    loop {
        match pidfd::end_of(fd) {
            Told::Status(status) => {
                let signal = status & 0x7f;
                return Some(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal });
            }
            Told::NotYet if Instant::now() < until => {}
            Told::NotYet | Told::Never => return None,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
