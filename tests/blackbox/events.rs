//! `events`: what a container uses, and that it runs out of memory.

use std::fs;

use richrun_tests::bundle::{args, sh};
use richrun_tests::suite::{ROOT, ROOTLESS, V1, V2};
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "stats_once", stats_once)
        .on(V1, "v1_stats", v1_stats)
        .on(V2, "v2_stats", v2_stats)
        .on(ROOT, "stats_every_interval", stats_every_interval)
        .on(V1, "v1_memory_of_any_process", v1_memory_of_any_process)
        .on(V1, "v1_memory_before_the_end", v1_memory_before_the_end)
        .on(ROOT, "states", states)
        .on(ROOTLESS, "without_groups", without_groups);
}

/// The lines of a type.
fn lines(text: &str, kind: &str) -> Vec<Value> {
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    all.filter(|event| event["type"] == kind).collect()
}

fn stats_once(t: &Trial) {
    let c = t.idle();
    let out = t.rt(&["events", "--stats", &c.id]).ok();
    assert_eq!(out.out.lines().count(), 1, "{}", out.out);
    let event: Value = serde_json::from_str(out.trimmed()).expect("JSON");
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(c.id)));
    let data = event["data"].as_object().expect("data");
    // runc's names.
    for name in
        ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]
    {
        assert!(data.contains_key(name), "{name} in {event}");
    }
    assert!(event["data"]["cpu"]["usage"]["total"].as_u64().expect("a number") > 0, "{event}");
    c.remove();
}

fn data(t: &Trial, id: &str) -> Value {
    t.rt(&["events", "--stats", id]).ok().json()["data"].clone()
}

fn v1_stats(t: &Trial) {
    let c = t.idle_with(|c| {
        c["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
        c["linux"]["resources"]["pids"] = json!({"limit": 50});
    });
    let all = data(t, &c.id);
    assert_eq!(all["memory"]["usage"]["limit"], 64 << 20);
    assert!(all["memory"]["usage"]["usage"].as_u64() > Some(0), "{all}");
    assert!(all["memory"]["raw"]["cache"].is_u64(), "{all}");
    assert_eq!(all["pids"]["limit"], 50);
    assert!(all["pids"]["current"].as_u64() > Some(0), "{all}");
    let cpus = fs::read_to_string(t.cgroup("cpuset", &c.id).join("cpuset.cpus")).expect("cpus");
    assert_eq!(all["cpuset"]["cpus"].is_array(), !cpus.trim().is_empty(), "{all}");
    assert!(all["cpu"]["usage"]["percpu"].is_array(), "{all}");
    c.remove();
}

fn v2_stats(t: &Trial) {
    let c = t.idle_with(|c| {
        c["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
    });
    let all = data(t, &c.id);
    assert_eq!(all["hugetlb"]["2MB"]["usage"], 0, "{all}");
    let there = fs::read_to_string(t.cgroup("", &c.id).join("cpu.pressure")).is_ok();
    assert_eq!(all["cpu"]["psi"]["some"]["total"].is_u64(), there, "{all}");
    c.remove();
}

fn stats_every_interval(t: &Trial) {
    let c = t.idle();
    let events = t.rt(&["events", "--interval", "20ms", &c.id]).spawn();
    richrun_tests::command::wait_until("three lines", || {
        lines_so_far(&events.printed(), "stats") >= 3
    });
    c.kill("KILL");
    events.wait().ok();
    c.remove();
}

/// Whole lines only: the last one may not be complete.
fn lines_so_far(text: &str, kind: &str) -> usize {
    text.rfind('\n').map_or(0, |end| lines(&text[..end], kind).len())
}

/// A process that is killed is told of, though the first one lives on.
fn v1_memory_of_any_process(t: &Trial) {
    let c = t.idle_with(|c| {
        c["linux"]["resources"]["memory"] = json!({"limit": 32 << 20, "swap": 32 << 20})
    });
    let events = t.rt(&["events", "--interval", "1h", &c.id]).spawn();
    richrun_tests::command::wait_until("the watch", || watches(events.pid()));
    let out = c.exec("exec tail /dev/zero").err;
    richrun_tests::command::wait_until("the event", || lines_so_far(&events.printed(), "oom") >= 1);
    assert_eq!(c.status(), "running", "{out}");
    c.kill("KILL");
    let mut event = lines(&events.wait().ok().out, "oom").remove(0);
    let time = event.as_object_mut().and_then(|event| event.remove("time"));
    assert!(time.is_some_and(|time| time.is_string()), "{event}");
    assert_eq!(event, json!({"type": "oom", "id": c.id}));
    c.remove();
}

/// Whether a process has an eventfd open.
fn watches(pid: i32) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
    let registered = targets.any(|target| target.to_string_lossy().contains("eventfd"));
    // It polls once the watch stands.
    registered
        && fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("poll"))
}

/// The first process itself: the reason is there before the end.
fn v1_memory_before_the_end(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "while ! test -e /tmp/go; do sleep 0.05; done; exec tail /dev/zero");
        c["linux"]["resources"]["memory"] = json!({"limit": 32 << 20, "swap": 32 << 20});
    });
    let c = t.detach(&bundle);
    let events = t.rt(&["events", "--interval", "1h", &c.id]).spawn();
    richrun_tests::command::wait_until("the watch", || watches(events.pid()));
    bundle.file("/tmp/go", "");
    assert!(!lines(&events.wait().ok().out, "oom").is_empty(), "no reason is told");
    c.remove();
}

fn states(t: &Trial) {
    let bundle = t.bundle(|c| args(c, &["true"]));
    let c = t.create(&bundle);
    t.rt(&["events", "--stats", &c.id]).ok();
    c.start();
    c.wait("stopped");
    t.rt(&["events", "--stats", &c.id]).run().exits(1).says("is not running");
    c.remove();
    t.rt(&["events", &c.id]).run().exits(1).says("does not exist");
    t.rt(&["events", "--interval", "soon", "x"]).run().exits(1).says("interval");
}

fn without_groups(t: &Trial) {
    let c = t.idle();
    t.rt(&["events", "--stats", &c.id]).run().exits(1).says("no cgroup");
    c.remove();
}
