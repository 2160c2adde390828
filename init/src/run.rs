//! The story of PID 1: read the command line, block all signals, leave the terminal, start
//! the payload, then wait, forward and reap until there is nothing left to wait for.

use crate::command_line;
use crate::dialect::Dialect;
use crate::identity::Identity;
use crate::message::Line;
use crate::options::{self, Options, Request, Session, Target, Words};
use crate::payload_unit;
use crate::processes;
use crate::reap::{self, Act, Acts, Machine, Note, To};
use crate::signals::{self, SignalSet};
use crate::sys::descriptors;
use crate::sys::needs::{self, Denied};
use crate::sys::{self, Errno, Failure, Reaped, Received, Spawn, Start, Step};
use crate::time::FOREVER;

/// Runs the program; its exit status.
pub fn run(start: Start) -> u8 {
    let word = start.arg(1).unwrap_or_default();
    match (Dialect::of(start.word(0).unwrap_or_default()), word.to_bytes()) {
        (Dialect::Rich, b"--hand-off") => payload_unit::hand_off(start),
        (Dialect::Rich, b"--exit-as") => payload_unit::exit_as(start.arg(2)),
        (Dialect::Rich, b"--stand-in") => payload_unit::stand_in(start),
        (Dialect::Rich, b"--payload") => run_beside(start.arg(2).unwrap_or_default()),
        _ => run_with(start, None, false),
    }
}

/// Beside another init: what the file describes.
fn run_beside(file: &core::ffi::CStr) -> u8 {
    match payload_unit::describe(file) {
        Ok(described) => {
            let status = run_with(described.start, Some(described.identity), described.terminal);
            payload_unit::tell_end(described.told, described.signal, status);
            status
        }
        Err((what, errno)) => {
            Line::new("rich-init").text(what).text(": ").errno(errno).write();
            options::OWN_FAILURE
        }
    }
}

fn run_with(start: Start, identity: Option<Identity>, terminal: bool) -> u8 {
    match command_line::read(&start) {
        Ok(Request::Run(options)) => Init::new(start, options, identity, terminal).run(),
        Ok(Request::Print(text)) => {
            let written = sys::write(1, text.as_bytes());
            u8::from(written != Ok(text.len()))
        }
        Err(mistake) => {
            let line = Line::new(mistake.dialect.name()).text(mistake.what);
            match mistake.word {
                b"" => line.text("; try --help"),
                word => line.text(": ").bytes(word),
            }
            .write();
            mistake.status()
        }
    }
}

/// Leaves the terminal, if there is one, to the payload; whether it is ours to leave.
pub(crate) fn leave_terminal(me: i32) -> bool {
    let Ok(own) = sys::leave_terminal() else { return false };
    // A session's leader that leaves its terminal hangs up on its own group, that is
    // on us. Those two signals name us as their sender, so that no other is lost.
    for signal in [signals::HUP, signals::CONT] {
        match sys::wait_signal(SignalSet::of(&[signal]), 0) {
            Ok(Some(received)) if received.sender != me => {
                let _ = sys::kill(me, signal);
            }
            _ => {}
        }
    }
    own
}

struct Init {
    start: Start,
    options: Options,
    machine: Machine,
    me: i32,
    payload: i32,
    /// Who the payload becomes.
    identity: Option<Identity>,
    /// Standard input is a terminal that is the payload's.
    terminal: bool,
    /// The payload's wait status is in.
    reaped: bool,
}

impl Init {
    fn new(start: Start, options: Options, identity: Option<Identity>, terminal: bool) -> Init {
        let machine = Machine::new(options);
        Init {
            start,
            options,
            machine,
            me: sys::getpid(),
            payload: 0,
            identity,
            terminal,
            reaped: false,
        }
    }

