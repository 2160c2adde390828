//! The systemd cgroup manager against a stand-in for systemd, which works or fails as it is told.

mod real;

use std::fs;
use std::time::{Duration, Instant};

use richrun_tests::bundle::{args, sh};
use richrun_tests::bus::{Bus, Manner};
use richrun_tests::command::{Cmd, Output, wait_until};
use richrun_tests::suite::{ONE, ROOT, V1, V2};
use richrun_tests::{Bundle, Kind, Suite, Trial, View};
use serde_json::{Value, json};

/// What a failure may take: the runtime's own bounds, and a busy machine's time.
const SECONDS: Duration = Duration::from_secs(60);

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "a_life_in_a_scope", a_life_in_a_scope)
        .on(ROOT, "the_scope_in_one_call", the_scope_in_one_call)
        .on(ROOT, "names_and_slices", names_and_slices)
        .on(V1, "limits_are_properties_and_files", limits_are_properties_and_files)
        .on(V1, "updates_reach_systemd", updates_reach_systemd)
        .on(V1, "updates_stay_exact", updates_stay_exact)
        .on(V1, "few_tasks", few_tasks)
        .on(V2, "exec_follows_the_init", exec_follows_the_init)
        .on(ONE, "annotations_need_leave", annotations_need_leave)
        .on(ONE, "nobody_there", nobody_there)
        .on(ROOT, "failures_leave_nothing", failures_leave_nothing)
        .on(ROOT, "silence_is_not_waited_for", silence_is_not_waited_for)
        .on(ONE, "a_request_to_end_is_heard", a_request_to_end_is_heard)
        .on(ONE, "what_is_no_message_is_passed_over", what_is_no_message_is_passed_over)
        .on(ONE, "who_does_not_answer_keeps_the_unit", who_does_not_answer_keeps_the_unit)
        .on(ROOT, "another_has_the_scope_by_now", another_has_the_scope_by_now)
        .on(V1, "an_update_that_fails_late", an_update_that_fails_late)
        .on(ROOT, "a_manager_that_restarts", a_manager_that_restarts)
        .on(ROOT, "names_in_use", names_in_use)
        .on(ROOT, "delete_without_systemd", delete_without_systemd)
        .on(ROOT, "killed_meanwhile", killed_meanwhile)
        .on(ONE, "disabled_wins", disabled_wins);
    real::register(suite);
}

/// A command of the runtime with the systemd manager, over this bus.
fn rt<'t>(t: &'t Trial, bus: &Bus, words: &[&str]) -> Cmd<'t> {
    t.only(&[Kind::Richrun], "does not wait for a stand-in");
    let all = [&["--systemd-cgroup"], words].concat();
    t.rt(&all).env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address())
}

/// A bundle whose scope has the default name.
fn bundle(t: &Trial, edit: impl FnOnce(&mut Value)) -> Bundle {
    t.bundle(|c| {
        c["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
        edit(c);
    })
}

fn unit(b: &Bundle) -> String {
    format!("richrun-{}.scope", b.id)
}

fn run(t: &Trial, bus: &Bus, b: &Bundle) -> Output {
    rt(t, bus, &["run", "-b", b.path(), &b.id]).run()
}

/// Where a process is, in the hierarchy of systemd or the unified one.
fn group_of(t: &Trial, text: &str) -> String {
    let prefix = if t.view == View::V1 { ":name=systemd:" } else { "0::" };
    let line = text.lines().find(|line| line.contains(prefix)).expect("a line");
    line.split(prefix).nth(1).expect("a path").to_owned()
}

fn a_life_in_a_scope(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| sh(c, "trap 'exit 7' TERM; while :; do sleep 0.05; done"));
    rt(t, &bus, &["create", "-b", b.path(), &b.id]).ok();
    assert_eq!(bus.units(), [unit(&b)]);
    let c = t.take(&b);
    let place = format!("/{}/{}", t.name("fake.slice"), unit(&b));
    assert_eq!(group_of(t, &c.proc_file("cgroup")), place);
    let pid = c.pid().to_string();
    for dir in t.cgroup_dirs(&unit(&b)) {
        let procs = fs::read_to_string(dir.join("cgroup.procs")).expect("read");
        assert_eq!(procs.trim(), pid, "{}: the first process alone", dir.display());
    }
    c.start();
    let seen = c.exec("cat /proc/self/cgroup").ok();
    // On v2 it has a cgroup namespace.
    let shown = if t.view == View::V1 { place.as_str() } else { "/" };
    assert_eq!(group_of(t, &seen.out), shown);
    t.rt(&["pause", &c.id]).ok();
    assert_eq!(c.status(), "paused");
    t.rt(&["resume", &c.id]).ok();
    // What made it is known from its state.
    t.rt(&["delete", "-f", &c.id]).env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address()).ok();
    assert!(bus.units().is_empty(), "{:?}", bus.units());
    // The name can be used at once.
    b.edit(|c| args(c, &["sh", "-c", "exit 3"]));
    run(t, &bus, &b).exits(3);
    assert!(bus.units().is_empty(), "{:?}", bus.units());
    bus.remove_groups(t);
}

