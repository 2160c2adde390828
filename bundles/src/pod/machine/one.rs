//! What is known of one container of a pod.

use serde::{Deserialize, Serialize};

use crate::pod::model::{Container, Handler, Probe, Restart, RestartRule, Role};

/// A time: milliseconds of the machine's monotonic clock.
pub type Millis = u64;

/// The first back-off, and its bound.
const FIRST_DELAY: Millis = 10_000;
const LONGEST_DELAY: Millis = 300_000;
/// A container that ran for so long since its last start has no failures behind it.
const FORGOTTEN: Millis = 2 * LONGEST_DELAY;

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// Has it come up?
    Startup,
    /// Is it to be restarted?
    Liveness,
    /// Does it take work?
    Readiness,
}

impl Which {
    /// All of them, in the order of their places.
    pub const ALL: [Which; 3] = [Which::Startup, Which::Liveness, Which::Readiness];

    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        ["startup", "liveness", "readiness"][self as usize]
    }
}

/// The pod controller's states of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Its turn has not come.
    Created,
    /// It runs; no probe has passed yet, or there is none.
    Started,
    /// It runs and its probes pass.
    Healthy,
    /// A probe fails, not often enough yet to count.
    Failing,
    /// It is being ended.
    Terminal,
    /// Its last end was with status 0.
    Finished,
    /// Its last end was with another status, or it could not be started.
    Failed,
}

impl State {
    /// In capitals, as the controller says it.
    pub fn name(self) -> &'static str {
        match self {
            State::Created => "CREATED",
            State::Started => "STARTED",
            State::Healthy => "HEALTHY",
            State::Failing => "FAILING",
            State::Terminal => "TERMINAL",
            State::Finished => "FINISHED",
            State::Failed => "FAILED",
        }
    }

    /// Whether a main container in it leaves the pod healthy.
    pub fn is_healthy(self) -> bool {
        matches!(self, State::Started | State::Healthy | State::Failing)
    }
}

/// What of a container decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// When it runs.
    pub role: Role,
    /// What follows its end.
    pub restart: Restart,
    /// Exceptions from that.
    pub exceptions: Vec<RestartRule>,
    /// Startup, liveness, readiness.
    pub probes: [Option<Times>; 3],
    /// It has a hook after its start.
    pub post_start: bool,
    /// It has a hook before its end.
    pub pre_stop: bool,
}

/// The numbers of a probe, in milliseconds and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    delay: Millis,
    period: Millis,
    success: u32,
    failure: u32,
    /// The grace of what it ends.
    pub grace: Option<Millis>,
}

impl Times {
    fn of(probe: &Probe) -> Times {
        Times {
            delay: probe.delay.saturating_mul(1000),
            period: probe.period.saturating_mul(1000).max(1),
            success: probe.success.max(1),
            failure: probe.failure.max(1),
            grace: probe.grace.map(|grace| grace.saturating_mul(1000)),
        }
    }
}

impl Rules {
    /// Those of a container.
    pub fn of(container: &Container) -> Rules {
        let times = |probe: &Option<Probe>| probe.as_ref().map(Times::of);
        let is_some = |hook: &Option<Handler>| hook.is_some();
        Rules {
            role: container.role,
            restart: container.restart,
            exceptions: container.restart_rules.clone(),
            probes: [
                times(&container.startup),
                times(&container.liveness),
                times(&container.readiness),
            ],
            post_start: is_some(&container.post_start),
            pre_stop: is_some(&container.pre_stop),
        }
    }

    /// Whether an end with this status is followed by another start.
    pub fn again_after(&self, status: i32) -> bool {
        let excepted = |rule: &RestartRule| rule.codes.contains(&status) == rule.within;
        match self.restart {
            Restart::Always => true,
            Restart::OnFailure if status != 0 => true,
            Restart::OnFailure | Restart::Never => self.exceptions.iter().any(excepted),
        }
    }
}

/// Where a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It was never started.
    Waiting,
    /// Its start was asked for.
    Starting,
    /// It runs.
    Running,
    /// It has ended.
    Ended,
}

/// How far a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// To be run.
    Due,
    /// It runs.
    Busy,
    /// It has run, or there is none.
    Done,
}

/// The end of a container that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why, in Kubernetes' words.
    pub why: String,
    /// A probe decided it: another start follows whatever its status.
    pub by_probe: bool,
    /// The hook before the end.
    pub hook: Hook,
    /// When the hook's time is over, and without TERM yet, the whole of it.
    pub until: Millis,
    /// When it is killed, once it was asked to end.
    pub kill: Option<Millis>,
    /// Not asked, killed at once.
    pub hard: bool,
    /// It was killed.
    pub killed: bool,
}