    fn run(mut self) -> u8 {
        // Blocked signals wait for us, even those whose default PID 1 would ignore; so from
        // here on none is lost, and there is no handler that could interrupt anything.
        let mask = sys::set_mask(SignalSet::ALL.without(self.options.uncaught));
        // An inherited "ignore" would make the kernel reap in our place.
        let ignored = sys::ignore_child_signal(false);
        if let Err(denied) = needs::of_init() {
            return self.denied(denied);
        }
        self.take_role();
        if self.options.pause {
            return self.pause();
        }
        if let Some(record) = self.options.record {
            // The command gets what was passed through, and not this.
            descriptors::close_on_exec(record as i32, true);
        }
        let spawn = Spawn {
            start: self.start,
            command: self.options.command,
            session: self.options.session,
            terminal: self.terminal,
            mask,
            ignore_child_signal: ignored,
            identity: self.identity,
        };
        match sys::spawn(spawn) {
            Ok(pid) => self.payload = pid,
            Err(failure) => return self.cannot_start(failure),
        }
        // What was passed through belongs to the payload alone, and no mount is kept busy.
        sys::close_but(self.options.record);
        sys::chdir_root();
        loop {
            if let Some(status) = self.step() {
                return status;
            }
        }
    }

    /// Name, parent's death, orphans, terminal: what must be settled before the payload runs.
    fn take_role(&mut self) {
        if self.options.dialect == Dialect::Rich {
            sys::refuse_tracing();
            sys::set_name(b"rich-init\0\0\0\0\0\0\0");
        }
        if self.options.parent_death_signal != 0 {
            let _ = sys::parent_death_signal(self.options.parent_death_signal);
        }
        if self.me != 1 {
            if self.options.subreaper {
                // Without it (Linux before 3.4) orphans go to PID 1, as ever.
                let _ = sys::become_subreaper();
            } else if self.options.dialect == Dialect::Tini && self.options.verbosity > 0 {
                self.line()
                    .text("not PID 1 and not a subreaper (-s): orphans will not be reaped")
                    .write();
            }
        }
        if self.options.session == Session::New {
            self.terminal |= leave_terminal(self.me);
        }
    }

    /// Waits for one event and acts on it; the exit status when it was the last.
    fn step(&mut self) -> Option<u8> {
        let deadline = self.machine.deadline();
        let timeout = match deadline {
            FOREVER => FOREVER,
            // One more, for the part of a millisecond that the clock does not show.
            _ => deadline.saturating_sub(sys::now()).saturating_add(1),
        };
        let waited = sys::wait_signal(SignalSet::ALL.without(self.options.uncaught), timeout);
        let passed = match waited {
            Ok(Some(received)) => {
                let status = self.receive(received);
                if status.is_some() {
                    return status;
                }
                0
            }
            // Even where there is no clock to be asked.
            Ok(None) => deadline,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Some(self.denied(Denied { call: "rt_sigtimedwait", errno })),
        };
        if self.machine.deadline() == FOREVER {
            return None;
        }
        let acts = self.machine.time(sys::now().max(passed));
        self.perform(acts)
    }

    fn receive(&mut self, received: Received) -> Option<u8> {
        // Whatever it is: the kernel hands out the lowest number first, so a storm of those
        // below SIGCHLD would hide from us that children have ended.
        let status = self.reap();
        // A SIGCHLD that a process sent is meant for the payload.
        if status.is_some() || (received.signal == signals::CHLD && !received.by_process) {
            return status;
        }
        if self.options.verbosity > 1 {
            self.line().text("received ").signal(received.signal).write();
        }
        let acts = self.machine.signal(received.signal, sys::now());
        self.perform(acts)
    }

    /// Takes in all that have ended.
    fn reap(&mut self) -> Option<u8> {
        let mut ended = None;
        let acts = loop {
            match (sys::reap(), ended) {
                (Reaped::Ended(pid, status), _) if pid == self.payload && !self.reaped => {
                    self.reaped = true;
                    self.record(status);
                    self.tell_ended(status);
                    ended = Some(reap::exit_status(status));
                }
                (Reaped::Ended(pid, _), _) => self.tell_reaped(pid),
                (left, Some(status)) => {
                    break self.machine.payload_ended(status, left == Reaped::AllLive, sys::now());
                }
                (Reaped::AllLive, None) => return None,
                (Reaped::NoChildren, None) => break self.machine.childless(),
            }
        };
        self.perform(acts)
    }

    fn perform(&mut self, acts: Acts) -> Option<u8> {
        for act in acts.iter() {
            match act {
                Act::Send(signal, to) => self.send(signal, to),
                Act::Suspend => {
                    // Ignored for PID 1, whom nobody in the container could continue.
                    let _ = sys::kill(self.me, signals::STOP);
                }
                Act::Tell(note) => self.tell(note),
                Act::Exit(status) => return Some(status),
            }
        }
        None
    }

