//! A container's streams on the caller's own: terminal, keys, signals.
//!
//! One poll(2) for everything, and nothing else that waits: whoever does not read on holds up
//! the streams, and no signal.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::container::{Connection, Containers};
use crate::error::{At, Error, Kind, Result};
use crate::monitor::protocol::{self, Request};
use crate::store::{Exit, Phase, Record};

/// What a pipe takes at once, when poll(2) says that it takes something.
const AT_ONCE: usize = 4096;

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
    /// Prepares; `terminal`: the container has one. Without one no keys mean anything: what comes
    /// may be any bytes.
    pub(super) fn new(terminal: bool, input: bool, keys: &str) -> Result<Foreground> {
        let mut set = SigSet::empty();
        for signal in PASSED_ON.into_iter().chain([Signal::SIGWINCH]) {
            set.add(signal);
        }
        set.thread_block().at("block", "signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).at("wait for", "signals")?;
        let keys = detach_keys(keys)?;
        let keys = if terminal { keys } else { Vec::new() };
        Ok(Foreground { terminal, input: input || terminal, keys, signals })
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
    monitor: Connection,
    containers: &Containers,
    record: &Record,
) -> Result<u8> {
    let raw = Raw::enter(foreground.terminal);
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let ends = Ends { input: input.as_fd(), output: output.as_fd(), errors: errors.as_fd() };
    let kill = |signal: i32| {
        // One that has just ended has no use for it.
        let _ = containers
            .connect(record)
            .and_then(|mut monitor| monitor.ask(&Request::Kill(signal.to_string())).map(drop));
    };
    let mut relay = Relay::new(&foreground, ends, monitor, &kill);
    let ended = loop {
        match relay.run() {
            // The monitor was killed: the container is there, and gets another.
            Ok(Ended::Lost) => match again(containers, record) {
                Ok(Some(monitor)) => relay.follow(monitor),
                Ok(None) => break containers.wait(record).map(Ended::Exit),
                Err(error) => break Err(error),
            },
            ended => break ended,
        }
    };
    drop(raw);
    match ended? {
        Ended::Exit(exit) => Ok(status(&exit)),
        Ended::Detached => {
            eprintln!("detached: 'richctl attach {}' comes back", record.name);
            Ok(0)
        }
        Ended::Lost => Err(Error::new(Kind::State, "the container's monitor has gone")),
    }
}

/// The streams of a container that had lost its monitor; nothing where it has ended.
fn again(containers: &Containers, record: &Record) -> Result<Option<Connection>> {
    if !matches!(containers.look(record)?.phase, Phase::Running | Phase::Restarting) {
        return Ok(None);
    }
    let Ok(mut monitor) = containers.connect(record) else { return Ok(None) };
    let request = Request::Attach { hold: true };
    let asked = monitor.send(protocol::Kind::Request, request.text().as_bytes());
    Ok(asked.is_ok().then_some(monitor))
}

/// The exit status that stands for an end.
pub(super) fn status(exit: &Exit) -> u8 {
    exit.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(125)
}

#[derive(Debug)]
enum Ended {
    Exit(Exit),
    Detached,
    Lost,
}

/// The caller's streams.
struct Ends<'a> {
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    errors: BorrowedFd<'a>,
}

/// What is on its way between the caller and a monitor.
struct Relay<'a> {
    foreground: &'a Foreground,
    ends: Ends<'a>,
    monitor: Connection,
    /// Sends the container a signal. Not over the connection, where input may be in its way.
    kill: &'a dyn Fn(i32),
    keys: Keys,
    /// There can be more input.
    input: bool,
    /// What the caller's streams have not taken yet; whether it is for standard error.
    shown: VecDeque<(bool, Vec<u8>)>,
    exit: Option<Exit>,
    failed: Option<Error>,
    /// The monitor has gone.
    gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Monitor,
    Input,
    Shown,
}

