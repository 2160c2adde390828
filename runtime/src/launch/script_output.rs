//! What an init script prints: line by line for the log and for errors, and as it is for the
//! container's own standard output and error, where its engine looks for it.
//!
//! A reader there that has stopped makes the script wait, as it would make the payload wait,
//! and never the process that starts it: that writes only what is taken at once. A terminal is
//! not waited for, since `run` shows it only once the payload runs: what does not fit is
//! in the log alone.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::Error;
use crate::sys::procfs::Procfs;

/// How many of the last lines an error tells.
const TOLD: usize = 5;
/// Longer lines are cut (bytes).
const LONGEST: usize = 1024;
/// What a pipe takes whole as soon as it takes anything (`PIPE_BUF`).
const AT_ONCE: usize = 4096;

/// The script's ends of the pipes: standard output and error, one where they are the same.
#[derive(Debug)]
pub struct Written {
    output: OwnedFd,
    error: Option<OwnedFd>,
}

impl Written {
    /// Makes them the standard streams.
    pub fn become_streams(&self) -> rustix::io::Result<()> {
        rustix::stdio::dup2_stdout(&self.output)?;
        rustix::stdio::dup2_stderr(self.error.as_ref().unwrap_or(&self.output))
    }
}

/// Our ends.
#[derive(Debug)]
pub struct Output {
    streams: Vec<Stream>,
}

/// One of a script's streams, and the container's that it goes on to.
#[derive(Debug)]
struct Stream {
    from: OwnedFd,
    open: bool,
    to: Sink,
    /// Read and not yet written.
    pending: Vec<u8>,
    /// The beginning of a line.
    line: Vec<u8>,
    /// How much of it is the script's own, once that has ended.
    left: Option<u64>,
}

/// Where bytes go.
#[derive(Debug)]
enum Sink {
    /// Nowhere: nobody reads there.
    Closed,
    /// A standard stream of this process.
    Own(BorrowedFd<'static>),
    /// A terminal, opened anew so as not to wait for it.
    Terminal(OwnedFd),
}

impl Sink {
    fn of(stream: BorrowedFd<'static>, proc: Option<&Procfs>) -> Sink {
        let Ok(stat) = fstat(stream) else { return Sink::Closed };
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
            return Sink::Own(stream);
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        let again = match proc {
            Some(proc) => proc.reopen(stream, flags),
            None => Procfs::own().and_then(|proc| proc.reopen(stream, flags)),
        };
        // Somebody else's can only be written to as it is.
        again.map_or(Sink::Own(stream), Sink::Terminal)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Sink::Closed => None,
            Sink::Own(fd) => Some(*fd),
            Sink::Terminal(fd) => Some(fd.as_fd()),
        }
    }
}

/// The pipes for a script of this container; `proc` is its procfs.
///
/// # Errors
/// No descriptors are left.
pub fn pipes(proc: Option<&Procfs>) -> rustix::io::Result<(Output, Written)> {
    use rustix::stdio::{stderr, stdout};
    let same = |a: BorrowedFd<'_>, b: BorrowedFd<'_>| match (fstat(a), fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    };
    let one = |stream| {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok::<_, Errno>((Stream::new(from, Sink::of(stream, proc)), to))
    };
    let (output, to_output) = one(stdout())?;
    let mut streams = vec![output];
    // In one pipe they keep their order.
    let error = match same(stdout(), stderr()) {
        true => None,
        false => {
            let (error, to_error) = one(stderr())?;
            streams.push(error);
            Some(to_error)
        }
    };
    Ok((Output { streams }, Written { output: to_output, error }))
}

impl Output {
    /// What must stay open until the script has run.
    pub fn descriptors(&self) -> Vec<i32> {
        let of = |stream: &Stream| {
            let terminal = match &stream.to {
                Sink::Terminal(fd) => Some(fd.as_raw_fd()),
                Sink::Closed | Sink::Own(_) => None,
            };
            [Some(stream.from.as_raw_fd()), terminal].into_iter().flatten()
        };
        self.streams.iter().flat_map(of).collect()
    }

    /// What is to be waited for.
    pub fn wants(&self) -> Vec<PollFd<'_>> {
        self.streams.iter().filter_map(Stream::wants).collect()
    }

    /// Does what can be done at once, in the order of the streams.
    pub fn step(&mut self, lines: &mut Lines<'_>) {
        self.streams.iter_mut().for_each(|stream| stream.step(lines));
    }

    /// The script has ended: what others write from now on is not its own.
    pub fn ended(&mut self) {
        for stream in &mut self.streams {
            stream.left = Some(rustix::io::ioctl_fionread(&stream.from).unwrap_or(0));
        }
    }

    /// Whether all of an ended script's output has been passed on.
    pub fn is_done(&self) -> bool {
        self.streams
            .iter()
            .all(|stream| stream.pending.is_empty() && (!stream.open || stream.left == Some(0)))
    }

    /// The last lines may lack their end.
    pub fn finish(&mut self, lines: &mut Lines<'_>) {
        self.streams.iter_mut().for_each(|stream| lines.finish(&mut stream.line));
    }
}