fn the_scope_in_one_call(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| sh(c, "exit 0"));
    run(t, &bus, &b).exits(0);
    assert_eq!(bus.calls("StartTransientUnit").len(), 1);
    assert_eq!(bus.calls("SetUnitProperties").len(), 0);
    let call = &bus.calls("StartTransientUnit")[0];
    assert_eq!((&call.body[0], &call.body[1]), (&json!(unit(&b)), &json!("replace")));
    let io = if t.view == View::V1 { "BlockIOAccounting" } else { "IOAccounting" };
    for (name, value) in [
        ("Slice", json!("system.slice")),
        ("Delegate", json!(true)),
        ("DefaultDependencies", json!(false)),
        ("CollectMode", json!("inactive-or-failed")),
        ("CPUAccounting", json!(true)),
        ("MemoryAccounting", json!(true)),
        ("TasksAccounting", json!(true)),
        (io, json!(true)),
        ("DevicePolicy", json!("strict")),
    ] {
        assert_eq!(bus.property(name), value, "{name}");
    }
    let devices = bus.property("DeviceAllow");
    for rule in
        [json!(["char-*", "m"]), json!(["/dev/char/1:3", "rwm"]), json!(["char-136", "rwm"])]
    {
        assert!(devices.as_array().expect("a list").contains(&rule), "{rule} in {devices}");
    }
    bus.remove_groups(t);
}

fn names_and_slices(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| sh(c, "exit 0"));
    let name = b.id.clone();
    for (path, unit, slice) in [
        (format!("machine.slice:libpod:{name}"), format!("libpod-{name}.scope"), "machine.slice"),
        (format!(":docker:{name}"), format!("docker-{name}.scope"), "system.slice"),
        (format!("a-b-c.slice::{name}"), format!("{name}.scope"), "a-b-c.slice"),
        (format!("-.slice:x:{name}"), format!("x-{name}.scope"), "-.slice"),
    ] {
        b.edit(|c| c["linux"]["cgroupsPath"] = json!(path));
        run(t, &bus, &b).exits(0);
        let call = bus.calls("StartTransientUnit").pop().expect("a call");
        assert_eq!(call.body[0], json!(unit), "{path}");
        assert_eq!(bus.property("Slice"), json!(slice), "{path}");
    }
    let calls = bus.calls("StartTransientUnit").len();
    for path in [
        "/a/b",
        "a:b",
        "a.slice:b:c:d",
        "a--b.slice:x:y",
        "x:y:z",
        "a.slice:b:../c",
        "a.slice:x:b.slice",
    ] {
        b.edit(|c| c["linux"]["cgroupsPath"] = json!(path));
        run(t, &bus, &b).exits(1).says("linux.cgroupsPath: ");
    }
    assert_eq!(bus.calls("StartTransientUnit").len(), calls, "refused before anything is made");
    bus.remove_groups(t);
}

