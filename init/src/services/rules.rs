//! What the machine must know of a service: its part of the plan, as numbers.

use super::probe::Probe;
use super::wire::{self, Field, PROBES, Plan};
use crate::time::Millis;

/// The shortest pause before a restart: what cannot even be executed would otherwise be tried
/// again and again, and nothing else done.
pub const LEAST_PAUSE: Millis = 10;

/// The scheduling rules of one service.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Runs to its end, then counts as up.
    pub oneshot: bool,
    /// Its failure ends the container.
    pub essential: bool,
    /// Started with the container.
    pub auto: bool,
    /// Services that must be up before, and without which it fails.
    pub needs: u64,
    /// Services that are started before, but may fail.
    pub wants: u64,
    /// Services that go first, if they are started at all.
    pub after: u64,
    /// When it is restarted: one of `wire::RESTART_*`.
    pub restart: u32,
    /// Time before the first restart.
    pub delay: Millis,
    /// The most that back-off makes of it.
    pub max_delay: Millis,
    /// Restarts in a row before it is given up; 0: never.
    pub tries: u32,
    /// Up for so long, it has no failures behind it.
    pub reset: Millis,
    /// Expected exit statuses.
    pub expected: [u32; 8],
    /// When it is ready: one of `wire::READY_*`.
    pub ready: u32,
    /// How long it may take to become ready.
    pub start_timeout: Millis,
    /// The signal that asks it to end.
    pub stop_signal: u8,
    /// How long that may take.
    pub stop_timeout: Millis,
    /// It has a finish command.
    pub finish: bool,
    /// How long that may take.
    pub finish_timeout: Millis,
    /// Time from a change of what is watched to the restart.
    pub watch_delay: Millis,
    /// Startup, liveness, readiness.
    pub probes: [Probe; PROBES],
}

impl Rules {
    /// A plain service: started with the container, ready at once, never restarted.
    pub const PLAIN: Rules = Rules {
        oneshot: false,
        essential: false,
        auto: true,
        needs: 0,
        wants: 0,
        after: 0,
        restart: wire::RESTART_NEVER,
        delay: 1000,
        max_delay: 60_000,
        tries: 0,
        reset: 10_000,
        expected: [1, 0, 0, 0, 0, 0, 0, 0],
        ready: wire::READY_STARTED,
        start_timeout: 60_000,
        stop_signal: crate::signals::TERM,
        stop_timeout: 10_000,
        finish: false,
        finish_timeout: 5000,
        watch_delay: 1000,
        probes: [Probe::NONE; PROBES],
    };

    /// The rules of a service of the plan.
    pub fn read(plan: &Plan<'_>, service: usize) -> Rules {
        let word = |field| plan.field(service, field);
        let millis = |field| plan.millis(service, field);
        let mut expected = [0; 8];
        for (i, slot) in expected.iter_mut().enumerate() {
            *slot = plan.beyond(service, Field::Expected, i);
        }
        let mut probes = [Probe::NONE; PROBES];
        for (i, probe) in probes.iter_mut().enumerate() {
            *probe = Probe::read(plan, service, i);
        }
        Rules {
            oneshot: word(Field::Flags) & wire::FLAG_ONESHOT != 0,
            essential: word(Field::Flags) & wire::FLAG_ESSENTIAL != 0,
            auto: word(Field::Start) == wire::START_AUTO,
            needs: plan.set(service, Field::Needs),
            wants: plan.set(service, Field::Wants),
            after: plan.set(service, Field::After),
            restart: word(Field::Restart),
            delay: millis(Field::Delay),
            max_delay: millis(Field::MaxDelay),
            tries: word(Field::Tries),
            reset: millis(Field::Reset),
            expected,
            ready: word(Field::Ready),
            start_timeout: millis(Field::StartTimeout),
            stop_signal: word(Field::StopSignal) as u8,
            stop_timeout: millis(Field::StopTimeout),
            finish: word(Field::Finish) != 0,
            finish_timeout: millis(Field::FinishTimeout),
            watch_delay: millis(Field::WatchDelay),
            probes,
        }
    }

    /// Everything that it is ordered behind.
    pub fn before(&self) -> u64 {
        self.needs | self.wants | self.after
    }

    /// Whether an exit status is one of the expected.
    pub fn expects(&self, status: u8) -> bool {
        self.expected[usize::from(status / 32)] & (1 << (status % 32)) != 0
    }

    /// The time before a restart: doubled with every failure in a row.
    pub fn pause(&self, failures: u32) -> Millis {
        let doubled = self.delay.saturating_mul(1 << failures.saturating_sub(1).min(30));
        doubled.min(self.max_delay.max(self.delay)).max(LEAST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_bound() {
        let rules = Rules { delay: 500, max_delay: 3000, ..Rules::PLAIN };
        let pauses: Vec<Millis> = (1..=5).map(|failures| rules.pause(failures)).collect();
        assert_eq!(pauses, [500, 1000, 2000, 3000, 3000]);
        assert_eq!(Rules { delay: 0, ..rules }.pause(90), LEAST_PAUSE);
    }

    #[test]
    fn only_expected_statuses_are_successes() {
        let mut rules = Rules::PLAIN;
        assert!(rules.expects(0) && !rules.expects(1) && !rules.expects(143));
        rules.expected[143 / 32] |= 1 << (143 % 32);
        assert!(rules.expects(143) && !rules.expects(142));
    }
}