    /// A receiver that no longer exists is no error.
    fn send(&self, signal: u8, to: To) {
        let group = self.payload;
        match to {
            To::Target(Target::Child) if self.reaped => {}
            To::Target(Target::Child) => drop(sys::kill(self.payload, signal)),
            // Without a group of its own, the payload's would be ours.
            To::Target(Target::Group) if self.options.session == Session::Keep => {
                if !self.reaped {
                    let _ = sys::kill(self.payload, signal);
                }
            }
            To::Target(Target::Group) => drop(sys::kill(-group, signal)),
            To::Target(Target::All) if self.me == 1 => drop(sys::kill(-1, signal)),
            To::Target(Target::All) => {
                if !processes::signal_descendants(self.me, signal, |_| true) {
                    let _ = sys::kill(-group, signal);
                }
            }
            To::OutsideGroup => {
                let known = processes::signal_descendants(self.me, signal, |process| {
                    process.group != group
                });
                if !known && self.me == 1 {
                    let _ = sys::kill(-1, signal);
                }
            }
        }
    }

    /// catatonit's pause: no payload, only reaping, until a stop request comes.
    fn pause(&mut self) -> u8 {
        loop {
            match sys::wait_signal(SignalSet::ALL.without(self.options.uncaught), FOREVER) {
                Ok(Some(received)) if SignalSet::STOP_REQUESTS.has(received.signal) => return 0,
                Err(errno) if errno != Errno::EINTR => {
                    return self.denied(Denied { call: "rt_sigtimedwait", errno });
                }
                _ => while let Reaped::Ended(..) = sys::reap() {},
            }
        }
    }

    fn cannot_start(&self, failure: Failure) -> u8 {
        let line = match failure.step {
            Step::Clone => self.line().text("clone"),
            Step::Session => self.line().text("payload's session"),
            Step::Identity => self.line().text("payload's directory, user and capabilities"),
            Step::Exec => {
                let name = self.start.arg(self.options.command).unwrap_or_default();
                self.line().text("exec \"").bytes(name.to_bytes()).text("\"")
            }
        };
        line.text(": ").errno(failure.errno).write();
        match (failure.step, failure.errno) {
            (Step::Exec, Errno::ENOENT | Errno::ENOTDIR) => self.options.exec_failure.0,
            (Step::Exec, _) => self.options.exec_failure.1,
            _ => self.own_failure(),
        }
    }

    fn denied(&self, denied: Denied) -> u8 {
        self.line().denied(denied).write();
        self.own_failure()
    }

    fn own_failure(&self) -> u8 {
        if self.options.dialect == Dialect::Rich { options::OWN_FAILURE } else { 1 }
    }

    fn line(&self) -> Line {
        Line::new(self.options.dialect.name())
    }

    fn tell(&self, note: Note) {
        let line = self.line();
        match note {
            Note::StopTimeout => line
                .text("the payload lived ")
                .millis(self.options.stop_timeout)
                .text(" after the request to stop: killed"),
            Note::GraceOver => line
                .text("processes lived ")
                .millis(self.options.grace)
                .text(" after the payload's end and their TERM: killed"),
            Note::PayloadLost => line.text("the payload is gone, and nobody was told how it ended"),
        }
        .write();
    }

    fn tell_ended(&self, status: i32) {
        if self.options.verbosity == 0 || self.options.dialect != Dialect::Rich {
            return;
        }
        match reap::ending_signal(status) {
            Some(signal) => self.line().text("the payload was ended by ").signal(signal),
            None => self
                .line()
                .text("the payload exited with ")
                .number(u64::from(reap::exit_status(status))),
        }
        .write();
    }

    /// Leaves the wait status to who asks later: its digits.
    fn record(&self, status: i32) {
        let Some(record) = self.options.record else { return };
        let mut digits = [b'0'; 10];
        let (mut at, mut left) = (digits.len(), status as u32);
        while left > 0 || at == digits.len() {
            at -= 1;
            digits[at] += (left % 10) as u8;
            left /= 10;
        }
        let _unwritten = sys::write(record as i32, &digits[at..]);
    }

    fn tell_reaped(&self, pid: i32) {
        if self.options.verbosity > 1 {
            self.line().text("reaped ").number(pid as u64).write();
        }
    }
}