fn limits_are_properties_and_files(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| {
        sh(c, "sleep 100");
        c["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
        c["linux"]["resources"]["cpu"] = json!({"shares": 512, "quota": 20_500, "period": 100_000});
        c["linux"]["resources"]["pids"] = json!({"limit": 77});
    });
    rt(t, &bus, &["run", "-d", "-b", b.path(), &b.id]).ok();
    for (name, value) in [
        ("MemoryLimit", json!(64 << 20)),
        ("CPUShares", json!(512)),
        ("CPUQuotaPerSecUSec", json!(210_000)),
        ("CPUQuotaPeriodUSec", json!(100_000)),
        ("TasksMax", json!(77)),
    ] {
        assert_eq!(bus.property(name), value, "{name}");
    }
    let file = |controller: &str, file: &str| {
        let top = t.cgroup(controller, &t.name("fake.slice"));
        fs::read_to_string(top.join(unit(&b)).join(file)).expect("read").trim().to_owned()
    };
    assert_eq!(file("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(file("cpu", "cpu.cfs_quota_us"), "20500", "exact, where systemd rounds");
    assert_eq!(file("pids", "pids.max"), "77");
    rt(t, &bus, &["delete", "-f", &b.id]).ok();
    bus.remove_groups(t);
}

fn updates_reach_systemd(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| sh(c, "sleep 100"));
    rt(t, &bus, &["run", "-d", "-b", b.path(), &b.id]).ok();
    rt(t, &bus, &["update", "--memory", "32M", "--pids-limit", "50", &b.id]).ok();
    let call = bus.calls("SetUnitProperties").pop().expect("a call");
    assert_eq!((&call.body[0], &call.body[1]), (&json!(unit(&b)), &json!(true)));
    let changed = call.body[2].as_array().expect("a list");
    assert!(changed.contains(&json!(["MemoryLimit", 32 << 20])), "{changed:?}");
    assert!(changed.contains(&json!(["TasksMax", 50])), "{changed:?}");
    let file = t.cgroup("memory", &t.name("fake.slice")).join(unit(&b));
    let limit = || fs::read_to_string(file.join("memory.limit_in_bytes")).expect("read");
    assert_eq!(limit().trim(), (32 << 20).to_string());
    // What systemd refuses has not happened.
    let stubborn = Bus::new(t, Manner::WillNotChange);
    rt(t, &stubborn, &["update", "--memory", "16M", &b.id]).run().exits(1).says("no, never");
    assert_eq!(limit().trim(), (32 << 20).to_string());
    rt(t, &bus, &["delete", "-f", &b.id]).ok();
    bus.remove_groups(t);
}

/// systemd writes the files of a controller after it has answered, rounded or without what it was
/// not told of: the runtime has the last word.
fn updates_stay_exact(t: &Trial) {
    let bus = Bus::new(t, Manner::WritesLate);
    let b = bundle(t, |c| sh(c, "sleep 100"));
    rt(t, &bus, &["run", "-d", "-b", b.path(), &b.id]).ok();
    rt(t, &bus, &["update", "--pids-limit", "50", &b.id]).ok();
    wait_until("its files are written", || bus.has_written());
    let file = t.cgroup("pids", &t.name("fake.slice")).join(unit(&b)).join("pids.max");
    assert_eq!(fs::read_to_string(file).expect("read").trim(), "50");
    rt(t, &bus, &["delete", "-f", &b.id]).ok();
    bus.remove_groups(t);
}

/// The scope's holder counts, too, until it has gone.
fn few_tasks(t: &Trial) {
    for limit in [1, 2, 3] {
        let bus = Bus::new(t, Manner::Works);
        let b = bundle(t, |c| {
            args(c, &["true"]);
            c["linux"]["resources"]["pids"] = json!({"limit": limit});
        });
        run(t, &bus, &b).exits(0);
        assert_eq!(bus.property("TasksMax"), json!(3));
        let later = bus.calls("SetUnitProperties");
        let expected = json!([["TasksMax", limit]]);
        assert_eq!(later.first().map(|call| &call.body[2]), (limit < 3).then_some(&expected));
        bus.remove_groups(t);
    }
    // Where the limit cannot come down to what is asked for, there is no container.
    fails_with(t, Manner::WillNotChange, "no, never", |c| {
        c["linux"]["resources"]["pids"] = json!({"limit": 1});
    });
}

/// systemd inside moves itself below the scope, and hands controllers on.
fn exec_follows_the_init(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| {
        for mount in c["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/sys/fs/cgroup" {
                mount["options"] = json!(["rw"]);
            }
        }
        let script = "mkdir /sys/fs/cgroup/init.scope; echo 0 >/sys/fs/cgroup/init.scope/cgroup.procs; \
            echo +hugetlb >/sys/fs/cgroup/cgroup.subtree_control; echo there; sleep 100";
        sh(c, script);
    });
    let running = rt(t, &bus, &["run", "-b", b.path(), &b.id]).spawn();
    running.wait_for("there");
    let seen = t.take(&b).exec("cat /proc/self/cgroup").ok();
    assert_eq!(group_of(t, &seen.out), "/init.scope");
    rt(t, &bus, &["delete", "-f", &b.id]).ok();
    running.wait();
    bus.remove_groups(t);
}

