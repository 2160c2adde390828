//! create, start, run, state, kill, delete: statuses and transitions.

use std::fs;

use richrun_tests::bundle::{args, sh};
use richrun_tests::command::wait_until;
use richrun_tests::container::{Container, IDLE};
use richrun_tests::suite::{ALL, BOTH, ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ALL, "create_start_delete", create_start_delete)
        .on(ALL, "run_foreground", run_foreground)
        .on(ALL, "run_detached", run_detached)
        .on(ALL, "delete_force", delete_force)
        .on(ROOT, "run_keep", run_keep)
        .on(BOTH, "state_document", state_document)
        .on(BOTH, "created_runs_no_code", created_runs_no_code)
        .on(BOTH, "config_changes_after_create", config_changes_after_create)
        .on(BOTH, "start_twice", start_twice)
        .on(BOTH, "created_ends_when_asked", created_ends_when_asked)
        .on(BOTH, "missing_binary_fails_at_create", missing_binary_fails_at_create)
        .on(BOTH, "delete_created_ends_it", delete_created_ends_it)
        .on(ROOT, "wrong_states", wrong_states)
        .on(BOTH, "unknown_ids", unknown_ids)
        .on(BOTH, "ids_are_unique", ids_are_unique)
        .on(BOTH, "id_is_free_after_delete", id_is_free_after_delete)
        .on(ONE, "valid_ids", valid_ids)
        .on(ONE, "invalid_ids", invalid_ids)
        .on(ONE, "pid_file", pid_file)
        .on(ONE, "bundle_defaults_to_cwd", bundle_defaults_to_cwd)
        .on(ONE, "stopped_by_itself", stopped_by_itself)
        .on(ONE, "dead_before_start", dead_before_start)
        .on(ONE, "missing_arguments", missing_arguments)
        .on(ONE, "rootfs_path_forms", rootfs_path_forms)
        .on(ONE, "long_and_short_options", long_and_short_options);
}

fn create_start_delete(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let c = t.create(&bundle);
    assert_eq!(c.status(), "created");
    assert!(c.pid() > 0);
    c.start();
    assert_eq!(c.status(), "running");
    c.kill("KILL");
    c.wait("stopped");
    assert_eq!(c.pid(), 0, "a stopped container has no pid");
    c.verb("delete", &[]).ok();
    t.rt(&["state", &c.id]).run().fails().says(gone(t));
}

/// The words for an unknown container; crun has its own.
fn gone(t: &Trial) -> &'static str {
    if t.kind() == Kind::Crun { "No such file" } else { "does not exist" }
}

fn run_foreground(t: &Trial) {
    t.sh("echo hello; echo oops >&2; exit 0").ok().prints("hello").says("oops");
}

fn run_detached(t: &Trial) {
    let c = t.idle();
    assert_eq!(c.status(), "running");
    c.kill("TERM");
    c.wait("stopped");
    c.verb("delete", &[]).ok();
}

fn delete_force(t: &Trial) {
    let c = t.idle();
    let pid = c.pid();
    t.rt(&["delete", "-f", &c.id]).ok();
    wait_until("the process to be gone", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
    t.rt(&["state", &c.id]).run().fails();
    t.rt(&["delete", "--force", &c.id]).ok();
    t.rt(&["delete", "--force", &t.name("never-was")]).ok();
}

fn run_keep(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "has no --keep");
    let bundle = t.bundle(|c| sh(c, "exit 3"));
    let out = t.run_cmd(&bundle, &["--keep"]).run();
    out.exits(3);
    let c = t.take(&bundle);
    assert_eq!(c.status(), "stopped");
    c.verb("delete", &[]).ok();
}

