//! The start gate between `create` and `start`: two FIFOs in the state
//! directory.
//!
//! The container's first process holds `exec.fifo` open and reads one byte
//! from it. `start` opens it for writing without blocking, which fails if
//! nobody holds it any more: a dead init is noticed at once. On `result.fifo`
//! it says what its hooks print, that it is about to execute the payload, and why that failed; the
//! end of the stream is either the execve, which closes it, or its death.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mknodat, openat, unlinkat};
use rustix::io::Errno;

use super::sync::{decode_error, encode_error};
use crate::error::{Error, Kind, Result, Step};
use crate::life::Entry;
use crate::life::store::{EXEC_FIFO, RESULT_FIFO};
use crate::log;

/// Written before the payload is executed.
const EXECUTING: u8 = b'E';
/// Written before a line that a hook has printed; two bytes with its length follow.
const SAID: u8 = b'S';
/// The same for a line of an init script.
const PRINTED: u8 = b'L';
/// The longest such line, in bytes: with its head it is written at once.
const LONGEST_LINE: usize = 4000;

/// The names of the gate of a container's first process.
pub const FIRST: [&str; 2] = [EXEC_FIFO, RESULT_FIFO];

/// The child's side.
#[derive(Debug)]
pub struct Gate {
    /// Read from.
    pub start: OwnedFd,
    /// Written to.
    pub result: OwnedFd,
}

impl Gate {
    /// Makes a gate of FIFOs of these names in a container's directory; the child inherits it.
    pub fn make(dir: BorrowedFd<'_>, names: [&str; 2]) -> Result<Gate> {
        for name in names {
            mknodat(dir, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                .step(|| format!("make {name}"))?;
        }
        let open = |name: &str, flags: OFlags| {
            openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())
                .step(|| format!("open {name}"))
        };
        // Both ends: a reader of an open FIFO without a writer gets its end.
        let start = open(names[0], OFlags::RDWR)?;
        let both = open(names[1], OFlags::RDWR)?;
        let result = open(names[1], OFlags::WRONLY)?;
        drop(both);
        Ok(Gate { start, result })
    }

    /// Both, which must survive until then.
    pub fn descriptors(&self) -> [i32; 2] {
        [&self.start, &self.result].map(AsRawFd::as_raw_fd)
    }

    /// Child: waits until `start` opens the gate.
    pub fn wait(&self) -> Result<()> {
        let mut byte = [0];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.start, &mut byte))
            .map(drop)
            .step(|| "wait for start")
    }

    /// Child: says that the payload is executed now. `start` may have gone.
    pub fn executing(&self) {
        let _gone = rustix::io::write(&self.result, &[EXECUTING]);
    }

    /// Child: says what a hook has printed, if `start` is still there to hear it.
    pub fn said(&self, line: &str) {
        self.hand_on(SAID, line);
    }

    /// Child: the same for what an init script has printed.
    pub fn printed(&self, line: &str) {
        self.hand_on(PRINTED, line);
    }

    /// A write without a reader would end this process (pipe(7)).
    fn hand_on(&self, letter: u8, line: &str) {
        let line = &line.as_bytes()[..line.len().min(LONGEST_LINE)];
        let [low, high] = (line.len() as u16).to_le_bytes();
        let mut fds = [PollFd::new(&self.result, PollFlags::OUT)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().contains(PollFlags::ERR) => {}
            _ => return,
        }
        let record = [&[letter, low, high], line].concat();
        let _gone = rustix::io::write(&self.result, &record);
    }

    /// Child: says why not.
    pub fn failed(&self, error: &Error) {
        let bytes = encode_error(error);
        // A FIFO takes PIPE_BUF (4096) bytes at once, whole.
        let _gone = rustix::io::write(&self.result, &bytes[..bytes.len().min(4000)]);
    }
}

/// `start`'s side: the gate, still closed.
#[derive(Debug)]
pub struct Reached {
    start: OwnedFd,
    result: OwnedFd,
}

