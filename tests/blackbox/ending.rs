//! `wait`, `stop` and `delete --wait`: the end of a container that is nobody's child.

use richrun_tests::suite::{ALL, BOTH, V1};
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

use richrun_tests::bundle::{Bundle, caps, sh};
use richrun_tests::command::wait_until;

pub fn register(suite: &mut Suite) {
    suite.on(BOTH, "wait_prints_the_status", wait_prints_the_status);
    suite.on(ALL, "stop_asks_and_kills", stop_asks_and_kills);
    suite.on(BOTH, "delete_waits", delete_waits);
    suite.on(ALL, "a_kept_run_leaves_a_record", a_kept_run_leaves_a_record);
    suite.on(BOTH, "who_waits_leaves_a_record", who_waits_leaves_a_record);
    suite.on(ALL, "rich_init_leaves_a_record", rich_init_leaves_a_record);
    suite.on(V1, "memory_kills_are_in_the_record", memory_kills_are_in_the_record);
}

/// A container in the background, up and running.
fn started(t: &Trial, script: &str) -> Bundle {
    let bundle = t.bundle(|c| {
        c["root"]["readonly"] = false.into();
        sh(c, &format!("{script}; touch /up; while [ ! -e /go ]; do usleep 5000; done; exit 3"));
    });
    t.rt(&["run", "-d", "-b", bundle.path(), &bundle.id]).ok();
    wait_until("the payload", || bundle.rootfs().join("up").exists());
    bundle
}

/// Whether the kernel tells the exit code of a process that is not one's child.
fn codes_are_told() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    let mut numbers = release.split(['.', '-']).filter_map(|word| word.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

fn wait_prints_the_status(t: &Trial) {
    let bundle = started(t, "true");
    let waiting = t.rt(&["wait", &bundle.id]).spawn();
    // Who comes after the end is told by the record.
    wait_until("it to wait", || holds_a_process(waiting.pid()));
    std::fs::write(bundle.rootfs().join("go"), "").expect("say go");
    let word = waiting.wait().ok().out;
    // Before that kernel nobody can know, and nobody makes one up.
    assert_eq!(word.trim(), if codes_are_told() { "3" } else { "unknown" });
    let after = if codes_are_told() { "3" } else { "unknown" };
    t.rt(&["wait", &bundle.id]).ok().prints(after);
    t.rt(&["delete", &bundle.id]).ok();
    t.rt(&["wait", &bundle.id]).run().fails().says("does not exist");
}

/// Whether it has a pidfd open.
fn holds_a_process(pid: i32) -> bool {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut all = all.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    all.any(|what| what.to_string_lossy().contains("pidfd"))
}

fn stop_asks_and_kills(t: &Trial) {
    let polite = started(t, "trap 'exit 0' TERM");
    t.rt(&["stop", &polite.id]).ok();
    t.rt(&["stop", &polite.id]).ok();
    t.rt(&["delete", &polite.id]).ok();
    let deaf = started(t, "trap '' TERM");
    t.rt(&["stop", "-s", "NOPE", &deaf.id]).run().fails().says("unknown signal");
    t.rt(&["stop", "-t", "1", &deaf.id]).ok();
    t.rt(&["delete", &deaf.id]).ok();
}

fn delete_waits(t: &Trial) {
    let bundle = started(t, "true");
    t.rt(&["delete", &bundle.id]).run().fails().says("not stopped");
    let waiting = t.rt(&["delete", "--wait", &bundle.id]).spawn();
    std::fs::write(bundle.rootfs().join("go"), "").expect("say go");
    waiting.wait().ok();
    t.rt(&["state", &bundle.id]).run().fails();
}

/// What `state` says of the end.
fn told(t: &Trial, id: &str) -> Value {
    t.rt(&["state", id]).ok().json()["exit"].clone()
}

fn a_kept_run_leaves_a_record(t: &Trial) {
    let forever = "while :; do usleep 5000; done";
    for (script, code, signal) in [("exit 7", 7, json!(null)), (forever, 137, json!(9))] {
        let bundle = t.bundle(|c| sh(c, script));
        let run = t.rt(&["run", "--keep", "-b", bundle.path(), &bundle.id]).spawn();
        if !signal.is_null() {
            let status = || t.rt(&["state", &bundle.id]).run().out;
            wait_until("it to run", || status().contains("\"running\""));
            assert_eq!(told(t, &bundle.id), json!(null), "it has not ended");
            t.rt(&["kill", &bundle.id, "KILL"]).ok();
        }
        run.wait().exits(code);
        let end = told(t, &bundle.id);
        assert_eq!(end["code"], code, "{end}");
        assert_eq!(end["signal"], signal, "{end}");
        assert_eq!(end["toldBy"], "parent", "{end}");
        let (started, finished) = (end["started"].as_str(), end["finished"].as_str());
        assert!(started.is_some() && started <= finished, "{end}");
        let inspected = t.rt(&["inspect", &bundle.id]).ok().json()["exit"].clone();
        assert_eq!(inspected, end);
        t.rt(&["wait", &bundle.id]).ok().prints(&code.to_string());
        t.rt(&["delete", &bundle.id]).ok();
    }
}

fn who_waits_leaves_a_record(t: &Trial) {
    let bundle = started(t, "true");
    let waiting = t.rt(&["wait", &bundle.id]).spawn();
    wait_until("it to wait", || holds_a_process(waiting.pid()));
    t.rt(&["kill", &bundle.id, "KILL"]).ok();
    waiting.wait().ok();
    let end = told(t, &bundle.id);
    if codes_are_told() {
        assert_eq!((&end["code"], &end["signal"]), (&json!(137), &json!(9)), "{end}");
        assert_eq!(end["toldBy"], "kernel", "{end}");
    } else {
        assert_eq!(end["code"], json!(null), "{end}");
    }
    t.rt(&["delete", &bundle.id]).ok();
    // A created one tells when its payload was executed.
    let bundle = t.bundle(|c| sh(c, "true"));
    let c = t.create(&bundle);
    c.start();
    c.wait("stopped");
    assert!(told(t, &c.id)["started"].is_string());
    c.remove();
}

fn memory_kills_are_in_the_record(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "tail /dev/zero; tail /dev/zero; exit 0");
        c["linux"]["resources"]["memory"] = json!({"limit": 32 << 20, "swap": 32 << 20});
    });
    t.rt(&["run", "--keep", "-b", bundle.path(), &bundle.id]).run().exits(0);
    let end = told(t, &bundle.id);
    assert_eq!((&end["code"], &end["memoryKills"]), (&json!(0), &json!(2)), "{end}");
    t.rt(&["delete", &bundle.id]).ok();
}