fn state_document(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "rootfs is relative, other indentation");
    let c = t.idle_with(|c| c["annotations"] = json!({"org.example.key": "value"}));
    let out = c.verb("state", &[]).ok();
    assert_eq!(out.err, "", "state prints nothing on stderr: callers parse both together");
    assert!(out.out.contains("\n  \""), "indented: {}", out.out);
    let state = out.json();
    assert_eq!(state["id"], json!(c.id));
    assert_eq!(state["bundle"], json!(c.bundle.path()));
    assert_eq!(state["rootfs"], json!(c.bundle.rootfs()));
    assert_eq!(state["status"], "running");
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")));
    let created = state["created"].as_str().expect("created");
    assert!(created.contains('T') && created.ends_with('Z'), "RFC 3339: {created}");
    assert!(state["owner"].is_string());
    assert!(state["pid"].as_i64().is_some_and(|pid| pid > 1));
    c.remove();
}

fn created_runs_no_code(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "touch /tmp/ran; exec sleep 100"));
    let c = t.create(&bundle);
    std::thread::sleep(std::time::Duration::from_millis(150));
    assert!(!bundle.rootfs().join("tmp/ran").exists(), "user code ran before start");
    c.start();
    wait_until("user code to run", || bundle.rootfs().join("tmp/ran").exists());
    c.remove();
}

fn config_changes_after_create(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo one > /tmp/said; exec sleep 100"));
    let c = t.create(&bundle);
    bundle.edit(|c| {
        sh(c, "echo two > /tmp/said");
        c["process"]["cwd"] = json!("/nowhere");
    });
    c.start();
    let said = bundle.rootfs().join("tmp/said");
    wait_until("the first command line", || {
        fs::read_to_string(&said).is_ok_and(|text| text.trim() == "one")
    });
    c.remove();
}

fn start_twice(t: &Trial) {
    let c = t.idle();
    c.verb("start", &[]).run().fails();
    assert_eq!(c.status(), "running", "the second start has no effect");
    c.remove();
}

/// Engines send TERM and wait, also to what they have never started.
fn created_ends_when_asked(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "its first process ignores them before start");
    // And systemd's, for which runc has no name.
    let own: &[&str] = if t.is_richrun() { &["SIGRTMIN+3"] } else { &[] };
    for signal in ["TERM", "INT", "HUP", "QUIT"].iter().chain(own) {
        let bundle = t.bundle(|c| sh(c, "echo never"));
        let c = t.create(&bundle);
        c.verb("kill", &[signal]).ok();
        c.wait("stopped");
        let words = if t.is_richrun() { "cannot start a container that has stopped" } else { "" };
        c.verb("start", &[]).run().fails().says(words);
        c.verb("delete", &[]).ok();
    }
    // What it was is gone with the payload: its own signals are as they always are.
    let bundle =
        t.bundle(|c| sh(c, "trap 'exit 3' TERM; touch /tmp/up; while :; do sleep 0.02; done"));
    let c = t.create(&bundle);
    c.start();
    wait_until("the payload", || bundle.rootfs().join("tmp/up").exists());
    for signal in ["HUP", "USR1"].iter().chain(own) {
        c.verb("kill", &[signal]).ok();
    }
    assert_eq!(c.status(), "running");
    c.kill("TERM");
    c.wait("stopped");
    c.verb("delete", &[]).ok();
}

fn missing_binary_fails_at_create(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "has words of its own");
    for (program, word) in [
        ("no-such-program", "executable file not found in"),
        ("/no/such/program", "no such file or directory"),
    ] {
        let bundle = t.bundle(|c| args(c, &[program]));
        let out = t.rt(&["create", "--bundle", bundle.path(), &bundle.id]).run().exits(1);
        let lower = out.err.to_lowercase();
        assert!(lower.contains(word), "{word:?} in {:?}", out.err);
        assert!(out.err.contains(program), "{program} named in {:?}", out.err);
        t.rt(&["state", &bundle.id]).run().fails();
    }
}

fn delete_created_ends_it(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let c = t.create(&bundle);
    c.verb("delete", &[]).ok();
    t.rt(&["state", &c.id]).run().fails();
}

/// A container brought into each status.
fn in_status<'t>(t: &'t Trial, status: &str) -> Container<'t> {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let c = t.create(&bundle);
    match status {
        "created" => {}
        "running" => c.start(),
        "paused" => {
            c.start();
            c.verb("pause", &[]).ok();
        }
        _ => {
            c.start();
            c.kill("KILL");
            c.wait("stopped");
        }
    }
    assert_eq!(c.status(), status);
    c
}

