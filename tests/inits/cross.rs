//! What is crossed: with a terminal and without one, signals to the payload and to its group.

use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::Instant;

use richrun_tests::sys::kill;
use richrun_tests::terminal::{Terminal, pair};

use super::{Init, LAST, PATIENCE, children, end, finish, name, wait};

/// One way to run a program.
#[derive(Debug, Clone, Copy)]
struct Setting {
    /// On a terminal that is its session's.
    terminal: bool,
    /// Signals go to the payload alone, not to its group.
    child: bool,
}

const SETTINGS: [Setting; 4] = [
    Setting { terminal: false, child: true },
    Setting { terminal: false, child: false },
    Setting { terminal: true, child: true },
    Setting { terminal: true, child: false },
];

impl Setting {
    /// The options that ask for it.
    fn options(self, program: &str) -> &'static [&'static str] {
        match (program, self.child) {
            ("rich-init", true) => &["--forward-to", "child"],
            ("rich-init", false) => &["--forward-to", "group"],
            ("dumb-init", true) => &["-c"],
            ("tini" | "catatonit", false) => &["-g"],
            _ => &[],
        }
    }

    fn words(self) -> String {
        let (place, to) = (
            if self.terminal { "terminal" } else { "no terminal" },
            if self.child { "to the payload" } else { "to the group" },
        );
        format!("{place}, {to}")
    }
}

/// The experiment in all settings: what came of it, and where that differs, in which.
fn crossed(init: &Init, settings: &[Setting], act: fn(&Init, Setting) -> String) -> String {
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    for setting in settings {
        let cell = act(init, *setting);
        match seen.iter_mut().find(|one| one.0 == cell) {
            Some(one) => one.1.push(setting.words()),
            None => seen.push((cell, vec![setting.words()])),
        }
    }
    match &seen[..] {
        [(cell, _)] => cell.clone(),
        many => {
            let all: Vec<String> =
                many.iter().map(|(cell, at)| format!("{cell} ({})", at.join("; "))).collect();
            all.join(", ")
        }
    }
}

/// A program that runs, with what its payload says.
struct Session {
    child: Child,
    out: Terminal,
    /// PID 1, seen from outside.
    pid: i32,
}

impl Session {
    fn new(init: &Init, setting: Setting, payload: &[&str]) -> Session {
        Session::by(&[], init, setting, payload)
    }

    /// The same, started by another command.
    fn by(wrapper: &[&str], init: &Init, setting: Setting, payload: &[&str]) -> Session {
        let options = setting.options(init.name);
        let (child, out) = if setting.terminal {
            let (terminal, slave) = pair(11, 22);
            // As a container's first process: the leader of the terminal's session.
            let wrapper = [&["setsid", "-c"], wrapper].concat();
            let mut command = init.command_by(&wrapper, options, payload);
            let stream = || Stdio::from(slave.try_clone().expect("clone the terminal"));
            command.stdin(stream()).stdout(stream()).stderr(stream());
            (command.spawn().expect("unshare"), terminal)
        } else {
            let (reader, writer) = std::io::pipe().expect("pipe");
            let mut command = init.command_by(wrapper, options, payload);
            command.stdout(OwnedFd::from(writer));
            (command.spawn().expect("unshare"), Terminal::from(OwnedFd::from(reader)))
        };
        Session { child, out, pid: 0 }
    }

    /// The same, once the payload has said `ready`.
    fn ready(init: &Init, setting: Setting, payload: &[&str]) -> Session {
        let mut session = Session::new(init, setting, payload);
        session.out.expect("ready");
        session.pid = children(session.child.id() as i32)[0];
        // A HUP and CONT of its own (of the terminal that it has left) that still wait would be
        // mixed with ours: a stop takes a waiting CONT away.
        assert!(wait(PATIENCE, || super::pending(session.pid) == 0), "{}", init.name);
        session
    }

    /// The payload's state, seen from outside.
    fn state(&self) -> char {
        super::state(children(self.pid)[0])
    }

