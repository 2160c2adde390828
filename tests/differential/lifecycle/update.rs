//! `update`: the files of the groups after each document of resources.

use std::fs;

use richrun_tests::suite::V1;
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite.compare(V1, "update_of_resources", update_of_resources);
}

/// A file of a group, below the hierarchy of its controller.
const FILES: [&str; 9] = [
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.shares",
    "cpuset.cpus",
    "cpuset.mems",
    "pids.max",
];

/// Documents, one after the other, and what the files say then.
fn rows() -> Vec<(Value, [&'static str; 9])> {
    let start = ["67108864", "100663296", "0", "50000", "100000", "700", "0", "0", "50"];
    let with = |changes: &[(usize, &'static str)]| {
        let mut files = start;
        changes.iter().for_each(|(at, value)| files[*at] = value);
        files
    };
    let whole = |limit: i64, swap: i64| {
        json!({
            "memory": {"limit": limit, "swap": swap, "reservation": 16 << 20},
            "cpu": {"quota": 50000, "period": 100_000, "shares": 700, "cpus": "0", "mems": "0"},
            "pids": {"limit": 50},
        })
    };
    let soft = (2, "16777216");
    vec![
        (whole(64 << 20, 96 << 20), with(&[soft])),
        // Both lower, both higher.
        (whole(32 << 20, 48 << 20), with(&[soft, (0, "33554432"), (1, "50331648")])),
        (whole(256 << 20, 256 << 20), with(&[soft, (0, "268435456"), (1, "268435456")])),
        (whole(64 << 20, 96 << 20), with(&[soft])),
        (
            json!({"cpu": {"quota": 20000, "period": 50000, "shares": 300}, "pids": {"limit": -1}}),
            with(&[soft, (3, "20000"), (4, "50000"), (5, "300"), (8, "max")]),
        ),
        (
            json!({"cpu": {"quota": -1}}),
            with(&[soft, (3, "-1"), (4, "50000"), (5, "300"), (8, "max")]),
        ),
    ]
}

fn update_of_resources(t: &Trial) {
    crate::needs(t, "run");
    let c = t.idle();
    let read = |file: &&str| {
        let controller = file.split('.').next().expect("a controller");
        let path = t.cgroup(controller, &c.id).join(file);
        fs::read_to_string(path).map_or_else(|_| "none".to_owned(), |text| text.trim().to_owned())
    };
    if read(&FILES[1]) == "none" {
        c.remove();
        t.skip("this kernel does not account for swap");
    }
    for (asked, files) in rows() {
        let text = asked.to_string();
        t.rt(&["update", "--resources", "-", &c.id]).input(&text).ok();
        let now: Vec<String> = FILES.iter().map(read).collect();
        assert_eq!(now, files, "{text}");
    }
    c.remove();
}
