//! When a probe runs and what its outcomes amount to: Kubernetes' rules, without effects.

use super::wire::{self, Plan, ProbeField};
use crate::time::{FOREVER, Millis};

/// The startup probe's place among a service's probes: it gates the others.
pub const STARTUP: usize = 0;
/// The liveness probe's place: its failure ends the service.
pub const LIVENESS: usize = 1;
/// The readiness probe's place: its failure only says so.
pub const READINESS: usize = 2;

/// A probe: its rules, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// What it does: one of `wire::PROBE_*`.
    pub kind: u32,
    /// Time before the first.
    pub initial_delay: Millis,
    /// Time from one to the next.
    pub period: Millis,
    /// How long one may take.
    pub timeout: Millis,
    /// Successes in a row that count.
    pub success: u32,
    /// Failures in a row that count.
    pub failure: u32,
    /// How long the service may take to end when it fails; 0: as otherwise.
    pub grace: Millis,
    /// It is taken again and again.
    pub on: bool,
    /// One is under way.
    pub running: bool,
    /// When the next is due.
    due: Millis,
    /// When the one under way has taken too long.
    until: Millis,
    good: u32,
    bad: u32,
}

/// What the outcomes amount to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough in a row.
    Open,
    /// It has passed.
    Passed,
    /// It has failed.
    Failed,
}

impl Probe {
    /// No probe.
    pub const NONE: Probe = Probe {
        kind: wire::PROBE_NONE,
        initial_delay: 0,
        period: 10_000,
        timeout: 1000,
        success: 1,
        failure: 3,
        grace: 0,
        on: false,
        running: false,
        due: FOREVER,
        until: FOREVER,
        good: 0,
        bad: 0,
    };

    /// A probe of the plan.
    pub fn read(plan: &Plan<'_>, service: usize, probe: usize) -> Probe {
        let millis = |field| plan.probe_millis(service, probe, field);
        Probe {
            kind: plan.probe(service, probe, ProbeField::Kind),
            initial_delay: millis(ProbeField::InitialDelay),
            period: millis(ProbeField::Period),
            timeout: millis(ProbeField::Timeout),
            success: plan.probe(service, probe, ProbeField::Success),
            failure: plan.probe(service, probe, ProbeField::Failure),
            grace: millis(ProbeField::Grace),
            ..Probe::NONE
        }
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.kind != wire::PROBE_NONE
    }

    /// Begins, if there is one; the delay counts from when the service was started.
    pub fn begin(&mut self, started: Millis, now: Millis) {
        if self.exists() {
            (self.on, self.good, self.bad) = (true, 0, 0);
            self.due = now.max(started.saturating_add(self.initial_delay));
        }
    }

    /// Ends. One under way must still be broken off.
    pub fn end(&mut self) {
        self.on = false;
    }

    /// The next moment at which something is to be done.
    pub fn deadline(&self) -> Millis {
        match (self.running, self.on) {
            (true, _) => self.until,
            (false, true) => self.due,
            (false, false) => FOREVER,
        }
    }

    /// Whether it is to be taken now; it counts as under way then.
    pub fn take(&mut self, now: Millis) -> bool {
        if !self.on || self.running || now < self.due {
            return false;
        }
        self.running = true;
        self.until = now.saturating_add(self.timeout);
        self.due = now.saturating_add(self.period);
        true
    }

    /// Whether the one under way is to be broken off now.
    pub fn overdue(&mut self, now: Millis) -> bool {
        let over = self.running && (!self.on || self.until <= now);
        self.running &= !over;
        over
    }

    /// An outcome has come in.
    pub fn outcome(&mut self, good: bool) -> Verdict {
        self.running = false;
        let (row, wanted, verdict) = match good {
            true => (&mut self.good, self.success, Verdict::Passed),
            false => (&mut self.bad, self.failure, Verdict::Failed),
        };
        *row = row.saturating_add(1);
        let reached = *row >= wanted;
        if good {
            self.bad = 0;
        } else {
            self.good = 0;
        }
        if reached { verdict } else { Verdict::Open }
    }
}

/// The status of an answer that begins so; None as long as it cannot be told.
pub fn http_status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    let number = crate::time::number(digits)?;
    (rest[1] == b' ').then_some(number as u16)
}

/// Whether another answer follows the one with this status.
pub fn http_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

/// Whether an HTTP status is a success of a probe.
pub fn http_success(status: u16) -> bool {
    (200..400).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe { kind: wire::PROBE_TCP, success: 2, ..Probe::NONE }
    }

    #[test]
    fn thresholds_count_outcomes_in_a_row() {
        let mut probe = probe();
        let outcomes = [true, true, false, false, true, false, false, false, false, true];
        let verdicts = outcomes.map(|good| probe.outcome(good));
        use Verdict::{Failed, Open, Passed};
        let want = [Open, Passed, Open, Open, Open, Open, Open, Failed, Failed, Open];
        assert_eq!(verdicts, want);
    }

    #[test]
    fn it_is_taken_after_its_delay_and_once_a_period() {
        let mut probe = Probe { initial_delay: 300, ..probe() };
        probe.begin(900, 1250);
        assert_eq!(probe.deadline(), 1250, "the delay is over");
        probe.begin(1000, 1100);
        assert_eq!(probe.deadline(), 1300);
        assert!(!probe.take(1299) && probe.take(1300) && !probe.take(1301));
        assert_eq!(probe.deadline(), 2300, "its timeout");
        assert!(!probe.overdue(2299) && probe.overdue(2300) && !probe.overdue(2301));
        assert_eq!(probe.deadline(), 11_300);
        assert!(probe.take(11_400));
        probe.end();
        assert!(probe.overdue(11_400) && !probe.overdue(11_400));
        assert_eq!(probe.deadline(), FOREVER);
    }

    #[test]
    fn status_lines() {
        assert_eq!(http_status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(http_status(b"HTTP/1.0 503"), Some(503));
        for text in [&b"HTTP/1.1 20"[..], b"HTTP/2 200", b"", b"SSH-2.0-OpenSSH_9", b"HTTP/1.1 2x0"]
        {
            assert_eq!(http_status(text), None);
        }
        assert!(http_interim(103) && !http_interim(101) && !http_interim(204));
        assert!(http_success(200) && http_success(399) && !http_success(400) && !http_success(101));
    }
}
