//! One service as it is now.

use super::rules::Rules;
use super::wire;
use crate::time::{FOREVER, Millis};

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not started, or stopped.
    Down = 0,
    /// To be started, once what it depends on is up.
    Waiting = 1,
    /// Its process runs, but is not ready.
    Starting = 2,
    /// Its process runs and has become ready.
    Up = 3,
    /// Asked to end.
    Stopping = 4,
    /// Killed, not yet gone.
    Killing = 5,
    /// Its process has ended, its finish command runs.
    Finishing = 6,
    /// To be restarted after a pause.
    Pausing = 7,
    /// Ended as expected, and stays so; a one-shot counts as up.
    Done = 8,
    /// Ended otherwise, or could not be started, and stays so.
    Failed = 9,
}

impl Phase {
    /// Whether a process of it runs.
    pub fn runs(self) -> bool {
        use Phase::{Finishing, Killing, Starting, Stopping, Up};
        matches!(self, Starting | Up | Stopping | Killing | Finishing)
    }
}

/// Why it is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Nothing went wrong.
    None = 0,
    /// Its process ended with the last status.
    Ended = 1,
    /// It was not ready in time.
    StartTimeout = 2,
    /// Its liveness (or startup) probe failed.
    Liveness = 3,
    /// Something that it needs is not there.
    Need = 4,
    /// It could not be executed; the last status is 126 or 127.
    NotStarted = 5,
    /// Files that it watches have changed.
    Changed = 6,
}

/// So many changes of what a service watches, each soon after its start, are not good any more.
pub const CHANGES: u32 = 4;

/// A service with its state.
#[derive(Clone, Copy, Debug)]
pub struct ServiceState {
    /// Its rules; the probes in it have their state.
    pub rules: Rules,
    /// Where it is.
    pub phase: Phase,
    /// Its process, or its finish command's; 0 for none.
    pub pid: i32,
    /// It is to be up.
    pub wanted: bool,
    /// It is to end and start again.
    pub cycle: bool,
    /// The moment at which its phase takes too long.
    pub until: Millis,
    /// When it entered its phase.
    pub since: Millis,
    /// When it became ready the last time.
    pub up_at: Millis,
    /// Failures in a row.
    pub failures: u32,
    /// Starts beyond the first.
    pub restarts: u32,
    /// The last exit status, 128 + n for signal n.
    pub status: u8,
    /// Why it is as it is.
    pub reason: Reason,
    /// It is up, and its readiness probe passes, or there is none.
    pub ready: bool,
    /// Its readiness probe's last verdict since it was started was a good one.
    pub passes: bool,
    /// Its readiness probe has had a verdict since it was started.
    pub judged: bool,
    /// When its process was started.
    pub started: Millis,
    /// How long it may take to end because of its probe; 0: as otherwise.
    pub probe_grace: Millis,
    /// When a change of what it watches restarts it.
    pub change_due: Millis,
    /// How many changes of that kind, one after the other, came soon after its start.
    pub changes: u32,
    /// It has run before.
    pub ran: bool,
    /// Its finish command has begun since its process was started.
    pub finished: bool,
    /// Somebody is to be told of its phase.
    pub told: bool,
}

impl ServiceState {
    /// A service that has not been started.
    pub const fn new(rules: Rules) -> ServiceState {
        ServiceState {
            rules,
            phase: Phase::Down,
            pid: 0,
            wanted: false,
            cycle: false,
            until: FOREVER,
            since: 0,
            up_at: FOREVER,
            failures: 0,
            restarts: 0,
            status: 0,
            reason: Reason::None,
            ready: false,
            passes: false,
            judged: false,
            started: 0,
            probe_grace: 0,
            change_due: FOREVER,
            changes: 0,
            ran: false,
            finished: false,
            told: true,
        }
    }

    /// Enters a phase that may last for `span`.
    pub fn enter(&mut self, phase: Phase, span: Millis, now: Millis) {
        self.phase = phase;
        self.since = now;
        self.until = now.saturating_add(span);
        self.told = false;
        if !matches!(phase, Phase::Starting | Phase::Up) {
            self.ready = false;
            self.rules.probes.iter_mut().for_each(super::probe::Probe::end);
        }
    }

    /// Its finish command is to run.
    pub fn finish(&mut self, now: Millis) {
        self.finished = true;
        self.enter(Phase::Finishing, self.rules.finish_timeout, now);
    }

    /// Whether others may rely on it.
    pub fn serves(&self) -> bool {
        self.phase == Phase::Up || (self.phase == Phase::Done && self.rules.oneshot)
    }

    /// Whether it has still to be undone when everything stops.
    pub fn is_active(&self) -> bool {
        self.phase.runs() || (self.phase == Phase::Done && self.rules.oneshot && self.rules.finish)
    }

    /// The kind of readiness that is waited for.
    pub fn waits_for_probe(&self) -> bool {
        self.rules.ready == wire::READY_PROBE
    }

    /// How long it may take to end when it is asked to.
    pub fn stop_span(&self) -> Millis {
        match (self.reason, self.probe_grace) {
            (Reason::Liveness, span @ 1..) => span,
            _ => self.rules.stop_timeout,
        }
    }

    /// Whether it is not as it should be.
    pub fn ails(&self) -> bool {
        let unsettled = self.change_due != FOREVER && self.changes >= CHANGES && self.wanted;
        match self.phase {
            Phase::Failed | Phase::Pausing => true,
            _ if unsettled => true,
            Phase::Up => self.judged && !self.ready,
            Phase::Waiting | Phase::Starting => self.wanted && self.failures > 0,
            _ => self.reason == Reason::Liveness && self.phase.runs(),
        }
    }
}
