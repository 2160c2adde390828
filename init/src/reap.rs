//! What PID 1 does next: a machine without effects. It is told what happened and when,
//! and answers with what to do.
//!
//! ```text
//! Running --payload ended--> (no descendants) ------------------------------> exit
//!    |                       Lingering  --time over, or a stop request--> Ending
//!    |--after a stop request-----------------------------------------------^
//!                            Ending: TERM to all not told yet --time over--> Killing
//!                            Killing: KILL to all             --time over--> exit
//!                            each of the three                --no descendants--> exit
//! ```

use crate::options::{Options, Target};
use crate::signals::{self, SignalSet};
use crate::time::{FOREVER, Millis};

/// How long the dead may take to go after a KILL, before PID 1 no longer waits for them.
const KILL_WAIT: Millis = 2000;

/// The status with which a shell would tell of this wait status (wait(2)): the exit code, or
/// 128 + n after signal n.
pub fn exit_status(wait: i32) -> u8 {
    match ending_signal(wait) {
        Some(signal) => 128 + signal,
        None => (wait >> 8) as u8,
    }
}

/// The signal that ended a process, if one did.
pub fn ending_signal(wait: i32) -> Option<u8> {
    let signal = (wait & 0x7f) as u8;
    (signal != 0).then_some(signal)
}

/// Who is to get a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// As forwarded signals go.
    Target(Target),
    /// Descendants outside of the payload's group.
    OutsideGroup,
}

/// What to tell on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The payload outlived the time for stopping.
    StopTimeout,
    /// Descendants outlived the grace time.
    GraceOver,
    /// The payload has vanished without a wait status.
    PayloadLost,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send a signal.
    Send(u8, To),
    /// Stop this process itself.
    Suspend,
    /// Tell something.
    Tell(Note),
    /// Exit with this status.
    Exit(u8),
}

/// A few things to do, in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acts {
    list: [Option<Act>; 4],
}

impl Acts {
    fn push(&mut self, act: Act) {
        if let Some(slot) = self.list.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(act);
        }
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Act> + '_ {
        self.list.iter().copied().flatten()
    }
}

/// Where a container is in its life; the moments are when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Lingering { until: Millis },
    Ending { until: Millis },
    Killing { until: Millis },
}

/// PID 1's mind.
#[derive(Debug)]
pub struct Machine {
    options: Options,
    phase: Phase,
    status: u8,
    /// A stop request has been forwarded.
    stop_seen: bool,
    /// When the TERM that is held back is due.
    term_due: Millis,
    /// When the payload is to be killed.
    kill_due: Millis,
}

impl Machine {
    /// With the payload running.
    pub fn new(options: Options) -> Machine {
        Machine {
            options,
            phase: Phase::Running,
            status: 0,
            stop_seen: false,
            term_due: FOREVER,
            kill_due: FOREVER,
        }
    }

    /// The moment at which [`Machine::time`] wants to be called, if any.
    pub fn deadline(&self) -> Millis {
        match self.phase {
            Phase::Running => self.term_due.min(self.kill_due),
            Phase::Lingering { until } | Phase::Ending { until } | Phase::Killing { until } => {
                until
            }
        }
    }

    /// A signal was received.
    pub fn signal(&mut self, signal: u8, now: Millis) -> Acts {
        let mut acts = Acts::default();
        let delayed = signal == signals::TERM && self.options.delay_term > 0;
        if self.phase == Phase::Running && delayed && self.term_due == FOREVER && !self.stop_seen {
            self.term_due = after(now, self.options.delay_term);
            return acts;
        }
        self.forward(signal, now, &mut acts);
        if SignalSet::TERMINAL_STOPS.has(signal) && self.options.stops_itself {
            acts.push(Act::Suspend);
        }
        acts
    }

    fn forward(&mut self, signal: u8, now: Millis, acts: &mut Acts) {
        let sent = self.options.rewrite[usize::from(signal)];
        let stop = SignalSet::STOP_REQUESTS.has(signal);
        if self.phase != Phase::Running {
            if sent != 0 {
                acts.push(Act::Send(sent, To::Target(Target::All)));
            }
            if let (true, Phase::Lingering { .. }) = (stop && sent != 0, self.phase) {
                self.phase = Phase::Ending { until: after(now, self.options.grace) };
            }
            return;
        }
        if sent != 0 {
            acts.push(Act::Send(sent, To::Target(self.options.target)));
        }
        if stop && sent != 0 {
            self.stop_seen = true;
            self.term_due = FOREVER;
            self.kill_due = self.kill_due.min(after(now, self.options.stop_timeout));
        }
    }

    /// The payload has ended, and everything else that had ended has been reaped.
    pub fn payload_ended(&mut self, status: u8, others: bool, now: Millis) -> Acts {
        let mut acts = Acts::default();
        self.status = self.options.exit_map[usize::from(status)];
        if self.options.last_term {
            let term = self.options.rewrite[usize::from(signals::TERM)];
            if term != 0 {
                acts.push(Act::Send(term, To::Target(self.options.target)));
            }
        }
        let waits = self.options.linger > 0 || self.options.grace > 0;
        if !others || !waits {
            acts.push(Act::Exit(self.status));
        } else if self.stop_seen || self.options.linger == 0 {
            self.end(now, &mut acts);
        } else {
            self.phase = Phase::Lingering { until: after(now, self.options.linger) };
        }
        acts
    }

    /// There are no children any more.
    pub fn childless(&mut self) -> Acts {
        let mut acts = Acts::default();
        if self.phase == Phase::Running {
            acts.push(Act::Tell(Note::PayloadLost));
            self.status = crate::options::OWN_FAILURE;
        }
        acts.push(Act::Exit(self.status));
        acts
    }

    /// Time has passed.
    pub fn time(&mut self, now: Millis) -> Acts {
        let mut acts = Acts::default();
        if now < self.deadline() {
            return acts;
        }
        match self.phase {
            Phase::Running if self.kill_due <= now => {
                self.kill_due = FOREVER;
                acts.push(Act::Tell(Note::StopTimeout));
                acts.push(Act::Send(signals::KILL, To::Target(self.options.target)));
            }
            Phase::Running => self.forward(signals::TERM, now, &mut acts),
            Phase::Lingering { .. } => self.end(now, &mut acts),
            Phase::Ending { .. } => {
                self.phase = Phase::Killing { until: after(now, KILL_WAIT) };
                acts.push(Act::Tell(Note::GraceOver));
                acts.push(Act::Send(signals::KILL, To::Target(Target::All)));
            }
            Phase::Killing { .. } => acts.push(Act::Exit(self.status)),
        }
        acts
    }

    /// TERM (and CONT, so that the stopped can act on it) to all who have not had it:
    /// a second one would disturb those who are cleaning up.
    fn end(&mut self, now: Millis, acts: &mut Acts) {
        self.phase = Phase::Ending { until: after(now, self.options.grace) };
        let to = match (self.stop_seen, self.options.target) {
            (true, Target::All) => return,
            (true, Target::Group) => To::OutsideGroup,
            _ => To::Target(Target::All),
        };
        acts.push(Act::Send(signals::TERM, to));
        acts.push(Act::Send(signals::CONT, to));
    }
}

fn after(now: Millis, span: Millis) -> Millis {
    now.saturating_add(span)
}
