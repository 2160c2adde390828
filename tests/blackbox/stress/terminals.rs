//! With a terminal and without one: exit statuses, signals, window sizes, job control.

use std::os::fd::OwnedFd;

use richrun_tests::bundle::sh;
use richrun_tests::suite::BOTH;
use richrun_tests::sys::kill;
use richrun_tests::terminal::{FdSocket, Terminal};
use richrun_tests::{Bundle, Suite, Trial};
use serde_json::json;

use super::{MODES, Mode, QUIET, bundle, command, services_file, stat, storm};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "exit_statuses_on_terminals", exit_statuses)
        .on(BOTH, "every_signal_on_terminals", every_signal)
        .on(BOTH, "keys_of_terminals", keys);
}

/// Runs a bundle on a terminal of its own, in the background.
fn on_terminal(t: &Trial, bundle: &Bundle, mode: Mode) -> Terminal {
    let socket = FdSocket::new(&t.dir.join(format!("run/console{}", t.next())));
    let file = services_file(bundle);
    let rich: &[&str] = match mode {
        Mode::Alone => &["--rich"],
        Mode::Services => &["--rich", "--services", &file],
    };
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    t.rt(&["run", "-d", "--console-socket", socket.path()])
        .args(rich)
        .args(&["-b", bundle.path(), &bundle.id])
        .ok();
    Terminal::from(socket.receive().1)
}

/// Ways to end, and the exit statuses.
const ENDS: [(&str, i32); 6] = [
    ("exit 0", 0),
    ("exit 7", 7),
    ("exit 255", 255),
    ("kill -TERM $$", 143),
    ("kill -KILL $$", 137),
    ("kill -SEGV $$", 139),
];

fn exit_statuses(t: &Trial) {
    for mode in MODES {
        for (script, status) in ENDS {
            let bundle = bundle(t, &["sh", "-c", script], QUIET);
            command(t, &bundle, mode).run().exits(status);
            let (mut terminal, slave) = richrun_tests::terminal::pair(11, 22);
            bundle.edit(|config| {
                config["process"]["terminal"] = json!(true);
                sh(config, &format!("tty; {script}"));
            });
            let [a, b, c] = [(); 3].map(|()| OwnedFd::from(slave.try_clone().expect("clone")));
            let run = command(t, &bundle, mode).stdio(0, a).stdio(1, b).stdio(2, c);
            let running = run.with_terminal().spawn();
            terminal.expect("/dev/pts/0");
            running.wait().exits(status);
        }
    }
}

fn every_signal(t: &Trial) {
    for mode in MODES {
        let bundle = bundle(t, &["/probe", "catch", "with-child"], QUIET);
        let mut terminal = on_terminal(t, &bundle, mode);
        terminal.expect("ready");
        let c = t.take(&bundle);
        let pid = c.pid();
        for signal in storm(mode) {
            kill(pid, signal);
            // The payload's group gets it: the payload and its child.
            terminal.expect(&format!("\ngot {signal}\r"));
            terminal.expect(&format!("child got {signal}\r"));
        }
        kill(pid, 64);
        terminal.expect("\n64 1\r");
        c.wait("stopped");
        c.remove();
    }
}

/// What is typed, a new size, and a stop from outside.
fn keys(t: &Trial) {
    for mode in MODES {
        let bundle = bundle(t, &["/probe", "catch"], QUIET);
        let mut terminal = on_terminal(t, &bundle, mode);
        terminal.expect("ready");
        let c = t.take(&bundle);
        for (key, signal) in [("\x03", libc::SIGINT), ("\x1c", libc::SIGQUIT)] {
            terminal.send(key);
            terminal.expect(&format!("got {signal}\r"));
        }
        terminal.resize(44, 55);
        terminal.expect("size 44 55\r");
        let payload = payload(c.pid());
        let state = |wanted: char| move || stat(payload).is_some_and(|seen| seen.0 == wanted);
        for stop in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            kill(c.pid(), stop);
            richrun_tests::command::wait_until("the payload to stop", state('T'));
            kill(c.pid(), libc::SIGCONT);
            richrun_tests::command::wait_until("the payload to go on", || !state('T')());
        }
        terminal.expect("got 18\r");
        kill(c.pid(), 64);
        terminal.expect("\n64 1\r");
        c.wait("stopped");
        c.remove();
    }
}

/// The payload's pid, as the trial sees it: the child of PID 1 that is the probe.
fn payload(init: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children"));
    let children = children.expect("the children of PID 1");
    let pids = children.split_whitespace().filter_map(|word| word.parse().ok());
    let is_probe = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "probe\n")
    };
    pids.into_iter().find(is_probe).expect("the probe")
}