/// One probe's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// When the next one is taken.
    pub due: Millis,
    /// One is on its way.
    pub busy: bool,
    /// What the last one said.
    pub last: Option<bool>,
    /// How many in a row said so.
    pub run: u32,
    /// What counts: the last verdict.
    pub verdict: Option<bool>,
}

/// A container's memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct One {
    /// What decides.
    pub rules: Rules,
    /// Where it is.
    pub phase: Phase,
    /// Its last start.
    pub started_at: Millis,
    /// Its last end.
    pub ended_at: Millis,
    /// The end before.
    before: Option<Millis>,
    /// Starts after the first.
    pub restarts: u32,
    /// The last end's status.
    pub status: Option<i32>,
    /// Why it is where it is.
    pub reason: String,
    /// The hook after the start.
    pub post: Hook,
    /// It has come up at least once.
    pub was_up: bool,
    /// Its readiness probe has passed since its last start.
    was_ready: bool,
    /// The three probes.
    pub tries: [Tries; 3],
    /// Its end, when it was decided.
    pub ending: Option<Ending>,
    /// Whether another start follows its end.
    pub again: bool,
    /// How long the next start waits, and since when.
    back_off: Option<(Millis, Millis)>,
}

impl One {
    pub(super) fn new(rules: Rules) -> One {
        One {
            rules,
            phase: Phase::Waiting,
            started_at: 0,
            ended_at: 0,
            before: None,
            restarts: 0,
            status: None,
            reason: String::new(),
            post: Hook::Done,
            was_up: false,
            was_ready: false,
            tries: [Tries::default(); 3],
            ending: None,
            again: false,
            back_off: None,
        }
    }

    /// It has come up: its hook is through and its startup probe has passed.
    pub fn is_up(&self) -> bool {
        let passed = self.rules.probes[0].is_none() || self.tries[0].verdict == Some(true);
        self.phase == Phase::Running && self.post == Hook::Done && passed
    }

    /// It takes work.
    pub fn is_ready(&self) -> bool {
        let passed = self.rules.probes[2].is_none() || self.tries[2].verdict == Some(true);
        self.is_up() && self.ending.is_none() && passed
    }

