//! What happens to the services next: a machine without effects. It is told what
//! happened ([`Machine::launched`], [`Machine::ended`], ...) and asked what to do
//! ([`Machine::next`]) until there is nothing more to do.
//!
//! ```text
//! Down -> Waiting -> Starting -> Up -> Stopping -> Killing -> Finishing -> Down
//!             ^          |        |                               |
//!             |          +--------+--------> (ended) -------------+--> Done, Failed
//!             +------------------- Pausing <----------------------+
//! ```

use super::probe::{LIVENESS, READINESS, STARTUP, Verdict};
use super::slot::{Phase, Reason, Slot};
use super::wire::{self, PROBES};
use crate::time::{FOREVER, Millis};

/// How long the dead may take to go after a KILL.
pub const KILL_WAIT: Millis = 2000;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Start a service's process, then say [`Machine::launched`] or [`Machine::not_started`].
    Launch(usize),
    /// Send a signal to a service's process group.
    Signal(usize, u8),
    /// Start a service's finish command, then say [`Machine::finishing`].
    Finish(usize),
    /// Take a probe, then say [`Machine::probed`].
    Probe(usize, usize),
    /// Break a probe off.
    BreakOff(usize, usize),
    /// A service's phase or readiness is another one: tell whoever listens.
    Changed(usize),
    /// Send a signal to every process that is left.
    SignalAll(u8),
    /// Exit with this status.
    Exit(u8),
}

/// The health of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Something is not up yet.
    Starting = 0,
    /// Everything that is to be up is up and ready.
    Healthy = 1,
    /// Something has failed, or is not ready any more.
    Unhealthy = 2,
    /// The container stops.
    Stopping = 3,
}

/// How the whole ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Services stop in their order.
    Ordered,
    /// TERM to all that is left; the moment of their KILL.
    Terminating(Millis),
    /// KILL to all; the moment after which nobody is waited for.
    Killing(Millis),
    /// Nothing is waited for any more.
    Over,
}

/// PID 1's mind, where there are services.
#[derive(Debug)]
pub struct Machine<'a> {
    slots: &'a mut [Slot],
    main: usize,
    grace: Millis,
    bound: Millis,
    ending: Option<Ending>,
    /// When the ordered stop has taken too long.
    stop_by: Millis,
    status: Option<u8>,
    /// The exit status where neither a failure nor the main service has given one.
    fallback: u8,
}

impl<'a> Machine<'a> {
    /// With nothing started. `grace` is how long descendants may take after the services,
    /// `bound` how long the ordered stop may take in all.
    pub fn new(slots: &'a mut [Slot], main: usize, grace: Millis, bound: Millis) -> Machine<'a> {
        let (stop_by, fallback) = (FOREVER, 128 + crate::signals::TERM);
        Machine { slots, main, grace, bound, ending: None, stop_by, status: None, fallback }
    }

    /// The services.
    pub fn slots(&self) -> &[Slot] {
        self.slots
    }

    /// The main service's index.
    pub fn main(&self) -> usize {
        self.main
    }

    /// Whether the container stops.
    pub fn stops(&self) -> bool {
        self.ending.is_some()
    }

    /// Starts what starts with the container, and the main service.
    pub fn begin(&mut self) {
        for i in 0..self.slots.len() {
            if self.slots[i].rules.auto || i == self.main {
                self.want(i);
            }
        }
    }

    /// Starts a service and what it depends on. False when the container stops.
    pub fn start(&mut self, service: usize) -> bool {
        if self.stops() {
            return false;
        }
        self.want(service);
        true
    }

    fn want(&mut self, service: usize) {
        let mut left = 1_u64 << service;
        let mut seen = 0_u64;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            seen |= 1 << i;
            let slot = &mut self.slots[i];
            slot.wanted = true;
            match slot.phase {
                Phase::Failed => {
                    (slot.failures, slot.reason) = (0, Reason::None);
                    slot.phase = Phase::Down;
                }
                Phase::Done if !slot.rules.oneshot => slot.phase = Phase::Down,
                // It ends by an earlier wish; then it starts again.
                Phase::Stopping | Phase::Killing | Phase::Finishing => slot.cycle = true,
                Phase::Pausing if i == service => slot.until = 0,
                _ => {}
            }
            left = (left | slot.rules.needs | slot.rules.wants) & !seen;
        }
    }