/// CVE-2024-3154.
fn annotations_need_leave(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| {
        args(c, &["true"]);
        c["annotations"] = json!({
            "org.systemd.property.TimeoutStopSec": "5",
            "org.systemd.property.OnFailure": "['evil.service']",
        });
    });
    run(t, &bus, &b).exits(0).says("org.systemd.property.OnFailure: ignored");
    assert_eq!(bus.property("TimeoutStopUSec"), Value::Null);
    let settings = t.dir.join("settings.toml");
    let with = |text: &str| {
        fs::write(&settings, text).expect("write the settings");
        let path = settings.to_str().expect("a path");
        rt(t, &bus, &["run", "-b", b.path(), &b.id]).env("RICHRUN_CONFIG", path).run()
    };
    with("[systemd]\nproperties = [\"TimeoutStopSec\"]\n").exits(0);
    assert_eq!(bus.property("TimeoutStopUSec"), json!(5_000_000));
    assert_eq!(bus.property("OnFailure"), Value::Null);
    with("[systemd]\nproperties = [\"Slice\"]\n").exits(1).says("Slice is the runtime's own");
    b.edit(|c| c["annotations"]["org.systemd.property.TimeoutStopSec"] = json!("soon"));
    with("[systemd]\nproperties = [\"TimeoutStopSec\"]\n").exits(1).says("TimeoutStopSec");
    bus.remove_groups(t);
}

fn nobody_there(t: &Trial) {
    t.only(&[Kind::Richrun], "has no such words");
    let b = bundle(t, |c| args(c, &["true"]));
    for address in ["unix:path=/no/such/bus", "tcp:host=localhost", "unixexec:path=/bin/sh"] {
        let out = t
            .rt(&["--cgroup-manager", "systemd", "run", "-b", b.path(), &b.id])
            .env("DBUS_SYSTEM_BUS_ADDRESS", address)
            .run();
        // No word that an engine takes for a missing program.
        assert!(!out.err.contains("no such file"), "{}", out.err);
        out.exits(1).says("systemd cgroup manager: ").says("--cgroup-manager cgroupfs");
    }
}

/// The run fails in time with this word, nothing is left, and the name can be used.
fn fails(t: &Trial, manner: Manner, word: &str) {
    fails_with(t, manner, word, |_| {});
}

