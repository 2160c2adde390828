//! Deletion, however the container was left: half-made, busy, with hooks.

use std::fs;
use std::path::PathBuf;

use richrun_tests::bundle::{sh, without_namespace};
use richrun_tests::command::wait_until;
use richrun_tests::container::{Container, IDLE};
use richrun_tests::suite::{BOTH, ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "without_a_state", without_a_state)
        .on(BOTH, "poststop_runs_once", poststop_runs_once)
        .on(ONE, "poststop_does_not_run_again", poststop_does_not_run_again)
        .on(ONE, "poststop_without_the_bundle", poststop_without_the_bundle)
        .on(ROOT, "others_in_the_cgroup_survive", others_in_the_cgroup_survive)
        .on(ROOT, "another_has_the_group_by_now", another_has_the_group_by_now)
        .on(ROOT, "deleted_from_another_pid_namespace", deleted_from_another_pid_namespace)
        .on(ROOT, "what_outlives_init_is_ended", what_outlives_init_is_ended)
        .on(ROOT, "a_forged_start_time_kills_nobody", a_forged_start_time_kills_nobody)
        .on(ROOT, "an_unreadable_state", an_unreadable_state)
        .on(ONE, "at_once_after_kill", at_once_after_kill)
        .on(ROOT, "killed_after_its_init", killed_after_its_init)
        .on(ONE, "many_deletes_at_once", many_deletes_at_once);
}

fn state_file(t: &Trial, id: &str) -> PathBuf {
    t.root().join(id).join("state.json")
}

fn edit_state(t: &Trial, id: &str, edit: impl FnOnce(&mut Value)) {
    let file = state_file(t, id);
    let mut state: Value = serde_json::from_slice(&fs::read(&file).expect("state")).expect("JSON");
    edit(&mut state);
    fs::write(&file, state.to_string()).expect("write the state");
}

/// A `create` that was killed before it had written anything.
fn without_a_state(t: &Trial) {
    t.only(&[Kind::Richrun], "keeps its state in other files");
    let made = |name: &str| {
        let id = t.name(name);
        let place = t.root().join(&id);
        t.cmd("mkdir", &["-p", place.to_str().expect("utf-8")]).ok();
        t.cmd("touch", &[place.join("junk").to_str().expect("utf-8")]).ok();
        (id, place)
    };
    let (id, place) = made("plain");
    t.rt(&["list", "-q"]).ok().prints("");
    t.rt(&["delete", &id]).run().exits(1).says("does not exist");
    assert!(!place.exists(), "the leftovers are gone all the same");
    let (id, place) = made("forced");
    t.rt(&["delete", "--force", &id]).ok();
    assert!(!place.exists());
}

/// A state that nobody can read does not keep its id for ever.
fn an_unreadable_state(t: &Trial) {
    t.only(&[Kind::Richrun], "keeps its state in other files");
    let c = t.idle();
    let whole = fs::read(state_file(t, &c.id)).expect("state");
    for text in [b"garbage", &b""[..], &whole[..whole.len() / 2]] {
        fs::write(state_file(t, &c.id), text).expect("write the state");
        c.verb("delete", &[]).run().exits(1);
        assert!(t.root().join(&c.id).exists());
    }
    // With the processes and the groups: the trial's end looks for both.
    c.remove();
    assert!(!t.root().join(&c.id).exists());
}

/// An engine that kills and deletes does not ask in between.
fn at_once_after_kill(t: &Trial) {
    for _ in 0..10 {
        let c = t.idle();
        c.kill("KILL");
        c.verb("delete", &[]).ok();
    }
}