    /// Whether the payload stops before it gets the last signal, which says so.
    fn stops(&mut self) -> bool {
        // Of two that wait, the kernel gives the lower number first.
        assert!(wait(PATIENCE, || super::pending(self.pid) == 0), "a signal is not taken");
        kill(self.pid, LAST);
        let end = Instant::now() + PATIENCE;
        loop {
            self.out.look();
            let last = self.out.seen().contains("last");
            if last || self.state() == 'T' {
                return !last;
            }
            assert!(Instant::now() < end, "neither stopped nor going on");
        }
    }

    /// Whether the payload goes on.
    fn goes_on(&self) -> bool {
        wait(PATIENCE, || self.state() != 'T')
    }
}

fn probe() -> String {
    richrun_tests::bundle::probe().to_str().expect("utf-8 path").to_owned()
}

/// All but those that nobody catches, and a terminal's stops.
fn catchable() -> impl Iterator<Item = i32> {
    (1..64).filter(|number| ![9, 19, 20, 21, 22].contains(number))
}

/// What the payload and its child have not got of everything that was sent to PID 1.
fn lost(init: &Init, setting: Setting) -> [Vec<i32>; 2] {
    let mut session = Session::ready(init, setting, &[&probe(), "catch", "with-child"]);
    for number in catchable().chain([LAST]) {
        kill(session.pid, number);
    }
    assert_eq!(finish(session.child), "5", "{} {setting:?}", init.name);
    let said = session.out.drain().replace('\r', "");
    let lacks = |who: &str| {
        let has = |number: i32| said.lines().any(|line| line == format!("{who}got {number}"));
        catchable().filter(|number| !has(*number)).collect()
    };
    [lacks(""), lacks("child ")]
}

/// Names of the standard signals that the payload has not got before the last one, each sent
/// alone. It has no children, whose ends would look like a CHLD that was passed on. KILL and
/// STOP cannot be caught; whoever is stopped by one of the others goes on with the next CONT.
pub fn not_passed_on(init: &Init) -> String {
    // As each does without options.
    let setting = Setting { terminal: false, child: matches!(init.name, "tini" | "catatonit") };
    let missing = (1..32).filter(|number| ![9, 19].contains(number)).filter(|number| {
        let mut session = Session::ready(init, setting, &[&probe(), "catch"]);
        kill(session.pid, *number);
        kill(session.pid, LAST);
        let ended = wait(PATIENCE, || {
            // Sent earlier it would take a stop away that still waits.
            if children(session.pid).into_iter().any(|one| super::state(one) == 'T') {
                kill(session.pid, libc::SIGCONT);
            }
            session.child.try_wait().expect("wait").is_some()
        });
        assert!(ended, "{}: signal {LAST} after {number}", init.name);
        !session.out.drain().lines().any(|line| line.trim() == format!("got {number}"))
    });
    let missing: Vec<&str> = missing.map(name).collect();
    if missing.is_empty() { "none".to_owned() } else { missing.join(" ") }
}

fn names(numbers: &[i32]) -> String {
    let all: Vec<String> = numbers
        .iter()
        .map(|number| match name(*number) {
            "other" => number.to_string(),
            name => name.to_owned(),
        })
        .collect();
    if all.is_empty() { "all".to_owned() } else { format!("all but {}", all.join(" ")) }
}

/// Which signals reach the payload.
pub fn payload_gets(init: &Init) -> String {
    crossed(init, &SETTINGS, |init, setting| names(&lost(init, setting)[0]))
}

/// Whether the payload's child in its group gets the same.
pub fn child_gets(init: &Init) -> String {
    crossed(init, &SETTINGS, |init, setting| {
        let [payload, child] = lost(init, setting);
        let (same, none) = (payload == child, child.len() == catchable().count());
        match setting.child {
            true if none => "none; with the group the same".to_owned(),
            false if same => "none; with the group the same".to_owned(),
            _ => names(&child),
        }
    })
}

