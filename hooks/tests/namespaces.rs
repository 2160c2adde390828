//! The runner as the first process of a container's namespaces calls it: as PID 1,
//! below a `/proc` that numbers processes otherwise, or that is not there.

mod stage;

use std::time::Duration;

use rich_hooks::{Cause, Options, Phase, run_phase};
use stage::{STATE, Stage, shell};

/// New namespaces need rights; an ordinary user gets them in a user namespace.
fn unshare(flags: &str, set_up: &str) -> Vec<String> {
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["-r"] };
    let words = [&["unshare"], user, &[flags, "sh", "-c"]].concat();
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.push(format!("{set_up} exec \"$0\" \"$@\""));
    words
}

fn inside(flags: &str, set_up: &str, test: &str) -> bool {
    let words = unshare(flags, set_up);
    stage::below(&words.iter().map(String::as_str).collect::<Vec<_>>(), test)
}

/// A daemon that shows its life in a file, and a hook that overruns.
fn nothing_survives_an_overrun() {
    assert_eq!(std::process::id(), 1);
    let stage = Stage::new();
    let beat = stage.path("beat");
    let script = format!(
        "(setsid sh -c 'while :; do echo >> {beat}; sleep 0.02; done' &) ; sleep 60 & sleep 60"
    );
    let phase_timeout = Some(Duration::from_millis(300));
    let options = Options { phase_timeout, ..Options::default() };
    let error = run_phase(Phase::CreateContainer, &[shell(&script)], STATE, &options).unwrap_err();
    let cause = &error.failures()[0].cause;
    assert!(matches!(cause, Cause::TimedOut { survivors: false, .. }), "{error}");
    let beats = stage.read("beat").len();
    assert!(beats > 3, "the daemon never lived");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(stage.read("beat").len(), beats, "the daemon lives on");
}

#[test]
fn as_pid_1_below_the_hosts_proc() {
    if inside("-pf", "", "as_pid_1_below_the_hosts_proc") {
        nothing_survives_an_overrun();
    }
}

#[test]
fn as_pid_1_below_its_own_proc() {
    if inside("-pmf", "mount -t proc proc /proc;", "as_pid_1_below_its_own_proc") {
        nothing_survives_an_overrun();
    }
}

#[test]
fn as_pid_1_where_proc_is_something_else() {
    if !rustix::process::geteuid().is_root() {
        return; // a user namespace may not mount a private /proc behind a covered one
    }
    let cover = "mount -t tmpfs none /proc;";
    if inside("-pmf", cover, "as_pid_1_where_proc_is_something_else") {
        nothing_survives_an_overrun();
    }
}

#[test]
fn daemons_outlive_the_hook_and_fall_to_pid_1() {
    if !inside("-pmf", "mount -t proc proc /proc;", "daemons_outlive_the_hook_and_fall_to_pid_1") {
        return;
    }
    let stage = Stage::new();
    let script = format!("(setsid sleep 60 & echo $! > {})", stage.path("pid"));
    let options = Options { phase_timeout: Some(Duration::from_secs(9)), ..Options::default() };
    run_phase(Phase::StartContainer, &[shell(&script)], STATE, &options).unwrap();
    let daemon = stage.pids("pid")[0];
    let parent = || {
        let stat = std::fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned()
    };
    stage::wait_until("it is PID 1's child", || parent() == "1");
    assert!(stage::alive(daemon));
}
