//! A container's life by `richctl`.

use richrun_tests::command::wait_until;
use richrun_tests::suite::{ALL, BOTH, ROOT};
use richrun_tests::{Suite, Trial};
use serde_json::Value;

use super::setup::Direct;

pub fn register(suite: &mut Suite) {
    suite.on(ALL, "run_and_exit_codes", run_and_exit_codes);
    suite.on(BOTH, "three_verbs_of_a_tenant", three_verbs_of_a_tenant);
    suite.on(BOTH, "names_ids_prefixes_labels", names_ids_prefixes_labels);
    suite.on(BOTH, "stop_kill_restart_wait", stop_kill_restart_wait);
    suite.on(BOTH, "restart_policies", restart_policies);
    suite.on(ROOT, "groups_leave_nothing", groups_leave_nothing);
    suite.on(ROOT, "memory_kills_are_told", memory_kills_are_told);
    suite.on(BOTH, "a_bundle_as_it_stands", a_bundle_as_it_stands);
    suite.on(BOTH, "refusals_leave_nothing", refusals_leave_nothing);
    suite.on(BOTH, "users_and_environment", users_and_environment);
    suite.on(BOTH, "terminals", terminals);
    suite.on(ROOT, "limits_and_stats", limits_and_stats);
}

fn run_and_exit_codes(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    d.ctl(&["run", "--rm", &rootfs, "echo", "hello"]).ok().prints("hello");
    let out = d.ctl(&["run", "--rm", &rootfs, "sh", "-c", "echo e >&2; exit 7"]).run().exits(7);
    assert_eq!((out.out.as_str(), out.err.as_str()), ("", "e\n"));
    d.ctl(&["run", "--rm", &rootfs, "sh", "-c", "kill -9 $$; sleep 1"]).run();
    d.ctl(&["run", "--rm", "-i", &rootfs, "cat"]).input("typed").ok().prints("typed");
    // Without --rm it stays, with its exit code.
    d.ctl(&["run", "--name", "kept", &rootfs, "sh", "-c", "exit 3"]).run().exits(3);
    assert_eq!(d.inspect("kept")["State"]["ExitCode"], 3);
    d.ctl(&["wait", "kept"]).ok().prints("3");
    d.ctl(&["exec", "kept", "true"]).run().fails().says("does not run");
    d.ctl(&["start", "kept"]).ok();
    d.ctl(&["wait", "kept"]).ok().prints("3");
    d.clean();
    d.ctl(&["list", "-q", "-A"]).ok().prints("");
}

/// The container module's three verbs: run, inspect, delete, by tenant.
fn three_verbs_of_a_tenant(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let logs = t.dir.join("run/log");
    let data = t.dir.join("run/data");
    std::fs::create_dir_all(&data).expect("make a volume");
    std::fs::write(data.join("file"), "from the host").expect("fill it");
    let volume = format!("type=bind,source={},target=/data,ro", data.display());
    let logs = logs.to_str().expect("utf-8");
    let words = [
        "--namespace",
        "tenant",
        "run",
        "-d",
        "--name",
        "web",
        "--label",
        "tag=a",
        "--env",
        "COLOUR=red",
        "--mount",
        &volume,
        "--log-dir",
        logs,
        "--log-format",
        "plain",
        &rootfs,
        "sh",
        "-c",
        "echo $COLOUR; cat /data/file; echo; echo to stderr >&2; trap 'exit 0' TERM; while :; do sleep 0.1; done",
    ];
    let id = d.ctl(&words).ok().out.trim().to_owned();
    let log = t.dir.join("run/log/tenant/web.log");
    wait_until("the log", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("red\nfrom the host\n") && text.contains("to stderr\n")
    });
    // Another tenant sees nothing of it.
    d.ctl(&["inspect", "web"]).run().fails().says("no container web in namespace default");
    d.ctl(&["list", "-q"]).ok().prints("");
    let text = d.ctl(&["--namespace", "tenant", "inspect", &id[..8]]).ok().out;
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(found[0]["Id"], id.as_str());
    assert_eq!(found[0]["Labels"]["tag"], "a");
    assert_eq!(found[0]["State"]["Status"], "running");
    let format =
        ["--namespace", "tenant", "list", "--format", "{{.Name}} {{.Status}} {{.Labels.tag}}"];
    d.ctl(&format).ok().prints("web running a");
    d.ctl(&["--namespace", "tenant", "rm", "web"]).run().fails().says("runs: stop it first");
    d.ctl(&["--namespace", "tenant", "rm", "--force", "web"]).ok();
    d.ctl(&["--namespace", "tenant", "inspect", "web"]).run().fails();
    assert!(log.exists(), "the tenant's log stays");
    d.clean();
}

