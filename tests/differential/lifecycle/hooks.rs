//! The six kinds of hooks: order, environment, working directory, state.

use std::fs;

use richrun_tests::bundle::{bind, sh};
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

/// The kinds in the order in which they run.
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub fn register(suite: &mut Suite) {
    suite.compare(BOTH, "hooks_in_order", in_order);
    suite.compare(BOTH, "hooks_state", state);
    suite.compare(ONE, "hooks_environment", environment);
    suite.compare(ONE, "hooks_namespaces", namespaces);
    suite.compare(ONE, "hooks_directory", directory);
    suite.compare(ONE, "hooks_fail", fail);
    suite.compare(ONE, "hooks_time_out", time_out);
}

/// A hook that runs a script, with busybox from the same path on both sides.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "MARK=x"]})
}

/// Hooks of all kinds, two of each, whose scripts append to `/mnt/run/log`,
/// which is the same file outside and inside.
fn run(t: &Trial, script: &str) -> String {
    crate::lifecycle::needs(t, "run");
    let log = t.dir.join("run/log");
    fs::write(&log, "").expect("make the log");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(&log, open).expect("chmod the log");
    let bundle = t.bundle(|c| {
        sh(c, "echo payload >> /mnt/run/log");
        bind(c, &t.dir.join("run"), "/mnt/run", &["rbind", "rw"]);
        let script = |kind: &str, n: u32| {
            hook(&format!("KIND={kind}; N={n}; exec >> /mnt/run/log; {script}"))
        };
        for kind in KINDS {
            c["hooks"][kind] = json!([script(kind, 1), script(kind, 2)]);
        }
    });
    t.run(&bundle).ok();
    fs::read_to_string(&log).expect("the log").replace(&bundle.id, "ID")
}

fn in_order(t: &Trial) {
    let text = run(t, "echo $KIND $N");
    // In all three, poststart runs beside startContainer and the payload.
    let lines: Vec<_> = text.lines().filter(|line| *line != "payload").collect();
    let (poststart, rest): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.starts_with("poststart"));
    assert_eq!(poststart, ["poststart 1", "poststart 2"]);
    let wanted: Vec<_> = KINDS
        .iter()
        .filter(|kind| **kind != "poststart")
        .flat_map(|kind| [format!("{kind} 1"), format!("{kind} 2")])
        .collect();
    assert_eq!(rest, wanted);
    let at = |word: &str| text.lines().position(|line| line == word).expect(word);
    assert!(at("startContainer 2") < at("payload") && at("payload") < at("poststop 1"), "{text}");
    assert!(at("createContainer 2") < at("poststart 1"), "{text}");
}

/// The state on standard input.
fn state(t: &Trial) {
    let text = run(t, "[ $N = 2 ] || { echo \"$KIND $(cat)\"; }");
    for kind in KINDS {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{kind} ")));
        let line = line.unwrap_or_else(|| panic!("{kind} in {text}"));
        let state: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(state["id"], "ID", "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}: {state}");
        // crun's child asks for its working directory, which is the container's by then.
        let moved = t.kind() == Kind::Crun && kind == "startContainer";
        let bundle = state["bundle"].as_str().expect("bundle");
        assert!(moved || bundle.starts_with("/mnt/b"), "{kind}: {state}");
        let (wanted, alive) = match kind {
            "prestart" | "createRuntime" | "createContainer" => ("creating", true),
            "startContainer" => ("created", true),
            "poststart" => ("running", true),
            _ => ("stopped", false),
        };
        // crun says created from the first hook on, and starting; runc says created while
        // its fifo is still there.
        let other = match (t.kind(), wanted) {
            (Kind::Crun, "creating") | (Kind::Runc, "running") => "created",
            (Kind::Crun, "created") => "starting",
            _ => wanted,
        };
        assert!(state["status"] == other || state["status"] == wanted, "{kind}: {state}");
        // crun's child does not know its pid outside.
        let pid = state["pid"].as_i64().unwrap_or(0);
        let inside = t.kind() == Kind::Crun && kind.ends_with("Container");
        assert!(inside || (pid > 0) == alive, "{kind}: {state}");
    }
}

