//! The story of PID 1 with services: read the plan, start what is to be started, then
//! wait, act and reap until the machine says that it is over.

use super::clients::{CLIENTS, Clients};
use super::engine::Engine;
use super::io::Io;
use super::machine::{Act, Machine};
use super::rules::Rules;
use super::service_state::{Phase, Reason, ServiceState};
use super::watches::Watches;
use super::wire::{Head, MAX_PLAN, MAX_SERVICES, Plan, UNSET};
use crate::command_line;
use crate::message::Line;
use crate::options::{OWN_FAILURE, Options, Request, Words};
use crate::reap;
use crate::signals::{self, SignalSet};
use crate::sys::descriptors::{self, Poll};
use crate::sys::needs::{self, Denied};
use crate::sys::{self, Peeked, Start, bump};
use crate::time::{FOREVER, Millis};
use core::ffi::CStr;

/// How many descriptors are waited for at most: signals, control, watches, 16 clients, and
/// for each service its readiness, its log and its probes.
const POLLED: usize = 3 + CLIENTS + MAX_SERVICES * 5;

/// How many signals are read before everything else has its turn: a storm of them never ends.
const AT_ONCE: usize = 64;

/// The program with services: as [`crate::run::run`], unless its first words are
/// `--services PLAN:SOCKET`, the numbers of two descriptors.
pub fn run_services(start: Start) -> u8 {
    let given = match start.arg(1).map(CStr::to_bytes) {
        Some(b"--services") => start.arg(2).and_then(|pair| descriptors_of(pair.to_bytes())),
        _ => return crate::run::run(start),
    };
    let line = || Line::new("rich-init");
    let Some((plan, control)) = given else {
        line().text("--services: not two descriptors").write();
        return OWN_FAILURE;
    };
    match command_line::read(&Shifted(start)) {
        Ok(Request::Run(options)) => {
            run(start, Options { command: options.command + SHIFT, ..options }, plan, control)
        }
        Ok(Request::Print(_)) => OWN_FAILURE,
        Err(mistake) => {
            line().text(mistake.what).text(": ").bytes(mistake.word).write();
            OWN_FAILURE
        }
    }
}

fn descriptors_of(pair: &[u8]) -> Option<(i32, i32)> {
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let number = |digits| i32::try_from(crate::time::number(digits)?).ok();
    Some((number(&pair[..colon])?, number(&pair[colon + 1..])?))
}

/// How many words `--services` takes.
const SHIFT: usize = 2;

/// The command line without those words.
struct Shifted(Start);

impl Words for Shifted {
    fn word(&self, i: usize) -> Option<&[u8]> {
        self.0.word(if i == 0 { 0 } else { i + SHIFT })
    }

    fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.variable(name)
    }
}

/// Runs the container's services; the exit status.
fn run(start: Start, options: Options, plan: i32, control: i32) -> u8 {
    sys::refuse_tracing();
    let mask = sys::set_mask(SignalSet::ALL);
    let ignored = sys::ignore_child_signal(false);
    sys::set_name(b"rich-init\0\0\0\0\0\0\0");
    let line = || Line::new("rich-init").text("services: ");
    if let Err(denied) = needs::of_services() {
        line().denied(denied).write();
        return OWN_FAILURE;
    }
    let terminal = crate::run::leave_terminal(sys::getpid());
    let Some(plan) = read_plan(plan) else {
        line().text("the plan cannot be read").write();
        return OWN_FAILURE;
    };
    let signals = match descriptors::signals(SignalSet::ALL) {
        Ok(signals) => signals,
        Err(errno) => {
            line().text("signalfd: ").errno(errno).write();
            return OWN_FAILURE;
        }
    };
    let states = bump::take(plan.count(), ServiceState::new(Rules::PLAIN));
    for (i, state) in states.iter_mut().enumerate() {
        state.rules = Rules::read(&plan, i);
        state.since = sys::now();
    }
    let limit = |head| match plan.head(head) {
        UNSET => FOREVER,
        millis => Millis::from(millis),
    };
    let main = plan.head(Head::Main) as usize;
    let mut engine = Engine {
        start,
        options,
        machine: Machine::new(states, main, limit(Head::Grace), limit(Head::Shutdown)),
        io: bump::take(plan.count(), Io::NONE),
        clients: Clients::new(control, plan.head(Head::Owner), plan.head(Head::Root)),
        watches: Watches::new(&plan),
        inherited: (mask, ignored),
        terminal,
        null: descriptors::open_both(c"/dev/null").unwrap_or(descriptors::NONE),
        signals,
        polled: bump::take(POLLED, Poll { fd: -1, wanted: 0, seen: 0 }),
        plan,
    };
    for fd in [control].into_iter().chain(3..3 + plan.head(Head::Descriptors) as i32) {
        descriptors::close_on_exec(fd, true);
    }
    engine.machine.begin();
    engine.live()
}

fn read_plan(mut from: i32) -> Option<Plan<'static>> {
    let bytes = bump::take_zeroed(MAX_PLAN);
    let mut size = 0;
    while let Ok(more @ 1..) = descriptors::read(from, &mut bytes[size..]) {
        size += more;
    }
    descriptors::close(&mut from);
    Plan::new(&bytes[..size])
}

impl Engine {
    fn live(&mut self) -> u8 {
        loop {
            let now = sys::now();
            if let Some(status) = self.settle(now) {
                return self.options.exit_map[usize::from(status)];
            }
            let wait = match self.machine.deadline() {
                FOREVER => FOREVER,
                due => due.saturating_sub(now).saturating_add(1),
            };
            let count = self.gather();
            if let Err(errno) = descriptors::poll(&mut self.polled[..count], wait) {
                Line::new("rich-init").denied(Denied { call: "ppoll", errno }).write();
                return OWN_FAILURE;
            }
            self.attend(count);
        }
    }

