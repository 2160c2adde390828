//! What each field of `linux.resources` comes to, field by field. The v1
//! values are those that runc 1.1.5 and crun 1.8.1 leave in the files, which
//! `tests/cgroup_differential.rs` compares natively.

use oci_spec::runtime::LinuxResources;

use super::knob::{Absent, Knobs};
use super::shared::ZeroPids;
use super::{v1, v2};

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

fn show(knobs: &Knobs) -> Vec<String> {
    knobs
        .rows
        .iter()
        .map(|row| {
            let mut text = format!("{}={}", row.file, row.value);
            match &row.absent {
                Absent::Fail => {}
                Absent::Skip => text.push('?'),
                Absent::Warn => text.push('!'),
                Absent::Instead { file, value } => text += &format!("|{file}={value}"),
            }
            if row.retried {
                text.push('~');
            }
            text
        })
        .collect()
}

/// `?`: skipped where the file is not there; `!`: with a warning. `~`: retried at the end.
#[track_caller]
fn check(json: &str, on_v1: &[&str], on_v2: &[&str]) {
    assert_eq!(show(&v1::knobs(&resources(json), ZeroPids::Limit).unwrap()), on_v1, "v1: {json}");
    assert_eq!(show(&v2::knobs(&resources(json), ZeroPids::Limit).unwrap()), on_v2, "v2: {json}");
}

#[track_caller]
fn refused(json: &str, on_v1: Option<&str>, on_v2: Option<&str>) {
    for (which, result, words) in [
        ("v1", v1::knobs(&resources(json), ZeroPids::Limit), on_v1),
        ("v2", v2::knobs(&resources(json), ZeroPids::Limit), on_v2),
    ] {
        match (result, words) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => {
                assert_eq!(error.to_string(), format!("linux.resources.{words}"), "{which}");
            }
            (result, words) => panic!("{which} {json}: {result:?} instead of {words:?}"),
        }
    }
}

const NO_KNOB: &str = ": this host has cgroup v2, which has no such knob";

