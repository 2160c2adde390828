//! What is answered to those who ask over the control socket.

use super::clients::{CLIENTS, WAITING, Wait};
use super::control::{self, Code, Op, Packet, Request, Why};
use super::engine::Engine;
use super::service_state::{Phase, ServiceState};
use super::wire::{self, Field};
use crate::sys::descriptors::{self, NONE, close};
use crate::sys::{self, Errno, sockets};
use crate::time::Millis;

impl Engine {
    /// Sees to the listener or a connection; false when the descriptor is neither.
    pub(super) fn attend_client(&mut self, fd: i32) -> bool {
        if fd == self.clients.listener {
            self.clients.accept();
            return true;
        }
        let Some(at) = self.clients.all.iter().position(|(socket, _)| *socket == fd) else {
            return false;
        };
        let mut packet = [0; control::MAX_PACKET];
        match sockets::receive(fd, &mut packet) {
            Ok(len @ 1..) if self.clients.all[at].1 == Wait::Nothing => {
                match Request::read(&packet[..len]) {
                    Ok(request) => self.answer(at, request),
                    Err(code) => self.end(at, code, b""),
                }
            }
            // What was seen was of a descriptor that had the number before.
            Err(Errno::EAGAIN) => {}
            _ => self.forget(at),
        }
        true
    }

    fn forget(&mut self, at: usize) {
        close(&mut self.clients.all[at].0);
        self.clients.all[at].1 = Wait::Nothing;
    }

    /// Sends a reply; whoever does not take it is forgotten.
    fn send(&mut self, at: usize, packet: &Packet) {
        if sockets::send(self.clients.all[at].0, packet.as_bytes()).is_err() {
            self.forget(at);
        }
    }

    fn end(&mut self, at: usize, code: Code, text: &[u8]) {
        self.clients.all[at].1 = Wait::Nothing;
        self.send(at, &Packet::end(code, text));
    }

    fn impossible(&mut self, at: usize, why: Why, i: usize) {
        let packet = Packet::end_why(Code::Impossible, why as u8, self.name(i));
        self.clients.all[at].1 = Wait::Nothing;
        self.send(at, &packet);
    }

    fn answer(&mut self, at: usize, request: Request<'_>) {
        let mut set = 0_u64;
        for name in request.names() {
            match (0..self.plan.count()).find(|i| self.name(*i) == name) {
                Some(i) => set |= 1 << i,
                None => return self.end(at, Code::Unknown, name),
            }
        }
        let now = sys::now();
        let waits =
            matches!(request.op, Op::Events | Op::Start | Op::Restart | Op::Stop | Op::Reload);
        if waits && self.clients.waiting() >= WAITING {
            return self.end(at, Code::Busy, b"");
        }
        match request.op {
            Op::List => {
                self.list(at, now);
                self.end(at, Code::Done, b"");
            }
            Op::Events => {
                self.clients.all[at].1 = Wait::Changes;
                self.list(at, now);
            }
            Op::Start | Op::Restart => {
                let started = each(set).all(|i| match request.op {
                    Op::Start => self.machine.start(i),
                    _ => self.machine.restart(i),
                });
                match started {
                    true => self.clients.all[at].1 = Wait::Ready(set),
                    false => self.end(at, Code::Stopping, b""),
                }
            }
            Op::Stop => {
                each(set).for_each(|i| self.machine.stop(i, now));
                self.clients.all[at].1 = Wait::Down(set);
            }
            Op::Signal => self.signal_all(at, set, request.argument),
            Op::Logs => self.log(at, set),
            Op::Reload => self.reload(at, set),
        }
    }

    fn list(&mut self, at: usize, now: Millis) {
        for i in 0..self.plan.count() {
            let packet = self.describe(i, now);
            self.send(at, &packet);
        }
    }

    fn describe(&self, i: usize, now: Millis) -> Packet {
        let state = &self.machine.states()[i];
        let age = now.saturating_sub(state.since);
        let health = self.machine.health() as u8;
        let start = self.plan.field(i, Field::Start);
        Packet::service(state, i == self.machine.main(), start, health, age)
            .with(self.name(i))
            .with(b"\0")
            .with(self.plan.text(i, Field::Ports))
    }

    /// Tells those who listen of a change.
    pub(super) fn publish(&mut self, i: usize, now: Millis) {
        for at in 0..CLIENTS {
            if self.clients.all[at].1 == Wait::Changes {
                let packet = self.describe(i, now);
                self.send(at, &packet);
            }
        }
    }

