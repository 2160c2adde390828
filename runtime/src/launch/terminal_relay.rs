//! Bytes between our standard streams and the container's terminal.
//!
//! Nothing here blocks: bytes wait in two bounded buffers until `poll` says
//! that the other side takes them, so signals and the exit are seen at once
//! even while nobody reads our output.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{
    OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr,
};

use super::console::{Size, resize};
use super::host_path;
use crate::error::{Error, Result, Step};

/// Bytes read ahead in one direction.
const CAPACITY: usize = 32 * 1024;
/// What a pipe that polls writable takes without blocking (`PIPE_BUF`).
const WRITE_AT_ONCE: usize = 4096;
/// More than a pty ever holds (64 KiB and a line discipline's page): what is
/// read beyond that after the exit was written after it.
const HELD_AT_MOST: usize = 128 * 1024;

/// The relay; without a terminal it has nothing to do.
#[derive(Debug)]
pub struct TerminalRelay {
    terminal: Option<Terminal>,
}

/// Which descriptors to poll, and for what.
pub struct Wants<'a> {
    /// Standard input, for reading.
    pub input: bool,
    /// Standard output, for writing.
    pub output: bool,
    /// The terminal's master end.
    pub terminal: Option<(BorrowedFd<'a>, PollFlags)>,
}

#[derive(Debug)]
struct Terminal {
    master: OwnedFd,
    /// The other end, held so that a payload that closes it for a moment does
    /// not hang the terminal up.
    held: Option<OwnedFd>,
    host: Option<RawMode>,
    typed: Buffer,
    shown: Buffer,
    input_open: bool,
    /// The last line that was typed has no end yet.
    line_open: bool,
    output_open: bool,
    hung_up: bool,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    fn is_full(&self) -> bool {
        self.bytes.len() >= CAPACITY
    }

    /// Reads what there is; false at the end.
    fn fill(&mut self, from: BorrowedFd<'_>) -> bool {
        let have = self.bytes.len();
        self.bytes.resize(CAPACITY, 0);
        let read = rustix::io::read(from, &mut self.bytes[have..]);
        self.bytes.truncate(have + read.unwrap_or(0));
        match read {
            Ok(count) => count > 0,
            Err(errno) => matches!(errno, Errno::AGAIN | Errno::INTR),
        }
    }

    /// Writes what is taken; false when nothing ever will be.
    fn empty(&mut self, to: BorrowedFd<'_>) -> bool {
        let chunk = &self.bytes[..self.bytes.len().min(WRITE_AT_ONCE)];
        match rustix::io::write(to, chunk) {
            Ok(count) => {
                self.bytes.drain(..count);
                true
            }
            Err(errno) => matches!(errno, Errno::AGAIN | Errno::INTR),
        }
    }
}

impl TerminalRelay {
    /// Takes the master end over: gives it our terminal's size, and puts our
    /// terminal into raw mode where standard input is one. Call this before the
    /// payload is let go: it may look at once.
    pub fn new(master: Option<OwnedFd>) -> Self {
        let terminal = master.map(|master| {
            // Failures here cost comfort, not correctness: an old kernel
            // without TIOCGPTPEER, a master end of an odd kind.
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let held = ioctl_tiocgptpeer(&master, flags).ok();
            let _ = rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK);
            keep_newlines(master.as_fd());
            let terminal = Terminal {
                master,
                held,
                host: RawMode::enter(),
                typed: Buffer::default(),
                shown: Buffer::default(),
                input_open: true,
                line_open: false,
                output_open: true,
                hung_up: false,
            };
            terminal.resize();
            terminal
        });
        TerminalRelay { terminal }
    }

    /// What to poll for.
    pub fn wants(&self) -> Wants<'_> {
        let Some(terminal) = &self.terminal else {
            return Wants { input: false, output: false, terminal: None };
        };
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !terminal.shown.is_full());
        flags.set(PollFlags::OUT, !terminal.typed.bytes.is_empty());
        Wants {
            input: terminal.input_open && !terminal.typed.is_full(),
            output: !terminal.shown.bytes.is_empty(),
            terminal: (!terminal.hung_up && !flags.is_empty())
                .then(|| (terminal.master.as_fd(), flags)),
        }
    }

    /// Moves bytes between the descriptors that are ready.
    pub fn transfer(&mut self, input: bool, output: bool, terminal: bool) {
        let Some(this) = &mut self.terminal else { return };
        if input && !this.typed.is_full() {
            this.input_open = this.typed.fill(stdin());
            match this.input_open {
                true => this.line_open = this.typed.bytes.last() != Some(&b'\n'),
                false => this.end_of_input(),
            }
        }
        if terminal {
            if !this.typed.bytes.is_empty() && !this.typed.empty(this.master.as_fd()) {
                this.typed.bytes.clear();
            }
            if !this.shown.is_full() {
                this.hung_up = !this.shown.fill(this.master.as_fd());
            }
        }
        if output {
            this.output_open = this.output_open && this.shown.empty(stdout());
        }
        if !this.output_open {
            this.shown.bytes.clear();
        }
    }

    /// Our terminal has another size now.
    pub fn resize(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.resize();
        }
    }

    /// Stops with the job: gives our terminal back, calls `stop`, which
    /// returns when the job goes on, and takes the terminal again. Does
    /// nothing when standard input is no terminal: then there is no job.
    pub fn pause(&mut self, stop: impl FnOnce() -> Result<()>) -> Result<()> {
        if !isatty(stdin()) {
            return Ok(());
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.host = None;
        }
        stop()?;
        self.resume();
        Ok(())
    }

    /// The job goes on: raw mode again, and the size of now.
    pub fn resume(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            if terminal.host.is_none() {
                terminal.host = RawMode::enter();
            } else if let Some(raw) = &terminal.host {
                raw.again();
            }
            terminal.resize();
        }
    }

    /// The process has ended: gives our terminal back and writes out all that
    /// the container's terminal still holds. Signals are blocked; one that
    /// asks us to end ends the waiting for a reader that does not read.
    pub fn finish(&mut self, signals: &SignalFd) -> Result<()> {
        let Some(this) = &mut self.terminal else { return Ok(()) };
        this.host = None;
        this.held = None;
        let mut read = 0;
        loop {
            let before = this.shown.bytes.len();
            if !this.hung_up && !this.shown.is_full() && read < HELD_AT_MOST {
                this.hung_up = !this.shown.fill(this.master.as_fd());
            }
            read += this.shown.bytes.len() - before;
            let dry = this.shown.bytes.len() == before;
            if this.shown.bytes.is_empty() || !this.output_open {
                if dry {
                    return Ok(());
                }
                this.shown.bytes.clear();
                continue;
            }
            let mut fds = [
                PollFd::from_borrowed_fd(stdout(), PollFlags::OUT),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(Error::os("poll", errno)),
            }
            if !fds[0].revents().is_empty() {
                this.output_open = this.shown.empty(stdout());
            } else if asked_to_end(signals) {
                return Ok(());
            }
        }
    }
}