/// Every pair of status and command, and whether it succeeds.
fn wrong_states(t: &Trial) {
    // status, command, allowed
    let table: &[(&str, &str, bool)] = &[
        ("created", "start", true),
        ("created", "kill", true),
        ("created", "delete", true),
        ("created", "pause", true),
        ("created", "resume", false),
        ("created", "exec", true),
        ("running", "start", false),
        ("running", "kill", true),
        ("running", "delete", false),
        ("running", "pause", true),
        ("running", "resume", false),
        ("running", "exec", true),
        ("paused", "start", false),
        ("paused", "kill", true),
        ("paused", "delete", false),
        ("paused", "pause", false),
        ("paused", "resume", true),
        ("paused", "exec", false),
        ("stopped", "start", false),
        ("stopped", "kill", false),
        ("stopped", "delete", true),
        ("stopped", "pause", false),
        ("stopped", "resume", false),
        ("stopped", "exec", false),
    ];
    let differs = |command: &str| match t.kind() {
        Kind::Richrun | Kind::Runc => false,
        // It repeats pause and resume.
        Kind::Crun => ["pause", "resume", "delete", "exec"].contains(&command),
    };
    for &(status, command, allowed) in table {
        if differs(command) {
            continue;
        }
        let c = in_status(t, status);
        let extra: &[&str] = match command {
            "exec" => &["true"],
            "kill" => &["KILL"],
            _ => &[],
        };
        let out = c.verb(command, extra).run();
        assert_eq!(out.code == 0, allowed, "{command} of a {status} container: {out:?}");
        if !allowed {
            let expected = if command == "exec" { 255 } else { 1 };
            assert_eq!(out.code, expected, "{out:?}");
            assert_eq!(c.status(), status, "a refused {command} has no effect");
        }
        c.remove();
    }
}

fn unknown_ids(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "has words of its own");
    let id = t.name("nobody");
    for verb in ["state", "start", "delete", "pause", "resume", "ps"] {
        t.rt(&[verb, &id]).run().exits(1).says("does not exist");
    }
    t.rt(&["kill", &id, "TERM"]).run().exits(1).says("does not exist");
    let out = t.rt(&["exec", &id, "true"]).run().says("does not exist");
    let expected = if t.kind() == Kind::Richrun { 255 } else { out.code };
    out.exits(expected);
}

fn ids_are_unique(t: &Trial) {
    let c = t.idle();
    let out = t.rt(&["create", "--bundle", c.bundle.path(), &c.id]).run().exits(1);
    assert!(out.err.contains("exist"), "{}", out.err);
    assert_eq!(c.status(), "running", "the first container is unharmed");
    t.run(&c.bundle).exits(1);
    assert_eq!(c.status(), "running", "the first container is unharmed");
    c.remove();
}

fn id_is_free_after_delete(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "true"));
    for _ in 0..3 {
        t.run(&bundle).ok();
    }
}

fn valid_ids(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "true");
        c["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
    });
    for word in ["a.b", "a_b", "a+b", "A-9"] {
        let id = t.name(word);
        t.rt(&["run", "-b", bundle.path(), &id]).ok();
    }
}

fn invalid_ids(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "true"));
    let entries = |place: &std::path::Path| {
        let list = fs::read_dir(place).map(|list| list.flatten().map(|entry| entry.file_name()));
        list.map(|names| names.collect::<std::collections::BTreeSet<_>>()).unwrap_or_default()
    };
    let root = t.root();
    let around = root.parent().expect("a parent");
    let before = entries(around);
    for verb in ["run", "create"] {
        for id in ["", ".", "..", "a/b", "../x", "a b", "a\nb", "ä", "a:b", "a*"] {
            let out = t.rt(&[verb, "-b", bundle.path(), id]).run();
            if t.is_richrun() || t.kind() == Kind::Runc {
                out.exits(1);
            } else if ["", ".", "..", "../x", "a/b"].contains(&id) {
                out.fails();
            }
        }
        let long = "x".repeat(1025);
        t.rt(&[verb, "-b", bundle.path(), &long]).run().fails();
    }
    if t.is_richrun() {
        assert_eq!(entries(&root), std::collections::BTreeSet::new(), "a container was made");
        assert_eq!(entries(around), before, "something was made beside the containers");
    }
}

