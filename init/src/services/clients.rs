//! Those who ask over the control socket.

use super::control::{self, Code, Op, Packet, Request};
use super::engine::Engine;
use super::slot::{Phase, Slot};
use super::wire::{self, Field};
use crate::sys::descriptors::{self, END_ONLY, NONE, READABLE, close};
use crate::sys::sockets::{self, Peer};
use crate::sys::{self, Errno};
use crate::time::Millis;

/// How many may ask at a time; the others are let in when one of them has his answer.
pub(super) const CLIENTS: usize = 16;
/// How many of them may wait for something, so that there is always room for a question.
const WAITING: usize = 12;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Nothing: a request is read when it comes.
    Nothing,
    /// These are ready.
    Ready(u64),
    /// These are down.
    Down(u64),
    /// Every change.
    Changes,
}

/// The listening socket and its connections.
pub(super) struct Clients {
    listener: i32,
    allowed: [u32; 2],
    all: [(i32, Wait); CLIENTS],
}

impl Clients {
    /// With nobody connected. `owner` and `root` are the users who may ask.
    pub fn new(listener: i32, owner: u32, root: u32) -> Clients {
        Clients { listener, allowed: [owner, root], all: [(NONE, Wait::Nothing); CLIENTS] }
    }

    /// Adds what is waited for.
    pub fn gather(&self, add: &mut dyn FnMut(i32, i16)) {
        if self.all.iter().any(|(socket, _)| *socket == NONE) {
            add(self.listener, READABLE);
        }
        for (socket, wait) in self.all {
            // Who waits is only looked at for his end.
            add(socket, if wait == Wait::Nothing { READABLE } else { END_ONLY });
        }
    }

    /// Takes a connection: only from outside of the container, and from who made it.
    fn accept(&mut self) {
        let Ok(mut socket) = sockets::accept(self.listener) else { return };
        let allowed = sockets::peer(socket).is_ok_and(|peer| self.allows(peer));
        match self.all.iter_mut().find(|(socket, _)| *socket == NONE) {
            Some(free) if allowed => *free = (socket, Wait::Nothing),
            _ => close(&mut socket),
        }
    }

    fn waiting(&self) -> usize {
        self.all.iter().filter(|(_, wait)| *wait != Wait::Nothing).count()
    }

    fn allows(&self, peer: Peer) -> bool {
        let outside = peer.pid == 0 || sys::getpid() != 1;
        outside && self.allowed.contains(&peer.user)
    }
}

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

    fn answer(&mut self, at: usize, request: Request<'_>) {
        let mut set = 0_u64;
        for name in request.names() {
            match (0..self.plan.count()).find(|i| self.name(*i) == name) {
                Some(i) => set |= 1 << i,
                None => return self.end(at, Code::Unknown, name),
            }
        }
        let now = sys::now();
        let waits = matches!(request.op, Op::Events | Op::Start | Op::Restart | Op::Stop);
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
        let slot = &self.machine.slots()[i];
        let age = now.saturating_sub(slot.since);
        let health = self.machine.health() as u8;
        let start = self.plan.field(i, Field::Start);
        Packet::service(slot, i == self.machine.main(), start, health, age)
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
            let slots = self.machine.slots();
            let (set, there): (u64, fn(&Slot) -> bool) = match self.clients.all[at].1 {
                Wait::Ready(set) => (set, |slot| slot.serves() && !slot.cycle),
                Wait::Down(set) => (set, |slot| !slot.is_active() && !slot.wanted),
                _ => continue,
            };
            let down = matches!(self.clients.all[at].1, Wait::Down(_));
            let ended = |phase| matches!(phase, Phase::Failed | Phase::Done | Phase::Down);
            let failed = each(set).find(|i| !down && !there(&slots[*i]) && ended(slots[*i].phase));
            if each(set).all(|i| there(&slots[i]) || (down && ended(slots[i].phase))) {
                self.end(at, Code::Done, b"");
            } else if let Some(i) = failed.filter(|_| !self.machine.stops()) {
                self.end(at, Code::Failed, self.name(i));
            } else if !down && self.machine.stops() {
                self.end(at, Code::Stopping, b"");
            }
        }
    }

    fn signal_all(&mut self, at: usize, set: u64, signal: u8) {
        let running = |i: &usize| self.machine.slots()[*i].pid > 0;
        if let Some(i) = each(set).find(|i| !running(i)) {
            return self.end(at, Code::Impossible, self.name(i));
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
            _ => return self.end(at, Code::Impossible, self.name(i)),
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
            let signal = self.plan.field(i, Field::ReloadSignal) as u8;
            let done = match (self.machine.slots()[i].pid > 0, words.is_empty(), signal) {
                (true, false, _) => self.launch_beside(i, words, b"", NONE).is_some(),
                (true, true, 1..) => {
                    self.signal(i, signal);
                    true
                }
                _ => false,
            };
            if !done {
                return self.end(at, Code::Impossible, self.name(i));
            }
        }
        self.end(at, Code::Done, b"");
    }
}

/// The members of a set.
fn each(set: u64) -> impl Iterator<Item = usize> {
    (0..wire::MAX_SERVICES).filter(move |i| set & (1 << i) != 0)
}
