//! What happens next in a pod: decisions without effects.
//!
//! The caller says what has happened (`started`, `ended`, `probed`...), then asks
//! [`Machine::next`] for acts until there is none, and sleeps until
//! [`Machine::deadline`]. Times come in as arguments, so that tests have their own, and
//! are those of a clock that all processes of the machine share: the whole machine is
//! kept on disk, and whoever takes a pod over goes on with it.
//!
//! The rules are the kubelet's: init containers one after the other, sidecars among
//! them, main containers in their order; back-off; probes; the end in reverse.

mod one;
mod status;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::model::{Pod, Role};
pub use one::{Ending, Hook, Millis, One, Phase, Rules, State, Tries, Which};
pub use status::PodPhase;

/// What a container gets at least between the request to end and KILL, once it has been
/// asked late: Kubernetes' two seconds.
const LEAST_GRACE: Millis = 2000;

/// What is to be done; the number is the container's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Start it, and say `started` or `not_started`.
    Start(usize),
    /// Run the hook after the start, and say `post_started`.
    PostStart(usize),
    /// Run the hook before the end, and say `pre_stopped`.
    PreStop(usize),
    /// Ask it to end, by its own signal.
    Stop(usize),
    /// Kill it.
    Kill(usize),
    /// Take a probe, and say `probed`.
    Probe(usize, Which),
}

/// Why and until when the whole pod ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stopping {
    why: String,
    until: Millis,
    /// No grace at all.
    hard: bool,
}

/// A pod's memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    ones: Vec<One>,
    grace: Millis,
    begun: Millis,
    lasts: Option<Millis>,
    stopping: Option<Stopping>,
}

impl Machine {
    /// A pod of which nothing has been started.
    pub fn new(pod: &Pod, now: Millis) -> Machine {
        Machine {
            ones: pod.containers.iter().map(|one| One::new(Rules::of(one))).collect(),
            grace: pod.grace.saturating_mul(1000),
            begun: now,
            lasts: pod.deadline.map(|seconds| seconds.saturating_mul(1000)),
            stopping: None,
        }
    }

    /// The containers' memories, in the pod's order.
    pub fn ones(&self) -> &[One] {
        &self.ones
    }

    /// A container runs.
    pub fn started(&mut self, at: usize, now: Millis) {
        self.ones[at].run(now);
    }

    /// A container could not be started.
    pub fn not_started(&mut self, at: usize, reason: &str, now: Millis) {
        self.ones[at].ended(128, Some(reason), now);
    }

    /// A container has ended; `status` is 128+n after signal n, `reason` what is known
    /// beyond it (`OOMKilled`).
    pub fn ended(&mut self, at: usize, status: i32, reason: Option<&str>, now: Millis) {
        self.ones[at].ended(status, reason, now);
    }

    /// The hook after the start has ended.
    pub fn post_started(&mut self, at: usize, good: bool, now: Millis) {
        let grace = self.grace;
        let one = &mut self.ones[at];
        if one.post == Hook::Done {
            return;
        }
        one.post = Hook::Done;
        if good {
            // The probes' delays count from the start; the hook's time is in them.
            one.was_up |= one.is_up();
        } else {
            one.end("PostStartHookError", false, grace, now);
        }
    }

    /// The hook before the end has ended, well or not.
    pub fn pre_stopped(&mut self, at: usize) {
        if let Some(ending) = &mut self.ones[at].ending {
            ending.hook = Hook::Done;
        }
    }

    /// A probe's answer.
    pub fn probed(&mut self, at: usize, which: Which, good: bool, now: Millis) {
        let grace = self.grace;
        let one = &mut self.ones[at];
        if one.probed(which, good, now) {
            let own = one.rules.probes[which as usize].and_then(|times| times.grace);
            let why = if which == Which::Startup { "StartupProbe" } else { "LivenessProbe" };
            one.end(why, true, own.unwrap_or(grace), now);
        }
    }

    /// The pod is to end; `grace` in seconds instead of its own.
    pub fn stop(&mut self, why: &str, grace: Option<u64>, now: Millis) {
        let grace = grace.map_or(self.grace, |seconds| seconds.saturating_mul(1000));
        let until = now.saturating_add(grace);
        match &mut self.stopping {
            Some(stopping) => {
                stopping.until = stopping.until.min(until);
                stopping.hard |= grace == 0;
            }
            None => self.stopping = Some(Stopping { why: why.to_owned(), until, hard: grace == 0 }),
        }
    }

    /// Whether it is ending.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Whoever was asked by a process that is gone is asked again.
    pub fn forget_asked(&mut self) {
        for one in &mut self.ones {
            one.tries.iter_mut().for_each(|tries| tries.busy = false);
            if one.post == Hook::Busy {
                one.post = Hook::Due;
            }
            if let Some(ending) = one.ending.as_mut().filter(|ending| ending.hook == Hook::Busy) {
                ending.hook = Hook::Due;
            }
        }
    }

    /// The next act, or none until something happens or [`deadline`](Self::deadline).
    pub fn next(&mut self, now: Millis) -> Option<Act> {
        self.decide_end(now);
        self.spread_end(now);
        (0..self.ones.len())
            .find_map(|at| self.ending_act(at, now))
            .or_else(|| self.starting_act(now))
            .or_else(|| self.probing_act(now))
    }