/// Exactly the environment given.
fn environment(t: &Trial) {
    let own = "env | grep -vE '^(_|PWD|SHLVL|OLDPWD)=' | sort | xargs";
    let text = run(t, &format!("[ $N = 2 ] || {{ echo $KIND $({own}); }}"));
    for kind in KINDS {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{kind} ")));
        let words: Vec<_> = line.expect(kind).split_whitespace().collect();
        assert_eq!(words, ["MARK=x", "PATH=/bin:/usr/bin"], "{kind}");
    }
}

/// Which hooks run in the container's namespaces.
fn namespaces(t: &Trial) {
    let text = run(t, "[ $N = 2 ] || { echo $KIND $(hostname) $(readlink /proc/self/ns/mnt); }");
    let own = fs::read_link("/proc/self/ns/mnt").expect("own namespace");
    for kind in KINDS {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{kind} ")));
        let words: Vec<_> = line.expect(kind).split_whitespace().collect();
        let inside = ["createContainer", "startContainer"].contains(&kind);
        let outside = words.get(1).is_some_and(|link| *link == own.to_string_lossy());
        assert_eq!(outside, !inside, "{kind}: {words:?}");
    }
}

/// Where hooks start, and which descriptors they have: those of `ls` are four.
fn directory(t: &Trial) {
    let text = run(t, "[ $N = 2 ] || { echo $KIND $(pwd) $(ls /proc/self/fd | xargs); }");
    for kind in KINDS {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{kind} ")));
        let (place, descriptors) = line.expect(kind).split_once(' ').expect("descriptors");
        // crun's child has not left the bundle yet.
        let wanted = match kind {
            "startContainer" => "/",
            "createContainer" if t.kind() != Kind::Crun => "rootfs",
            _ => "bundle",
        };
        let got = match place.strip_prefix("/mnt/b").and_then(|rest| rest.split_once('/')) {
            Some((_, "rootfs")) => "rootfs",
            None if place.starts_with("/mnt/b") => "bundle",
            _ => place,
        };
        assert_eq!(got, wanted, "{kind}: {place}");
        // runc before 1.2 lets its own descriptors through to this one.
        let leaks =
            t.kind() == Kind::Runc && t.runtime.version < (1, 2) && kind == "createContainer";
        assert!(leaks || descriptors == "0 1 2 3", "{kind}: {descriptors}");
    }
}

/// A failed hook ends the start; what ran before and whether the payload ran.
fn fail(t: &Trial) {
    crate::lifecycle::needs(t, "run");
    for kind in KINDS {
        let bundle = t.bundle(|c| {
            sh(c, "echo payload");
            c["hooks"] = json!({(kind): [hook("exit 3")]});
        });
        let out = t.run(&bundle);
        // poststop's failure warns; that of poststart ends the container since
        // specification 1.3, which crun follows by warning only.
        let goes_on = kind == "poststop" || (kind == "poststart" && t.kind() == Kind::Crun);
        assert_eq!(out.code == 0, goes_on, "{kind}: {} {}", out.code, out.err);
        if !["poststart", "poststop"].contains(&kind) {
            assert!(!out.out.contains("payload"), "{kind}: the payload ran");
        }
        if t.kind() != Kind::Crun && !goes_on {
            assert!(out.err.contains("hook"), "{kind}: {}", out.err);
        }
        t.rt(&["delete", "--force", &bundle.id]).run();
    }
}

/// A hook that outlives its timeout fails.
fn time_out(t: &Trial) {
    crate::lifecycle::needs(t, "run");
    let bundle = t.bundle(|c| {
        sh(c, "echo payload");
        let mut slow = hook("exec sleep 1000");
        slow["timeout"] = json!(1);
        c["hooks"] = json!({"createRuntime": [slow]});
    });
    t.run(&bundle).fails();
    t.rt(&["delete", "--force", &bundle.id]).run();
}