fn fails_with(t: &Trial, manner: Manner, word: &str, edit: impl FnOnce(&mut Value)) {
    let b = bundle(t, |c| {
        args(c, &["true"]);
        edit(c);
    });
    let bus = Bus::new(t, manner);
    let began = Instant::now();
    run(t, &bus, &b).exits(1).says("systemd cgroup manager: ").says(word);
    assert!(began.elapsed() < SECONDS, "{manner:?}: {:?}", began.elapsed());
    assert!(bus.units().is_empty(), "{manner:?}: {:?}", bus.units());
    assert!(t.cgroup_dirs(&unit(&b)).is_empty(), "{manner:?}: a group is left");
    assert!(!t.root().join(&b.id).exists(), "{manner:?}: the state is left");
    let good = Bus::new(t, Manner::Works);
    run(t, &good, &b).exits(0);
    good.remove_groups(t);
}

fn failures_leave_nothing(t: &Trial) {
    for (manner, word) in [
        (Manner::Rejects, "does not let this user in"),
        (Manner::Refuses, "not you (org.freedesktop.DBus.Error.AccessDenied)"),
        (Manner::Ends("failed"), "as \\\"failed"),
        (Manner::Ends("canceled"), "as \\\"canceled"),
        (Manner::Ends("timeout"), "as \\\"timeout"),
        (Manner::HangsUp, "closed the connection"),
        (Manner::Garbage, "no D-Bus message"),
        (Manner::Endless, "too long"),
        (Manner::Lies, "nobody is in it"),
    ] {
        fails(t, manner, word);
    }
}

fn silence_is_not_waited_for(t: &Trial) {
    for (manner, word) in [
        (Manner::Full, "takes no connection"),
        (Manner::Mute, "no answer in time"),
        (Manner::SilentAtStart, "no answer in time"),
        (Manner::SilentAtJob, "no answer in time"),
        (Manner::Floods, "no answer in time"),
    ] {
        fails(t, manner, word);
    }
}

/// However much there is to read.
fn a_request_to_end_is_heard(t: &Trial) {
    let bus = Bus::new(t, Manner::Deluges);
    let b = bundle(t, |c| args(c, &["true"]));
    let running = rt(t, &bus, &["run", "-b", b.path(), &b.id]).spawn();
    richrun_tests::command::wait_until("the call", || !bus.calls("StartTransientUnit").is_empty());
    running.kill(libc::SIGTERM);
    running.wait().exits(128 + libc::SIGTERM).says("ended by SIGTERM");
}

fn what_is_no_message_is_passed_over(t: &Trial) {
    let bus = Bus::new(t, Manner::Babbles);
    let b = bundle(t, |c| sh(c, "exit 6"));
    run(t, &bus, &b).exits(6);
    bus.remove_groups(t);
}

/// The call may never have come to be looked at: a unit of that name may be anybody's.
fn who_does_not_answer_keeps_the_unit(t: &Trial) {
    let bus = Bus::new(t, Manner::SilentAtStart);
    let b = bundle(t, |c| args(c, &["true"]));
    run(t, &bus, &b).exits(1).says("no answer in time");
    assert!(bus.calls("StopUnit").is_empty(), "it is not known to be ours");
}

/// A container has ended, its scope with it, and one of another store has the name.
fn another_has_the_scope_by_now(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| args(c, &["true"]));
    rt(t, &bus, &["run", "-d", "-b", b.path(), &b.id]).ok();
    t.take(&b).wait("stopped");
    bus.forget(&unit(&b));
    let store = t.dir.join("other");
    let store = store.to_str().expect("utf-8");
    let in_store = |words: &[&str]| rt(t, &bus, &[&["--root", store], words].concat());
    b.edit(|c| sh(c, "sleep 1000"));
    in_store(&["run", "-d", "-b", b.path(), &b.id]).ok();
    let status = || in_store(&["state", &b.id]).ok().json()["status"].clone();
    rt(t, &bus, &["kill", &b.id, "KILL"]).run().exits(1).says("container not running");
    rt(t, &bus, &["kill", "--all", &b.id, "KILL"]).run();
    assert_eq!(status(), "running");
    rt(t, &bus, &["delete", "-f", &b.id]).ok();
    assert_eq!(status(), "running");
    assert_eq!(bus.units(), [unit(&b)], "the scope is somebody else's");
    in_store(&["delete", "-f", &b.id]).ok();
    assert!(bus.units().is_empty(), "{:?}", bus.units());
    bus.remove_groups(t);
}

