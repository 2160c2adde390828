//! A connection to a monitor.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::error::{At, Error, Kind, Result};
use crate::monitor::protocol::{self, Frame, Request};
use crate::store::{Dirs, Exit};

/// A connection to a monitor.
pub struct Connection {
    /// It.
    pub stream: UnixStream,
    arrived: Vec<u8>,
    leaving: Vec<u8>,
}

impl Connection {
    /// One that is there.
    pub fn of(stream: UnixStream) -> Connection {
        Connection { stream, arrived: Vec::new(), leaving: Vec::new() }
    }

    /// Connects to a container's monitor.
    ///
    /// # Errors
    /// None there.
    pub fn open(dirs: &Dirs) -> Result<Connection> {
        let run = File::open(&dirs.run).at("open", dirs.run.display())?;
        let short = format!("/proc/self/fd/{}/monitor.sock", run.as_raw_fd());
        let stream =
            UnixStream::connect(short).at("connect to the monitor in", dirs.run.display())?;
        Ok(Connection::of(stream))
    }

    /// The next frame; `None` when the monitor has gone.
    ///
    /// # Errors
    /// What is no frame.
    pub fn receive(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.arrived()? {
                return Ok(Some(frame));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// The next frame of those that have been read: no poll(2) tells of them.
    ///
    /// # Errors
    /// What is no frame.
    pub fn arrived(&mut self) -> Result<Option<Frame>> {
        protocol::take(&mut self.arrived).at("listen to", "the monitor")
    }

    /// Reads once, perhaps several frames or a part of one; false when the monitor has gone.
    ///
    /// # Errors
    /// What read(2) says.
    pub fn read(&mut self) -> Result<bool> {
        let mut part = [0; 16 << 10];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.arrived.extend_from_slice(&part[..count]);
                    return Ok(true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(false);
                }
                Err(error) => return Err(error).at("listen to", "the monitor"),
            }
        }
    }

    /// Puts a frame where [`Connection::flush`] takes it from: this never waits.
    pub fn queue(&mut self, kind: protocol::Kind, data: &[u8]) {
        protocol::put(&mut self.leaving, kind, data);
    }

    /// Whether frames are queued.
    pub fn has_output(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Sends of what is queued as much as is taken without waiting. A monitor that has gone takes
    /// all of it; reading tells that.
    pub fn flush(&mut self) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while !self.leaving.is_empty() {
            match send(&self.stream, &self.leaving, flags) {
                Ok(count) => drop(self.leaving.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.leaving.clear(),
            }
        }
    }

    /// Sends a frame, and waits until it is taken. That the monitor has gone is seen by who
    /// listens for its answer: what it said before can still be read.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn send(&mut self, kind: protocol::Kind, data: &[u8]) -> Result<()> {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        let mut bytes = Vec::new();
        protocol::put(&mut bytes, kind, data);
        match self.stream.write_all(&bytes) {
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => Ok(()),
            written => written.at("speak to", "the monitor"),
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// What the monitor says.
    pub fn ask(&mut self, request: &Request) -> Result<Answer> {
        self.send(protocol::Kind::Request, request.text().as_bytes())?;
        while let Some(frame) = self.receive()? {
            match frame.kind {
                protocol::Kind::Done => return Ok(Answer::Done),
                protocol::Kind::Exit => {
                    return serde_json::from_slice(&frame.data)
                        .at("read", "the exit")
                        .map(Answer::Exit);
                }
                protocol::Kind::Error => {
                    return Err(Error::new(Kind::Program, String::from_utf8_lossy(&frame.data)));
                }
                _ => {}
            }
        }
        Ok(Answer::Gone)
    }

    /// Waits for the end; `None` when the monitor goes without a word.
    ///
    /// # Errors
    /// What is no answer.
    pub fn wait(&mut self) -> Result<Option<Exit>> {
        self.ask(&Request::Wait).map(|answer| match answer {
            Answer::Exit(exit) => Some(exit),
            Answer::Done | Answer::Gone => None,
        })
    }
}

/// What a monitor answers.
#[derive(Debug)]
pub enum Answer {
    /// It has done what it was asked for.
    Done,
    /// The container has ended.
    Exit(Exit),
    /// Nothing: it has ended itself, or was killed.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_that_has_gone_is_an_answer_and_no_error() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        let asked = Connection::of(ours).ask(&Request::Wait);
        assert!(matches!(asked, Ok(Answer::Gone)), "{asked:?}");
    }
}