/// Where the pid namespace is shared, others outlive the first process: KILL is for them.
fn killed_after_its_init(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 and 1.8 refuse");
    let c = t.idle_with(|c| {
        sh(c, "sleep 1000 & echo $! > /tmp/other; exit 0");
        without_namespace(c, "pid");
        c["root"]["readonly"] = json!(false);
    });
    c.wait("stopped");
    let pid = fs::read_to_string(c.bundle.rootfs().join("tmp/other")).expect("a pid");
    let other = PathBuf::from("/proc").join(pid.trim());
    assert!(other.exists());
    c.kill("KILL");
    wait_until("the other's end", || {
        let stat = fs::read_to_string(other.join("stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z")
    });
    c.remove();
}

/// A hook that appends the state that it reads, and a line, to a file.
fn recording(file: &str, word: &str) -> Value {
    let script = format!("cat >> {file}; echo \" {word} $(pwd)\" >> {file}");
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

fn with_poststop(t: &Trial) -> (Container<'_>, PathBuf) {
    let record = t.dir.join("home/record");
    let file = record.to_str().expect("utf-8").to_owned();
    let bundle = t.bundle(|c| {
        sh(c, IDLE);
        c["hooks"] = json!({"poststop": [
            recording(&file, "first"), {"path": "/bin/false"}, recording(&file, "third"),
        ]});
    });
    (t.create(&bundle), record)
}

fn poststop_runs_once(t: &Trial) {
    t.only(&[Kind::Richrun], "runs hooks elsewhere, or ends at the first failure");
    let (c, record) = with_poststop(t);
    assert!(!record.exists());
    let out = c.verb("delete", &[]).ok();
    assert!(out.err.contains("error running poststop hook #1"), "a failure is told: {}", out.err);
    c.remove();
    let text = fs::read_to_string(&record).expect("the record");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, word) in lines.iter().zip(["first", "third"]) {
        let (document, rest) = line.rsplit_once("} ").expect("a document and a word");
        let state: Value = serde_json::from_str(&format!("{document}}}")).expect("JSON");
        assert_eq!(state["status"], "stopped");
        assert_eq!(state["id"], json!(c.id));
        assert_eq!(state["bundle"], json!(c.bundle.path()));
        assert_eq!(state.get("pid"), None, "{state}");
        assert_eq!(rest, format!("{word} {}", c.bundle.path()));
    }
}

/// A `delete` that was killed while its hooks ran.
fn poststop_does_not_run_again(t: &Trial) {
    t.only(&[Kind::Richrun], "keeps its state in other files");
    let (c, record) = with_poststop(t);
    edit_state(t, &c.id, |state| {
        let next = state.as_object_mut().expect("an object").remove("poststopNext");
        assert_eq!(next, Some(json!(0)));
    });
    c.verb("delete", &[]).ok();
    assert!(!record.exists(), "the hooks ran again");
}

fn poststop_without_the_bundle(t: &Trial) {
    t.only(&[Kind::Richrun], "runs hooks elsewhere");
    let (c, record) = with_poststop(t);
    c.kill("KILL");
    c.wait("stopped");
    fs::remove_dir_all(&c.bundle.dir).expect("remove the bundle");
    c.verb("delete", &[]).ok();
    assert_eq!(fs::read_to_string(&record).expect("the record").lines().count(), 2);
}

/// Neither a refused `create` nor the deletion of one that was cut off before
/// it had a process touches who is in the cgroup.
fn others_in_the_cgroup_survive(t: &Trial) {
    t.only(&[Kind::Richrun], "keeps its state in other files");
    let c = t.idle();
    let other = t.bundle(|config| {
        sh(config, IDLE);
        config["linux"]["cgroupsPath"] = c.bundle.config()["linux"]["cgroupsPath"].clone();
    });
    t.rt(&["create", "-b", other.path(), &other.id]).run().exits(1);
    assert_eq!(c.status(), "running");
    assert!(!t.root().join(&other.id).exists());
    let id = t.name("cut-off");
    fs::create_dir(t.root().join(&id)).expect("mkdir");
    fs::copy(state_file(t, &c.id), state_file(t, &id)).expect("copy");
    edit_state(t, &id, |state| {
        state["ready"] = json!(false);
        state.as_object_mut().expect("an object").remove("init");
    });
    let out = t.rt(&["delete", "--force", &id]).ok();
    assert!(out.err.contains("left alone"), "{}", out.err);
    assert!(!t.root().join(&id).exists());
    assert_eq!(c.status(), "running");
    c.remove();
}

/// A container has ended and was not deleted; another one has its group by now.
fn another_has_the_group_by_now(t: &Trial) {
    t.only(&[Kind::Richrun], "says an error");
    let first = t.bundle(|c| sh(c, "exit 0"));
    t.rt(&["run", "-d", "-b", first.path(), &first.id]).ok();
    let c = t.take(&first);
    c.wait("stopped");
    let other = t.idle_with(|config| {
        config["linux"]["cgroupsPath"] = first.config()["linux"]["cgroupsPath"].clone();
    });
    c.verb("kill", &["KILL"]).run().exits(1).says("container not running");
    c.verb("kill", &["--all", "KILL"]).run();
    assert_eq!(other.status(), "running");
    c.verb("delete", &[]).ok().says("left alone, others run in it");
    assert!(!t.root().join(&first.id).exists());
    assert_eq!(other.status(), "running");
    other.remove();
}

/// An engine that is in a container itself counts processes in another way than the host, from
/// where the container is deleted.
fn deleted_from_another_pid_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "looks for processes by their numbers");
    let bundle = t.bundle(|c| sh(c, "touch /tmp/up; exec sleep 12345"));
    let (path, root) = (t.runtime_path(), t.root());
    let script = format!(
        "{} --root {} run -d -b {} {} && exec sleep 1000",
        path.display(),
        root.display(),
        bundle.path(),
        bundle.id
    );
    let engine = t.cmd("unshare", &["-pf", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let engine = engine.spawn();
    let up = bundle.rootfs().join("tmp/up");
    wait_until("the payload", || up.exists());
    let runs = || {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| line == b"sleep\x0012345\0")
    };
    wait_until("the payload to be itself", runs);
    t.rt(&["delete", "--force", &bundle.id]).ok();
    wait_until("its end", || !runs());
    engine.kill(libc::SIGKILL);
    engine.wait();
}

