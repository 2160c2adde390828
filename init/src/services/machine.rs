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
use super::service_state::{Phase, Reason, ServiceState};
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
    states: &'a mut [ServiceState],
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
    pub fn new(
        states: &'a mut [ServiceState],
        main: usize,
        grace: Millis,
        bound: Millis,
    ) -> Machine<'a> {
        let (stop_by, fallback) = (FOREVER, 128 + crate::signals::TERM);
        Machine { states, main, grace, bound, ending: None, stop_by, status: None, fallback }
    }

    /// The services.
    pub fn states(&self) -> &[ServiceState] {
        self.states
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
        for i in 0..self.states.len() {
            if self.states[i].rules.auto || i == self.main {
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
            let state = &mut self.states[i];
            state.wanted = true;
            match state.phase {
                Phase::Failed => {
                    (state.failures, state.reason) = (0, Reason::None);
                    state.phase = Phase::Down;
                }
                Phase::Done if !state.rules.oneshot => state.phase = Phase::Down,
                // It ends by an earlier wish; then it starts again.
                Phase::Stopping | Phase::Killing | Phase::Finishing => state.cycle = true,
                Phase::Pausing if i == service => state.until = 0,
                _ => {}
            }
            left = (left | state.rules.needs | state.rules.wants) & !seen;
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
            let state = &mut self.states[i];
            (state.wanted, state.cycle) = (false, false);
            for (j, other) in self.states.iter().enumerate() {
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
        let state = &mut self.states[service];
        state.cycle = state.is_active() || state.phase == Phase::Done;
        true
    }

    /// What a service watches has changed.
    pub fn files_changed(&mut self, service: usize, now: Millis) {
        let stops = self.stops();
        let state = &mut self.states[service];
        if state.wanted && state.change_due == FOREVER && !stops {
            // One that writes where it watches would restart without an end: less and less
            // often, and it is seen.
            let soon = state.ran && now.saturating_sub(state.started) < state.rules.reset;
            state.changes = if soon { state.changes.saturating_add(1) } else { 0 };
            let rules = &state.rules;
            let span = rules.watch_delay.saturating_mul(1 << state.changes.min(16));
            let span = span.min(rules.max_delay.max(rules.watch_delay));
            state.change_due = now.saturating_add(span);
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
            for state in self.states.iter_mut() {
                (state.wanted, state.cycle, state.change_due) = (false, false, FOREVER);
            }
        }
    }

    /// A service's process runs.
    pub fn launched(&mut self, service: usize, pid: i32, now: Millis) {
        let state = &mut self.states[service];
        state.pid = pid;
        state.restarts += u32::from(state.ran);
        (state.ran, state.finished) = (true, false);
        state.reason = Reason::None;
        (state.started, state.passes, state.judged) = (now, false, false);
        let [startup, liveness, readiness] = &mut state.rules.probes;
        if startup.exists() {
            startup.begin(now, now);
        } else {
            liveness.begin(now, now);
            readiness.begin(now, now);
        }
        if state.rules.ready == wire::READY_STARTED && !state.rules.oneshot {
            self.ready(service, now);
        }
    }

    /// A service's process could not be started; the status is 126 or 127.
    pub fn not_started(&mut self, service: usize, status: u8, now: Millis) {
        let state = &mut self.states[service];
        (state.status, state.reason) = (status, Reason::NotStarted);
        self.conclude(service, now);
    }

    /// A service's finish command runs; 0 when it could not be started.
    pub fn finishing(&mut self, service: usize, pid: i32, now: Millis) {
        self.states[service].pid = pid;
        if pid == 0 {
            self.conclude(service, now);
        }
    }

    /// A service is ready.
    pub fn ready(&mut self, service: usize, now: Millis) {
        let state = &mut self.states[service];
        if state.phase == Phase::Starting {
            state.enter(Phase::Up, FOREVER, now);
            state.ready = state.passes || !state.rules.probes[READINESS].exists();
            state.up_at = now;
        }
    }

    /// The service whose process this is.
    pub fn owner(&self, pid: i32) -> Option<usize> {
        self.states.iter().position(|state| state.pid == pid && pid > 0)
    }

    /// A service's process, or its finish command, has ended with this status.
    pub fn ended(&mut self, service: usize, status: u8, now: Millis) {
        let state = &mut self.states[service];
        state.pid = 0;
        if state.finished {
            return self.conclude(service, now);
        }
        state.status = status;
        if state.reason == Reason::None {
            state.reason = Reason::Ended;
        }
        if state.rules.finish && !state.rules.oneshot {
            state.finish(now);
        } else {
            self.conclude(service, now);
        }
    }

    /// What follows when nothing of a service runs any more.
    fn conclude(&mut self, service: usize, now: Millis) {
        let main = service == self.main;
        let state = &mut self.states[service];
        let healthy = matches!(state.reason, Reason::None | Reason::Ended | Reason::Changed);
        let good = healthy && state.rules.expects(state.status);
        if state.cycle && state.wanted {
            (state.cycle, state.failures) = (false, 0);
            return state.enter(Phase::Waiting, FOREVER, now);
        }
        if !state.wanted {
            state.enter(Phase::Down, FOREVER, now);
        } else if state.rules.oneshot && good {
            state.failures = 0;
            state.enter(Phase::Done, FOREVER, now);
        } else if self.restarts(service, good, now) {
            return;
        } else {
            let state = &mut self.states[service];
            state.enter(if good { Phase::Done } else { Phase::Failed }, FOREVER, now);
            self.settled(service, good, now);
        }
        let state = &self.states[service];
        if main && (state.ran || state.reason == Reason::NotStarted) {
            let status = self.fair_status(service, good);
            self.shut_down(Some(status), now);
        }
    }

    /// Pauses before a restart, if the rules give another try.
    fn restarts(&mut self, service: usize, good: bool, now: Millis) -> bool {
        let state = &mut self.states[service];
        let rules = &state.rules;
        let again = match rules.restart {
            wire::RESTART_ALWAYS => !rules.oneshot || !good,
            wire::RESTART_ON_FAILURE => !good,
            _ => false,
        };
        let stood = state.up_at != FOREVER && now.saturating_sub(state.up_at) >= rules.reset;
        state.failures = if stood { 1 } else { state.failures.saturating_add(1) };
        state.up_at = FOREVER;
        if !again || (rules.tries > 0 && state.failures > rules.tries) {
            return false;
        }
        let pause = rules.pause(state.failures);
        state.enter(Phase::Pausing, pause, now);
        true
    }

    /// A service has ended for good.
    fn settled(&mut self, service: usize, good: bool, now: Millis) {
        let state = &mut self.states[service];
        state.wanted = !good;
        if !good && state.rules.essential && service != self.main {
            let status = self.fair_status(service, good);
            self.shut_down(Some(status), now);
        }
    }

    /// The status that the container exits with for a service: never 0 for a failure.
    fn fair_status(&self, service: usize, good: bool) -> u8 {
        match self.states[service].status {
            0 if !good && self.states[service].reason != Reason::Ended => 1,
            status => status,
        }
    }

    /// A probe's outcome.
    pub fn probed(&mut self, service: usize, probe: usize, good: bool, now: Millis) {
        let state = &mut self.states[service];
        let verdict = state.rules.probes[probe].outcome(good);
        if !state.rules.probes[probe].on || verdict == Verdict::Open {
            return;
        }
        let passed = verdict == Verdict::Passed;
        if probe == READINESS {
            state.told &= state.judged || state.phase != Phase::Up;
            (state.passes, state.judged) = (passed, true);
        }
        match (probe, passed) {
            (STARTUP, true) => {
                state.rules.probes[STARTUP].end();
                let started = state.started;
                state.rules.probes[LIVENESS].begin(started, now);
                state.rules.probes[READINESS].begin(started, now);
                if state.waits_for_probe() && !state.rules.probes[READINESS].exists() {
                    self.ready(service, now);
                }
            }
            (READINESS, _) if state.phase == Phase::Up => {
                state.told &= state.ready == passed;
                state.ready = passed;
            }
            (READINESS, true) if state.waits_for_probe() => self.ready(service, now),
            (STARTUP | LIVENESS, false) => {
                state.reason = Reason::Liveness;
                state.probe_grace = state.rules.probes[probe].grace;
                state.rules.probes[probe].end();
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
        self.states.iter().fold(ending, |soonest, state| {
            let probes = state.rules.probes.iter().map(super::probe::Probe::deadline);
            let change = if state.wanted { state.change_due } else { FOREVER };
            probes.fold(soonest.min(state.until).min(change), Millis::min)
        })
    }

    /// The health of the whole.
    pub fn health(&self) -> Health {
        let comes = |state: &ServiceState| {
            let unjudged = state.phase == Phase::Up && !state.ready;
            let before_up = matches!(state.phase, Phase::Down | Phase::Waiting | Phase::Starting);
            state.wanted && (before_up || unjudged)
        };
        if self.stops() {
            Health::Stopping
        } else if self.states.iter().any(ServiceState::ails) {
            Health::Unhealthy
        } else if self.states.iter().any(comes) {
            Health::Starting
        } else {
            Health::Healthy
        }
    }

    /// The next thing to do now; call again until there is none.
    pub fn next(&mut self, now: Millis) -> Option<Act> {
        loop {
            if let Some(i) = self.states.iter().position(|state| !state.told) {
                self.states[i].told = true;
                return Some(Act::Changed(i));
            }
            match (0..self.states.len()).find_map(|i| self.advance(i, now)) {
                Some(Move::Do(act)) => return Some(act),
                Some(Move::Moved) => {}
                None => return self.finish(now),
            }
        }
    }

    /// The end of the whole: whatever no service holds.
    fn finish(&mut self, now: Millis) -> Option<Act> {
        let active = self.states.iter().any(ServiceState::is_active);
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
        let main = &self.states[self.main];
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
        let state = &self.states[i];
        if state.change_due <= now && state.wanted {
            return Some(self.apply_change(i));
        }
        match state.phase {
            Phase::Down if state.wanted => Some(self.enter(i, Phase::Waiting, now)),
            // A failure stays to be seen, until it is started again.
            Phase::Waiting | Phase::Pausing if !state.wanted => {
                Some(self.enter(i, Phase::Down, now))
            }
            Phase::Waiting => self.try_launch(i, now),
            Phase::Starting | Phase::Up => self.try_stop(i, now),
            Phase::Stopping if state.until <= now => {
                self.states[i].enter(Phase::Killing, KILL_WAIT, now);
                Some(Move::Do(Act::Signal(i, 9)))
            }
            Phase::Killing if state.until <= now => {
                // It cannot die now; it will be reaped as somebody else's.
                self.ended(i, 128 + 9, now);
                Some(Move::Moved)
            }
            Phase::Finishing if state.pid == 0 => {
                self.states[i].pid = -1;
                Some(Move::Do(Act::Finish(i)))
            }
            Phase::Finishing if state.until <= now => {
                self.states[i].enter(Phase::Killing, KILL_WAIT, now);
                Some(Move::Do(Act::Signal(i, 9)))
            }
            Phase::Pausing if state.until <= now => Some(self.enter(i, Phase::Waiting, now)),
            Phase::Done => self.leave_done(i, now),
            _ => None,
        }
    }

    fn enter(&mut self, i: usize, phase: Phase, now: Millis) -> Move {
        self.states[i].enter(phase, FOREVER, now);
        Move::Moved
    }

    fn probe_due(&mut self, i: usize, now: Millis) -> Option<Act> {
        for probe in 0..PROBES {
            if self.states[i].rules.probes[probe].overdue(now) {
                if self.states[i].rules.probes[probe].on {
                    self.probed(i, probe, false, now);
                }
                return Some(Act::BreakOff(i, probe));
            }
            if self.states[i].rules.probes[probe].take(now) {
                return Some(Act::Probe(i, probe));
            }
        }
        None
    }

    fn apply_change(&mut self, i: usize) -> Move {
        self.states[i].change_due = FOREVER;
        self.restart(i);
        if self.states[i].cycle {
            self.states[i].reason = Reason::Changed;
        }
        Move::Moved
    }

    /// Starts it when what it depends on is there; fails it when that will not be.
    fn try_launch(&mut self, i: usize, now: Millis) -> Option<Move> {
        let rules = self.states[i].rules;
        for (j, other) in self.states.iter().enumerate() {
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
        self.states[i].enter(Phase::Starting, span, now);
        Some(Move::Do(Act::Launch(i)))
    }

    /// A service fails because what it needs has.
    fn miss(&mut self, i: usize, need: usize, now: Millis) -> Move {
        let status = self.states[need].status.max(1);
        let state = &mut self.states[i];
        (state.reason, state.status) = (Reason::Need, status);
        state.enter(Phase::Failed, FOREVER, now);
        if state.rules.essential || i == self.main {
            self.shut_down(Some(status), now);
        }
        Move::Moved
    }

    /// Asks it to end, if that is due.
    fn try_stop(&mut self, i: usize, now: Millis) -> Option<Move> {
        let state = &self.states[i];
        let late = state.until <= now;
        let ends = if state.wanted {
            late || state.cycle || state.reason == Reason::Liveness
        } else {
            !self.holds(i)
        };
        let state = &mut self.states[i];
        if !ends {
            if !state.wanted {
                // No time limit while it is held up by others.
                state.until = FOREVER;
            }
            return None;
        }
        if late && state.wanted {
            state.reason = Reason::StartTimeout;
        }
        state.enter(Phase::Stopping, state.stop_span(), now);
        Some(Move::Do(Act::Signal(i, state.rules.stop_signal)))
    }

    /// Whether something that stops too must stop before it.
    fn holds(&self, i: usize) -> bool {
        let after = |other: &ServiceState| other.rules.before() & (1 << i) != 0;
        self.states.iter().any(|other| after(other) && !other.wanted && other.is_active())
    }

    /// A one-shot that is undone, or done again.
    fn leave_done(&mut self, i: usize, now: Millis) -> Option<Move> {
        let state = &mut self.states[i];
        if state.wanted && state.cycle {
            state.cycle = false;
            return Some(self.enter(i, Phase::Waiting, now));
        }
        if state.wanted || !state.rules.oneshot || self.holds(i) {
            return None;
        }
        let state = &mut self.states[i];
        match state.rules.finish {
            true => state.finish(now),
            false => state.enter(Phase::Down, FOREVER, now),
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