impl Stream {
    fn new(from: OwnedFd, to: Sink) -> Stream {
        Stream { from, open: true, to, pending: Vec::new(), line: Vec::new(), left: None }
    }

    fn wants(&self) -> Option<PollFd<'_>> {
        match self.to.fd().filter(|_| !self.pending.is_empty()) {
            Some(to) => Some(PollFd::from_borrowed_fd(to, PollFlags::OUT)),
            None => self.open.then(|| PollFd::from_borrowed_fd(self.from.as_fd(), PollFlags::IN)),
        }
    }

    fn step(&mut self, lines: &mut Lines<'_>) {
        if self.pending.is_empty() && self.open && is_ready(self.from.as_fd(), PollFlags::IN) {
            self.read(lines);
        }
        if !self.pending.is_empty() {
            self.write();
        }
    }

    fn read(&mut self, lines: &mut Lines<'_>) {
        let mut bytes = [0; AT_ONCE];
        let most = self.left.map_or(AT_ONCE, |left| AT_ONCE.min(left as usize));
        match rustix::io::read(&self.from, &mut bytes[..most]) {
            Ok(0) => self.open = false,
            Ok(count) => {
                lines.take(&mut self.line, &bytes[..count]);
                self.left = self.left.map(|left| left.saturating_sub(count as u64));
                self.pending.extend_from_slice(&bytes[..count]);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.open = false,
        }
    }

    fn write(&mut self) {
        let Some(to) = self.to.fd() else { return self.pending.clear() };
        let terminal = matches!(self.to, Sink::Terminal(_));
        // A write to a full pipe would wait.
        if !terminal && !is_ready(to, PollFlags::OUT) {
            return;
        }
        match rustix::io::write(to, &self.pending) {
            Ok(_) | Err(Errno::AGAIN) if terminal => self.pending.clear(),
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads there any more.
            Err(_) => {
                self.to = Sink::Closed;
                self.pending.clear();
            }
        }
    }
}

fn is_ready(fd: BorrowedFd<'_>, what: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, what)];
    let now = rustix::event::Timespec::default();
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
}

/// What a script prints, line by line.
pub struct Lines<'a> {
    name: &'a str,
    sink: &'a dyn Fn(&str),
    last: Vec<String>,
}

impl<'a> Lines<'a> {
    /// Of the script `name`; each line goes to `sink`.
    pub fn new(name: &'a str, sink: &'a dyn Fn(&str)) -> Lines<'a> {
        Lines { name, sink, last: Vec::new() }
    }

    fn take(&mut self, line: &mut Vec<u8>, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.finish(line),
                _ if line.len() < LONGEST => line.push(*byte),
                _ => {}
            }
        }
    }

    fn finish(&mut self, line: &mut Vec<u8>) {
        let line = String::from_utf8_lossy(&std::mem::take(line)).trim().to_owned();
        if line.is_empty() {
            return;
        }
        (self.sink)(&format!("{}: {line}", self.name));
        if self.last.len() == TOLD {
            self.last.remove(0);
        }
        self.last.push(line);
    }

    /// An error with the last lines.
    pub fn error(&self, what: &str) -> Error {
        let name = self.name;
        match self.last.is_empty() {
            true => Error::system(format!("{name}: {what}")),
            false => Error::system(format!("{name}: {what}: {}", self.last.join("; "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn an_error_tells_the_last_lines() {
        let seen = RefCell::new(Vec::new());
        let sink = |line: &str| seen.borrow_mut().push(line.to_owned());
        let mut lines = Lines::new("initscript /x", &sink);
        assert_eq!(lines.error("exit status 1").to_string(), "initscript /x: exit status 1");
        let mut line = Vec::new();
        lines.take(&mut line, b"1\n2\n3\n\n4\n5");
        lines.take(&mut line, b"five\n6");
        lines.finish(&mut line);
        assert_eq!(seen.borrow().len(), 6);
        assert_eq!(seen.borrow()[4], "initscript /x: 5five");
        let text = lines.error("exit status 1").to_string();
        assert_eq!(text, "initscript /x: exit status 1: 2; 3; 4; 5five; 6");
    }

    #[test]
    fn a_reader_that_has_stopped_is_never_waited_for() {
        let (from, script) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (reader, full) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let size = rustix::pipe::fcntl_getpipe_size(&full).unwrap();
        rustix::io::write(&full, &vec![b'.'; size]).unwrap();
        let full: &'static OwnedFd = Box::leak(Box::new(full));
        let mut output = Output { streams: vec![Stream::new(from, Sink::Own(full.as_fd()))] };
        let mut lines = Lines::new("x", &|_| {});
        rustix::io::write(&script, b"one\ntwo").unwrap();
        for _ in 0..3 {
            output.step(&mut lines);
        }
        output.ended();
        assert!(!output.is_done());
        assert_eq!(output.streams[0].pending, b"one\ntwo");
        let mut read = vec![0; size];
        rustix::io::read(&reader, &mut read).unwrap();
        output.step(&mut lines);
        assert!(output.is_done());
        assert_eq!(rustix::io::read(&reader, &mut read), Ok(7));
        // What somebody else still writes is none of its.
        rustix::io::write(&script, b"three").unwrap();
        output.step(&mut lines);
        assert!(output.is_done());
    }
}
