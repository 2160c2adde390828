//! Logs: nothing is lost, and nothing about them stops a payload.

use std::fs;

use richrun_tests::command::wait_until;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Suite, Trial};

use super::setup::Direct;

pub fn register(suite: &mut Suite) {
    suite.on(BOTH, "rotation", rotation);
    suite.on(BOTH, "every_byte_at_full_speed", every_byte_at_full_speed);
    suite.on(BOTH, "a_reader_that_stops", a_reader_that_stops);
    suite.on(ONE, "a_full_disk", a_full_disk);
    suite.on(BOTH, "lines_by_number_and_time", lines_by_number_and_time);
    suite.on(BOTH, "follow_to_the_end", follow_to_the_end);
    suite.on(BOTH, "what_init_scripts_print", what_init_scripts_print);
}

fn rotation(t: &Trial) {
    let d = Direct::new(t);
    let options = ["--log-size", "4k", "--log-files", "3", "--log-format", "plain"];
    d.background("much", &options, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done");
    d.ctl(&["wait", "much"]).ok().prints("0");
    let dir = d.place.join("data/logs/default");
    assert!(dir.join("much.log.2").exists() && !dir.join("much.log.3").exists());
    let shown = d.ctl(&["logs", "much"]).ok().out;
    let last: Vec<&str> = shown.lines().rev().take(2).collect();
    assert_eq!(last, ["line 2999", "line 2998"]);
    d.ctl(&["rm", "much"]).ok();
    assert_eq!(fs::read_dir(dir).expect("the directory").count(), 0, "logs go with the container");
}

/// 100 MB through the log file: each byte is there, and in order.
fn every_byte_at_full_speed(t: &Trial) {
    let d = Direct::new(t);
    let logs = t.dir.join("run/log");
    let options =
        ["--log-dir", logs.to_str().expect("utf-8"), "--log-format", "plain", "--log-size", "1g"];
    d.background("fast", &options, "seq 1 3000000");
    d.ctl(&["wait", "fast"]).ok().prints("0");
    let text = fs::read(logs.join("default/fast.log")).expect("the log");
    let mut wanted = Vec::with_capacity(text.len());
    for number in 1..=3_000_000 {
        wanted.extend_from_slice(format!("{number}\n").as_bytes());
    }
    assert!(text == wanted, "{} bytes instead of {}", text.len(), wanted.len());
    d.clean();
}

fn a_reader_that_stops(t: &Trial) {
    let d = Direct::new(t);
    d.background(
        "busy",
        &["--log-driver", "none", "-i"],
        "read go; seq 1 2000000; echo done >/done; sleep 1000",
    );
    // A pipe that nobody reads: attach is stopped by it, the payload is not.
    let (keep, write) = rustix::pipe::pipe().expect("a pipe");
    let (typed, type_in) = rustix::pipe::pipe().expect("a pipe");
    let attached = d.ctl(&["attach", "busy"]).stdio(0, typed).stdio(1, write).spawn();
    rustix::io::write(&type_in, b"go\n").expect("type");
    wait_until("the end of its output", || d.bundle.rootfs().join("done").exists());
    attached.kill(9);
    drop((keep, type_in));
    attached.wait();
    d.clean();
}

/// The payload goes on; what was lost is counted, and said where it is missing.
fn a_full_disk(t: &Trial) {
    let d = Direct::new(t);
    let small = t.dir.join("run/small");
    fs::create_dir_all(&small).expect("make the disk's place");
    let options = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("small"), &small, Some("tmpfs"), options, Some("size=64k"))
        .expect("mount");
    let dir = small.to_str().expect("utf-8");
    d.background(
        "full",
        &["--log-dir", dir],
        "seq 1 100000; echo over >/over; while [ ! -e /go ]; do sleep 0.05; done; echo after; sleep 1000",
    );
    wait_until("the payload's own end of it", || d.bundle.rootfs().join("over").exists());
    wait_until("the count", || d.inspect("full")["State"]["LogLost"].as_u64() > Some(0));
    let log = small.join("default/full.log");
    // Somebody makes room.
    let filled = fs::read(&log).expect("the log");
    fs::write(small.join("default/full.log"), b"").expect("truncate");
    assert!(filled.len() <= 64 << 10);
    fs::write(d.bundle.rootfs().join("go"), "").expect("say go");
    wait_until("the word on what was lost", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("bytes of output were lost here: No space left on device")
            && text.contains("stdout F after")
    });
    d.clean();
    nix::mount::umount(&small).expect("unmount");
}

fn lines_by_number_and_time(t: &Trial) {
    let d = Direct::new(t);
    d.background("l", &[], "echo a; echo b; echo c >&2; printf part");
    d.ctl(&["wait", "l"]).ok();
    d.background("n", &[], "echo a; echo b; printf part");
    d.ctl(&["wait", "n"]).ok();
    d.ctl(&["logs", "-n", "2", "n"]).ok().prints("b\npart");
    let out = d.ctl(&["logs", "l"]).ok();
    assert_eq!((out.out.as_str(), out.err.as_str()), ("a\nb\npart", "c\n"));
    d.ctl(&["logs", "--since", "1h", "l"]).ok().shows("a\nb");
    d.ctl(&["logs", "--until", "1h", "l"]).ok().prints("");
    let timed = d.ctl(&["logs", "-t", "l"]).ok().out;
    assert!(timed.lines().next().is_some_and(|line| line.ends_with("Z a")), "{timed}");
    d.background("none", &["--log-driver", "none"], "echo x");
    d.ctl(&["logs", "none"]).run().fails().says("keeps no log");
    d.background("plain", &["--log-format", "plain"], "echo x");
    d.ctl(&["logs", "--since", "1h", "plain"]).run().fails().says("a plain log has no times");
    d.clean();
}

fn follow_to_the_end(t: &Trial) {
    let d = Direct::new(t);
    let script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.01; done";
    d.background("f", &["--log-size", "1k", "--log-files", "100"], script);
    let out = d.ctl(&["logs", "-f", "f"]).ok().out;
    let wanted: String = (0..200).map(|number| format!("line {number}\n")).collect();
    assert_eq!(out, wanted);
    d.clean();
}

fn what_init_scripts_print(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let words = [
        "run",
        "-d",
        "--name",
        "i",
        "--rich",
        "--initcmd",
        "echo from the script",
        &rootfs,
        "echo",
        "payload",
    ];
    d.ctl(&words).ok();
    d.ctl(&["wait", "i"]).ok().prints("0");
    d.ctl(&["logs", "i"]).ok().prints("from the script\npayload");
    d.clean();
}
