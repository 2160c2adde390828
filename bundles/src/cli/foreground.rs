//! A container's streams on the caller's own: terminal, keys, signals.

use std::io::Write;
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::container::{Connection, Containers};
use crate::error::{At, Error, Kind, Result};
use crate::monitor::protocol::{self, Request};
use crate::store::{Exit, Record};

/// The caller's side, prepared before anything runs: no signal is lost.
pub(super) struct Foreground {
    terminal: bool,
    input: bool,
    keys: Vec<u8>,
    signals: SignalFd,
}

/// What is passed on to the container.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

impl Foreground {
    /// Prepares; `terminal`: the container has one.
    pub(super) fn new(terminal: bool, input: bool, keys: &str) -> Result<Foreground> {
        let mut set = SigSet::empty();
        for signal in PASSED_ON.into_iter().chain([Signal::SIGWINCH]) {
            set.add(signal);
        }
        set.thread_block().at("block", "signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).at("wait for", "signals")?;
        Ok(Foreground { terminal, input: input || terminal, keys: detach_keys(keys)?, signals })
    }
}

/// The caller's terminal as it was, given back at the end.
struct Raw(Option<Termios>);

impl Raw {
    fn enter(wanted: bool) -> Raw {
        let input = std::io::stdin();
        if !wanted || !isatty(&input) {
            return Raw(None);
        }
        let Ok(before) = tcgetattr(&input) else { return Raw(None) };
        let mut raw = before.clone();
        raw.make_raw();
        let _ = tcsetattr(&input, OptionalActions::Now, &raw);
        Raw(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Shows a container until it ends or the detach keys are typed: the exit status.
pub(super) fn show(
    foreground: Foreground,
    mut monitor: Connection,
    containers: &Containers,
    record: &Record,
) -> Result<u8> {
    let raw = Raw::enter(foreground.terminal);
    let ended = relay(&foreground, &mut monitor);
    drop(raw);
    match ended? {
        Ended::Exit(exit) => Ok(status(&exit)),
        Ended::Detached => {
            eprintln!("detached: 'richctl attach {}' comes back", record.name);
            Ok(0)
        }
        // The monitor was killed: the container is there, and gets another.
        Ended::Lost => Ok(status(&containers.wait(record)?)),
    }
}

/// The exit status that stands for an end.
pub(super) fn status(exit: &Exit) -> u8 {
    exit.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(125)
}

enum Ended {
    Exit(Exit),
    Detached,
    Lost,
}

fn relay(foreground: &Foreground, monitor: &mut Connection) -> Result<Ended> {
    let mut input = foreground.input;
    let mut typed = Keys { wanted: foreground.keys.clone(), seen: 0 };
    let mut exit = None;
    resize(foreground, monitor)?;
    loop {
        // The first ones came with the answer to the request.
        while let Some(frame) = monitor.arrived()? {
            match frame.kind {
                protocol::Kind::Output => put(&mut std::io::stdout(), &frame.data)?,
                protocol::Kind::Errors => put(&mut std::io::stderr(), &frame.data)?,
                // Until the connection ends the container is not quite gone.
                protocol::Kind::Exit => exit = serde_json::from_slice(&frame.data).ok(),
                protocol::Kind::Error => {
                    let words = String::from_utf8_lossy(&frame.data);
                    return Err(Error::new(Kind::Program, words));
                }
                _ => {}
            }
        }
        let (from_monitor, from_input, from_signals) = {
            let stdin = std::io::stdin();
            let mut fds = vec![
                PollFd::from_borrowed_fd(monitor.stream.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(foreground.signals.as_fd(), PollFlags::IN),
            ];
            if input {
                fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).at("wait for", "the container"),
            }
            let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
            (ready(0), ready(2), ready(1))
        };
        if from_monitor && !monitor.read()? {
            return Ok(exit.map_or(Ended::Lost, Ended::Exit));
        }
        if from_input {
            input = pass_input(monitor, &mut typed)?;
            if typed.complete() {
                return Ok(Ended::Detached);
            }
        }
        if from_signals {
            pass_signals(foreground, monitor)?;
        }
    }
}

fn put(to: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    to.write_all(bytes).and_then(|()| to.flush()).at("write", "output")
}

/// Passes on what was typed; whether there can be more.
fn pass_input(monitor: &mut Connection, keys: &mut Keys) -> Result<bool> {
    let mut part = [0; 4096];
    // Not by std, which reads more than it passes on: no poll(2) tells of what it keeps.
    let read = rustix::io::retry_on_intr(|| rustix::io::read(std::io::stdin(), &mut part));
    let count = read.at("read", "standard input")?;
    if count == 0 {
        let _ = monitor.send(protocol::Kind::EndOfInput, b"");
        return Ok(false);
    }
    let rest = keys.filter(&part[..count]);
    // A container that has just ended has no use for it.
    let _ = if rest.is_empty() { Ok(()) } else { monitor.send(protocol::Kind::Input, &rest) };
    Ok(true)
}

fn pass_signals(foreground: &Foreground, monitor: &mut Connection) -> Result<()> {
    while let Ok(Some(signal)) = foreground.signals.read_signal() {
        let number = signal.ssi_signo as i32;
        if number == Signal::SIGWINCH as i32 {
            resize(foreground, monitor)?;
            continue;
        }
        let request = Request::Kill(number.to_string());
        let _ = monitor.send(protocol::Kind::Request, request.text().as_bytes());
    }
    Ok(())
}

/// The container's terminal gets the size of the caller's.
fn resize(foreground: &Foreground, monitor: &mut Connection) -> Result<()> {
    if !foreground.terminal {
        return Ok(());
    }
    if let Ok(size) = tcgetwinsize(std::io::stdin()) {
        let [a, b] = size.ws_row.to_be_bytes();
        let [c, d] = size.ws_col.to_be_bytes();
        let _ = monitor.send(protocol::Kind::Resize, &[a, b, c, d]);
    }
    Ok(())
}

/// The keys that leave a container alone, as far as they were typed.
struct Keys {
    wanted: Vec<u8>,
    seen: usize,
}

impl Keys {
    fn complete(&self) -> bool {
        !self.wanted.is_empty() && self.seen == self.wanted.len()
    }

    /// What is passed on of what was typed: keys that may be the beginning wait for the next.
    fn filter(&mut self, typed: &[u8]) -> Vec<u8> {
        let mut rest = Vec::new();
        for byte in typed {
            if self.complete() {
                break;
            }
            if self.wanted.get(self.seen) == Some(byte) {
                self.seen += 1;
                continue;
            }
            rest.extend_from_slice(&self.wanted[..self.seen]);
            self.seen = usize::from(self.wanted.first() == Some(byte));
            if self.seen == 0 {
                rest.push(*byte);
            }
        }
        rest
    }
}

/// `ctrl-p,ctrl-q`, `a,b`; nothing for none.
fn detach_keys(word: &str) -> Result<Vec<u8>> {
    let wrong = || Error::usage(format!("--detach-keys {word:?}: as in ctrl-p,ctrl-q"));
    let key = |key: &str| match key.as_bytes() {
        [byte] => Ok(*byte),
        [b'c', b't', b'r', b'l', b'-', byte @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => {
            Ok(byte & 0x1f)
        }
        _ => Err(wrong()),
    };
    word.split(',').filter(|_| !word.is_empty()).map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_wherever_they_are_split() {
        let keys = || Keys { wanted: detach_keys("ctrl-p,ctrl-q").expect("keys"), seen: 0 };
        let mut typed = keys();
        assert_eq!(typed.filter(b"a\x10"), b"a");
        assert!(!typed.complete());
        assert_eq!(typed.filter(b"\x11b"), b"");
        assert!(typed.complete());
        let mut typed = keys();
        assert_eq!(typed.filter(b"\x10x\x10\x10\x11"), b"\x10x\x10");
        assert!(typed.complete());
        assert_eq!(detach_keys("").expect("none"), b"");
        assert!(detach_keys("ctrl-").is_err());
    }
}