fn pid_file(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "takes the pid file relative to the bundle");
    let bundle = t.bundle(|c| sh(c, IDLE));
    let work = t.dir.join("home");
    // Relative to the caller's directory, not to the bundle.
    t.rt(&["create", "--pid-file", "pid.txt", "-b", bundle.path(), &bundle.id]).dir(&work).ok();
    let c = t.take(&bundle);
    let text = fs::read_to_string(work.join("pid.txt")).expect("the pid file");
    assert_eq!(text, c.pid().to_string(), "the number alone");
    let left: Vec<_> = fs::read_dir(&work).into_iter().flatten().flatten().collect();
    assert_eq!(left.len(), 1, "no temporary file beside it: {left:?}");
    c.remove();
}

fn bundle_defaults_to_cwd(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo here"));
    t.rt(&["run", &bundle.id]).dir(&bundle.dir).ok().prints("here");
    let parent = bundle.dir.parent().expect("a parent");
    let name = bundle.dir.file_name().expect("a name").to_str().expect("utf-8");
    t.rt(&["run", "-b", name, &bundle.id]).dir(parent).ok().prints("here");
}

fn stopped_by_itself(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "exit 4"));
    let c = t.detach(&bundle);
    c.wait("stopped");
    c.verb("delete", &[]).ok();
}

/// `start` notices that the container's process has died and does not wait for ever.
fn dead_before_start(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let c = t.create(&bundle);
    richrun_tests::sys::kill(c.pid(), 9);
    c.wait("stopped");
    c.verb("start", &[]).run().fails();
    c.remove();
}

fn missing_arguments(t: &Trial) {
    for verb in ["create", "start", "state", "kill", "delete", "run", "pause", "resume", "exec"] {
        let out = t.rt(&[verb]).run().fails();
        assert!(!out.err.is_empty(), "{verb} without an id says why");
    }
    // An id, and no bundle.
    let empty = t.dir.join("home");
    for bundle in [&["-b", "/no/such/bundle"][..], &[]] {
        let id = t.name("bundleless");
        let out = t.rt(&["create"]).args(bundle).arg(&id).dir(&empty).run().fails();
        assert!(!out.err.is_empty(), "{bundle:?}");
        t.rt(&["state", &id]).run().fails();
    }
}

fn rootfs_path_forms(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "cat /mark"));
    bundle.file("mark", "found");
    t.run(&bundle).ok().prints("found");
    let absolute = bundle.rootfs();
    bundle.edit(|c| c["root"]["path"] = json!(absolute));
    t.run(&bundle).ok().prints("found");
    // A symbolic link to the root file system is followed (runc refuses it).
    t.only(&[Kind::Richrun, Kind::Crun], "refuses a symbolic link as root.path");
    std::os::unix::fs::symlink("rootfs", bundle.dir.join("linked")).expect("symlink");
    bundle.edit(|c| c["root"]["path"] = json!("linked"));
    t.run(&bundle).ok().prints("found");
}

fn long_and_short_options(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo hi"));
    let id = bundle.id.as_str();
    for option in ["-b", "--bundle"] {
        t.rt(&["run", option, bundle.path(), id]).ok().prints("hi");
    }
    t.rt(&["run", &format!("--bundle={}", bundle.path()), id]).ok().prints("hi");
    // Engines written in Go send single-dash long options.
    if t.kind() != Kind::Crun {
        t.rt(&["run", "-bundle", bundle.path(), "-no-subreaper", id]).ok().prints("hi");
    }
    for options in [["--no-new-keyring", "--no-pivot"], ["--no-pivot", "--no-subreaper"]] {
        let out = t.run_cmd(&bundle, &options).run();
        if t.is_richrun() || t.kind() == Kind::Runc {
            out.ok().prints("hi");
        }
    }
    let _: Value = t.rt(&["list", "--format", "json"]).ok().json();
}