impl<'a> Relay<'a> {
    fn new(
        foreground: &'a Foreground,
        ends: Ends<'a>,
        monitor: Connection,
        kill: &'a dyn Fn(i32),
    ) -> Relay<'a> {
        Relay {
            foreground,
            ends,
            monitor,
            kill,
            keys: Keys { wanted: foreground.keys.clone(), seen: 0 },
            input: foreground.input,
            shown: VecDeque::new(),
            exit: None,
            failed: None,
            gone: false,
        }
    }

    /// Goes on with another monitor. What the last one had not taken is lost with it.
    fn follow(&mut self, monitor: Connection) {
        self.monitor = monitor;
        self.gone = false;
        if self.foreground.input && !self.input {
            self.monitor.queue(protocol::Kind::EndOfInput, b"");
        }
    }

    /// Until the container has ended and all is shown.
    fn run(&mut self) -> Result<Ended> {
        self.resize();
        loop {
            // The first ones came with the answer to the request.
            self.take_frames()?;
            if self.gone && self.shown.is_empty() {
                return match self.failed.take() {
                    Some(error) => Err(error),
                    None => Ok(self.exit.take().map_or(Ended::Lost, Ended::Exit)),
                };
            }
            for (source, flags) in self.ready()? {
                match source {
                    Source::Signals => self.pass_signals(),
                    Source::Shown => self.show()?,
                    Source::Monitor => {
                        self.monitor.flush();
                        if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                            self.gone = !self.monitor.read()?;
                        }
                    }
                    Source::Input => {
                        self.pass_input()?;
                        if self.keys.complete() {
                            return Ok(Ended::Detached);
                        }
                    }
                }
            }
        }
    }

    /// Takes in all that has been read: no poll(2) tells of it.
    fn take_frames(&mut self) -> Result<()> {
        while let Some(frame) = self.monitor.arrived()? {
            match frame.kind {
                protocol::Kind::Output => self.shown.push_back((false, frame.data)),
                protocol::Kind::Errors => self.shown.push_back((true, frame.data)),
                // Until the connection ends the container is not quite gone.
                protocol::Kind::Exit => self.exit = serde_json::from_slice(&frame.data).ok(),
                protocol::Kind::Error => {
                    let words = String::from_utf8_lossy(&frame.data);
                    self.failed = Some(Error::new(Kind::Program, words));
                    self.gone = true;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits; what is ready, and how.
    fn ready(&self) -> Result<Vec<(Source, PollFlags)>> {
        let mut sources = vec![(Source::Signals, self.foreground.signals.as_fd(), PollFlags::IN)];
        if !self.gone {
            let leaving = self.monitor.has_output();
            let output = if leaving { PollFlags::OUT } else { PollFlags::empty() };
            // Whoever does not read what is shown is not given more.
            let input = if self.shown.is_empty() { PollFlags::IN } else { PollFlags::empty() };
            if !(input | output).is_empty() {
                sources.push((Source::Monitor, self.monitor.stream.as_fd(), input | output));
            }
            if self.input && !leaving {
                sources.push((Source::Input, self.ends.input, PollFlags::IN));
            }
        }
        if let Some((errors, _)) = self.shown.front() {
            let to = if *errors { self.ends.errors } else { self.ends.output };
            sources.push((Source::Shown, to, PollFlags::OUT));
        }
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => return Ok(Vec::new()),
            Err(error) => return Err(error).at("wait for", "the container"),
        }
        let ready = sources.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, ..), fd)| (*source, fd.revents())).collect())
    }

    /// Writes as much as is taken at once.
    fn show(&mut self) -> Result<()> {
        let Some((errors, bytes)) = self.shown.front_mut() else { return Ok(()) };
        let to = if *errors { self.ends.errors } else { self.ends.output };
        match rustix::io::write(to, &bytes[..bytes.len().min(AT_ONCE)]) {
            Ok(count) => drop(bytes.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error).at("write", "output"),
        }
        if bytes.is_empty() {
            self.shown.pop_front();
        }
        Ok(())
    }

    /// Passes on what was typed.
    fn pass_input(&mut self) -> Result<()> {
        let mut part = [0; 4096];
        // Not by std, which reads more than it passes on: no poll(2) tells of what it keeps.
        let count = match rustix::io::read(self.ends.input, &mut part) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // A terminal that has been hung up.
            Err(Errno::IO) => 0,
            Err(error) => return Err(error).at("read", "standard input"),
        };
        let rest = if count == 0 { self.keys.rest() } else { self.keys.filter(&part[..count]) };
        if !rest.is_empty() {
            self.monitor.queue(protocol::Kind::Input, &rest);
        }
        if count == 0 {
            self.input = false;
            self.monitor.queue(protocol::Kind::EndOfInput, b"");
        }
        self.monitor.flush();
        Ok(())
    }

    fn pass_signals(&mut self) {
        while let Ok(Some(signal)) = self.foreground.signals.read_signal() {
            match signal.ssi_signo as i32 {
                number if number == Signal::SIGWINCH as i32 => self.resize(),
                number => (self.kill)(number),
            }
        }
    }

    /// The container's terminal gets the size of the caller's.
    fn resize(&mut self) {
        if !self.foreground.terminal {
            return;
        }
        if let Ok(size) = tcgetwinsize(self.ends.input) {
            let [a, b] = size.ws_row.to_be_bytes();
            let [c, d] = size.ws_col.to_be_bytes();
            self.monitor.queue(protocol::Kind::Resize, &[a, b, c, d]);
            self.monitor.flush();
        }
    }
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

    /// What has waited for a next key that does not come.
    fn rest(&mut self) -> Vec<u8> {
        let seen = std::mem::take(&mut self.seen);
        self.wanted[..seen].to_vec()
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
    use std::fs::File;
    use std::io::{Read, Write};

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
        let mut typed = keys();
        assert_eq!((typed.filter(b"a\x10"), typed.rest()), (b"a".to_vec(), b"\x10".to_vec()));
        assert_eq!(detach_keys("").expect("none"), b"");
        assert!(detach_keys("ctrl-").is_err());
    }

    /// A relay between a monitor that the test plays and three pipes.
    struct Stage {
        monitor: std::os::unix::net::UnixStream,
        typed: Option<File>,
        output: File,
        errors: File,
        thread: std::thread::JoinHandle<Result<Ended>>,
    }

    fn stage(terminal: bool) -> Stage {
        use std::os::unix::net::UnixStream;
        let (monitor, theirs) = UnixStream::pair().expect("a pair");
        let pipe = || rustix::pipe::pipe().expect("a pipe");
        let ((input, typed), (output, out), (errors, err)) = (pipe(), pipe(), pipe());
        let thread = std::thread::spawn(move || {
            let foreground = Foreground::new(terminal, true, "ctrl-p,ctrl-q").expect("prepared");
            let ends = Ends { input: input.as_fd(), output: out.as_fd(), errors: err.as_fd() };
            Relay::new(&foreground, ends, Connection::of(theirs), &|_| {}).run()
        });
        let (typed, output, errors) = (Some(typed.into()), output.into(), errors.into());
        Stage { monitor, typed, output, errors, thread }
    }

    fn frames(of: &[(protocol::Kind, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        of.iter().for_each(|(kind, data)| protocol::put(&mut bytes, *kind, data));
        bytes
    }

    #[test]
    fn several_frames_of_one_read_are_all_shown() {
        let mut stage = stage(false);
        let (a, b, c) = (&b"one "[..], &b"two "[..], &b"three"[..]);
        let kinds = [protocol::Kind::Output, protocol::Kind::Output, protocol::Kind::Errors];
        let bytes = frames(&[(kinds[0], a), (kinds[1], b), (kinds[2], c)]);
        stage.monitor.write_all(&bytes).expect("write");
        // The connection stays open: nothing but what was read brings these forward.
        let (mut shown, mut said) = ([0; 8], [0; 5]);
        stage.output.read_exact(&mut shown).expect("output");
        stage.errors.read_exact(&mut said).expect("errors");
        assert_eq!((&shown, &said), (b"one two ", b"three"));
        let text = br#"{"code":3,"signal":null,"oom_kills":0,"finished":"1970-01-01T00:00:00Z"}"#;
        stage.monitor.write_all(&frames(&[(protocol::Kind::Exit, text)])).expect("write");
        drop(stage.monitor);
        let ended = stage.thread.join().expect("no panic").expect("an end");
        assert!(matches!(ended, Ended::Exit(Exit { code: Some(3), .. })), "{ended:?}");
    }

    #[test]
    fn any_bytes_arrive_whole_while_nobody_reads_what_is_shown() {
        let mut stage = stage(false);
        // More than the pipe of its output takes: it waits for a reader that does not come.
        let much = vec![b'x'; 200_000];
        stage.monitor.write_all(&frames(&[(protocol::Kind::Output, &much)])).expect("write");
        // The keys that would leave a terminal are bytes like all others here.
        let mut typed: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        typed.extend(b"\x10\x11 and on \x10");
        let mut to = stage.typed.take().expect("an input");
        let wanted = typed.clone();
        let typing = std::thread::spawn(move || to.write_all(&typed).expect("type"));
        let (mut arrived, mut found, mut ended) = (Vec::new(), Vec::new(), false);
        while !ended {
            let mut part = [0; 1 << 16];
            let count = stage.monitor.read(&mut part).expect("read");
            arrived.extend_from_slice(&part[..count]);
            while let Some(frame) = protocol::take(&mut arrived).expect("frames") {
                ended |= frame.kind == protocol::Kind::EndOfInput;
                found.extend(frame.data);
            }
        }
        typing.join().expect("typed");
        assert!(found == wanted, "{} bytes of {}", found.len(), wanted.len());
        drop(stage.output);
        let error = stage.thread.join().expect("no panic").expect_err("nobody reads");
        assert!(error.message.contains("Broken pipe"), "{error}");
    }

    #[test]
    fn the_detach_keys_of_a_terminal_leave_it() {
        let mut stage = stage(true);
        stage.typed.as_mut().expect("an input").write_all(b"ab\x10\x11").expect("type");
        let ended = stage.thread.join().expect("no panic").expect("an end");
        assert!(matches!(ended, Ended::Detached), "{ended:?}");
        let mut arrived = Vec::new();
        stage.monitor.read_to_end(&mut arrived).expect("read");
        let frame = protocol::take(&mut arrived).expect("frames").expect("one");
        assert_eq!((frame.kind, &frame.data[..]), (protocol::Kind::Input, &b"ab"[..]));
    }
}