/// Without a pid namespace, processes outlive the first one.
fn what_outlives_init_is_ended(t: &Trial) {
    t.only(&[Kind::Richrun], "leaves them");
    let c = t.idle_with(|c| {
        sh(c, "setsid sleep 1000 & touch /tmp/up; while :; do sleep 0.05; done");
        without_namespace(c, "pid");
    });
    wait_until("the payload", || c.bundle.rootfs().join("tmp/up").exists());
    let pids = t.rt(&["ps", "--format", "json", &c.id]).ok().json();
    richrun_tests::sys::kill(c.pid(), 9);
    c.wait("stopped");
    c.verb("delete", &[]).ok();
    for pid in pids.as_array().expect("an array") {
        let place = format!("/proc/{pid}");
        wait_until("all to be gone", || !std::path::Path::new(&place).exists());
    }
}

/// The pid of a container's first process, now another's.
fn a_forged_start_time_kills_nobody(t: &Trial) {
    t.only(&[Kind::Richrun], "keeps its state in other files");
    let mut stranger =
        std::process::Command::new("sleep").arg("1000").spawn().expect("start sleep");
    // Start times are counted in ticks of 10 ms: theirs must differ.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let c = t.idle();
    c.kill("KILL");
    c.wait("stopped");
    edit_state(t, &c.id, |state| state["init"]["pid"] = json!(stranger.id()));
    assert_eq!(c.status(), "stopped");
    c.verb("kill", &["KILL"]).run().exits(1).says("container not running");
    t.rt(&["kill", "--all", &c.id, "KILL"]).ok();
    c.remove();
    assert_eq!(stranger.try_wait().expect("wait"), None, "a stranger was killed");
    stranger.kill().expect("kill");
    stranger.wait().expect("wait");
}

/// One deletes, the others find nothing, and the id is free again.
fn many_deletes_at_once(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    for round in 0..5 {
        let c = t.idle();
        let deletes: Vec<_> = (0..8).map(|_| t.rt(&["delete", "--force", &c.id]).spawn()).collect();
        for delete in deletes {
            delete.wait().ok();
        }
        t.rt(&["create", "-b", c.bundle.path(), &c.id]).ok();
        assert_eq!(c.status(), "created", "round {round}");
        c.remove();
    }
}
