//! The container's process as it sees itself.

use richrun_tests::Kind::{Crun, Richrun, Runc};
use richrun_tests::bundle::{user_namespace, without_namespace};
use richrun_tests::suite::{BOTH, ONE, USER, V1, V2};
use serde_json::json;

use super::{ROW, Row, prints, refuses};

const STATUS: &str =
    "grep -E '^(Umask|Uid|Gid|NStgid|Threads|Cap|NoNewPrivs|Seccomp:)' /proc/1/status";

/// Nobody can: each says so in its words.
const UNMAPPED: &str = "a user who is not mapped cannot be had";

pub const ROWS: &[Row] = &[
    Row {
        name: "status",
        cases: ONE,
        script: STATUS,
        prints: "Umask:\t0022
            Uid:\t0\t0\t0\t0
            Gid:\t0\t0\t0\t0
            NStgid:\t1
            Threads:\t1
            CapInh:\t0000000000000000
            CapPrm:\t0000000020000420
            CapEff:\t0000000020000420
            CapBnd:\t0000000020000420
            CapAmb:\t0000000000000000
            NoNewPrivs:\t1
            Seccomp:\t0",
        ..ROW
    },
    Row {
        name: "status_of_a_user",
        cases: BOTH,
        edit: |c| c["process"]["user"] = json!({"uid": 1000, "gid": 2000, "umask": 0o77}),
        script: STATUS,
        prints: "Umask:\t0077
            Uid:\t1000\t1000\t1000\t1000
            Gid:\t2000\t2000\t2000\t2000
            NStgid:\t1
            Threads:\t1
            CapInh:\t0000000000000000
            CapPrm:\t0000000000000000
            CapEff:\t0000000000000000
            CapBnd:\t0000000020000420
            CapAmb:\t0000000000000000
            NoNewPrivs:\t1
            Seccomp:\t0",
        ..ROW
    },
    Row {
        name: "ambient_capabilities",
        cases: BOTH,
        edit: |c| {
            let sets = ["bounding", "effective", "permitted", "inheritable", "ambient"];
            let all = sets.map(|set| (set.to_owned(), json!(["CAP_KILL", "CAP_NET_RAW"])));
            c["process"]["capabilities"] = serde_json::Value::Object(all.into_iter().collect());
            c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        },
        script: "grep ^Cap /proc/self/status",
        prints: "CapInh:\t0000000000002020
            CapPrm:\t0000000000002020
            CapEff:\t0000000000002020
            CapBnd:\t0000000000002020
            CapAmb:\t0000000000002020",
        ..ROW
    },
    Row {
        name: "groups",
        cases: ONE,
        edit: |c| c["process"]["user"] = json!({"uid": 0, "gid": 7, "additionalGids": [9, 70000]}),
        script: "grep ^Groups /proc/self/status",
        prints: "Groups:\t9 70000",
        ..ROW
    },
    Row {
        name: "environment",
        cases: BOTH,
        script: "tr '\\0' '\\n' </proc/1/environ | sort",
        prints: "HOME=/root
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
            TERM=xterm",
        ..ROW
    },
    Row {
        name: "environment_twice_and_empty",
        cases: ONE,
        edit: |c| c["process"]["env"] = json!(["PATH=/bin", "A=1", "A=2", "B=", "HOME=/x"]),
        script: "tr '\\0' '\\n' </proc/1/environ | sort",
        prints: "A=2\nB=\nHOME=/x\nPATH=/bin",
        ..ROW
    },
    Row {
        name: "home_of_a_user",
        cases: ONE,
        edit: |c| c["process"]["user"] = json!({"uid": 1000, "gid": 0}),
        script: "echo $HOME",
        prints: "/home/app",
        ..ROW
    },
    Row {
        name: "home_of_nobody_known",
        cases: ONE,
        edit: |c| c["process"]["user"] = json!({"uid": 4242, "gid": 0}),
        script: "echo $HOME",
        prints: "/",
        ..ROW
    },
    Row {
        name: "home_without_a_directory",
        cases: ONE,
        edit: |c| c["process"]["user"] = json!({"uid": 1001, "gid": 0}),
        script: "echo \"[$HOME]\"",
        prints: "[/]",
        differs: &[
            prints(Runc, "[]", "takes passwd's empty field for a directory"),
            prints(Crun, "[]", "takes passwd's empty field for a directory"),
        ],
        ..ROW
    },
    Row {
        name: "working_directory",
        cases: BOTH,
        edit: |c| c["process"]["cwd"] = json!("/home/app"),
        script: "pwd; readlink /proc/1/cwd",
        prints: "/home/app\n/home/app",
        ..ROW
    },
    Row {
        name: "working_directory_is_made",
        cases: ONE,
        edit: |c| c["process"]["cwd"] = json!("/a/b"),
        script: "stat -c '%n %a %u:%g' /a /a/b",
        prints: "/a 755 0:0\n/a/b 755 0:0",
        ..ROW
    },
    Row {
        name: "limits",
        cases: BOTH,
        edit: |c| {
            c["process"]["rlimits"] = json!([
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 30},
            ]);
        },
        script: "grep -E 'open files|core file|stack' /proc/1/limits | tr -s ' '",
        prints: "Max stack size 1048576 1073741824 bytes
            Max core file size 0 0 bytes
            Max open files 100 200 files",
        ..ROW
    },
    Row { name: "umask", cases: BOTH, script: "umask", prints: "0022", ..ROW },
    Row {
        name: "oom_score_adj",
        cases: BOTH,
        edit: |c| c["process"]["oomScoreAdj"] = json!(500),
        script: "cat /proc/1/oom_score_adj",
        prints: "500",
        ..ROW
    },
    Row {
        name: "id_maps",
        cases: ONE,
        edit: user_namespace,
        script: "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; cat /proc/self/setgroups",
        prints: "0 2000000 65536\n0 2000000 65536\nallow",
        ..ROW
    },
    Row {
        name: "id_maps_rootless",
        cases: USER,
        script: "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; cat /proc/self/setgroups",
        prints: "0 20001 1\n1 2000000 65535\n0 20001 1\n1 2000000 65535\nallow",
        ..ROW
    },
    Row {
        name: "names",
        cases: BOTH,
        edit: |c| c["hostname"] = json!("box.example"),
        script: "hostname; cat /proc/sys/kernel/domainname",
        prints: "box.example\n(none)",
        ..ROW
    },
    Row {
        name: "domain_name",
        cases: ONE,
        edit: |c| c["domainname"] = json!("lan.example"),
        script: "cat /proc/sys/kernel/domainname",
        prints: "lan.example",
        differs: &[prints(Runc, "(none)", "runc before 1.2 does not know the field").until(1, 2)],
        ..ROW
    },
    Row {
        name: "descriptors",
        cases: BOTH,
        script: "ls /proc/1/fd; true",
        prints: "0\n1\n2",
        ..ROW
    },
    Row {
        name: "session",
        cases: BOTH,
        script: "cut -d' ' -f4,5,6,7,8 /proc/1/stat",
        prints: "0 1 1 0 -1",
        ..ROW
    },
    Row {
        name: "exit_status",
        cases: BOTH,
        script: "echo out; exit 42",
        prints: "out",
        code: 42,
        ..ROW
    },
    Row {
        name: "signal_death",
        cases: ONE,
        edit: |c| without_namespace(c, "pid"),
        script: "kill -KILL $$",
        code: 137,
        ..ROW
    },
    Row {
        name: "cgroup_v1",
        cases: V1,
        script: "grep -E ':(memory|pids|devices|name=systemd):' /proc/self/cgroup | cut -d: -f2,3 | sort",
        prints: "devices:/ID\nmemory:/ID\nname=systemd:/ID\npids:/ID",
        ..ROW
    },
    Row {
        name: "cgroup_limits_v1",
        cases: V1,
        edit: |c| {
            c["linux"]["resources"] = json!({
                "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swappiness": 7},
                "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
                "pids": {"limit": 99},
                "blockIO": {"weight": 300},
            });
        },
        script: "cd /sys/fs/cgroup; for f in memory/memory.limit_in_bytes \
            memory/memory.soft_limit_in_bytes memory/memory.swappiness cpu/cpu.shares \
            cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpuset/cpuset.mems \
            pids/pids.max; do echo ${f##*/} $(cat $f); done",
        prints: "memory.limit_in_bytes 67108864
            memory.soft_limit_in_bytes 33554432
            memory.swappiness 7
            cpu.shares 512
            cpu.cfs_quota_us 50000
            cpu.cfs_period_us 100000
            cpuset.cpus 0
            cpuset.mems 0
            pids.max 99",
        ..ROW
    },
    Row {
        name: "device_rules_v1",
        cases: V1,
        edit: |c| {
            c["linux"]["resources"] = json!({"devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                {"allow": true, "type": "b", "major": 7, "access": "r"},
            ]});
        },
        script: "sort /sys/fs/cgroup/devices/devices.list",
        prints: "b *:* m\nb 7:* r\nc *:* m\nc 10:200 rwm\nc 10:229 rw\nc 136:* rwm
            c 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:2 rwm",
        differs: &[prints(
            Crun,
            "b *:* m\nb 7:* r\nc *:* m\nc 10:200 rwm\nc 10:229 rw\nc 136:* rwm
            c 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:1 rwm\nc 5:2 rwm",
            "also allows the console",
        )],
        ..ROW
    },
    Row {
        name: "cgroup_v2",
        cases: V2,
        script: "grep ^0: /proc/self/cgroup",
        prints: "0::/",
        ..ROW
    },
    Row {
        name: "cgroup_v2_without_namespace",
        cases: V2,
        edit: |c| without_namespace(c, "cgroup"),
        script: "grep ^0: /proc/self/cgroup",
        prints: "0::/ID",
        ..ROW
    },
    Row {
        name: "sysctl",
        cases: BOTH,
        edit: |c| {
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"});
        },
        script: "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
        prints: "1\n4096",
        ..ROW
    },
    Row {
        name: "personality",
        cases: ONE,
        edit: |c| c["linux"]["personality"] = json!({"domain": "LINUX32"}),
        script: "uname -m",
        prints: "i686",
        differs: &[prints(Runc, "x86_64", "runc before 1.2 does not know the field").until(1, 2)],
        ..ROW
    },
    Row {
        name: "unknown_capability",
        cases: ONE,
        edit: |c| {
            let names = json!(["CAP_KILL", "CAP_FROM_THE_FUTURE"]);
            c["process"]["capabilities"] =
                json!({"bounding": names, "effective": names, "permitted": names});
        },
        script: "grep CapEff /proc/self/status",
        prints: "CapEff:\t0000000000000020",
        ..ROW
    },
    Row {
        name: "user_beyond_the_map",
        cases: USER,
        edit: |c| c["process"]["user"] = json!({"uid": 70000, "gid": 0}),
        script: "id -u",
        prints: "",
        differs: &[
            refuses(Runc, "cannot set uid to unmapped user", UNMAPPED),
            refuses(Crun, "setresuid", UNMAPPED),
            refuses(Richrun, "process.user.uid", UNMAPPED),
        ],
        ..ROW
    },
];
