//! Waiting for a container's process in the foreground.
//!
//! One `poll(2)` over three kinds of news: signals for us (a signalfd), the
//! end of the process (its pidfd, which stays readable, so that no exit is
//! ever missed whatever came first), and bytes of its terminal. Signals are
//! blocked from [`Foreground::begin`] on, before the process exists, so that
//! none falls between its start and our readiness to pass it on.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitOptions};

use super::notify_relay::NotifySocket;
use super::terminal_relay::TerminalRelay;
use crate::error::{Error, Result, Step};
use crate::life::record::Exit;
use crate::life::signal::translated;
use crate::sys::{interrupt, signals};

/// Everything that must be there before the process is started.
#[derive(Debug)]
pub struct Foreground {
    signals: SignalFd,
    adopts: bool,
}

/// The process that is waited for: a child of this process.
#[derive(Debug, Clone, Copy)]
pub struct Child<'a> {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: BorrowedFd<'a>,
    /// What TERM and INT are translated to: an init that is no payload takes
    /// them for other requests.
    pub stop: Option<i32>,
}

/// Stopping at a background read or write is left to the kernel, and faults
/// are our own: neither is taken as a message for the container.
const NOT_TAKEN: [Signal; 9] = [
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGABRT,
];

/// What a signal for us means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A child changed its state.
    Reap,
    /// Our terminal has another size.
    Resize,
    /// The user stops the job: the container's init gets the signal too.
    Stop,
    /// The job goes on.
    Continue,
    /// For the container's init.
    Forward,
    /// Nobody's.
    Drop,
}

fn meaning(number: i32, from_ourselves: bool) -> Meaning {
    match Signal::try_from(number) {
        Ok(Signal::SIGCHLD) => Meaning::Reap,
        Ok(Signal::SIGWINCH) => Meaning::Resize,
        // Go uses it for itself, and runc never forwards it.
        Ok(Signal::SIGURG) => Meaning::Drop,
        // Our own write to a pipe that nobody reads.
        Ok(Signal::SIGPIPE) if from_ourselves => Meaning::Drop,
        Ok(Signal::SIGTSTP) => Meaning::Stop,
        Ok(Signal::SIGCONT) => Meaning::Continue,
        _ => Meaning::Forward,
    }
}

impl Foreground {
    /// Blocks all signals and prepares to read them. With `subreaper`,
    /// processes that the container's own leave behind become our children
    /// (prctl(2), `PR_SET_CHILD_SUBREAPER`), and are reaped.
    ///
    /// Call this before the process is cloned; it must start with its own
    /// signal mask ([`crate::sys::process::reset_signals`]).
    pub fn begin(subreaper: bool) -> Result<Self> {
        if subreaper {
            let me = Some(rustix::process::getpid());
            rustix::process::set_child_subreaper(me).step(|| "become a subreaper")?;
        }
        let mut mask = SigSet::all();
        for signal in NOT_TAKEN {
            mask.remove(signal);
        }
        mask.thread_block().map_err(|errno| os("block signals", errno))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|errno| os("signalfd", errno))?;
        // Until the payload runs, a request to end is for this process.
        interrupt::heed()?;
        Ok(Foreground { signals, adopts: subreaper })
    }

    /// The exit status of a command that failed: 128+n where signal n ended it before its
    /// payload ran, and the log has `error` then; else `error` itself.
    ///
    /// # Errors
    /// No signal did.
    pub fn interrupted(error: Error) -> Result<u8> {
        let status = interrupt::status().ok_or_else(|| error.clone())?;
        crate::log::fatal(&error);
        Ok(status)
    }

    /// Waits until `child` has ended, passing on signals and, by `relay`, the
    /// bytes of its terminal; returns how it ended.
    pub fn wait(
        self,
        child: Child<'_>,
        mut relay: TerminalRelay,
        mut notify: Option<NotifySocket>,
    ) -> Result<Exit> {
        crate::log::flush();
        interrupt::ignore();
        let ended = |exit: Exit| {
            let Exit { code, .. } = exit;
            crate::log::debug(|| format!("process {} has ended: exit status {code}", child.pid));
            Ok(exit)
        };
        loop {
            let news = self.poll(child.pidfd, &relay, notify.as_ref())?;
            if news.signals
                && let Some(status) = self.take_signals(child, &mut relay)?
            {
                relay.finish(&self.signals)?;
                return ended(status);
            }
            if news.ended
                && let Some(status) = reap(child)?
            {
                relay.finish(&self.signals)?;
                return ended(status);
            }
            if news.notified
                && let Some(socket) = &mut notify
                && !socket.relay(std::process::id() as i32)?
            {
                notify = None;
            }
            relay.transfer(news.input, news.output, news.terminal);
        }
    }

    fn poll(
        &self,
        pidfd: BorrowedFd<'_>,
        relay: &TerminalRelay,
        notify: Option<&NotifySocket>,
    ) -> Result<News> {
        let wants = relay.wants();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
        ];
        let mut add = |fd, flags| {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            fds.len() - 1
        };
        let input = wants.input.then(|| add(rustix::stdio::stdin(), PollFlags::IN));
        let output = wants.output.then(|| add(rustix::stdio::stdout(), PollFlags::OUT));
        let terminal = wants.terminal.map(|(fd, flags)| add(fd, flags));
        let rest = notify.and_then(NotifySocket::rest);
        let listened = notify.filter(|_| rest.is_none());
        let notified = listened.map(|socket| add(socket.as_fd(), PollFlags::IN));
        let bound = rest.and_then(|rest| Timespec::try_from(rest).ok());
        match poll(&mut fds, bound.as_ref()) {
            Ok(0) => return Ok(News { notified: true, ..News::default() }),
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => return Ok(News::default()),
            Err(errno) => return Err(Error::os("poll", errno)),
        }
        let at =
            |index: Option<usize>| index.map_or(PollFlags::empty(), |index| fds[index].revents());
        Ok(News {
            signals: !fds[0].revents().is_empty(),
            ended: !fds[1].revents().is_empty(),
            input: !at(input).is_empty(),
            output: !at(output).is_empty(),
            terminal: !at(terminal).is_empty(),
            notified: !at(notified).is_empty(),
        })
    }

    /// Handles every signal that waits. The exit status, if reaping met it.
    fn take_signals(&self, child: Child<'_>, relay: &mut TerminalRelay) -> Result<Option<Exit>> {
        let me = std::process::id();
        loop {
            let info = match self.signals.read_signal() {
                Ok(Some(info)) => info,
                Ok(None) => return Ok(None),
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(os("read signalfd", errno)),
            };
            let number = info.ssi_signo as i32;
            match meaning(number, info.ssi_pid == me) {
                Meaning::Reap => {
                    if self.adopts
                        && let Some(status) = reap_all(child)?
                    {
                        return Ok(Some(status));
                    }
                }
                Meaning::Resize => relay.resize(),
                Meaning::Stop => {
                    forward(child, number)?;
                    relay.pause(stop_here)?;
                }
                Meaning::Continue => {
                    relay.resume();
                    forward(child, number)?;
                }
                Meaning::Forward => forward(child, number)?,
                Meaning::Drop => {}
            }
        }
    }
}

