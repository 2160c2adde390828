//! The descriptors and probes of each service.

use super::probe::http_success;
use super::wire::{self, Field, PROBES, ProbeField};
use crate::sys::descriptors::{self, NONE, READABLE, WRITABLE, close};
use crate::sys::{self, Errno, sockets};
use crate::time::Millis;

/// How much of an answer is taken in after its status, as by Kubernetes.
const REST: usize = 10 * 1024;

/// One probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeRun {
    /// The process of an exec probe; 0 for none.
    pub pid: i32,
    /// The connection of the others.
    socket: i32,
    /// The request was sent.
    sent: bool,
    answer: [u8; 12],
    len: usize,
    /// How much of the rest of the answer is still taken in, after the outcome.
    rest: usize,
}

impl ProbeRun {
    const NONE: ProbeRun =
        ProbeRun { pid: 0, socket: NONE, sent: false, answer: [0; 12], len: 0, rest: 0 };

    /// Ends the connection.
    pub fn close(&mut self) {
        close(&mut self.socket);
        *self = ProbeRun::NONE;
    }

    /// Takes in some of what comes after the status: a server that has not sent all of its
    /// answer yet would see its connection broken.
    fn drain(&mut self) {
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
}

impl Io {
    /// Nothing yet.
    pub const NONE: Io = Io {
        ready: NONE,
        notifies: false,
        log: [NONE; 3],
        written: 0,
        probes: [ProbeRun::NONE; PROBES],
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
    fn keep(&mut self, size: u64) {
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

impl super::engine::Engine {
    /// Sees to a descriptor of a service.
    pub(super) fn attend_io(&mut self, fd: i32, seen: i16) {
        for i in 0..self.io.len() {
            if fd == self.io[i].ready {
                return self.attend_ready(i);
            }
            if fd == self.io[i].log[0] {
                let size = u64::from(self.plan.field(i, Field::LogSize).max(1));
                return self.io[i].keep(size);
            }
            if let Some(probe) = self.io[i].probes.iter().position(|run| run.socket == fd) {
                return self.attend_probe(i, probe, seen);
            }
        }
    }

    /// A line feed on the descriptor, or a READY=1 on the socket.
    fn attend_ready(&mut self, i: usize) {
        let mut text = [0; 1024];
        let io = &mut self.io[i];
        let by_socket = io.notifies;
        let len = match by_socket {
            true => sockets::receive(io.ready, &mut text),
            false => descriptors::read(io.ready, &mut text),
        };
        let Ok(len) = len else { return };
        let text = &text[..len];
        let ready = match by_socket {
            true => text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1"),
            false => text.contains(&b'\n'),
        };
        if !by_socket && (ready || len == 0) {
            close(&mut self.io[i].ready);
        }
        if ready {
            self.machine.ready(i, sys::now());
        }
    }

    /// Takes a probe.
    pub(super) fn probe(&mut self, i: usize, probe: usize, now: Millis) {
        self.io[i].probes[probe].close();
        if self.machine.slots()[i].rules.probes[probe].kind == wire::PROBE_EXEC {
            let words = self.plan.probe_command(i, probe);
            match self.launch_beside(i, words, b"", self.null) {
                Some(pid) => self.io[i].probes[probe].pid = pid,
                None => self.machine.probed(i, probe, false, now),
            }
            return;
        }
        match sockets::connect(self.plan.probe_blob(i, probe, ProbeField::Address)) {
            Ok(socket) => self.io[i].probes[probe] = ProbeRun { socket, ..ProbeRun::NONE },
            Err(_) => self.machine.probed(i, probe, false, now),
        }
    }

    /// Breaks a probe off; its process is taken in as anybody's.
    pub(super) fn break_off(&mut self, i: usize, probe: usize) {
        let run = &mut self.io[i].probes[probe];
        if run.pid > 0 {
            let _ = sys::kill(-run.pid, crate::signals::KILL);
        }
        run.close();
    }

    /// The process of an exec probe has ended.
    pub(super) fn probe_process_ended(&mut self, i: usize, pid: i32, good: bool, now: Millis) {
        if let Some(probe) = self.io[i].probes.iter().position(|run| run.pid == pid) {
            self.io[i].probes[probe].close();
            self.machine.probed(i, probe, good, now);
        }
    }

    /// A probe's connection has come about, failed, or brought an answer.
    fn attend_probe(&mut self, i: usize, probe: usize, seen: i16) {
        let run = &mut self.io[i].probes[probe];
        if run.sent {
            return self.attend_answer(i, probe);
        }
        let connected = sockets::connected(run.socket).is_ok() && seen & WRITABLE != 0;
        let http = self.machine.slots()[i].rules.probes[probe].kind == wire::PROBE_HTTP;
        if connected && http {
            let request = self.plan.probe_blob(i, probe, ProbeField::Request);
            let request = request.strip_suffix(b"\0").unwrap_or(request);
            run.sent = sockets::send(run.socket, request) == Ok(request.len());
            if run.sent {
                return;
            }
        }
        run.close();
        self.machine.probed(i, probe, connected && !http, sys::now());
    }

    fn attend_answer(&mut self, i: usize, probe: usize) {
        let run = &mut self.io[i].probes[probe];
        if run.rest > 0 {
            return run.drain();
        }
        let len = match sockets::receive(run.socket, &mut run.answer[run.len..]) {
            Err(Errno::EAGAIN) => return,
            received => received.unwrap_or(0),
        };
        run.len += len;
        let status = super::probe::http_status(&run.answer[..run.len]);
        if status.is_some() {
            run.rest = REST;
        } else if len == 0 || run.len == run.answer.len() {
            run.close();
        } else {
            return;
        }
        let good = status.is_some_and(http_success);
        self.machine.probed(i, probe, good, sys::now());
    }
}
