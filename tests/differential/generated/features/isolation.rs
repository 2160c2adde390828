//! Namespaces, cgroups, devices, sysctls and seccomp.

use richrun_tests::View;
use richrun_tests::bundle::{namespaces, user_namespace, without_mount, without_namespace};
use richrun_tests::inside::CALLS;
use richrun_tests::stage::SUB_FIRST;
use serde_json::{Map, Value, json};

use super::{Feature, anywhere, as_root};
use crate::dice::Dice;
use crate::generated::place::{ID, Place};

const fn on_v1(name: &'static str, edit: fn(&mut Dice, Place, &mut Value)) -> Feature {
    Feature { name, fits: |place| place.is_root() && place.view == View::V1, edit }
}

const fn on_v2(name: &'static str, edit: fn(&mut Dice, Place, &mut Value)) -> Feature {
    Feature { name, fits: |place| place.is_root() && place.view == View::V2, edit }
}

pub const ALL: &[Feature] = &[
    as_root("namespaces less", |dice, _, c| {
        for kind in dice.some(&["ipc", "uts", "network", "pid", "cgroup"]) {
            without_namespace(c, kind);
            if kind == "ipc" {
                without_mount(c, "/dev/mqueue");
            }
            if kind == "uts" {
                c.as_object_mut().expect("an object").remove("hostname");
                c.as_object_mut().expect("an object").remove("domainname");
            }
        }
        // What needs a namespace that may be gone by now.
        c["linux"]["sysctl"] = json!({});
    }),
    as_root("namespaces of others", |dice, _, c| {
        for entry in namespaces(c) {
            let kind = entry["type"].as_str().unwrap_or_default().to_owned();
            if ["network", "ipc"].contains(&kind.as_str()) && dice.once_in(2) {
                let name = if kind == "network" { "net" } else { "ipc" };
                *entry = json!({"type": kind, "path": format!("/mnt/ns/{name}")});
            }
        }
    }),
    as_root("user namespace", own_users),
    anywhere("sysctls", |dice, _, c| {
        let list = [
            ("net.ipv4.ip_forward", "1"),
            ("net.core.somaxconn", "99"),
            ("net.ipv4.ip_unprivileged_port_start", "80"),
            ("kernel.msgmax", "4096"),
            ("kernel.shm_rmid_forced", "1"),
            ("fs.mqueue.msg_max", "7"),
            ("kernel.sem", "100 200 30 40"),
        ];
        let chosen = dice.some(&list).into_iter();
        let named: Map<String, Value> =
            chosen.map(|(name, value)| (name.to_owned(), json!(value))).collect();
        // Those of a namespace that is not the container's would be the host's.
        let has = |kind: &str| {
            namespaces(&mut c.clone())
                .iter()
                .any(|entry| entry["type"] == kind && entry["path"].is_null())
        };
        if has("ipc") && has("network") {
            c["linux"]["sysctl"] = Value::Object(named);
        }
    }),
    on_v1("memory", |dice, _, c| {
        let limit = (32 + dice.roll(64)) << 20;
        let mut memory = json!({"limit": limit});
        for (field, value) in [
            ("reservation", json!(limit / 2)),
            ("swap", json!(limit * 2)),
            ("swappiness", json!(dice.roll(101))),
            ("disableOOMKiller", json!(true)),
            ("useHierarchy", json!(true)),
        ] {
            if dice.once_in(3) {
                memory[field] = value;
            }
        }
        c["linux"]["resources"]["memory"] = memory;
    }),
    on_v1("cpu", |dice, _, c| {
        let mut cpu = json!({});
        for (field, value) in [
            ("shares", json!(2 + dice.roll(2000))),
            ("quota", json!(10_000 + dice.roll(90_000))),
            ("period", json!(100_000 + dice.roll(9))),
            ("cpus", json!(dice.pick(&["0", "0-1", "1"]))),
            ("mems", json!("0")),
            ("idle", json!(0)),
        ] {
            if dice.once_in(2) {
                cpu[field] = value;
            }
        }
        c["linux"]["resources"]["cpu"] = cpu;
    }),
    on_v1("pids", |dice, _, c| {
        c["linux"]["resources"]["pids"] = json!({"limit": dice.pick(&[-1, 50, 99, 4096])});
    }),
    on_v1("block devices", |dice, _, c| {
        let device = |rate: u64| json!([{"major": 7, "minor": 0, "rate": rate}]);
        let mut block = json!({"weight": 10 + dice.roll(990)});
        if dice.once_in(2) {
            block["throttleReadBpsDevice"] = device(1 + dice.roll(1 << 20));
        }
        if dice.once_in(2) {
            block["throttleWriteIOPSDevice"] = device(1 + dice.roll(1000));
        }
        c["linux"]["resources"]["blockIO"] = block;
    }),
    on_v2("unified", |dice, _, c| {
        let all = [("cgroup.max.depth", "3"), ("cgroup.max.descendants", "9")];
        let named: Map<String, Value> = dice
            .some(&all)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        c["linux"]["resources"]["unified"] = Value::Object(named);
    }),
    as_root("cgroup path", |dice, _, c| {
        // Parents are left by all: they may be anybody's.
        c["linux"]["cgroupsPath"] = match dice.roll(3) {
            0 => json!(ID),
            1 => json!(format!("./{ID}")),
            _ => json!(format!("//{ID}/.")),
        };
    }),
    as_root("device rules", |dice, _, c| {
        let rules = [
            json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}),
            json!({"allow": true, "type": "c", "major": 1, "access": "m"}),
            json!({"allow": true, "type": "b", "major": 7, "access": "r"}),
            json!({"allow": false, "type": "c", "major": 1, "minor": 8, "access": "w"}),
            json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"}),
            json!({"allow": false, "type": "c", "major": 5, "access": "rwm"}),
            json!({"allow": true, "access": "rwm"}),
        ];
        let mut list = vec![json!({"allow": false, "access": "rwm"})];
        list.extend(rules.into_iter().filter(|_| dice.once_in(3)));
        c["linux"]["resources"]["devices"] = json!(list);
    }),
    as_root("devices", |dice, _, c| {
        let list = [
            json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 1, "gid": 2}),
            json!({"path": "/dev/sub/dir/pipe", "type": "p", "fileMode": 0o600}),
            json!({"path": "/dev/block", "type": "b", "major": 7, "minor": 99}),
            json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600}),
            json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o444}),
            json!({"path": "/tmp/null", "type": "u", "major": 1, "minor": 3, "fileMode": 0o606, "gid": 1000}),
        ];
        c["linux"]["devices"] = list.into_iter().filter(|_| dice.once_in(2)).collect();
    }),
    anywhere("seccomp", seccomp),
];

