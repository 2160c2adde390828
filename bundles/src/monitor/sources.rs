//! What a monitor waits for.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{At, Result};

/// What can be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A child has ended.
    Children,
    /// Somebody connects.
    Listener,
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
    /// The terminal.
    Master,
    /// The payload takes what was typed.
    Typed,
    /// An adopted payload has ended.
    Process,
    /// A client, by its place.
    Client(usize),
}

/// Each with what it is to be ready for.
pub type Sources<'a> = Vec<(Source, BorrowedFd<'a>, PollFlags)>;

/// Waits until one of these is ready, or no time is left; which are.
pub fn ready(
    sources: &[(Source, BorrowedFd<'_>, PollFlags)],
    left: Option<Duration>,
) -> Result<Vec<Source>> {
    let mut fds: Vec<PollFd<'_>> =
        sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    let left = left.map(|left| Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    });
    match poll(&mut fds, left.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        Err(error) => return Err(error).at("wait for", "events"),
    }
    let ready = sources.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|((source, ..), _)| *source).collect())
}
