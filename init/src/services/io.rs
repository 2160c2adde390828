//! The descriptors and probes of each service.

use super::wire::PROBES;
use crate::sys::descriptors::{self, NONE, READABLE, WRITABLE, close};
use crate::sys::{Errno, sockets};

/// How much of an answer is taken in after its status, as by Kubernetes.
pub(super) const REST: usize = 10 * 1024;

/// One probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeRun {
    /// The process of an exec probe; 0 for none.
    pub pid: i32,
    /// The connection of the others.
    pub socket: i32,
    /// The request was sent.
    pub sent: bool,
    /// How the answer begins, and how much of it is there.
    pub answer: [u8; 12],
    /// See `answer`.
    pub len: usize,
    /// How much of the rest of the answer is still taken in, after the outcome.
    pub rest: usize,
    /// How much of answers that are not the last one (1xx) has been passed over; how much of
    /// the blank line that ends the one at hand has been seen.
    pub interim: (usize, u8),
}

impl ProbeRun {
    /// None.
    pub const NONE: ProbeRun = ProbeRun {
        pid: 0,
        socket: NONE,
        sent: false,
        answer: [0; 12],
        len: 0,
        rest: 0,
        interim: (0, 0),
    };

    /// Ends the connection.
    pub fn close(&mut self) {
        close(&mut self.socket);
        *self = ProbeRun::NONE;
    }

    /// Passes over an answer that is not the last one, to the blank line that ends it. False
    /// when there is no end to it.
    pub fn skip(&mut self) -> bool {
        let mut byte = [0];
        while self.interim.1 < 2 {
            match sockets::receive(self.socket, &mut byte) {
                Ok(1) if self.interim.0 < REST => self.interim.0 += 1,
                Err(Errno::EAGAIN) => return true,
                _ => return false,
            }
            self.interim.1 = match byte[0] {
                b'\n' => self.interim.1 + 1,
                b'\r' => self.interim.1,
                _ => 0,
            };
        }
        (self.len, self.interim.1) = (0, 0);
        true
    }

    /// Takes in some of what comes after the status: a server that has not sent all of its
    /// answer yet would see its connection broken.
    pub fn drain(&mut self) {
        let mut chunk = [0; 4096];
        match sockets::receive(self.socket, &mut chunk) {
            Ok(len) if len > 0 && len < self.rest => self.rest -= len,
            Err(Errno::EAGAIN) => {}
            _ => self.close(),
        }
    }
}

/// What PID 1 holds for a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Io {
    /// Where it tells that it is ready; a pipe or a datagram socket.
    pub ready: i32,
    /// The socket has a path to be removed.
    pub notifies: bool,
    /// Its output, where that is kept: read end, write end, memory.
    pub log: [i32; 3],
    /// How many bytes of output there have been.
    pub written: u64,
    /// Probes under way.
    pub probes: [ProbeRun; PROBES],
    /// The reload command under way, 0 for none; how the last one ended.
    pub reload: (i32, u8),
}

impl Io {
    /// Nothing yet.
    pub const NONE: Io = Io {
        ready: NONE,
        notifies: false,
        log: [NONE; 3],
        written: 0,
        probes: [ProbeRun::NONE; PROBES],
        reload: (0, 0),
    };

    /// Adds what is waited for.
    pub fn gather(&self, add: &mut dyn FnMut(i32, i16)) {
        add(self.ready, READABLE);
        add(self.log[0], READABLE);
        for probe in &self.probes {
            add(probe.socket, if probe.sent { READABLE } else { WRITABLE });
        }
    }

    /// Its process has ended: nobody will say that it is ready, or more of an answer.
    pub fn ended(&mut self) {
        close(&mut self.ready);
        self.probes.iter_mut().filter(|run| run.rest > 0).for_each(ProbeRun::close);
    }

    /// Takes in some output; the last of it is kept, round and round.
    pub fn keep(&mut self, size: u64) {
        let mut chunk = [0; 4096];
        let Ok(len) = descriptors::read(self.log[0], &mut chunk) else { return };
        let mut rest = &chunk[..len];
        while !rest.is_empty() {
            let at = self.written % size;
            let fits = rest.len().min((size - at) as usize);
            // A full memory loses output, not the service.
            let _ = descriptors::write_at(self.log[2], &rest[..fits], at);
            self.written += fits as u64;
            rest = &rest[fits..];
        }
    }
}