fn an_update_that_fails_late(t: &Trial) {
    let b = bundle(t, |c| {
        sh(c, "sleep 100");
        c["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
        c["linux"]["resources"]["pids"] = json!({"limit": 77});
    });
    let bus = Bus::new(t, Manner::Spoils);
    rt(t, &bus, &["run", "-d", "-b", b.path(), &b.id]).ok();
    let words = ["update", "--memory", "32M", "--pids-limit", "50", &b.id];
    rt(t, &bus, &words).run().exits(1).says("could not be taken back").says("pids.max");
    let calls = bus.calls("SetUnitProperties");
    let back = calls.last().expect("a call").body[2].as_array().expect("a list").clone();
    assert!(back.contains(&json!(["MemoryLimit", 64 << 20])), "{back:?}");
    assert!(back.contains(&json!(["TasksMax", 77])), "{back:?}");
    let file = t.cgroup("memory", &t.name("fake.slice")).join(unit(&b));
    let limit = fs::read_to_string(file.join("memory.limit_in_bytes")).expect("read");
    assert_eq!(limit.trim(), (64 << 20).to_string());
    bus.mend();
    rt(t, &bus, &["delete", "-f", &b.id]).ok();
    bus.remove_groups(t);
}

fn a_manager_that_restarts(t: &Trial) {
    let b = bundle(t, |c| args(c, &["true"]));
    let bus = Bus::new(t, Manner::Restarts);
    run(t, &bus, &b).exits(0);
    bus.remove_groups(t);
}

fn names_in_use(t: &Trial) {
    let b = bundle(t, |c| args(c, &["true"]));
    let taken = Bus::new(t, Manner::Taken);
    run(t, &taken, &b).exits(1).says("was already loaded");
    assert!(taken.calls("StopUnit").is_empty(), "it is somebody else's");
    let leaving = Bus::new(t, Manner::Leaving);
    run(t, &leaving, &b).exits(0);
    leaving.remove_groups(t);
}

/// systemd takes an empty scope away by itself, so a container need not wait for it.
fn delete_without_systemd(t: &Trial) {
    let bus = Bus::new(t, Manner::Works);
    let b = bundle(t, |c| sh(c, "sleep 100"));
    rt(t, &bus, &["run", "-d", "-b", b.path(), &b.id]).ok();
    t.rt(&["delete", "-f", &b.id])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/bus")
        .run()
        .exits(0)
        .says("systemd cgroup manager: stop");
    assert!(t.cgroup_dirs(&unit(&b)).is_empty());
    assert!(!t.root().join(&b.id).exists());
    bus.remove_groups(t);
}

/// Who holds the scope ends with the runtime.
fn killed_meanwhile(t: &Trial) {
    let bus = Bus::new(t, Manner::SilentAtJob);
    let b = bundle(t, |c| args(c, &["true"]));
    let running = rt(t, &bus, &["run", "-b", b.path(), &b.id]).spawn();
    richrun_tests::command::wait_until("the scope", || !bus.units().is_empty());
    running.kill(libc::SIGKILL);
    running.wait();
    richrun_tests::command::wait_until("the scope to be empty", || {
        t.cgroup_dirs(&unit(&b)).iter().all(|dir| {
            fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|text| text.is_empty())
        })
    });
    rt(t, &bus, &["delete", "-f", &b.id]).ok();
    assert!(!t.root().join(&b.id).exists());
    for dir in t.cgroup_dirs(&t.name("fake.slice")) {
        let _gone = fs::remove_dir(dir);
    }
}

/// What podman says for containers without groups.
fn disabled_wins(t: &Trial) {
    t.only(&[Kind::Richrun], "has no such option");
    let b = bundle(t, |c| args(c, &["true"]));
    t.rt(&["--systemd-cgroup", "--cgroup-manager", "disabled", "run", "-b", b.path(), &b.id])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/bus")
        .ok();
}
