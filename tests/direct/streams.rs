//! What is typed and what is shown: every byte arrives, and whoever stands still holds up no signal.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use richrun_tests::command::wait_until;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Suite, Trial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::setup::Direct;

pub fn register(suite: &mut Suite) {
    suite.on(BOTH, "typed_at_once_arrives_whole", typed_at_once_arrives_whole);
    suite.on(ONE, "a_slow_payload_loses_nothing", a_slow_payload_loses_nothing);
    suite.on(ONE, "both_ways_at_once", both_ways_at_once);
    suite.on(ONE, "signals_pass_a_reader_that_stops", signals_pass_a_reader_that_stops);
    suite.on(ONE, "a_killed_monitor_before_ones_eyes", a_killed_monitor_before_ones_eyes);
    suite.on(ONE, "keys_are_bytes_without_a_terminal", keys_are_bytes_without_a_terminal);
}

/// A pipe of which no program gets an end that it is not given.
fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe")
}

/// A pipe to type into, which stays open.
fn keyboard() -> (OwnedFd, File) {
    let (typed, type_in) = pipe();
    (typed, type_in.into())
}

fn typed_at_once_arrives_whole(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let bytes = [b'x'; 6000];
    let (typed, mut type_in) = keyboard();
    let script = "head -c 6000 | wc -c";
    let run = d.ctl(&["run", "--rm", "-i", &rootfs, "sh", "-c", script]).stdio(0, typed).spawn();
    type_in.write_all(&bytes).expect("type");
    run.wait().ok().prints("6000");
    let (typed, mut type_in) = keyboard();
    d.background("c", &["-i"], "head -c 6000 | wc -c; exec sleep 1000");
    let attached = d.ctl(&["attach", "c"]).stdio(0, typed).spawn();
    type_in.write_all(&bytes).expect("type");
    attached.wait_for("6000");
    attached.kill(9);
    attached.wait();
    d.clean();
}

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

fn a_slow_payload_loses_nothing(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let text = lines(100_000);
    let run = d.ctl(&["run", "--rm", "-i", &rootfs, "sh", "-c", "sleep 2; exec wc -c"]);
    run.input(&text).ok().prints(&text.len().to_string());
    d.clean();
}

fn both_ways_at_once(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let text = lines(300_000);
    let out = d.ctl(&["run", "--rm", "-i", &rootfs, "cat"]).input(&text).ok().out;
    assert!(out == text, "{} bytes of {}", out.len(), text.len());
    d.clean();
}

fn signals_pass_a_reader_that_stops(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let (keep, write) = pipe();
    let script = "trap 'exit 9' TERM; echo >/up; while :; do echo much and more; done";
    let words = ["run", "--name", "c", &rootfs, "sh", "-c", script];
    let full = write.try_clone().expect("a copy");
    let run = d.ctl(&words).stdio(1, write).spawn();
    wait_until("the payload", || d.bundle.rootfs().join("up").exists());
    // Nobody reads: soon the pipe is full, and richctl stands still before it.
    wait_until("a full pipe", || {
        let mut fds = [PollFd::new(&full, PollFlags::OUT)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
    });
    drop(full);
    run.kill(15);
    wait_until("the end", || d.inspect("c")["State"]["Status"] == "exited");
    assert_eq!(d.inspect("c")["State"]["ExitCode"], 9);
    drop(keep);
    // Its own word, or the container's where all was in the pipe.
    let code = run.wait().code;
    assert!(matches!(code, 9 | 141), "exit {code}");
    d.clean();
}

fn a_killed_monitor_before_ones_eyes(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let (typed, mut type_in) = keyboard();
    let script = "echo up; read a; echo got $a; read b; exit 4";
    let words = ["run", "-i", "--name", "c", &rootfs, "sh", "-c", script];
    let run = d.ctl(&words).stdio(0, typed).spawn();
    run.wait_for("up");
    d.kill(d.inspect("c")["State"]["Monitor"].as_i64().expect("a monitor"));
    let before = d.inspect("c")["State"]["Monitor"].clone();
    assert!(before.is_i64(), "another monitor");
    type_in.write_all(b"word\n").expect("type");
    run.wait_for("got word");
    type_in.write_all(b"end\n").expect("type");
    let code = if super::faults::codes_are_told() { 4 } else { 125 };
    run.wait().exits(code);
    d.clean();
}

fn keys_are_bytes_without_a_terminal(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let text = "a\u{10}\u{11}b\u{10}";
    let out = d.ctl(&["run", "--rm", "-i", &rootfs, "cat"]).input(text).ok().out;
    assert_eq!(out, text);
    d.clean();
}
