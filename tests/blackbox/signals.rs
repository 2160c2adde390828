//! kill and the exit statuses of foreground runs.

use richrun_tests::bundle::{sh, without_namespace};
use richrun_tests::command::wait_until;
use richrun_tests::suite::{ALL, BOTH, ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};

pub fn register(suite: &mut Suite) {
    suite
        .on(ALL, "exit_codes", exit_codes)
        .on(ONE, "every_exit_code", every_exit_code)
        .on(BOTH, "signal_death", signal_death)
        .on(BOTH, "forwarded_to_the_payload", forwarded_to_the_payload)
        .on(ONE, "realtime_forwarded", realtime_forwarded)
        .on(BOTH, "kill_names_and_numbers", kill_names_and_numbers)
        .on(ONE, "kill_odd_signals", kill_odd_signals)
        .on(BOTH, "kill_of_stopped", kill_of_stopped)
        .on(ROOT, "kill_all", kill_all)
        .on(ROOT, "kill_shared_pid_namespace", kill_shared_pid_namespace)
        .on(ONE, "kill_zero", kill_zero)
        .on(ONE, "runtime_killed_leaves_deletable", runtime_killed_leaves_deletable);
}

fn exit_codes(t: &Trial) {
    for code in [0, 1, 7, 126, 127, 128, 255] {
        t.sh(&format!("exit {code}")).exits(code);
    }
}

fn every_exit_code(t: &Trial) {
    let bundle = t.bundle(|_| {});
    for code in (0..256).step_by(3) {
        bundle.edit(|c| sh(c, &format!("exit {code}")));
        t.run(&bundle).exits(code);
    }
}

/// The payload cannot be killed by its own signals as PID 1, so its status
/// tells of a signal from outside.
fn signal_death(t: &Trial) {
    for (name, number) in [("KILL", 9), ("SEGV", 11), ("ABRT", 6)] {
        let bundle = t.bundle(|c| {
            sh(c, "touch /tmp/up; exec sleep 100");
            if number != 9 {
                // A first process gets no unhandled signal but KILL: share the namespace.
                without_namespace(c, "pid");
            }
        });
        if number != 9 && !t.is_root() {
            continue;
        }
        let running = t.run_cmd(&bundle, &[]).spawn();
        wait_until("the payload", || bundle.rootfs().join("tmp/up").exists());
        let c = t.take(&bundle);
        c.wait("running");
        c.kill(name);
        running.wait().exits(128 + number);
    }
}

fn forwarded_to_the_payload(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "forwards only some signals");
    let script = "for s in HUP INT QUIT USR1 USR2 TERM ALRM CONT WINCH; do \
                  trap \"echo got $s\" $s; done; echo ready; while :; do sleep 0.05; done";
    let bundle = t.bundle(|c| sh(c, script));
    let running = t.run_cmd(&bundle, &[]).spawn();
    running.wait_for("ready");
    for (name, number) in [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("TERM", libc::SIGTERM),
        ("ALRM", libc::SIGALRM),
        ("CONT", libc::SIGCONT),
    ] {
        running.kill(number);
        running.wait_for(&format!("got {name}"));
    }
    t.take(&bundle).kill("KILL");
    running.wait().exits(137);
}

fn realtime_forwarded(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "trap 'echo got 40; exit 3' 40; echo ready; while :; do sleep 0.05; done")
    });
    let running = t.run_cmd(&bundle, &[]).spawn();
    running.wait_for("ready");
    running.kill(40);
    running.wait().exits(3).shows("got 40");
}

fn kill_names_and_numbers(t: &Trial) {
    let c = t.idle_with(|c| {
        sh(
            c,
            "trap 'echo hup >> /tmp/got' HUP; trap 'echo usr1 >> /tmp/got' USR1; \
               trap 'exit 0' TERM; echo ready >> /tmp/got; while :; do sleep 0.02; done",
        );
    });
    let got = || std::fs::read_to_string(c.bundle.rootfs().join("tmp/got")).unwrap_or_default();
    wait_until("the traps", || got().contains("ready"));
    for (count, word) in ["HUP", "SIGHUP", "1", "hup"].iter().enumerate() {
        c.verb("kill", &[word]).ok();
        wait_until(word, || got().lines().filter(|line| *line == "hup").count() == count + 1);
    }
    c.verb("kill", &["SIGUSR1"]).ok();
    wait_until("usr1", || got().contains("usr1"));
    // Without a signal: TERM.
    t.rt(&["kill", &c.id]).ok();
    c.wait("stopped");
    c.verb("delete", &[]).ok();
}

