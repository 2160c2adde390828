//! What is crossed: with a terminal and without one, signals to the payload and to its group.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use richrun_tests::sys::kill;
use richrun_tests::terminal::{Terminal, pair};

use super::{Init, end, finish, name};

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
        session
    }

    /// The payload's state, seen from outside.
    fn state(&self) -> char {
        let payload = children(self.pid)[0];
        let text = fs::read_to_string(format!("/proc/{payload}/stat")).unwrap_or_default();
        text.rsplit_once(") ").and_then(|rest| rest.1.chars().next()).unwrap_or('-')
    }

    /// Whether the payload comes to be stopped, or not stopped.
    fn becomes(&self, stopped: bool) -> bool {
        let end = Instant::now() + Duration::from_millis(1500);
        while (self.state() == 'T') != stopped {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
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
    for number in catchable() {
        kill(session.pid, number);
        // The next one after this one has arrived, unless it does not.
        let word = format!("\ngot {number}\n");
        let end = Instant::now() + Duration::from_millis(60);
        while !session.out.seen().replace('\r', "").contains(&word) && Instant::now() < end {
            session.out.look();
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    kill(session.pid, 64);
    assert_eq!(finish(session.child), "5", "{} {setting:?}", init.name);
    let said = session.out.drain().replace('\r', "");
    let lacks = |who: &str| {
        let has = |number: i32| said.lines().any(|line| line == format!("{who}got {number}"));
        catchable().filter(|number| !has(*number)).collect()
    };
    [lacks(""), lacks("child ")]
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
fn stops(session: Session, both: &str) -> String {
    let stopped = session.becomes(true);
    kill(session.pid, 18);
    let resumed = stopped && session.becomes(false);
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
        stops(key(init, setting, "\x1a"), "stops, goes on with CONT")
    })
}

/// Whether the payload is told of a new window size.
pub fn window(init: &Init) -> String {
    crossed(init, terminals(), |init, setting| {
        let mut session = Session::ready(init, setting, &[&probe(), "catch"]);
        session.out.resize(44, 55);
        let end_of_wait = Instant::now() + Duration::from_secs(2);
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
    std::thread::sleep(Duration::from_millis(100));
    kill(children(session.child.id() as i32)[0], 64);
    session.child.wait().expect("wait");
    let said = session.out.drain().replace('\r', "");
    let got = |number: i32| said.lines().any(|line| line == format!("got {number}"));
    got(libc::SIGHUP) && got(libc::SIGCONT)
}
