//! `update`: other limits for a container that has them already.

use std::fs;

use richrun_tests::command::wait_until;
use richrun_tests::container::Container;
use richrun_tests::suite::{ROOT, ROOTLESS, V1, V2};
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(V1, "v1_options", v1_options)
        .on(V1, "v1_memory_and_swap_in_any_order", v1_memory_and_swap_in_any_order)
        .on(V1, "v1_all_or_nothing", v1_all_or_nothing)
        .on(V1, "v1_limits_hold", v1_limits_hold)
        .on(V2, "v2_hugetlb", v2_hugetlb)
        .on(V2, "v2_all_or_nothing", v2_all_or_nothing)
        .on(ROOT, "documents", documents)
        .on(ROOT, "states", states)
        .on(ROOTLESS, "without_groups", without_groups);
}

/// A file of the container's group.
fn knob(t: &Trial, c: &Container<'_>, controller: &str, file: &str) -> String {
    let path = t.cgroup(controller, &c.id).join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().into()
}

/// The resources that later commands read.
fn kept(t: &Trial, c: &Container<'_>) -> Value {
    let path = t.root().join(&c.id).join("config.json");
    let config: Value = serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON");
    config["linux"]["resources"].clone()
}

fn v1_options(t: &Trial) {
    let c = t.idle_with(|c| {
        c["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
        c["linux"]["resources"]["cpu"] = json!({"quota": 50000, "period": 100_000});
    });
    for (option, value, controller, file, shown) in [
        ("--memory", "33554432", "memory", "memory.limit_in_bytes", "33554432"),
        ("--memory", "32M", "memory", "memory.limit_in_bytes", "33554432"),
        ("--memory-reservation", "16M", "memory", "memory.soft_limit_in_bytes", "16777216"),
        ("--cpu-quota", "20000", "cpu", "cpu.cfs_quota_us", "20000"),
        ("--cpu-quota", "-1", "cpu", "cpu.cfs_quota_us", "-1"),
        ("--cpu-period", "200000", "cpu", "cpu.cfs_period_us", "200000"),
        ("--cpu-share", "512", "cpu", "cpu.shares", "512"),
        ("--cpuset-cpus", "0", "cpuset", "cpuset.cpus", "0"),
        ("--cpuset-mems", "0", "cpuset", "cpuset.mems", "0"),
        ("--pids-limit", "77", "pids", "pids.max", "77"),
        ("--pids-limit", "-1", "pids", "pids.max", "max"),
    ] {
        t.rt(&["update", option, value, &c.id]).ok();
        assert_eq!(knob(t, &c, controller, file), shown, "{option} {value}");
    }
    // The end of the options may follow the id too, and one dash is enough.
    t.rt(&["update", &c.id, "-pids-limit=5"]).ok();
    assert_eq!(knob(t, &c, "pids", "pids.max"), "5");
    assert_eq!(kept(t, &c)["pids"]["limit"], 5);
    assert_eq!(kept(t, &c)["memory"]["limit"], 32 << 20);
    assert_eq!(kept(t, &c)["cpu"]["shares"], 512);
    // What was not asked for is as it was.
    assert_eq!(knob(t, &c, "cpu", "cpu.cfs_period_us"), "200000");
    c.remove();
}

/// The kernel keeps memory below memory and swap at every moment.
fn v1_memory_and_swap_in_any_order(t: &Trial) {
    let c = t.idle_with(|c| {
        c["linux"]["resources"]["memory"] = json!({"limit": 64 << 20, "swap": 96 << 20});
    });
    let limit = |file: &str| knob(t, &c, "memory", &format!("memory.{file}limit_in_bytes"));
    if !t.cgroup("memory", &c.id).join("memory.memsw.limit_in_bytes").exists() {
        c.remove();
        t.skip("this kernel does not account for swap");
    }
    for (memory, swap) in [("256M", "512M"), ("32M", "48M"), ("128M", "128M")] {
        t.rt(&["update", "--memory", memory, "--memory-swap", swap, &c.id]).ok();
        let mib = |text: &str| (text[..text.len() - 1].parse::<u64>().unwrap() << 20).to_string();
        assert_eq!((limit(""), limit("memsw.")), (mib(memory), mib(swap)));
    }
    // None on memory is none on both.
    t.rt(&["update", "--memory", "-1", &c.id]).ok();
    let large = |text: String| text.parse::<u64>().unwrap() > 1 << 60;
    assert!(large(limit("")) && large(limit("memsw.")));
    c.remove();
}

/// One that is refused leaves all as they were, in the kernel and on disk.
fn v1_all_or_nothing(t: &Trial) {
    let c = t.idle_with(|c| {
        c["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
        c["linux"]["resources"]["cpu"] = json!({"shares": 700});
    });
    let files = [
        ("cpuset", "cpuset.cpus"),
        ("memory", "memory.limit_in_bytes"),
        ("cpu", "cpu.shares"),
        ("cpu", "cpu.cfs_quota_us"),
        ("pids", "pids.max"),
        ("blkio", "blkio.throttle.read_bps_device"),
    ];
    let all = || files.map(|(controller, file)| knob(t, &c, controller, file));
    let (before, on_disk) = (all(), kept(t, &c));
    let device = json!([{"major": 1, "minor": 0, "rate": 1 << 20}]);
    for refused in [
        json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}),
        json!({"blockIO": {"throttleWriteBpsDevice": [{"major": 4000, "minor": 1, "rate": 9}]}}),
    ] {
        let mut asked = json!({
            "memory": {"limit": 32 << 20},
            "cpu": {"shares": 300, "quota": 30000, "cpus": "0"},
            "pids": {"limit": 9},
            "blockIO": {"throttleReadBpsDevice": device},
        });
        for (key, value) in refused.as_object().expect("an object") {
            match asked.get_mut(key) {
                Some(there) => there
                    .as_object_mut()
                    .expect("an object")
                    .extend(value.as_object().expect("an object").clone()),
                None => asked[key] = value.clone(),
            }
        }
        let text = asked.to_string();
        t.rt(&["update", "-r", "-", &c.id]).input(&text).run().fails().says("linux.resources.");
        assert_eq!(all(), before, "{text}");
        assert_eq!(kept(t, &c), on_disk);
    }
    c.remove();
}

