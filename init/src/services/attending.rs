//! What the services' descriptors say: that they are ready, what they put out, how a
//! probe goes.

use super::engine::Engine;
use super::io::{ProbeRun, REST};
use super::probe::{http_interim, http_status, http_success};
use super::wire::{self, Field, ProbeField};
use crate::sys::descriptors::{self, WRITABLE, close};
use crate::sys::{self, Errno, sockets};
use crate::time::Millis;

impl Engine {
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
        if self.machine.states()[i].rules.probes[probe].kind == wire::PROBE_EXEC {
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
        let http = self.machine.states()[i].rules.probes[probe].kind == wire::PROBE_HTTP;
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
        if run.len == run.answer.len() {
            if !run.skip() {
                run.close();
                self.machine.probed(i, probe, false, sys::now());
            }
            return;
        }
        let len = match sockets::receive(run.socket, &mut run.answer[run.len..]) {
            Err(Errno::EAGAIN) => return,
            received => received.unwrap_or(0),
        };
        run.len += len;
        let status = http_status(&run.answer[..run.len]);
        if status.is_some_and(http_interim) {
            // Passed over as far as it is here; until then it is what is looked at again.
            run.len = run.answer.len();
            if run.skip() {
                return;
            }
            run.close();
        } else if status.is_some() {
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