    /// Stops a service, and those that need it. The main service goes on without what is
    /// stopped by hand; its own stop is the container's.
    pub fn stop(&mut self, service: usize, now: Millis) {
        if service == self.main {
            return self.shut_down(None, now);
        }
        let mut left = 1_u64 << service;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let slot = &mut self.slots[i];
            (slot.wanted, slot.cycle) = (false, false);
            for (j, other) in self.slots.iter().enumerate() {
                if other.wanted && other.rules.needs & (1 << i) != 0 && j != self.main {
                    left |= 1 << j;
                }
            }
        }
    }

    /// Ends a service and starts it again; those that depend on it stay as they are.
    pub fn restart(&mut self, service: usize) -> bool {
        if !self.start(service) {
            return false;
        }
        let slot = &mut self.slots[service];
        slot.cycle = slot.is_active() || slot.phase == Phase::Done;
        true
    }

    /// What a service watches has changed.
    pub fn files_changed(&mut self, service: usize, now: Millis) {
        let stops = self.stops();
        let slot = &mut self.slots[service];
        if slot.wanted && slot.change_due == FOREVER && !stops {
            slot.change_due = now.saturating_add(slot.rules.watch_delay);
        }
    }

    /// Somebody asks the container to end with this signal.
    pub fn stop_requested(&mut self, signal: u8, now: Millis) {
        self.fallback = 128 + signal;
        self.shut_down(None, now);
    }

    /// Stops everything, in reverse order; `status` is the container's exit status unless
    /// the main service has one of its own.
    pub fn shut_down(&mut self, status: Option<u8>, now: Millis) {
        self.status = self.status.or(status);
        if self.ending.is_none() {
            self.ending = Some(Ending::Ordered);
            self.stop_by = now.saturating_add(self.bound);
            for slot in self.slots.iter_mut() {
                (slot.wanted, slot.cycle, slot.change_due) = (false, false, FOREVER);
            }
        }
    }

    /// A service's process runs.
    pub fn launched(&mut self, service: usize, pid: i32, now: Millis) {
        let slot = &mut self.slots[service];
        slot.pid = pid;
        slot.restarts += u32::from(slot.ran);
        (slot.ran, slot.finished) = (true, false);
        slot.reason = Reason::None;
        (slot.started, slot.passes, slot.judged) = (now, false, false);
        let [startup, liveness, readiness] = &mut slot.rules.probes;
        if startup.exists() {
            startup.begin(now, now);
        } else {
            liveness.begin(now, now);
            readiness.begin(now, now);
        }
        if slot.rules.ready == wire::READY_STARTED && !slot.rules.oneshot {
            self.ready(service, now);
        }
    }

    /// A service's process could not be started; the status is 126 or 127.
    pub fn not_started(&mut self, service: usize, status: u8, now: Millis) {
        let slot = &mut self.slots[service];
        (slot.status, slot.reason) = (status, Reason::NotStarted);
        self.conclude(service, now);
    }

    /// A service's finish command runs; 0 when it could not be started.
    pub fn finishing(&mut self, service: usize, pid: i32, now: Millis) {
        self.slots[service].pid = pid;
        if pid == 0 {
            self.conclude(service, now);
        }
    }

    /// A service is ready.
    pub fn ready(&mut self, service: usize, now: Millis) {
        let slot = &mut self.slots[service];
        if slot.phase == Phase::Starting {
            slot.enter(Phase::Up, FOREVER, now);
            slot.ready = slot.passes || !slot.rules.probes[READINESS].exists();
            slot.up_at = now;
        }
    }

    /// The service whose process this is.
    pub fn owner(&self, pid: i32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.pid == pid && pid > 0)
    }

    /// A service's process, or its finish command, has ended with this status.
    pub fn ended(&mut self, service: usize, status: u8, now: Millis) {
        let slot = &mut self.slots[service];
        slot.pid = 0;
        if slot.finished {
            return self.conclude(service, now);
        }
        slot.status = status;
        if slot.reason == Reason::None {
            slot.reason = Reason::Ended;
        }
        if slot.rules.finish && !slot.rules.oneshot {
            slot.finish(now);
        } else {
            self.conclude(service, now);
        }
    }

    /// What follows when nothing of a service runs any more.
    fn conclude(&mut self, service: usize, now: Millis) {
        let main = service == self.main;
        let slot = &mut self.slots[service];
        let healthy = matches!(slot.reason, Reason::None | Reason::Ended | Reason::Changed);
        let good = healthy && slot.rules.expects(slot.status);
        if slot.cycle && slot.wanted {
            (slot.cycle, slot.failures) = (false, 0);
            return slot.enter(Phase::Waiting, FOREVER, now);
        }
        if !slot.wanted {
            slot.enter(Phase::Down, FOREVER, now);
        } else if slot.rules.oneshot && good {
            slot.failures = 0;
            slot.enter(Phase::Done, FOREVER, now);
        } else if self.restarts(service, good, now) {
            return;
        } else {
            let slot = &mut self.slots[service];
            slot.enter(if good { Phase::Done } else { Phase::Failed }, FOREVER, now);
            self.settled(service, good, now);
        }
        let slot = &self.slots[service];
        if main && (slot.ran || slot.reason == Reason::NotStarted) {
            let status = self.fair_status(service, good);
            self.shut_down(Some(status), now);
        }
    }

    /// Pauses before a restart, if the rules give another try.
    fn restarts(&mut self, service: usize, good: bool, now: Millis) -> bool {
        let slot = &mut self.slots[service];
        let rules = &slot.rules;
        let again = match rules.restart {
            wire::RESTART_ALWAYS => !rules.oneshot || !good,
            wire::RESTART_ON_FAILURE => !good,
            _ => false,
        };
        let stood = slot.up_at != FOREVER && now.saturating_sub(slot.up_at) >= rules.reset;
        slot.failures = if stood { 1 } else { slot.failures.saturating_add(1) };
        slot.up_at = FOREVER;
        if !again || (rules.tries > 0 && slot.failures > rules.tries) {
            return false;
        }
        let pause = rules.pause(slot.failures);
        slot.enter(Phase::Pausing, pause, now);
        true
    }

    /// A service has ended for good.
    fn settled(&mut self, service: usize, good: bool, now: Millis) {
        let slot = &mut self.slots[service];
        slot.wanted = !good;
        if !good && slot.rules.essential && service != self.main {
            let status = self.fair_status(service, good);
            self.shut_down(Some(status), now);
        }
    }

    /// The status that the container exits with for a service: never 0 for a failure.
    fn fair_status(&self, service: usize, good: bool) -> u8 {
        match self.slots[service].status {
            0 if !good && self.slots[service].reason != Reason::Ended => 1,
            status => status,
        }
    }

    /// A probe's outcome.
    pub fn probed(&mut self, service: usize, probe: usize, good: bool, now: Millis) {
        let slot = &mut self.slots[service];
        let verdict = slot.rules.probes[probe].outcome(good);
        if !slot.rules.probes[probe].on || verdict == Verdict::Open {
            return;
        }
        let passed = verdict == Verdict::Passed;
        if probe == READINESS {
            slot.told &= slot.judged || slot.phase != Phase::Up;
            (slot.passes, slot.judged) = (passed, true);
        }
        match (probe, passed) {
            (STARTUP, true) => {
                slot.rules.probes[STARTUP].end();
                let started = slot.started;
                slot.rules.probes[LIVENESS].begin(started, now);
                slot.rules.probes[READINESS].begin(started, now);
                if slot.waits_for_probe() && !slot.rules.probes[READINESS].exists() {
                    self.ready(service, now);
                }
            }
            (READINESS, _) if slot.phase == Phase::Up => {
                slot.told &= slot.ready == passed;
                slot.ready = passed;
            }
            (READINESS, true) if slot.waits_for_probe() => self.ready(service, now),
            (STARTUP | LIVENESS, false) => {
                slot.reason = Reason::Liveness;
                slot.probe_grace = slot.rules.probes[probe].grace;
                slot.rules.probes[probe].end();
            }
            _ => {}
        }
    }

    /// The moment at which [`Machine::next`] wants to be asked again.
    pub fn deadline(&self) -> Millis {
        let ending = match self.ending {
            Some(Ending::Terminating(until) | Ending::Killing(until)) => until,
            Some(Ending::Ordered) => self.stop_by,
            Some(Ending::Over) | None => FOREVER,
        };
        self.slots.iter().fold(ending, |soonest, slot| {
            let probes = slot.rules.probes.iter().map(super::probe::Probe::deadline);
            let change = if slot.wanted { slot.change_due } else { FOREVER };
            probes.fold(soonest.min(slot.until).min(change), Millis::min)
        })
    }

    /// The health of the whole.
    pub fn health(&self) -> Health {
        let comes = |slot: &Slot| {
            let unjudged = slot.phase == Phase::Up && !slot.ready;
            let before_up = matches!(slot.phase, Phase::Down | Phase::Waiting | Phase::Starting);
            slot.wanted && (before_up || unjudged)
        };
        if self.stops() {
            Health::Stopping
        } else if self.slots.iter().any(Slot::ails) {
            Health::Unhealthy
        } else if self.slots.iter().any(comes) {
            Health::Starting
        } else {
            Health::Healthy
        }
    }

    /// The next thing to do now; call again until there is none.
    pub fn next(&mut self, now: Millis) -> Option<Act> {
        loop {
            if let Some(i) = self.slots.iter().position(|slot| !slot.told) {
                self.slots[i].told = true;
                return Some(Act::Changed(i));
            }
            match (0..self.slots.len()).find_map(|i| self.advance(i, now)) {
                Some(Move::Do(act)) => return Some(act),
                Some(Move::Moved) => {}
                None => return self.finish(now),
            }
        }
    }

    /// The end of the whole: whatever no service holds.
    fn finish(&mut self, now: Millis) -> Option<Act> {
        let active = self.slots.iter().any(Slot::is_active);
        let (next, act) = match self.ending? {
            Ending::Ordered if now >= self.stop_by => {
                (Ending::Killing(now.saturating_add(KILL_WAIT)), Act::SignalAll(9))
            }
            Ending::Ordered if active => return None,
            Ending::Ordered => {
                (Ending::Terminating(now.saturating_add(self.grace)), Act::SignalAll(15))
            }
            Ending::Terminating(until) if now >= until => {
                (Ending::Killing(now.saturating_add(KILL_WAIT)), Act::SignalAll(9))
            }
            Ending::Killing(until) if now >= until => return Some(self.exit()),
            _ => return None,
        };
        self.ending = Some(next);
        Some(act)
    }

    fn exit(&mut self) -> Act {
        self.ending = Some(Ending::Over);
        let main = &self.slots[self.main];
        let last = if main.ran { main.status } else { self.fallback };
        Act::Exit(self.status.unwrap_or(last))
    }

    /// There are no processes any more: nothing is left to wait for.
    pub fn childless(&mut self) -> Option<Act> {
        match self.ending {
            Some(Ending::Terminating(_) | Ending::Killing(_)) => Some(self.exit()),
            _ => None,
        }
    }

    /// One service's next step.
    fn advance(&mut self, i: usize, now: Millis) -> Option<Move> {
        if let Some(probe) = self.probe_due(i, now) {
            return Some(Move::Do(probe));
        }
        let slot = &self.slots[i];
        if slot.change_due <= now && slot.wanted {
            return Some(self.apply_change(i));
        }
        match slot.phase {
            Phase::Down if slot.wanted => Some(self.enter(i, Phase::Waiting, now)),
            // A failure stays to be seen, until it is started again.
            Phase::Waiting | Phase::Pausing if !slot.wanted => {
                Some(self.enter(i, Phase::Down, now))
            }
            Phase::Waiting => self.try_launch(i, now),
            Phase::Starting | Phase::Up => self.try_stop(i, now),
            Phase::Stopping if slot.until <= now => {
                self.slots[i].enter(Phase::Killing, KILL_WAIT, now);
                Some(Move::Do(Act::Signal(i, 9)))
            }
            Phase::Killing if slot.until <= now => {
                // It cannot die now; it will be reaped as somebody else's.
                self.ended(i, 128 + 9, now);
                Some(Move::Moved)
            }
            Phase::Finishing if slot.pid == 0 => {
                self.slots[i].pid = -1;
                Some(Move::Do(Act::Finish(i)))
            }
            Phase::Finishing if slot.until <= now => {
                self.slots[i].enter(Phase::Killing, KILL_WAIT, now);
                Some(Move::Do(Act::Signal(i, 9)))
            }
            Phase::Pausing if slot.until <= now => Some(self.enter(i, Phase::Waiting, now)),
            Phase::Done => self.leave_done(i, now),
            _ => None,
        }
    }

    fn enter(&mut self, i: usize, phase: Phase, now: Millis) -> Move {
        self.slots[i].enter(phase, FOREVER, now);
        Move::Moved
    }

    fn probe_due(&mut self, i: usize, now: Millis) -> Option<Act> {
        for probe in 0..PROBES {
            if self.slots[i].rules.probes[probe].overdue(now) {
                if self.slots[i].rules.probes[probe].on {
                    self.probed(i, probe, false, now);
                }
                return Some(Act::BreakOff(i, probe));
            }
            if self.slots[i].rules.probes[probe].take(now) {
                return Some(Act::Probe(i, probe));
            }
        }
        None
    }

    fn apply_change(&mut self, i: usize) -> Move {
        self.slots[i].change_due = FOREVER;
        self.restart(i);
        if self.slots[i].cycle {
            self.slots[i].reason = Reason::Changed;
        }
        Move::Moved
    }

    /// Starts it when what it depends on is there; fails it when that will not be.
    fn try_launch(&mut self, i: usize, now: Millis) -> Option<Move> {
        let rules = self.slots[i].rules;
        for (j, other) in self.slots.iter().enumerate() {
            let bit = 1_u64 << j;
            if rules.before() & bit == 0 || other.serves() {
                continue;
            }
            let lost = match other.phase {
                Phase::Failed | Phase::Done => true,
                Phase::Down => !other.wanted,
                _ => false,
            };
            if lost && rules.needs & bit != 0 {
                return Some(self.miss(i, j, now));
            }
            if !lost {
                return None;
            }
        }
        let span = match rules.oneshot || rules.ready != wire::READY_STARTED {
            true => rules.start_timeout,
            false => FOREVER,
        };
        self.slots[i].enter(Phase::Starting, span, now);
        Some(Move::Do(Act::Launch(i)))
    }

    /// A service fails because what it needs has.
    fn miss(&mut self, i: usize, need: usize, now: Millis) -> Move {
        let status = self.slots[need].status.max(1);
        let slot = &mut self.slots[i];
        (slot.reason, slot.status) = (Reason::Need, status);
        slot.enter(Phase::Failed, FOREVER, now);
        if slot.rules.essential || i == self.main {
            self.shut_down(Some(status), now);
        }
        Move::Moved
    }

    /// Asks it to end, if that is due.
    fn try_stop(&mut self, i: usize, now: Millis) -> Option<Move> {
        let slot = &self.slots[i];
        let late = slot.until <= now;
        let ends = if slot.wanted {
            late || slot.cycle || slot.reason == Reason::Liveness
        } else {
            !self.holds(i)
        };
        let slot = &mut self.slots[i];
        if !ends {
            if !slot.wanted {
                // No time limit while it is held up by others.
                slot.until = FOREVER;
            }
            return None;
        }
        if late && slot.wanted {
            slot.reason = Reason::StartTimeout;
        }
        slot.enter(Phase::Stopping, slot.stop_span(), now);
        Some(Move::Do(Act::Signal(i, slot.rules.stop_signal)))
    }

    /// Whether something that stops too must stop before it.
    fn holds(&self, i: usize) -> bool {
        let after = |other: &Slot| other.rules.before() & (1 << i) != 0;
        self.slots.iter().any(|other| after(other) && !other.wanted && other.is_active())
    }

    /// A one-shot that is undone, or done again.
    fn leave_done(&mut self, i: usize, now: Millis) -> Option<Move> {
        let slot = &mut self.slots[i];
        if slot.wanted && slot.cycle {
            slot.cycle = false;
            return Some(self.enter(i, Phase::Waiting, now));
        }
        if slot.wanted || !slot.rules.oneshot || self.holds(i) {
            return None;
        }
        let slot = &mut self.slots[i];
        match slot.rules.finish {
            true => slot.finish(now),
            false => slot.enter(Phase::Down, FOREVER, now),
        }
        Some(Move::Moved)
    }
}

/// What became of a service's step.
enum Move {
    /// This is to be done.
    Do(Act),
    /// Its phase is another one; nothing else is to be done for it.
    Moved,
}
