//! Who is connected to a monitor, and what is on its way to them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use super::protocol::{self, Frame, Kind};
use crate::error::{At, Error, Result};

/// A reader that the payload does not wait for is left out while so much is on its way to it.
const BEHIND: usize = 64 << 10;
/// With so much on its way to a reader that is waited for, no more is read from the payload.
const FULL: usize = 256 << 10;

/// What a client has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing yet.
    New,
    /// To be told of the end.
    Waiting,
    /// To be told when the container has been started anew.
    WaitingForStart,
    /// The streams; whether the payload waits for this reader.
    Attached(bool),
}

/// A client.
pub struct Client {
    /// Its connection.
    pub stream: UnixStream,
    /// What it has asked for.
    pub mode: Mode,
    arrived: Vec<u8>,
    leaving: Vec<u8>,
    /// It is gone, or is none of ours.
    pub gone: bool,
    /// Bytes that were left out.
    skipped: u64,
}

impl Client {
    /// A connection of this user's, or root's.
    ///
    /// # Errors
    /// Somebody else's.
    pub fn new(stream: UnixStream, mode: Mode) -> Result<Client> {
        let peer = rustix::net::sockopt::socket_peercred(&stream).at("ask", "who connects")?;
        if !(peer.uid.is_root() || peer.uid == rustix::process::geteuid()) {
            return Err(Error::system(format!("user {} may not connect", peer.uid.as_raw())));
        }
        stream.set_nonblocking(true).at("prepare", "a connection")?;
        let (arrived, leaving) = (Vec::new(), Vec::new());
        Ok(Client { stream, mode, arrived, leaving, gone: false, skipped: 0 })
    }

    /// Whether something is on its way to it.
    pub fn has_output(&self) -> bool {
        !self.gone && !self.leaving.is_empty()
    }

    /// Whether the payload has to wait for it.
    pub fn is_full(&self) -> bool {
        !self.gone && self.mode == Mode::Attached(true) && self.leaving.len() >= FULL
    }

    /// Whether its output is waited for at the end.
    pub fn is_waited_for(&self) -> bool {
        self.mode != Mode::Attached(false)
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: Kind, data: &[u8]) {
        if self.gone {
            return;
        }
        protocol::put(&mut self.leaving, kind, data);
        self.flush();
    }

    /// Sends output, if it is attached. Who does not keep up is left out, and told.
    pub fn show(&mut self, kind: Kind, data: &[u8]) {
        let Mode::Attached(hold) = self.mode else { return };
        if !hold && self.leaving.len() > BEHIND {
            self.skipped += data.len() as u64;
            return;
        }
        if self.skipped > 0 {
            let note = format!("\r\n[{} bytes left out]\r\n", self.skipped);
            self.skipped = 0;
            protocol::put(&mut self.leaving, Kind::Errors, note.as_bytes());
        }
        self.send(kind, data);
    }

    /// Writes what it takes.
    pub fn flush(&mut self) {
        let mut done = 0;
        while done < self.leaving.len() && !self.gone {
            match self.stream.write(&self.leaving[done..]) {
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        self.leaving.drain(..done);
        if self.leaving.is_empty() {
            self.leaving = Vec::new();
        }
    }

    /// The frames that have arrived.
    pub fn receive(&mut self) -> Vec<Frame> {
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => {
                    self.gone = true;
                    break;
                }
                Ok(count) => self.arrived.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.gone |= error.kind() != ErrorKind::WouldBlock;
                    break;
                }
            }
            if self.arrived.len() > protocol::MOST {
                break;
            }
        }
        let mut frames = Vec::new();
        loop {
            match protocol::take(&mut self.arrived) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        frames
    }
}
