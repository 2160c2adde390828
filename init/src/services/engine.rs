//! What PID 1 has where there are services. What it does with it stands in the files above:
//! [`super::run`] tells the story.

use super::clients::Clients;
use super::io::Io;
use super::machine::Machine;
use super::watches::Watches;
use super::wire::{Field, Plan};
use crate::options::Options;
use crate::signals::{self, SignalSet};
use crate::sys::descriptors::Poll;
use crate::sys::{self, Start};

/// Everything that PID 1 has.
pub(super) struct Engine {
    pub start: Start,
    pub options: Options,
    pub plan: Plan<'static>,
    pub machine: Machine<'static>,
    pub io: &'static mut [Io],
    pub clients: Clients,
    pub watches: Watches,
    /// The signal mask and SIGCHLD's meaning that services get.
    pub inherited: (SignalSet, bool),
    /// Standard input is a terminal that is the main service's.
    pub terminal: bool,
    /// `/dev/null`, if there is one.
    pub null: i32,
    /// Where signals are read.
    pub signals: i32,
    /// Room for what is waited for.
    pub polled: &'static mut [Poll],
}

impl Engine {
    /// Sends a signal to a service's group; one that has gone meanwhile is no error.
    pub(super) fn signal(&self, i: usize, signal: u8) {
        let pid = self.machine.states()[i].pid;
        if pid > 0 {
            let _ = sys::kill(-pid, signal);
            if signal == self.machine.states()[i].rules.stop_signal {
                let _ = sys::kill(-pid, signals::CONT);
            }
        }
    }

    /// A service's name.
    pub(super) fn name(&self, i: usize) -> &'static [u8] {
        self.plan.text(i, Field::Name)
    }
}