/// Whoever is the parent: an engine, or nobody.
fn rich_init_leaves_a_record(t: &Trial) {
    for (script, code, signal) in
        [("exit 7", 7, json!(null)), ("kill -USR1 $$; sleep 9", 138, json!(10))]
    {
        let bundle = t.bundle(|c| {
            sh(c, script);
            c["annotations"]["io.richrun.rich"] = "true".into();
        });
        let c = t.create(&bundle);
        c.start();
        c.wait("stopped");
        let end = told(t, &c.id);
        assert_eq!((&end["code"], &end["signal"]), (&json!(code), &signal), "{end}");
        assert_eq!(end["toldBy"], "init", "{end}");
        assert!(end["started"].as_str() <= end["finished"].as_str(), "{end}");
        t.rt(&["wait", &c.id]).ok().prints(&code.to_string());
        c.remove();
    }
    // Who may trace could take the descriptor from rich-init, and write without an end.
    let bundle = t.bundle(|c| {
        sh(c, "exit 0");
        c["annotations"]["io.richrun.rich"] = "true".into();
        caps(c, &["CAP_SYS_PTRACE"]);
    });
    let c = t.create(&bundle);
    c.start();
    c.wait("stopped");
    assert_eq!(told(t, &c.id)["code"], json!(null));
    c.remove();
    // The payload has no descriptor of it.
    let bundle = t.bundle(|c| {
        sh(c, "readlink /proc/self/fd/* | grep exit.status && exit 9; exit 0");
        c["annotations"]["io.richrun.rich"] = "true".into();
    });
    let c = t.create(&bundle);
    c.start();
    c.wait("stopped");
    assert_eq!(told(t, &c.id)["code"], 0);
    c.remove();
}