#[test]
fn memory() {
    check("{}", &[], &[]);
    let given_up = r#"{"memory":{"limit":0,"swap":0,"reservation":0,"kernel":1,"kernelTCP":2}}"#;
    check(given_up, &["memory.kmem.tcp.limit_in_bytes=2!"], &[]);
    let warnings = v2::knobs(&resources(given_up), ZeroPids::Limit).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    check(
        r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
        &[
            "memory.limit_in_bytes=1000~",
            "memory.memsw.limit_in_bytes=3000",
            "memory.soft_limit_in_bytes=500",
        ],
        &["memory.swap.max=2000", "memory.max=1000", "memory.low=500"],
    );
    check(
        r#"{"memory":{"limit":1000,"swap":1000}}"#,
        &["memory.limit_in_bytes=1000~", "memory.memsw.limit_in_bytes=1000"],
        &["memory.swap.max=0?", "memory.max=1000"],
    );
    check(
        r#"{"memory":{"limit":1000,"swap":-1}}"#,
        &["memory.limit_in_bytes=1000~", "memory.memsw.limit_in_bytes=-1"],
        &["memory.swap.max=max?", "memory.max=1000"],
    );
    check(
        r#"{"memory":{"limit":-1}}"#,
        &["memory.limit_in_bytes=-1~", "memory.memsw.limit_in_bytes=-1?"],
        &["memory.swap.max=max?", "memory.max=max"],
    );
    check(
        r#"{"memory":{"limit":-1,"swap":2000,"reservation":-1}}"#,
        &[
            "memory.limit_in_bytes=-1~",
            "memory.memsw.limit_in_bytes=2000",
            "memory.soft_limit_in_bytes=-1",
        ],
        &["memory.swap.max=2000", "memory.max=max", "memory.low=max"],
    );
    refused(r#"{"memory":{"swap":2000}}"#, None, Some("memory.swap: needs memory.limit as well"));
    refused(
        r#"{"memory":{"limit":3000,"swap":2000}}"#,
        None,
        Some("memory.swap: 2000 (memory+swap) is less than memory.limit 3000"),
    );
}

#[test]
fn memory_without_counterpart_on_v2() {
    let json = r#"{"memory":{"swappiness":0,"disableOOMKiller":true}}"#;
    let knobs = v1::knobs(&resources(json), ZeroPids::Limit).unwrap();
    assert_eq!(show(&knobs), ["memory.oom_control=1", "memory.swappiness=0"]);
    let words = format!("memory.swappiness{NO_KNOB}");
    refused(r#"{"memory":{"swappiness":60}}"#, None, Some(&words));
    let words = format!("memory.disableOOMKiller{NO_KNOB}");
    refused(r#"{"memory":{"disableOOMKiller":true}}"#, None, Some(&words));
    check(r#"{"memory":{"disableOOMKiller":false}}"#, &[], &[]);
}

#[test]
fn usage_is_checked_first_when_asked() {
    let json = r#"{"memory":{"limit":1000,"checkBeforeUpdate":true}}"#;
    let check = v1::knobs(&resources(json), ZeroPids::Limit).unwrap().check.unwrap();
    assert_eq!((check.file.as_str(), check.limit), ("memory.usage_in_bytes", 1000));
    let check = v2::knobs(&resources(json), ZeroPids::Limit).unwrap().check.unwrap();
    assert_eq!((check.file.as_str(), check.limit), ("memory.current", 1000));
    for json in [
        r#"{"memory":{"limit":1000}}"#,
        r#"{"memory":{"limit":-1,"checkBeforeUpdate":true}}"#,
        r#"{"memory":{"checkBeforeUpdate":true}}"#,
    ] {
        assert_eq!(v2::knobs(&resources(json), ZeroPids::Limit).unwrap().check, None, "{json}");
    }
}

#[test]
fn cpu() {
    check(
        r#"{"cpu":{"shares":512,"quota":50000,"period":200000,"burst":1000,"idle":0,"cpus":"0-1","mems":"0"}}"#,
        &[
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "cpu.shares=512~",
            "cpu.cfs_period_us=200000~",
            "cpu.cfs_burst_us=1000?~",
            "cpu.cfs_quota_us=50000",
            "cpu.idle=0",
        ],
        &[
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "cpu.weight=59~",
            "cpu.idle=0",
            "cpu.max.burst=1000?~",
            "cpu.max=50000 200000",
        ],
    );
    check(r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 100000"]);
    check(r#"{"cpu":{"quota":50000}}"#, &["cpu.cfs_quota_us=50000"], &["cpu.max=50000 100000"]);
    check(r#"{"cpu":{"period":50000}}"#, &["cpu.cfs_period_us=50000~"], &["cpu.max=max 50000"]);
    check(r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}}"#, &[], &[]);
    refused(r#"{"cpu":{"shares":1}}"#, Some("cpu.shares: 1 is not in 2..=262144"), None);
    refused(r#"{"cpu":{"shares":262145}}"#, Some("cpu.shares: 262145 is not in 2..=262144"), None);
}

#[test]
fn realtime_is_known_to_v1_only() {
    let json = r#"{"cpu":{"realtimeRuntime":1000,"realtimePeriod":5000}}"#;
    let rows = show(&v1::knobs(&resources(json), ZeroPids::Limit).unwrap());
    assert_eq!(rows, ["cpu.rt_period_us=5000~", "cpu.rt_runtime_us=1000"]);
    refused(json, None, Some(&format!("cpu.realtimeRuntime{NO_KNOB}")));
    check(r#"{"cpu":{"realtimeRuntime":0}}"#, &[], &[]);
}

#[test]
fn shares_become_a_weight() {
    // The three fixed points, and values that runc's own test has.
    for (shares, weight) in [(1, 1), (2, 1), (1024, 100), (262_144, 10_000), (1_000_000, 10_000)] {
        let knobs =
            v2::knobs(&resources(&format!(r#"{{"cpu":{{"shares":{shares}}}}}"#)), ZeroPids::Limit)
                .unwrap();
        assert_eq!(show(&knobs), [format!("cpu.weight={weight}~")], "{shares}");
    }
}

#[test]
fn pids() {
    check(r#"{"pids":{"limit":10}}"#, &["pids.max=10"], &["pids.max=10"]);
    check(r#"{"pids":{"limit":0}}"#, &["pids.max=1"], &["pids.max=1"]);
    check(r#"{"pids":{"limit":-1}}"#, &["pids.max=max"], &["pids.max=max"]);
}

#[test]
fn block_io() {
    check(
        r#"{"blockIO":{"weight":10,"weightDevice":[{"major":8,"minor":0,"weight":1000}],
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],
        "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":4}]}}"#,
        &[
            "blkio.bfq.weight=10|blkio.weight=10",
            "blkio.bfq.weight_device=8:0 1000|blkio.weight_device=8:0 1000",
            "blkio.throttle.read_bps_device=8:0 1",
            "blkio.throttle.write_bps_device=8:0 2",
            "blkio.throttle.read_iops_device=8:0 3",
            "blkio.throttle.write_iops_device=8:16 4",
        ],
        &[
            "io.bfq.weight=10|io.weight=1",
            "io.bfq.weight=8:0 1000|io.weight=8:0 10000",
            "io.max=8:0 rbps=1",
            "io.max=8:0 wbps=2",
            "io.max=8:0 riops=3",
            "io.max=8:16 wiops=4",
        ],
    );
    let words = format!("blockIO.leafWeight{NO_KNOB}");
    refused(r#"{"blockIO":{"leafWeight":5}}"#, None, Some(&words));
}

#[test]
fn hugepages() {
    check(
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
        &["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes=4194304?"],
        &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304?"],
    );
    for size in ["2M", "", "B", "../x", "MB", "2MB/.."] {
        let words =
            format!("hugepageLimits[0].pageSize: {size:?} is no page size (64KB, 2MB, 1GB)");
        let json = format!(r#"{{"hugepageLimits":[{{"pageSize":{size:?},"limit":1}}]}}"#);
        refused(&json, Some(&words), Some(&words));
    }
}

#[test]
fn network() {
    let json = r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]}}"#;
    let rows = show(&v1::knobs(&resources(json), ZeroPids::Limit).unwrap());
    assert_eq!(rows, ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 500"]);
    refused(json, None, Some(&format!("network{NO_KNOB}")));
    check(r#"{"network":{"classID":0,"priorities":[]}}"#, &[], &[]);
}

#[test]
fn rdma() {
    let rows = [
        "rdma.max=mlx4_0 hca_handle=max hca_object=1000",
        "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
    ];
    check(
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1000}}}"#,
        &rows,
        &rows,
    );
}

#[test]
fn unified() {
    let json = r#"{"unified":{"memory.high":"1000","io.max":"259:0 rbps=1\n253:0 wiops=2"}}"#;
    let rows = show(&v2::knobs(&resources(json), ZeroPids::Limit).unwrap());
    assert_eq!(rows, ["io.max=259:0 rbps=1", "io.max=253:0 wiops=2", "memory.high=1000"]);
    refused(json, Some("unified: this host has cgroup v1"), None);
    for name in ["../memory.max", "", "..", "a/b"] {
        let words = format!("unified[{name:?}]: must be the name of a file");
        let json = format!(r#"{{"unified":{{{name:?}:"1"}}}}"#);
        refused(&json, Some("unified: this host has cgroup v1"), Some(&words));
    }
}