    /// Does everything that is to be done now.
    fn settle(&mut self, now: Millis) -> Option<u8> {
        while let Some(act) = self.machine.next(now) {
            if let Some(status) = self.perform(act, now) {
                return Some(status);
            }
        }
        self.answer_waiting();
        // A container without processes ends without waiting.
        if self.machine.stops()
            && sys::peek() == Peeked::NoChildren
            && let Some(Act::Exit(status)) = self.machine.childless()
        {
            return Some(status);
        }
        None
    }

    fn perform(&mut self, act: Act, now: Millis) -> Option<u8> {
        match act {
            Act::Launch(i) => self.launch(i, now),
            Act::Signal(i, signal) => self.signal(i, signal),
            Act::Finish(i) => self.finish(i, now),
            Act::Probe(i, probe) => self.probe(i, probe, now),
            Act::BreakOff(i, probe) => self.break_off(i, probe),
            Act::Changed(i) => self.changed(i, now),
            Act::SignalAll(signal) => {
                let _ = sys::kill(-1, signal);
                if signal == signals::TERM {
                    // So that the stopped can act on it.
                    let _ = sys::kill(-1, signals::CONT);
                }
            }
            Act::Exit(status) => return Some(status),
        }
        None
    }

    /// Lists what is waited for.
    fn gather(&mut self) -> usize {
        let mut count = 0;
        let polled = &mut self.polled;
        let mut add = |fd: i32, wanted: i16| {
            if fd >= 0 {
                polled[count] = Poll { fd, wanted, seen: 0 };
                count += 1;
            }
        };
        add(self.signals, descriptors::READABLE);
        add(self.watches.descriptor(), descriptors::READABLE);
        self.clients.gather(&mut add);
        self.io.iter().for_each(|io| io.gather(&mut add));
        count
    }

    /// Sees to everything that has something to say.
    fn attend(&mut self, count: usize) {
        for at in 0..count {
            let Poll { fd, seen, .. } = self.polled[at];
            if seen == 0 {
                continue;
            }
            if fd == self.signals {
                self.receive();
            } else if fd == self.watches.descriptor() {
                self.watches.take(&mut self.machine, sys::now());
            } else if !self.attend_client(fd) {
                self.attend_io(fd, seen);
            }
        }
    }

    fn receive(&mut self) {
        for _ in 0..AT_ONCE {
            let Some((signal, by_process)) = descriptors::read_signal(self.signals) else { break };
            if signal == signals::CHLD && !by_process {
                continue;
            }
            let stop = SignalSet::STOP_REQUESTS.has(signal) || signal == signals::RTMIN + 3;
            match self.options.rewrite[usize::from(signal)] {
                _ if stop => self.machine.stop_requested(signal, sys::now()),
                0 => {}
                sent => self.signal(self.machine.main(), sent),
            }
        }
        // Whatever it was: the kernel hands out the lowest number first, so a storm of those
        // below SIGCHLD would hide from us that children have ended.
        self.reap();
    }

    /// Takes in all that have ended. A service's group goes with its process: as long as
    /// that is not taken in, its number cannot be another's.
    fn reap(&mut self) {
        while let Peeked::Ended(pid) = sys::peek() {
            let service = self.machine.owner(pid);
            let probe = self.io.iter().position(|io| io.probes.iter().any(|run| run.pid == pid));
            let strays = service.is_some_and(|i| i != self.machine.main()) || probe.is_some();
            if strays {
                let _ = sys::kill(-pid, signals::KILL);
            }
            let Some(status) = sys::reap_one(pid) else { return };
            let now = sys::now();
            if let Some(i) = service {
                self.process_gone(i);
                self.machine.ended(i, reap::exit_status(status), now);
            } else if let Some(i) = probe {
                self.probe_process_ended(i, pid, status == 0, now);
            } else if let Some(io) = self.io.iter_mut().find(|io| io.reload.0 == pid) {
                io.reload = (0, reap::exit_status(status));
            }
        }
    }

    /// Tells of a service's new phase: those who listen, and the log when it went wrong.
    fn changed(&mut self, i: usize, now: Millis) {
        self.publish(i, now);
        let state = &self.machine.states()[i];
        let line = || Line::new("rich-init").text("service ").bytes(self.name(i)).text(": ");
        let line = match (state.phase, state.reason) {
            (Phase::Pausing, _) => line()
                .text(why(state))
                .number(u64::from(state.status))
                .text(", restarted in ")
                .millis(state.until.saturating_sub(now)),
            (Phase::Failed, Reason::Need) => line().text("failed: what it needs is not there"),
            (Phase::Failed, _) => {
                line().text("failed: ").text(why(state)).number(u64::from(state.status))
            }
            (Phase::Stopping, Reason::Liveness) => line().text("its probe failed, it is ended"),
            (Phase::Stopping, Reason::StartTimeout) => {
                line().text("not ready in time, it is ended")
            }
            (Phase::Killing, _) => line().text("did not end when asked to, killed"),
            (Phase::Up, _) if self.options.verbosity > 0 => line().text("up"),
            (Phase::Down, _) if self.options.verbosity > 0 => line().text("down"),
            _ => return,
        };
        line.write();
    }
}

fn why(state: &ServiceState) -> &'static str {
    match state.reason {
        Reason::NotStarted => "could not be executed, status ",
        Reason::StartTimeout => "was not ready in time, ended with ",
        Reason::Liveness => "its probe failed, ended with ",
        _ => "ended with ",
    }
}