/// Whether a signal waits that ends a program.
fn asked_to_end(signals: &SignalFd) -> bool {
    const END: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
    std::iter::from_fn(|| signals.read_signal().ok().flatten())
        .any(|info| END.contains(&(info.ssi_signo as i32)))
}

impl Terminal {
    /// Nothing more will be typed: presses the key that says so, twice behind a line
    /// that was not finished.
    fn end_of_input(&mut self) {
        let Ok(modes) = tcgetattr(&self.master) else { return };
        let key = modes.special_codes[SpecialCodeIndex::VEOF];
        self.typed.bytes.extend(std::iter::repeat_n(key, 1 + usize::from(self.line_open)));
    }

    fn resize(&self) {
        if let Some(size) = host_size()
            && let Err(error) = resize(self.master.as_fd(), size)
        {
            crate::log::warn(error);
        }
    }
}

/// The size of the terminal that we have, whichever stream it is.
fn host_size() -> Option<Size> {
    let size = STREAMS.into_iter().find_map(|stream| tcgetwinsize(stream()).ok());
    let size = size.or_else(|| tcgetwinsize(own_terminal().ok()?).ok())?;
    Some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// The standard streams.
const STREAMS: [fn() -> BorrowedFd<'static>; 3] = [stdin, stdout, stderr];

/// Our controlling terminal, where no stream leads to it.
fn own_terminal() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    host_path::open("/dev/tty", flags).step(|| "open /dev/tty")
}

/// Whether there is a terminal on which the container's could be shown.
///
/// # Errors
/// There is none: whoever reads in the container would wait for ever. In runc's words.
pub fn check_host_terminal() -> Result<()> {
    match STREAMS.into_iter().any(|stream| isatty(stream())) {
        true => Ok(()),
        false => own_terminal().map(drop).map_err(|error| {
            error.within("process.terminal: there is no terminal to show it on (set it to false)")
        }),
    }
}

/// Our own terminal (or file, or pipe) turns newlines into what it needs; as
/// with runc, the container's does not do so too.
fn keep_newlines(master: BorrowedFd<'_>) {
    if let Ok(mut modes) = tcgetattr(master) {
        modes.output_modes.remove(OutputModes::ONLCR);
        // Cosmetic: a stray carriage return is all that it could cost.
        let _ = tcsetattr(master, OptionalActions::Now, &modes);
    }
}

/// Our terminal in raw mode; dropping this restores it.
#[derive(Debug)]
struct RawMode {
    before: Termios,
    raw: Termios,
}

impl RawMode {
    /// None where standard input is no terminal, or not ours to change.
    fn enter() -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes.insert(OutputModes::OPOST);
        let mode = RawMode { before, raw };
        mode.again().then_some(mode)
    }

    fn again(&self) -> bool {
        tcsetattr(stdin(), OptionalActions::Now, &self.raw).is_ok()
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // In the background the modes are those of another job.
        if tcgetpgrp(stdin()) == Ok(rustix::process::getpgrp()) {
            let _gone_with_the_terminal = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        }
    }
}
