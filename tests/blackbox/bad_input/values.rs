//! Bad values of the configuration, field by field.

use richrun_tests::bundle::{sh, user_namespace};
use richrun_tests::{Kind, Trial, View};
use serde_json::json;

use super::CRUN;
use super::refusal::Who::{All, Ours};
use super::refusal::{Row, Table};

/// Values that no host can make anything of, field by field.
pub fn create_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let mut table = Table::new(t);
    let bundle = t.bundle(|c| sh(c, "true"));
    let rows: &[Row] = &[
        (Ours, "ociVersion", json!("2.0.0"), &["ociVersion: ", "2.0.0"]),
        (Ours, "ociVersion", json!("one"), &["ociVersion: ", "one"]),
        (All, "root", json!(null), &["root.path: "]),
        (All, "root.path", json!("nowhere"), &["root", "nowhere", "no such file or directory"]),
        (All, "root.path", json!("config.json"), &["root", "config.json", "not a directory"]),
        (All, "process.args", json!([]), &["process.args: "]),
        (All, "process.args", json!(["a\0b"]), &["process.args: ", "NUL"]),
        (All, "process.cwd", json!("tmp"), &["process.cwd: ", "absolute"]),
        (Ours, "process.env.+", json!("NAME"), &["process.env: ", "NAME"]),
        (All, "process.user.uid", json!(-1), &["config.json", "column"]),
        (All, "process.user.uid", json!(1u64 << 32), &["config.json", "column"]),
        // The kernel takes it for "as it is", which is root.
        (All, "process.user.uid", json!(u32::MAX), &["process.user.uid: 4294967295"]),
        (All, "process.user.gid", json!(u32::MAX), &["process.user.gid: 4294967295"]),
        (All, "process.user.additionalGids", json!([u32::MAX]), &["process.user.additionalGids: "]),
        (All, "process.rlimits.0.type", json!("RLIMIT_NONE"), &["RLIMIT_NONE", "column"]),
        (
            Ours,
            "process.rlimits.+",
            json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}),
            &["process.rlimits: ", "RLIMIT_NOFILE", "twice"],
        ),
        (Ours, "process.rlimits.0.soft", json!(5000), &["process.rlimits: ", "RLIMIT_NOFILE"]),
        (Ours, "process.oomScoreAdj", json!(1001), &["process.oomScoreAdj: ", "1001"]),
        (
            Ours,
            "process.ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            &["process.ioPriority.priority: "],
        ),
        (
            Ours,
            "process.scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            &["process.scheduler.nice: ", "20"],
        ),
        (Ours, "mounts.+", json!({"type": "tmpfs"}), &["destination", "column"]),
        (Ours, "mounts.+", json!({"destination": "/x"}), &["mounts[", "].type: "]),
        (
            Ours,
            "mounts.+",
            json!({"destination": "/x", "type": "bind"}),
            &["mounts[", "].source: "],
        ),
        (
            Ours,
            "mounts.+",
            json!({"destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind"],
                   "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
            &["mounts[", "].uidMappings: "],
        ),
        (
            Ours,
            "mounts.+",
            json!({"destination": "/proc/self", "type": "tmpfs", "source": "x"}),
            &["mounts[", "].destination: ", "/proc/self"],
        ),
        (
            All,
            "hooks.createRuntime",
            json!([{"path": "hook"}]),
            &["hooks.createRuntime[0].path: ", "absolute"],
        ),
        (
            Ours,
            "hooks.poststop",
            json!([{"path": "/bin/true", "timeout": 0}]),
            &["hooks.poststop[0].timeout: "],
        ),
        (All, "linux.namespaces.+", json!({"type": "moon"}), &["moon", "column"]),
        (
            All,
            "linux.namespaces.+",
            json!({"type": "uts"}),
            &["linux.namespaces: ", "uts", "twice"],
        ),
        (
            Ours,
            "linux.namespaces.0",
            json!({"type": "pid", "path": "proc/1/ns/pid"}),
            &["linux.namespaces: ", "pid", "absolute"],
        ),
        (
            Ours,
            "linux.uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            &["linux.uidMappings: "],
        ),
        (
            Ours,
            "linux.timeOffsets",
            json!({"monotonic": {"secs": 1}}),
            &["linux.timeOffsets: ", "time namespace"],
        ),
        (
            Ours,
            "linux.devices",
            json!([{"path": "dev/x", "type": "c", "major": 1, "minor": 3}]),
            &["linux.devices[0].path: "],
        ),
        (
            All,
            "linux.devices",
            json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]),
            &["column"],
        ),
        (All, "linux.sysctl", json!({"vm.swappiness": "1"}), &["linux.sysctl", "vm.swappiness"]),
        (Ours, "linux.maskedPaths.+", json!("proc/x"), &["linux.maskedPaths[", "absolute"]),
        (Ours, "linux.readonlyPaths.+", json!("./x"), &["linux.readonlyPaths[", "absolute"]),
        (
            Ours,
            "linux.resources.cpu",
            json!({"quota": 10_000, "period": 100_000, "burst": 10_001}),
            &["linux.resources.cpu.burst: ", "10001", "10000"],
        ),
        (
            Ours,
            "linux.resources.blockIO",
            json!({"weightDevice": [{"major": 8, "minor": 0}]}),
            &["linux.resources.blockIO.weightDevice[0]: ", "leafWeight"],
        ),
        (
            Ours,
            "linux.resources.rdma",
            json!({"mlx5_1": {}}),
            &["linux.resources.rdma[\"mlx5_1\"]: ", "hcaObjects"],
        ),
        (Ours, "linux.rootfsPropagation", json!("up"), &["linux.rootfsPropagation: ", "up"]),
        (Ours, "linux.cgroupsPath", json!("/a/../../b"), &["linux.cgroupsPath: ", ".."]),
        (
            All,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_SING"}),
            &["SCMP_ACT_SING", "column"],
        ),
        (
            All,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            &["linux.seccomp", "SCMP_ACT_NOTIFY"],
        ),
        (
            Ours,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
                "names": ["read"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
            &["linux.seccomp.syscalls[0].args[0].index: ", "6"],
        ),
        (
            Ours,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            &["linux.seccomp.listenerMetadata: ", "listenerPath"],
        ),
        (
            Ours,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
            &["linux.seccomp.defaultErrnoRet: ", "SCMP_ACT_ALLOW"],
        ),
        (
            Ours,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
                "names": ["kexec_load"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]}),
            &["linux.seccomp.syscalls[0].errnoRet: ", "SCMP_ACT_KILL"],
        ),
        (
            Ours,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such.sock",
                   "syscalls": [{"names": ["kexec_load"], "action": "SCMP_ACT_NOTIFY"}]}),
            &["linux.seccomp.listenerPath", "/no/such.sock", "no such file or directory"],
        ),
        (
            Ours,
            "mounts.+",
            json!({"destination": "/x", "type": "bind", "source": "/tmp",
                   "options": ["bind", "idmap"]}),
            &["mounts[", "idmap", "user namespace"],
        ),
        (Ours, "annotations", json!({"": "x"}), &["annotations: ", "empty"]),
        (
            Ours,
            "linux.memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0-"}),
            &["linux.memoryPolicy.nodes: "],
        ),
        (Ours, "linux.personality", json!({"domain": "MARS"}), &["MARS", "column"]),
    ];
    table.rows(&bundle, rows);
    table.end();
}

