//! The subreaper: a process between the caller and a hook with a deadline.
//!
//! It is a child subreaper, so that whatever the hook starts stays below it, and it alone
//! decides what is the hook's: its own descendants, nobody else's.
//!
//! ```text
//! caller ── subreaper ── hook ── ...          while the hook runs
//!            └─ daemon (setsid, forked twice)
//! caller   subreaper exits: the daemon goes to the next reaper above
//! ```

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::ending::{Ending, StartError, Step, ending_of};
use super::signals::{set_mask, signal_of_orphans};
use super::spawn::{Exec, Spawned, close_between, spawn};
use super::tree;

/// Starts a subreaper that starts `exec`. Returns the subreaper's pidfd, readable
/// when the hook is over, and the pipe with its report.
pub(super) fn start(exec: &Exec<'_>, deadline: Instant) -> Result<(OwnedFd, OwnedFd), StartError> {
    let failed = |errno: Errno| StartError { step: Step::Clone, errno: errno.raw_os_error() };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    // SAFETY: the child goes on in a copy of this process; the C library's
    // fork leaves its allocator usable there, and nothing else of it is used.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let ending = watch(exec, deadline, &write);
        let _ = rustix::io::write(&write, &encode(ending));
        // SAFETY: ends this copy without running the caller's exit handlers.
        unsafe { libc::_exit(0) };
    }
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        return Err(StartError::last(Step::Clone));
    };
    // Not reaped yet, so the number is still the subreaper's.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    Ok((pidfd, read))
}

/// The subreaper's life.
fn watch(exec: &Exec<'_>, deadline: Instant, report: &OwnedFd) -> Ending {
    // Only KILL ends it early: a subreaper that dies of a terminal's signal would let go of the hook.
    set_mask(u64::MAX);
    if let Err(errno) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        let errno = errno.raw_os_error();
        return Ending::NotStarted(StartError { step: Step::Prepare, errno });
    }
    // Should the hook's process be stopped on its way, this one waits for it alone.
    signal_of_orphans(libc::SIGKILL);
    let _ = rustix::thread::set_name(c"hook-subreaper");
    let mut kept = [&exec.stdin, &exec.stdout, &exec.stderr].map(|fd| fd.as_raw_fd()).to_vec();
    kept.push(report.as_raw_fd());
    close_others(kept);
    let spawned = spawn(&Exec { orphaned: libc::SIGKILL, ..*exec });
    // From now on it ends what the hook has started, when the caller is dead; stopped, too.
    signal_of_orphans(libc::SIGCONT);
    match spawned {
        Err(error) => Ending::NotStarted(error),
        Ok(hook) if ended_before(&hook, deadline, report) => ending_of(&hook.pidfd),
        Ok(hook) => Ending::TimedOut { survivors: !tree::kill(hook.pid) },
    }
}

/// The caller's locks, pipes and sockets are none of the subreaper's business.
fn close_others(mut kept: Vec<i32>) {
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept {
        close_between(first, fd - 1);
        first = fd + 1;
    }
    close_between(first, i32::MAX);
}

/// Sleeps until the hook has ended (true), or its deadline has passed or the caller waits for
/// it no more, or is dead: then nobody reads the report (false).
fn ended_before(hook: &Spawned, deadline: Instant, report: &OwnedFd) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [
            PollFd::from_borrowed_fd(hook.pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(report.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return !fds[0].revents().is_empty(),
            Err(Errno::INTR) => {}
            // Nothing can be waited for: the hook must not run unwatched.
            Err(_) => return false,
        }
    }
}

/// A report is three numbers.
fn encode(ending: Ending) -> [u8; 12] {
    let numbers = match ending {
        Ending::Exited(status) => [1, status, 0],
        Ending::Signaled { signal, core } => [2, signal, i32::from(core)],
        Ending::TimedOut { survivors } => [3, i32::from(survivors), 0],
        Ending::NotStarted(error) => [4, error.step as i32, error.errno],
        Ending::Unknown => [5, 0, 0],
    };
    let mut bytes = [0; 12];
    for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}

fn decode(bytes: [u8; 12]) -> Ending {
    let number = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[at * 4..at * 4 + 4]);
        i32::from_ne_bytes(word)
    };
    match number(0) {
        1 => Ending::Exited(number(1)),
        2 => Ending::Signaled { signal: number(1), core: number(2) != 0 },
        3 => Ending::TimedOut { survivors: number(1) != 0 },
        4 => {
            let (step, errno) = (Step::from_number(number(1)), number(2));
            Ending::NotStarted(StartError { step, errno })
        }
        _ => Ending::Unknown,
    }
}

/// What the subreaper reported; nothing, if it was killed.
pub(super) fn read_report(report: &OwnedFd) -> Ending {
    let mut bytes = [0; 12];
    loop {
        match rustix::io::read(report, &mut bytes) {
            Ok(12) => return decode(bytes),
            Err(Errno::INTR) => {}
            _ => return Ending::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_pipe() {
        let error = StartError { step: Step::Chdir, errno: libc::ENOENT };
        for ending in [
            Ending::Exited(255),
            Ending::Signaled { signal: 9, core: false },
            Ending::Signaled { signal: 11, core: true },
            Ending::TimedOut { survivors: false },
            Ending::TimedOut { survivors: true },
            Ending::NotStarted(error),
            Ending::Unknown,
        ] {
            assert_eq!(decode(encode(ending)), ending);
        }
    }
}