/// The exit statuses of a payload that exits, and of one that a signal ends.
pub fn ends(init: &Init) -> String {
    crossed(init, &SETTINGS, |init, setting| {
        let one = |script: &str| {
            let session = Session::new(init, setting, &["sh", "-c", script]);
            finish(session.child)
        };
        ["exit 7", "kill -TERM $$", "kill -SEGV $$"].map(one).join(" ")
    })
}

/// A payload that does nothing, with the default meaning of every signal. No shell: one
/// that is just starting a command waits for that, and is not stopped but held up by it.
/// Only of the last signal it says that it is there.
fn idle(init: &Init, setting: Setting) -> Session {
    Session::ready(init, setting, &[&probe(), "idle"])
}

/// TSTP to PID 1, then CONT.
pub fn stop(init: &Init) -> String {
    crossed(init, &SETTINGS, |init, setting| {
        let session = idle(init, setting);
        kill(session.pid, 20);
        stops(session, "stops and goes on")
    })
}

/// Whether it stops, and CONT makes it go on, which is `both`.
fn stops(mut session: Session, both: &str) -> String {
    let stopped = session.stops();
    kill(session.pid, 18);
    let resumed = stopped && session.goes_on();
    end(session.child);
    match (stopped, resumed) {
        (false, _) => "does not stop",
        (true, true) => both,
        (true, false) => "stops for ever",
    }
    .to_owned()
}

/// The settings with a terminal.
fn terminals() -> &'static [Setting] {
    &SETTINGS[2..]
}

/// What a key does to a payload with the default meaning of every signal.
fn key(init: &Init, setting: Setting, key: &str) -> Session {
    let mut session = idle(init, setting);
    session.out.send(key);
    session
}

/// The exit status after Ctrl-C.
pub fn interrupt(init: &Init) -> String {
    crossed(init, terminals(), |init, setting| finish(key(init, setting, "\x03").child))
}

/// What Ctrl-Z does.
pub fn suspend(init: &Init) -> String {
    crossed(init, terminals(), |init, setting| {
        let mut session = key(init, setting, "\x1a");
        // The terminal shows it after it has sent the signal.
        session.out.expect("^Z");
        stops(session, "stops, goes on with CONT")
    })
}

/// Whether the payload is told of a new window size.
pub fn window(init: &Init) -> String {
    crossed(init, terminals(), |init, setting| {
        let mut session = Session::ready(init, setting, &[&probe(), "catch"]);
        session.out.resize(44, 55);
        let end_of_wait = Instant::now() + PATIENCE;
        while !session.out.seen().contains("size 44 55") && Instant::now() < end_of_wait {
            session.out.look();
        }
        let told = session.out.seen().contains("size 44 55");
        end(session.child);
        if told { "yes" } else { "no" }.to_owned()
    })
}

/// Whether HUP and CONT that wait from before the start always reach the payload: leaving a
/// terminal brings one of each that are not meant for it, and a group that is not there yet
/// gets nothing.
pub fn early(init: &Init) -> String {
    const ROUNDS: usize = 5;
    let all = (0..ROUNDS).all(|_| SETTINGS.iter().all(|setting| early_once(init, *setting)));
    if all { "passed on" } else { "may be lost" }.to_owned()
}

fn early_once(init: &Init, setting: Setting) -> bool {
    let script = "(kill -HUP 1; kill -CONT 1); exec \"$@\"";
    let wrapper = ["env", "--block-signal=HUP", "--block-signal=CONT", "sh", "-c", script, "sh"];
    let mut session = Session::by(&wrapper, init, setting, &[&probe(), "catch"]);
    session.out.expect("ready");
    kill(children(session.child.id() as i32)[0], LAST);
    session.child.wait().expect("wait");
    let said = session.out.drain().replace('\r', "");
    let got = |number: i32| said.lines().any(|line| line == format!("got {number}"));
    got(libc::SIGHUP) && got(libc::SIGCONT)
}