    /// It is being started or runs.
    pub fn is_there(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running)
    }

    /// It has ended and stays so.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Ended && !self.again
    }

    /// The controller's state.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Waiting | Phase::Starting if self.status.is_none() => State::Created,
            Phase::Running if self.ending.is_some() => State::Terminal,
            Phase::Running => self.running_state(),
            Phase::Waiting | Phase::Starting | Phase::Ended if self.status == Some(0) => {
                State::Finished
            }
            Phase::Waiting | Phase::Starting | Phase::Ended => State::Failed,
        }
    }

    fn running_state(&self) -> State {
        let [_, live, ready] = self.tries;
        if live.last == Some(false) || self.was_ready && ready.last == Some(false) {
            return State::Failing;
        }
        let live = self.rules.probes[1].is_none() || live.last == Some(true);
        let has_probe = self.rules.probes.iter().any(Option::is_some);
        if has_probe && live && self.is_ready() { State::Healthy } else { State::Started }
    }

    /// When it may be started, if it is to be.
    pub(super) fn due(&self) -> Option<Millis> {
        match self.phase {
            Phase::Waiting => Some(0),
            Phase::Ended if self.again => Some(self.back_off_end()),
            _ => None,
        }
    }

    /// The end that back-off counts from: of what a probe ends, the one before, since
    /// the kubelet decides on the next start before it ends such a container.
    fn counted_end(&self) -> Option<Millis> {
        let by_probe = self.ending.as_ref().is_some_and(|ending| ending.by_probe);
        if by_probe { self.before } else { Some(self.ended_at) }
    }

    fn is_forgotten(&self, since: Millis, end: Millis) -> bool {
        end.saturating_sub(since) > FORGOTTEN
    }

    fn back_off_end(&self) -> Millis {
        match (self.back_off, self.counted_end()) {
            (Some((delay, since)), Some(end)) if !self.is_forgotten(since, end) => end + delay,
            _ => 0,
        }
    }

    /// Its start is asked for.
    pub(super) fn start(&mut self, now: Millis) {
        if self.phase == Phase::Ended {
            self.restarts += 1;
            self.back_off = match (self.back_off, self.counted_end()) {
                (Some((delay, since)), Some(end)) if !self.is_forgotten(since, end) => {
                    Some(((delay * 2).min(LONGEST_DELAY), now))
                }
                _ => Some((FIRST_DELAY, now)),
            };
            self.before = Some(self.ended_at);
        }
        self.phase = Phase::Starting;
        self.reason.clear();
        self.ending = None;
        self.was_ready = false;
        self.tries = [Tries::default(); 3];
        self.post = if self.rules.post_start { Hook::Due } else { Hook::Done };
    }

    /// It runs.
    pub(super) fn run(&mut self, now: Millis) {
        self.phase = Phase::Running;
        self.started_at = now;
        for which in Which::ALL {
            if let Some(times) = self.rules.probes[which as usize] {
                self.tries[which as usize].due = now + times.delay;
            }
        }
        self.was_up |= self.is_up();
    }

    /// Whether a probe is taken at this point of its life.
    pub(super) fn takes(&self, which: Which) -> bool {
        let tries = &self.tries[which as usize];
        let begun = self.phase == Phase::Running && self.ending.is_none();
        let gate = match which {
            Which::Startup => tries.verdict.is_none(),
            Which::Liveness | Which::Readiness => self.is_started(),
        };
        self.rules.probes[which as usize].is_some()
            && begun
            && self.post == Hook::Done
            && gate
            && !tries.busy
    }

    fn is_started(&self) -> bool {
        self.rules.probes[0].is_none() || self.tries[0].verdict == Some(true)
    }

    /// What a probe said. True: it is to be ended.
    pub(super) fn probed(&mut self, which: Which, good: bool, now: Millis) -> bool {
        let Some(times) = self.rules.probes[which as usize] else { return false };
        let tries = &mut self.tries[which as usize];
        tries.busy = false;
        tries.due = (tries.due + times.period).max(now);
        if self.phase != Phase::Running || self.ending.is_some() {
            return false;
        }
        tries.run = if tries.last == Some(good) { tries.run.saturating_add(1) } else { 1 };
        tries.last = Some(good);
        if tries.run < if good { times.success } else { times.failure } {
            return false;
        }
        tries.verdict = Some(good);
        self.was_ready |= which == Which::Readiness && good;
        if which == Which::Startup && good {
            self.come_up(now);
        }
        !good && which != Which::Readiness
    }

    /// The startup probe has passed: readiness is asked at once, liveness at its next turn.
    fn come_up(&mut self, now: Millis) {
        self.was_up |= self.is_up();
        if let Some(times) = self.rules.probes[2] {
            self.tries[2].due = now.max(self.started_at + times.delay);
        }
        if let Some(times) = self.rules.probes[1] {
            let first = self.started_at + times.delay;
            let turns = now.saturating_sub(first).div_ceil(times.period);
            self.tries[1].due = first + turns * times.period;
        }
    }

    /// It is to end.
    pub(super) fn end(&mut self, why: &str, by_probe: bool, grace: Millis, now: Millis) {
        if self.phase != Phase::Running {
            return;
        }
        let until = now.saturating_add(grace);
        if let Some(ending) = &mut self.ending {
            // A second request can only hasten it.
            ending.until = ending.until.min(until);
            ending.kill = ending.kill.map(|kill| kill.min(until));
            ending.by_probe &= by_probe;
            ending.hard |= grace == 0;
            return;
        }
        let hook = if self.rules.pre_stop && grace > 0 { Hook::Due } else { Hook::Done };
        self.ending = Some(Ending {
            why: why.to_owned(),
            by_probe,
            hook,
            until,
            kill: None,
            hard: grace == 0,
            killed: false,
        });
        self.reason = why.to_owned();
    }

    /// It has ended; `status` is 128+n after signal n.
    pub(super) fn ended(&mut self, status: i32, reason: Option<&str>, now: Millis) {
        self.phase = Phase::Ended;
        self.ended_at = now;
        self.status = Some(status);
        let by_probe = self.ending.as_ref().is_some_and(|ending| ending.by_probe);
        self.again =
            self.rules.again_after(status) || by_probe && self.rules.restart != Restart::Never;
        if self.rules.role == Role::Init && status == 0 {
            self.again = false;
        }
        match reason {
            Some(reason) => reason.clone_into(&mut self.reason),
            None if self.ending.is_some() => {}
            None if status == 0 => self.reason = "Completed".into(),
            None => self.reason = "Error".into(),
        }
    }
}