fn kill_odd_signals(t: &Trial) {
    let c = t.idle();
    for odd in ["NOSUCH", "SIG", "999", "-5", "1.5", "TERM KILL"] {
        let out = t.rt(&["kill", &c.id, odd]).run();
        if t.kind() != Kind::Crun && !(odd.starts_with('-') || odd == "999") {
            out.exits(1);
        } else {
            out.fails();
        }
    }
    assert_eq!(c.status(), "running");
    if t.is_richrun() {
        c.kill("SIGRTMIN+3");
        c.kill("RTMAX");
    }
    c.remove();
}

fn kill_of_stopped(t: &Trial) {
    let c = t.idle();
    c.kill("KILL");
    c.wait("stopped");
    let out = c.verb("kill", &["KILL"]).run().fails();
    if t.kind() != Kind::Crun {
        let words = ["container not running", "process already finished", "no such process"];
        assert!(words.iter().any(|word| out.err.contains(word)), "{}", out.err);
    }
    t.rt(&["kill", "--all", &c.id, "KILL"]).run().ok();
    c.remove();
}

fn kill_all(t: &Trial) {
    let c = t.idle_with(|c| {
        sh(c, "(trap 'echo one >> /tmp/got; exit' USR1; touch /tmp/a; while :; do sleep 0.02; done) & \
               (trap 'echo two >> /tmp/got; exit' USR1; touch /tmp/b; while :; do sleep 0.02; done) & \
               trap 'echo first >> /tmp/got' USR1; trap 'exit 0' TERM; touch /tmp/c; while :; do sleep 0.02; done");
    });
    let file = |name: &str| c.bundle.rootfs().join("tmp").join(name);
    wait_until("the traps", || ["a", "b", "c"].iter().all(|name| file(name).exists()));
    t.rt(&["kill", "--all", &c.id, "USR1"]).ok();
    wait_until("all three", || {
        let got = std::fs::read_to_string(file("got")).unwrap_or_default();
        ["one", "two", "first"].iter().all(|word| got.contains(word))
    });
    c.remove();
}

/// Without a pid namespace of its own, KILL ends every process of the container.
fn kill_shared_pid_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "this version kills the first process only");
    let c = t.idle_with(|c| {
        sh(
            c,
            "setsid sleep 1000 & setsid sleep 1000 & touch /tmp/up; while :; do sleep 0.05; done",
        );
        without_namespace(c, "pid");
    });
    wait_until("the payload", || c.bundle.rootfs().join("tmp/up").exists());
    let pids = || {
        let json = t.rt(&["ps", "--format", "json", &c.id]).run();
        serde_json::from_str::<Vec<i32>>(&json.out).unwrap_or_default()
    };
    wait_until("its children", || pids().len() >= 3);
    let all = pids();
    c.kill("KILL");
    c.wait("stopped");
    if t.kind() == Kind::Crun {
        c.remove();
    }
    wait_until("every process to be gone", || {
        all.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
    c.remove();
}

fn kill_zero(t: &Trial) {
    t.only(&[Kind::Richrun], "signal 0 is taken differently");
    let c = t.idle();
    c.verb("kill", &["0"]).ok();
    assert_eq!(c.status(), "running");
    c.remove();
}

/// A foreground runtime killed by KILL leaves a container that can be deleted.
fn runtime_killed_leaves_deletable(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo ready; while :; do sleep 0.05; done"));
    let running = t.run_cmd(&bundle, &[]).spawn();
    running.wait_for("ready");
    running.kill(libc::SIGKILL);
    running.wait();
    t.take(&bundle).remove();
}