    /// Answers those whose wish has come true, or cannot any more.
    pub(super) fn answer_waiting(&mut self) {
        for at in 0..CLIENTS {
            let states = self.machine.states();
            let (set, there): (u64, fn(&ServiceState) -> bool) = match self.clients.all[at].1 {
                Wait::Ready(set) => (set, |state| state.serves() && !state.cycle),
                Wait::Down(set) => (set, |state| !state.is_active() && !state.wanted),
                Wait::Reload(set) => {
                    self.answer_reload(at, set);
                    continue;
                }
                _ => continue,
            };
            let down = matches!(self.clients.all[at].1, Wait::Down(_));
            let ended = |phase| matches!(phase, Phase::Failed | Phase::Done | Phase::Down);
            let failed =
                each(set).find(|i| !down && !there(&states[*i]) && ended(states[*i].phase));
            if each(set).all(|i| there(&states[i]) || (down && ended(states[i].phase))) {
                self.end(at, Code::Done, b"");
            } else if let Some(i) = failed.filter(|_| !self.machine.stops()) {
                self.end(at, Code::Failed, self.name(i));
            } else if !down && self.machine.stops() {
                self.end(at, Code::Stopping, b"");
            }
        }
    }

    fn signal_all(&mut self, at: usize, set: u64, signal: u8) {
        let running = |i: &usize| self.machine.states()[*i].pid > 0;
        if let Some(i) = each(set).find(|i| !running(i)) {
            return self.impossible(at, Why::Down, i);
        }
        each(set).for_each(|i| self.signal(i, signal));
        self.end(at, Code::Done, b"");
    }

    /// A log's descriptor: the memory that keeps it, or the file.
    fn log(&mut self, at: usize, set: u64) {
        let Some(i) = each(set).next() else { return self.end(at, Code::Malformed, b"") };
        let kind = self.plan.field(i, Field::Log);
        let mut opened = NONE;
        let descriptor = match kind {
            wire::LOG_KEEP => self.io[i].log[2],
            wire::LOG_FILE => {
                let path = self.plan.c_text(i, Field::LogPath);
                opened = path.and_then(|path| descriptors::open(path, false).ok()).unwrap_or(NONE);
                opened
            }
            wire::LOG_NULL => return self.impossible(at, Why::Discarded, i),
            _ => return self.impossible(at, Why::Inherited, i),
        };
        let kept = u64::from(self.plan.field(i, Field::LogSize));
        let packet = Packet::log(kind, self.io[i].written, kept);
        // One that has not been started has no log yet.
        if descriptor != NONE {
            let socket = self.clients.all[at].0;
            let _ = sockets::send_with(socket, packet.as_bytes(), descriptor);
        }
        close(&mut opened);
        self.end(at, Code::Done, b"");
    }

    /// Runs the reload commands, or sends the signals that stand for them.
    fn reload(&mut self, at: usize, set: u64) {
        for i in each(set) {
            let words = self.plan.list(i, Field::Reload);
            let program = words.clone().next().map_or(&b""[..], |word| word.to_bytes());
            let signal = self.plan.field(i, Field::ReloadSignal) as u8;
            self.io[i].reload = (0, 0);
            match (self.machine.states()[i].pid > 0, words.is_empty(), signal) {
                (false, ..) => return self.impossible(at, Why::Down, i),
                (true, false, _) => match self.launch_beside(i, words, b"", NONE) {
                    Some(pid) => self.io[i].reload.0 = pid,
                    None => {
                        let packet =
                            Packet::end_why(Code::Impossible, Why::NotExecuted as u8, self.name(i));
                        return self.send(at, &packet.with(b"\0").with(program));
                    }
                },
                (true, true, 1..) => self.signal(i, signal),
                (true, true, 0) => return self.impossible(at, Why::NoReload, i),
            }
        }
        self.clients.all[at].1 = Wait::Reload(set);
    }

    /// Answers once all of the reload commands have ended.
    fn answer_reload(&mut self, at: usize, set: u64) {
        let failed = |i: &usize| self.io[*i].reload.1 != 0;
        if each(set).any(|i| self.io[i].reload.0 > 0) {
            return;
        }
        match each(set).find(failed) {
            None => self.end(at, Code::Done, b""),
            Some(i) => {
                let status = self.io[i].reload.1;
                self.clients.all[at].1 = Wait::Nothing;
                let packet = Packet::end_why(Code::Failed, status, self.name(i));
                self.send(at, &packet);
            }
        }
    }
}

/// The members of a set.
fn each(set: u64) -> impl Iterator<Item = usize> {
    (0..wire::MAX_SERVICES).filter(move |i| set & (1 << i) != 0)
}