fn own_users(dice: &mut Dice, _: Place, c: &mut Value) {
    user_namespace(c);
    if dice.once_in(2) {
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"][kind] = json!([
                {"containerID": 0, "hostID": SUB_FIRST + 10, "size": 1},
                {"containerID": 1, "hostID": SUB_FIRST + 100, "size": 65_535 - 100},
            ]);
        }
    }
}

fn seccomp(dice: &mut Dice, _: Place, c: &mut Value) {
    let names: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
    let rules = (0..1 + dice.roll(4)).map(|_| {
        let action = dice.pick(&["ERRNO", "ERRNO", "ERRNO", "LOG", "TRACE", "KILL_PROCESS"]);
        let mut rule =
            json!({"names": dice.some(&names[..4]), "action": format!("SCMP_ACT_{action}")});
        if action == "KILL_PROCESS" {
            rule["names"] = json!(["times"]);
        } else if rule["names"].as_array().is_some_and(Vec::is_empty) {
            rule["names"] = json!(["chroot"]);
        }
        if action == "ERRNO" && dice.once_in(2) {
            rule["errnoRet"] = json!(dice.roll(130));
        }
        rule
    });
    let rules: Vec<Value> = rules.collect();
    c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    if dice.once_in(2) {
        c["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    }
    if dice.once_in(3) {
        c["linux"]["seccomp"]["flags"] =
            json!([dice.pick(&["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])]);
    }
}