    /// When [`next`](Self::next) has to be asked at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        let mut times: Vec<Millis> = Vec::new();
        for one in &self.ones {
            match &one.ending {
                Some(ending) if one.phase == Phase::Running && !ending.killed => {
                    times.push(ending.kill.unwrap_or(ending.until));
                }
                _ => {}
            }
            let probes = Which::ALL.into_iter().filter(|which| one.takes(*which));
            times.extend(probes.map(|which| one.tries[which as usize].due));
        }
        if self.stopping.is_none() {
            // While one starts, no other does: its news will wake the caller.
            if !self.ones.iter().any(is_busy) {
                times.extend(self.may_start().and_then(|at| self.ones[at].due()));
                times.extend(self.waiting_starts());
            }
            times.extend(self.lasts.map(|lasts| self.begun.saturating_add(lasts)));
        }
        times.into_iter().min()
    }

    /// Decides whether the pod has come to its end.
    fn decide_end(&mut self, now: Millis) {
        if self.stopping.is_some() {
            return;
        }
        let is_late = self.lasts.is_some_and(|lasts| now >= self.begun.saturating_add(lasts));
        let of_role = |role: Role| self.ones.iter().filter(move |one| one.rules.role == role);
        let init_failed = of_role(Role::Init).any(|one| one.is_over() && one.status != Some(0));
        let all_over = of_role(Role::Main).all(One::is_over);
        if is_late {
            self.stop("DeadlineExceeded", None, now);
        } else if init_failed {
            self.stop("InitContainerFailed", None, now);
        } else if all_over {
            self.stop("Completed", None, now);
        }
    }

    /// Tells the containers of a pod that ends, in their order: sidecars after all
    /// others, the last one first.
    fn spread_end(&mut self, now: Millis) {
        let Some(Stopping { why, until, hard }) = self.stopping.clone() else { return };
        let rest = if hard { 0 } else { until.saturating_sub(now).max(1) };
        let is_sidecar = |one: &One| one.rules.role == Role::Sidecar;
        let others = self.ones.iter().any(|one| one.is_there() && !is_sidecar(one));
        for one in self.ones.iter_mut().filter(|one| !is_sidecar(one)) {
            one.end(&why, false, rest, now);
        }
        if !others && let Some(one) = self.ones.iter_mut().rev().find(|one| one.is_there()) {
            one.end(&why, false, rest, now);
        }
    }

    fn ending_act(&mut self, at: usize, now: Millis) -> Option<Act> {
        let one = &mut self.ones[at];
        let ending = one.ending.as_mut().filter(|_| one.phase == Phase::Running)?;
        if ending.hook == Hook::Due {
            ending.hook = Hook::Busy;
            return Some(Act::PreStop(at));
        }
        match ending.kill {
            None if ending.hook == Hook::Busy && now < ending.until => None,
            None => {
                ending.hook = Hook::Done;
                let late = now.saturating_add(LEAST_GRACE).max(ending.until);
                ending.kill = Some(if ending.hard { now } else { late });
                Some(Act::Stop(at))
            }
            Some(kill) if kill <= now && !ending.killed => {
                ending.killed = true;
                Some(Act::Kill(at))
            }
            Some(_) => None,
        }
    }

    /// The container whose turn it is to start, whenever it may: one at a time.
    fn may_start(&self) -> Option<usize> {
        for (at, one) in self.ones.iter().enumerate() {
            let passed = match one.rules.role {
                Role::Init => one.phase == Phase::Ended && one.status == Some(0),
                Role::Sidecar => one.was_up,
                Role::Main => true,
            };
            if one.rules.role == Role::Main && one.phase == Phase::Waiting {
                return Some(at);
            }
            if !passed {
                return one.due().map(|_| at);
            }
        }
        None
    }

    /// The times at which containers that were up before may start again.
    fn waiting_starts(&self) -> impl Iterator<Item = Millis> {
        self.ones.iter().filter(|one| one.phase == Phase::Ended && one.again).filter_map(One::due)
    }

    fn starting_act(&mut self, now: Millis) -> Option<Act> {
        if self.stopping.is_some() {
            return None;
        }
        if let Some(at) = self.ones.iter().position(|one| {
            one.phase == Phase::Running && one.post == Hook::Due && one.ending.is_none()
        }) {
            self.ones[at].post = Hook::Busy;
            return Some(Act::PostStart(at));
        }
        if self.ones.iter().any(is_busy) {
            return None;
        }
        let again = |one: &One| {
            one.phase == Phase::Ended && one.again && one.due().is_some_and(|due| due <= now)
        };
        let first =
            self.may_start().filter(|at| self.ones[*at].due().is_some_and(|due| due <= now));
        let at = self.ones.iter().position(again).or(first)?;
        self.ones[at].start(now);
        Some(Act::Start(at))
    }

    fn probing_act(&mut self, now: Millis) -> Option<Act> {
        for (at, one) in self.ones.iter_mut().enumerate() {
            for which in Which::ALL {
                if one.takes(which) && one.tries[which as usize].due <= now {
                    one.tries[which as usize].busy = true;
                    return Some(Act::Probe(at, which));
                }
            }
        }
        None
    }
}

/// Its start, with the hook behind it, is not through: nobody else is started meanwhile.
fn is_busy(one: &One) -> bool {
    one.phase == Phase::Starting || one.phase == Phase::Running && one.post != Hook::Done
}