fn names_ids_prefixes_labels(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let sleep = ["sleep", "1000"];
    d.ctl(&[&["run", "-d", "--name", "one", "-l", "a=1", &rootfs][..], &sleep].concat()).ok();
    let taken = d.ctl(&[&["run", "-d", "--name", "one", &rootfs][..], &sleep].concat());
    taken.run().fails().says("name one is taken");
    let id = d.ctl(&[&["run", "-d", &rootfs][..], &sleep].concat()).ok().out.trim().to_owned();
    d.ctl(&["list", "-q", "--filter", "label=a=1"]).ok();
    assert_eq!(d.inspect(&id[..10])["Name"], &id[..12]);
    d.ctl(&["rename", &id, "two"]).ok();
    d.ctl(&["rename", "two", "one"]).run().fails().says("name one is taken");
    d.ctl(&["label", "two", "b=2", "c=3"]).ok();
    d.ctl(&["label", "two", "c-"]).ok();
    d.ctl(&["label", "two"]).ok().prints("b=2");
    let filter = ["list", "--filter", "label=b", "--format", "{{.Name}}"];
    d.ctl(&filter).ok().prints("two");
    d.ctl(&["list", "--filter", "colour=red"]).run().fails().says("the keys are");
    let json = d.ctl(&["list", "--format", "json"]).ok().out;
    assert_eq!(json.lines().count(), 2, "{json}");
    for line in json.lines() {
        serde_json::from_str::<Value>(line).expect("a JSON document a line");
    }
    let top = d.ctl(&["top", "two"]).ok();
    assert!(top.out.contains("sleep 1000"), "{}", top.out);
    d.ctl(&["exec", "two", "sh", "-c", "exit 9"]).run().exits(9);
    d.ctl(&["exec", "-i", "two", "cat"]).input("x").ok().prints("x");
    let all = d.ctl(&["list", "--all-runtimes", "--format", "{{.Id}}"]).ok().out;
    assert!(all.contains(&id), "{all}");
    let events = d.ctl(&["events", "--format", "{{.Event}} {{.Name}}"]).ok().out;
    assert!(
        events.contains("create one\nstart one\n") && events.contains("rename two"),
        "{events}"
    );
    d.clean();
}

fn stop_kill_restart_wait(t: &Trial) {
    let d = Direct::new(t);
    d.background(
        "polite",
        &[],
        "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done",
    );
    d.wait_for_log("polite", "up");
    let waiter = d.ctl(&["wait", "polite"]).spawn();
    d.ctl(&["stop", "polite"]).ok();
    waiter.wait().ok().prints("5");
    assert!(d.ctl(&["logs", "polite"]).ok().out.ends_with("bye\n"));
    // It does not handle TERM, and is killed.
    d.background(
        "deaf",
        &["--stop-timeout", "1"],
        "trap '' TERM; echo up; while :; do sleep 0.05; done",
    );
    d.wait_for_log("deaf", "up");
    d.ctl(&["restart", "-t", "0", "deaf"]).ok();
    assert_eq!(d.inspect("deaf")["State"]["Status"], "running");
    d.ctl(&["stop", "deaf"]).ok();
    assert_eq!(d.inspect("deaf")["State"]["ExitCode"], 137);
    assert_eq!(d.inspect("deaf")["State"]["Signal"], 9);
    d.ctl(&["start", "deaf"]).ok();
    d.ctl(&["kill", "-s", "NOPE", "deaf"]).run().fails().says("unknown signal");
    d.ctl(&["kill", "deaf"]).ok();
    d.ctl(&["wait", "deaf"]).ok().prints("137");
    d.clean();
}

fn restart_policies(t: &Trial) {
    let d = Direct::new(t);
    d.background("twice", &["--restart", "on-failure:2"], "echo run; exit 4");
    d.ctl(&["wait", "twice"]).ok().prints("4");
    assert_eq!(d.inspect("twice")["State"]["Restarts"], 2);
    assert_eq!(d.ctl(&["logs", "twice"]).ok().out, "run\nrun\nrun\n");
    d.background("fine", &["--restart", "on-failure"], "exit 0");
    d.ctl(&["wait", "fine"]).ok().prints("0");
    assert_eq!(d.inspect("fine")["State"]["Restarts"], 0);
    d.background("always", &["--restart", "always"], "exit 0");
    wait_until("two restarts", || d.inspect("always")["State"]["Restarts"].as_u64() >= Some(2));
    d.ctl(&["stop", "always"]).ok();
    assert_eq!(d.inspect("always")["State"]["Status"], "exited");
    d.clean();
}

/// The v2 view of a host whose controllers are v1's has none to limit with.
fn needs_controllers(t: &Trial) {
    let there = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    if there.is_ok_and(|names| !names.contains("memory")) {
        t.skip("cgroup v2 has no memory controller here");
    }
}

fn memory_kills_are_told(t: &Trial) {
    needs_controllers(t);
    let d = Direct::new(t);
    // The hungry one is a child: the first process lives on and ends with 0.
    d.background("hungry", &["--memory", "20m"], "(tail /dev/zero); echo child gone; exit 0");
    d.ctl(&["wait", "hungry"]).ok().prints("0");
    let state = d.inspect("hungry")["State"].clone();
    assert_eq!(state["OomKills"], 1, "{state}");
    // The kernel's log says which.
    if std::fs::File::open("/dev/kmsg").is_ok() {
        assert_eq!(state["OomKilled"][0]["Name"], "tail", "{state}");
        let list = d.ctl(&["list", "--filter", "name=hungry"]).ok();
        assert!(list.out.contains("exited (0, out of memory: tail)"), "{}", list.out);
    }
    // The first process itself.
    d.background("first", &["--memory", "20m"], "exec tail /dev/zero");
    d.ctl(&["wait", "first"]).ok().prints("137");
    let state = d.inspect("first")["State"].clone();
    assert_eq!((&state["Signal"], &state["OomKills"]), (&9.into(), &1.into()), "{state}");
    d.clean();
}