/// What a poll said.
#[derive(Debug, Default)]
struct News {
    signals: bool,
    ended: bool,
    input: bool,
    output: bool,
    terminal: bool,
    notified: bool,
}

/// A process that has just ended is no failure: its exit comes next.
fn forward(child: Child<'_>, number: i32) -> Result<()> {
    let asked = if number == libc::SIGINT { libc::SIGTERM } else { number };
    let translated = translated(asked, child.stop);
    let number = if translated == asked { number } else { translated };
    match signals::send(child.pidfd, number) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => {
            crate::log::warn(Error::os(format!("forward signal {number}"), errno));
            Ok(())
        }
    }
}

/// Stops this process until the job goes on.
fn stop_here() -> Result<()> {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
        .step(|| "stop")
}

/// The exit status of `child`, once it has one. A stopped or not yet ended
/// child has none.
fn reap(child: Child<'_>) -> Result<Option<Exit>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let wait = || rustix::process::waitid(WaitId::PidFd(child.pidfd), options);
    let status =
        rustix::io::retry_on_intr(wait).step(|| format!("wait for process {}", child.pid))?;
    let Some(status) = status else { return Ok(None) };
    Ok(exit(status.exit_status(), status.terminating_signal()))
}

/// Reaps every child that has ended; the exit status of `child` if it is one.
fn reap_all(child: Child<'_>) -> Result<Option<Exit>> {
    loop {
        let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(found)) => found,
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Error::os("wait for adopted processes", errno)),
        };
        if pid.as_raw_pid() == child.pid
            && let Some(exit) = exit(status.exit_status(), status.terminating_signal())
        {
            return Ok(Some(exit));
        }
    }
}

/// 128+n for signal n. An exit status is eight bits, signals end at 64.
fn exit(status: Option<i32>, signal: Option<i32>) -> Option<Exit> {
    let code = status.or(signal.map(|signal| 128 + signal))?;
    Some(Exit { code: code as u8, signal })
}

fn os(step: &str, errno: nix::Error) -> Error {
    Error::os(step, Errno::from_raw_os_error(errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_one_meaning() {
        for number in 1..=64 {
            let expected = match number {
                libc::SIGCHLD => Meaning::Reap,
                libc::SIGWINCH => Meaning::Resize,
                libc::SIGURG => Meaning::Drop,
                libc::SIGTSTP => Meaning::Stop,
                libc::SIGCONT => Meaning::Continue,
                _ => Meaning::Forward,
            };
            assert_eq!(meaning(number, false), expected, "{number}");
        }
        assert_eq!(meaning(libc::SIGPIPE, true), Meaning::Drop);
        assert_eq!(meaning(libc::SIGUSR1, true), Meaning::Forward);
    }

    #[test]
    fn a_signal_death_is_128_and_the_signal() {
        let code = |status, signal| exit(status, signal).map(|exit| exit.code);
        assert_eq!(code(Some(0), None), Some(0));
        assert_eq!(code(Some(255), None), Some(255));
        assert_eq!(code(None, Some(9)), Some(137));
        assert_eq!(code(None, Some(64)), Some(192));
        assert_eq!(code(None, None), None);
    }
}