fn dead() -> Error {
    Error::new(Kind::WrongState, "cannot start a container that has stopped")
}

impl Reached {
    /// Stands before the gate of these names: nothing has happened yet.
    ///
    /// # Errors
    /// [`Kind::WrongState`] when nobody waits there any more; what hinders this process.
    pub fn new(dir: BorrowedFd<'_>, names: [&str; 2]) -> Result<Reached> {
        let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
        let result = openat(dir, names[1], OFlags::RDONLY | flags, Mode::empty())
            .step(|| format!("open {}", names[1]))?;
        match openat(dir, names[0], OFlags::WRONLY | flags, Mode::empty()) {
            Err(Errno::NXIO) => Err(dead()),
            opened => {
                let start = opened.step(|| format!("open {}", names[0]))?;
                Ok(Reached { start, result })
            }
        }
    }

    /// Opens it and waits until the payload is executed.
    ///
    /// # Errors
    /// The init process is gone, or could not execute the payload.
    pub fn open(self, pidfd: BorrowedFd<'_>) -> Result<()> {
        let Reached { start, result } = self;
        rustix::io::write(&start, b"0").step(|| "write to the start gate")?;
        drop(start);
        let said = read_to_end(&result, pidfd)?;
        match said.split_first() {
            Some((&EXECUTING, [])) => {
                log::debug(|| "the payload is executed");
                Ok(())
            }
            Some((&EXECUTING, error)) => Err(decode_error(error)),
            Some(_) => Err(decode_error(&said)),
            None => Err(dead()),
        }
    }
}

/// Reads until every writer has closed; the death of the process behind
/// `pidfd` ends it too, should a descriptor have leaked.
fn read_to_end(result: &OwnedFd, pidfd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(result.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(errno) => return Err(Error::os("poll", errno)),
        }
        let ended = !fds[1].revents().is_empty();
        match rustix::io::read(result, &mut chunk) {
            Ok(0) => return Ok(said),
            Ok(count) => {
                said.extend_from_slice(&chunk[..count]);
                take_lines(&mut said, |letter, line| match letter {
                    PRINTED => log::info(line),
                    _ => log::debug(|| line),
                });
            }
            Err(Errno::AGAIN) if ended => return Ok(said),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(Error::os("read the start gate's answer", errno)),
        }
    }
}

/// Takes the lines of hooks and scripts off the beginning of what was said, as far as they
/// are complete.
fn take_lines(said: &mut Vec<u8>, mut each: impl FnMut(u8, String)) {
    while let [letter @ (SAID | PRINTED), low, high, rest @ ..] = &said[..] {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let Some(line) = rest.get(..length) else { return };
        each(*letter, String::from_utf8_lossy(line).into_owned());
        said.drain(..3 + length);
    }
}

/// Takes the gate away: the container is no longer "created". The other FIFO stays: when it was
/// written to last is when the payload was executed (`life::record`).
pub fn remove(entry: &Entry) -> Result<()> {
    match unlinkat(entry.dir(), EXEC_FIFO, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::os(format!("remove {EXEC_FIFO}"), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_off_as_they_become_complete() {
        let whole = b"S\x03\x00oneL\x00\x00S\x05\x00threeE".to_vec();
        for cut in 0..whole.len() {
            let mut lines = Vec::new();
            let mut said = whole[..cut].to_vec();
            take_lines(&mut said, |letter, line| lines.push((letter, line)));
            said.extend_from_slice(&whole[cut..]);
            take_lines(&mut said, |letter, line| lines.push((letter, line)));
            let expected = [(SAID, "one"), (PRINTED, ""), (SAID, "three")];
            let expected = expected.map(|(letter, line)| (letter, line.to_owned()));
            assert_eq!(lines, expected, "{cut}");
            assert_eq!(said, b"E", "{cut}");
        }
    }
}
