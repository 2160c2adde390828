//! Requests to end while the runtime waits for something that is not the payload.
//!
//! `run` and `exec` block all signals from their beginning, so as to lose none that is for
//! the payload. Until the payload runs, a request to end is for the runtime itself: every wait
//! of theirs looks at it too, and gives up.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The requests: what a terminal, a service manager or `timeout` sends.
const ENDS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

static REQUESTS: OnceLock<SignalFd> = OnceLock::new();
static HEEDED: AtomicBool = AtomicBool::new(false);
/// The signal that was obeyed; 0 where none was.
static OBEYED: AtomicI32 = AtomicI32::new(0);

/// From now on every wait is ended by such a request. The signals are blocked, and stay
/// pending for whoever reads them until a wait meets one.
///
/// # Errors
/// No descriptor for it.
pub fn heed() -> Result<()> {
    if REQUESTS.get().is_none() {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let made = SignalFd::with_flags(&ends(), flags)
            .map_err(|errno| Error::os("signalfd", Errno::from_raw_os_error(errno as i32)))?;
        let _first_wins = REQUESTS.set(made);
    }
    HEEDED.store(true, Ordering::Relaxed);
    Ok(())
}

/// No more: the payload runs, or this is another process.
pub fn ignore() {
    HEEDED.store(false, Ordering::Relaxed);
}

/// 128 and the signal, where a wait was ended by one.
pub fn status() -> Option<u8> {
    match OBEYED.load(Ordering::Relaxed) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

/// Readable when the end is asked for: for waits that are made elsewhere.
pub fn requests() -> Option<BorrowedFd<'static>> {
    REQUESTS.get().filter(|_| HEEDED.load(Ordering::Relaxed)).map(AsFd::as_fd)
}

/// Waits until a descriptor can be read from, or its other side is gone.
///
/// # Errors
/// The end was asked for meanwhile.
pub fn until_readable(fd: BorrowedFd<'_>) -> Result<()> {
    until(fd, PollFlags::IN, None).map(drop)
}

/// As [`until_readable`], without allocating; what follows `false` is [`obey`].
pub fn readable_first(fd: BorrowedFd<'_>) -> bool {
    let other = requests().unwrap_or(fd);
    let mut fds = [fd, other].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    loop {
        match poll(&mut fds, None) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Where nothing can be waited for, what follows will say so.
            _ => return !fds[0].revents().is_empty() || fds[1].revents().is_empty(),
        }
    }
}

/// Waits for `events` of a descriptor, or its end; false when `bound` has passed.
///
/// # Errors
/// The end was asked for meanwhile.
pub fn until(fd: BorrowedFd<'_>, events: PollFlags, bound: Option<Timespec>) -> Result<bool> {
    let Some(requests) = requests() else {
        return wait(&mut [PollFd::from_borrowed_fd(fd, events)], bound);
    };
    let mut fds =
        [PollFd::from_borrowed_fd(fd, events), PollFd::from_borrowed_fd(requests, PollFlags::IN)];
    let some = wait(&mut fds, bound)?;
    match fds[0].revents().is_empty() && !fds[1].revents().is_empty() {
        true => Err(obey()),
        false => Ok(some),
    }
}

/// Does nothing for a moment.
///
/// # Errors
/// The end was asked for meanwhile.
pub fn pause(moment: Timespec) -> Result<()> {
    let Some(requests) = requests() else { return wait(&mut [], Some(moment)).map(drop) };
    match wait(&mut [PollFd::from_borrowed_fd(requests, PollFlags::IN)], Some(moment))? {
        true => Err(obey()),
        false => Ok(()),
    }
}

fn wait(fds: &mut [PollFd<'_>], bound: Option<Timespec>) -> Result<bool> {
    loop {
        match poll(fds, bound.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(Error::os("poll", errno)),
        }
    }
}

/// Takes the request: what is on the way is given up, and undone in peace; a second one ends
/// this process at once.
pub fn obey() -> Error {
    let info = REQUESTS.get().and_then(|requests| requests.read_signal().ok().flatten());
    let signal = info.map_or(libc::SIGTERM, |info| info.ssi_signo as i32);
    OBEYED.store(signal, Ordering::Relaxed);
    ignore();
    // Where that fails, a second request stays unheard: no reason to stop here.
    let _blocked = ends().thread_unblock();
    let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
    Error::system(format!("ended by {name}"))
}

fn ends() -> SigSet {
    ENDS.into_iter().collect()
}