/// What this host, or this root file system, does not have.
pub fn host_refuses(t: &Trial) {
    let mut table = Table::new(t);
    let bundle = t.bundle(|c| sh(c, "true"));
    let mount = |kind: &str, source: &str, options: &[&str]| json!({"destination": "/x", "type": kind, "source": source, "options": options});
    let rows: &[Row] = &[
        (All, "process.args", json!(["no-such-program"]), &["no-such-program", "not found in"]),
        (All, "process.args", json!(["/no/such"]), &["/no/such", "no such file or directory"]),
        (All, "process.args", json!(["/etc/passwd"]), &["/etc/passwd", "permission denied"]),
        (All, "process.args", json!(["/etc"]), &["\"/etc\"", "is a directory"]),
        (All, "process.cwd", json!("/etc/passwd"), &["cwd", "/etc/passwd", "not a directory"]),
        (All, "mounts.+", mount("nofs", "x", &[]), &["nofs", "/x", "no such device"]),
        (
            All,
            "mounts.+",
            mount("tmpfs", "x", &["size=much"]),
            &["mounts[", "/x", "invalid argument"],
        ),
        (
            All,
            "mounts.+",
            mount("bind", "/no/such/source", &["bind"]),
            &["/no/such/source", "no such file or directory"],
        ),
        (
            All,
            "linux.sysctl",
            json!({"net.ipv4.ip_forward": "maybe"}),
            &["linux.sysctl", "ip_forward", "invalid argument"],
        ),
        (
            All,
            "linux.sysctl",
            json!({"net.no_such": "1"}),
            &["linux.sysctl", "no_such", "no such file or directory"],
        ),
        (
            All,
            "hooks.createRuntime",
            json!([{"path": "/no/such/hook"}]),
            &["createRuntime hook #0", "/no/such/hook", "no such file or directory"],
        ),
        (
            All,
            "hooks.createContainer",
            json!([{"path": "/bin/false"}]),
            &["createContainer hook #0", "exit status 1"],
        ),
        (Ours, "linux.netDevices", json!({"no-such-device": {}}), &["linux.netDevices"]),
        (Ours, "linux.intelRdt", json!({"closID": "x"}), &["linux.intelRdt", "resctrl"]),
        (
            Ours,
            "process.apparmorProfile",
            json!("no-such-profile"),
            &["process.apparmorProfile", "no-such-profile"],
        ),
    ];
    table.rows(&bundle, rows);
    let mapped = t.bundle(|c| {
        sh(c, "true");
        user_namespace(c);
    });
    let beyond: &[Row] = &[
        (All, "process.user.uid", json!(70_000), &["process.user", "70000"]),
        (All, "process.user.gid", json!(70_000), &["process.user", "70000"]),
    ];
    table.rows(&mapped, beyond);
    table.end();
}

pub fn limits_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let mut table = Table::new(t);
    let bundle = t.bundle(|c| sh(c, "true"));
    let v1: &[Row] = &[
        (All, "linux.resources.memory", json!({"limit": 1}), &["linux.resources.memory.limit"]),
        (
            All,
            "linux.resources.cpu",
            json!({"quota": 1, "period": 1}),
            &["linux.resources.cpu.", "invalid argument"],
        ),
        (
            All,
            "linux.resources.cpu",
            json!({"cpus": "4000"}),
            &["linux.resources.cpu.cpus", "4000"],
        ),
        (
            Ours,
            "linux.resources.hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 1}]),
            &["linux.resources.hugepageLimits"],
        ),
    ];
    let v2: &[Row] = &[
        (
            Ours,
            "linux.resources.hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 1}]),
            &["linux.resources.hugepageLimits"],
        ),
        (
            All,
            "linux.resources.unified",
            json!({"no.such.knob": "1"}),
            &["linux.resources.unified", "no.such.knob"],
        ),
        (
            Ours,
            "linux.resources.unified",
            json!({"cgroup.max.depth": "deep"}),
            &["linux.resources.unified", "cgroup.max.depth", "invalid argument"],
        ),
    ];
    table.rows(&bundle, if t.view == View::V1 { v1 } else { v2 });
    table.end();
}