/// A container's group has no parent that it shares with others: nobody could say who is to
/// remove that.
fn groups_leave_nothing(t: &Trial) {
    needs_controllers(t);
    let d = Direct::new(t);
    d.background("a", &["--memory", "64m"], "exec sleep 1000");
    let inspected = d.inspect("a");
    let id = inspected["Id"].as_str().expect("an id");
    let group = inspected["State"]["Cgroup"].as_str().expect("a group").to_owned();
    assert!(group.ends_with(&format!("/richctl-{id}")), "{group}");
    d.clean();
    for dir in std::fs::read_dir("/sys/fs/cgroup").expect("the hierarchies").flatten() {
        let left = dir.path().join(format!("richctl-{id}"));
        assert!(!left.exists(), "left: {}", left.display());
    }
    assert!(!std::path::Path::new(&group).exists(), "left: {group}");
}

fn a_bundle_as_it_stands(t: &Trial) {
    let d = Direct::new(t);
    let bundle = t.bundle(|c| richrun_tests::bundle::sh(c, "echo from the bundle $A; exit 6"));
    let out = d.ctl(&["run", "--rm", "-e", "A=b", bundle.path()]).run().exits(6);
    assert_eq!(out.out, "from the bundle b\n");
    d.ctl(&["run", "--rm", bundle.path(), "echo", "else"]).ok().prints("else");
    d.clean();
}

fn refusals_leave_nothing(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let table: [(&[&str], &str); 9] = [
        (&["/no/such"], "no such directory"),
        (&[&rootfs], "no command"),
        (&[&rootfs, "/no/such/program"], "no such file"),
        (&["--name", "../x", &rootfs, "true"], "letters, digits"),
        (&["--restart", "maybe", &rootfs, "true"], "--restart maybe"),
        (&["-p", "80:80", &rootfs, "true"], "--publish"),
        (&["-u", "nobody-here", &rootfs, "true"], "the image has no such user"),
        (&["-v", "relative", &rootfs, "true"], "volume"),
        (&["--memory", "lots", &rootfs, "true"], "size \"lots\""),
    ];
    for (words, said) in table {
        for mode in [&["run"][..], &["run", "-d"]] {
            d.ctl(&[mode, words].concat()).run().exits(125).says(said);
        }
    }
    d.ctl(&["list", "-q", "-A"]).ok().prints("");
    for dir in ["data/containers/default", "data/names/default", "run/containers/default"] {
        let left = std::fs::read_dir(d.place.join(dir)).into_iter().flatten().count();
        assert_eq!(left, 0, "left in {dir}");
    }
}

fn users_and_environment(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    d.ctl(&["run", "--rm", "-w", "/tmp", "-e", "A=1", &rootfs, "sh", "-c", "pwd; echo $A"])
        .ok()
        .prints("/tmp\n1");
    d.ctl(&["run", "--rm", "-u", "7:8", &rootfs, "sh", "-c", "id -u; id -g"]).ok().prints("7\n8");
    d.ctl(&["run", "--rm", "--hostname", "h", &rootfs, "hostname"]).ok().prints("h");
    d.ctl(&["run", "--rm", "--read-only", &rootfs, "touch", "/x"]).run().fails();
    d.ctl(&["run", "--rm", "--rich", &rootfs, "sh", "-c", "exit 4"]).run().exits(4);
    d.clean();
}

fn terminals(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    // Without a terminal of the caller's there is one inside all the same.
    d.ctl(&[
        "run",
        "-d",
        "-t",
        "--name",
        "tty",
        &rootfs,
        "sh",
        "-c",
        "tty; echo shown; exec sleep 1000",
    ])
    .ok();
    d.wait_for_log("tty", "shown");
    let log = d.ctl(&["logs", "tty"]).ok().out;
    assert!(log.contains("/dev/pts/0") || log.contains("/dev/console"), "{log}");
    d.clean();
}

fn limits_and_stats(t: &Trial) {
    needs_controllers(t);
    let d = Direct::new(t);
    d.background("small", &["--memory", "64m", "--pids-limit", "5", "--cpus", "0.5"], "sleep 1000");
    let text = d.ctl(&["stats", "--no-stream", "--format", "json"]).ok().out;
    let stats: Value = serde_json::from_str(text.trim()).expect("JSON");
    assert_eq!(stats["name"], "small");
    assert_eq!(stats["memory_limit"], 64 << 20);
    assert!(stats["pids"].as_u64().is_some_and(|pids| pids >= 1), "{stats}");
    d.clean();
}