fn v1_limits_hold(t: &Trial) {
    let c = t.idle();
    t.rt(&["update", "--pids-limit", "6", &c.id]).ok();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done";
    let out = c.exec(script);
    assert!(out.code != 0 || out.err.contains("fork"), "{} {}", out.code, out.err);
    c.remove();
}

fn v2_hugetlb(t: &Trial) {
    let c = t.idle();
    let asked = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]});
    t.rt(&["update", "-r", "-", &c.id]).input(&asked.to_string()).ok();
    assert_eq!(knob(t, &c, "", "hugetlb.2MB.max"), "4194304");
    let asked = json!({"unified": {"hugetlb.2MB.max": "2097152", "cgroup.max.depth": "5"}});
    t.rt(&["update", "-r", "-", &c.id]).input(&asked.to_string()).ok();
    assert_eq!(knob(t, &c, "", "hugetlb.2MB.max"), "2097152");
    assert_eq!(knob(t, &c, "", "cgroup.max.depth"), "5");
    assert_eq!(kept(t, &c)["unified"]["cgroup.max.depth"], "5");
    c.remove();
}

fn v2_all_or_nothing(t: &Trial) {
    let c = t.idle();
    let asked = json!({
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
        "unified": {"cgroup.max.depth": "5", "cgroup.max.descendants": "many"},
    });
    // The kernel tells a limit of `max` that was written as a number.
    let all = || {
        let pages = knob(t, &c, "", "hugetlb.2MB.max");
        let none = pages == "max" || pages.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 60);
        (none, knob(t, &c, "", "cgroup.max.depth"))
    };
    let before = all();
    let out = t.rt(&["update", "-r", "-", &c.id]).input(&asked.to_string()).run().fails();
    out.says("cgroup.max.descendants");
    assert_eq!(all(), before);
    assert!(kept(t, &c).get("unified").is_none());
    c.remove();
}

/// From a file and from standard input, with what engines send beside; broken ones are errors.
fn documents(t: &Trial) {
    let c = t.idle();
    let file = t.dir.join("run/resources.json");
    let path = file.to_str().expect("utf-8 path");
    let devices = kept(t, &c)["devices"].clone();
    let asked = json!({"devices": [{"allow": false, "access": "rwm"}], "pids": null, "cpu": {},
        "memory": {"limit": 0}, "unknown": 7});
    fs::write(&file, asked.to_string()).expect("write");
    t.rt(&["update", "--resources", path, "--pids-limit", "1", &c.id]).ok();
    assert_eq!(kept(t, &c)["devices"], devices);
    c.exec("echo x > /dev/null && echo open").ok().prints("open");
    for (text, words) in [
        ("{", "resources: parse"),
        ("[]", "resources: not an object"),
        (r#"{"cpu": {"shares": "many"}}"#, "resources: "),
        (r#"{"cpu": {"quota": 1000, "burst": 2000}}"#, "linux.resources.cpu.burst"),
    ] {
        t.rt(&["update", "-r", "-", &c.id]).input(text).run().exits(1).says(words);
    }
    t.rt(&["update", "-r", "/no/such/file", &c.id]).run().exits(1).says("no such file");
    t.rt(&["update", "--memory", "much", &c.id]).run().fails().says("memory");
    t.rt(&["update", "--l3-cache-schema", "L3:0=f", &c.id])
        .run()
        .exits(1)
        .says("without linux.intelRdt");
    c.remove();
}

/// Created, running and paused ones; not what has stopped or never was.
fn states(t: &Trial) {
    let bundle = t.bundle(|c| richrun_tests::bundle::args(c, &["true"]));
    let c = t.create(&bundle);
    let asked = json!({"hugepageLimits": []}).to_string();
    let update = || t.rt(&["update", "-r", "-", &c.id]).input(&asked);
    update().ok();
    c.verb("pause", &[]).ok();
    update().ok();
    c.verb("resume", &[]).ok();
    c.start();
    wait_until("the end", || c.status() == "stopped");
    update().run().exits(1).says("container not running");
    c.remove();
    update().run().exits(1).says("does not exist");
}

fn without_groups(t: &Trial) {
    let c = t.idle();
    t.rt(&["update", "--pids-limit", "5", &c.id]).run().exits(1).says("no cgroup");
    c.remove();
}
