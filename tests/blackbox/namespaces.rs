//! Namespaces: new ones, inherited ones, joined ones; mappings and time offsets.

use std::fs;
use std::path::Path;

use richrun_tests::bundle::{
    args, bind, namespaces, sh, user_namespace, without_mount, without_namespace,
};
use richrun_tests::suite::{ALL, BOTH, ONE, ROOT, USER};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::json;

pub fn register(suite: &mut Suite) {
    suite
        .on(ALL, "new_ones", new_ones)
        .on(ROOT, "cgroup_namespace", cgroup_namespace)
        .on(ONE, "inherited", inherited)
        .on(ROOT, "joined_by_path", joined_by_path)
        .on(ONE, "joined_user_namespace", joined_user_namespace)
        .on(ONE, "joined_of_another_owner", joined_of_another_owner)
        .on(ONE, "joined_mount_namespace", joined_mount_namespace)
        .on(ONE, "pid_namespace_shared", pid_namespace_shared)
        .on(ONE, "time_offsets", time_offsets)
        .on(ROOT, "user_namespace_mappings", user_namespace_mappings)
        .on(USER, "rootless_mappings", rootless_mappings)
        .on(USER, "rootless_single_id", rootless_single_id)
        .on(ONE, "nested_user_namespace", nested_user_namespace)
        .on(ONE, "several_mappings", several_mappings)
        .on(ONE, "user_namespace_devices", user_namespace_devices)
        .on(BOTH, "wrong_path", wrong_path)
        .on(BOTH, "loopback_is_there", loopback_is_there)
        .on(ONE, "network_namespace_of_ip", network_namespace_of_ip)
        .on(ONE, "keyring", keyring);
}

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("user", "user"),
];

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).expect("readlink").to_string_lossy().into_owned()
}

fn of(pid: i32, name: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("readlink");
    link.to_string_lossy().into_owned()
}

fn new_ones(t: &Trial) {
    let c = t.idle();
    for (kind, name) in KINDS {
        let listed = c.bundle.config()["linux"]["namespaces"]
            .as_array()
            .is_some_and(|list| list.iter().any(|entry| entry["type"] == kind));
        assert_eq!(of(c.pid(), name) != own(name), listed, "{kind}");
    }
    c.remove();
}

fn cgroup_namespace(t: &Trial) {
    let with = t.idle_with(|c| {
        without_namespace(c, "cgroup");
        namespaces(c).push(json!({"type": "cgroup"}));
    });
    assert_ne!(of(with.pid(), "cgroup"), own("cgroup"));
    // Joined after the move into the cgroup: the container sees itself at the top.
    let out = with.exec("cat /proc/1/cgroup").ok();
    for line in out.out.lines().filter(|line| line.contains(":pids:") || line.starts_with("0::")) {
        assert!(line.ends_with(":/"), "{line}");
    }
    with.remove();
    let without = t.idle_with(|c| without_namespace(c, "cgroup"));
    assert_eq!(of(without.pid(), "cgroup"), own("cgroup"));
    without.remove();
}

fn inherited(t: &Trial) {
    let kinds =
        [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")];
    for (kind, name) in kinds {
        let c = t.idle_with(|c| {
            without_namespace(c, kind);
            if kind == "pid" {
                // The first process of no namespace ends by what it does not handle.
                sh(c, "exec sleep 1000");
            }
            if kind == "uts" {
                c.as_object_mut().expect("config").remove("hostname");
            }
            if kind == "ipc" {
                without_mount(c, "/dev/mqueue");
            }
            if kind == "network" {
                without_mount(c, "/sys");
                without_mount(c, "/sys/fs/cgroup");
            }
        });
        assert_eq!(of(c.pid(), name), own(name), "{kind}");
        c.remove();
    }
}

fn joined_by_path(t: &Trial) {
    let first = t.idle();
    let pid = first.pid();
    let mut kinds = vec![
        ("pid", "pid"),
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("cgroup", "cgroup"),
    ];
    if t.kind() == Kind::Crun {
        kinds.retain(|(kind, _)| *kind != "cgroup");
    }
    for (kind, name) in kinds {
        let second = t.idle_with(|c| {
            without_namespace(c, kind);
            namespaces(c).push(json!({"type": kind, "path": format!("/proc/{pid}/ns/{name}")}));
            if kind == "uts" {
                c.as_object_mut().expect("config").remove("hostname");
            }
        });
        assert_eq!(of(second.pid(), name), of(pid, name), "{kind}");
        for (other_kind, other) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            if other_kind != kind {
                assert_ne!(of(second.pid(), other), of(pid, other), "{other_kind} beside {kind}");
            }
        }
        second.remove();
    }
    first.remove();
}

fn joined_user_namespace(t: &Trial) {
    let first = t.idle_with(user_namespace);
    let pid = first.pid();
    let second = t.idle_with(|c| {
        if t.kind() == Kind::Runc {
            user_namespace(c); // wants the mappings all the same
        }
        namespaces(c).retain(|entry| entry["type"] != "network" && entry["type"] != "user");
        namespaces(c).push(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
        namespaces(c).push(json!({"type": "network", "path": format!("/proc/{pid}/ns/net")}));
    });
    for name in ["user", "net"] {
        assert_eq!(of(second.pid(), name), of(pid, name), "{name}");
    }
    second.exec("id -u").ok().prints("0");
    second.remove();
    first.remove();
}

/// The user namespace that is joined need not own the others: whoever has the rights over
/// both joins both.
fn joined_of_another_owner(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "joins the user namespace first");
    let owner = t.idle_with(user_namespace);
    let hosts = t.idle();
    let joins = [("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
    let third = t.idle_with(|c| {
        if t.kind() == Kind::Runc {
            user_namespace(c); // wants the mappings all the same
        }
        c.as_object_mut().expect("config").remove("hostname");
        let joined = |entry: &serde_json::Value| {
            entry["type"] == "user" || joins.iter().any(|(kind, _)| entry["type"] == *kind)
        };
        namespaces(c).retain(|entry| !joined(entry));
        // These mounts take the rights over the network namespace, and over the ipc namespace.
        for mount in ["/sys", "/sys/fs/cgroup", "/dev/mqueue"] {
            without_mount(c, mount);
        }
        let path = |pid: i32, name: &str| format!("/proc/{pid}/ns/{name}");
        namespaces(c).push(json!({"type": "user", "path": path(owner.pid(), "user")}));
        for (kind, name) in joins {
            namespaces(c).push(json!({"type": kind, "path": path(hosts.pid(), name)}));
        }
    });
    assert_eq!(of(third.pid(), "user"), of(owner.pid(), "user"));
    for (kind, name) in joins {
        assert_eq!(of(third.pid(), name), of(hosts.pid(), name), "{kind}");
        let seen = third.exec(&format!("readlink /proc/self/ns/{name}")).ok();
        assert_eq!(seen.trimmed(), of(hosts.pid(), name), "exec, {kind}");
    }
    for container in [third, hosts, owner] {
        container.remove();
    }
}

fn joined_mount_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "does not set up a joined mount namespace without a private copy");
    let first = t.idle();
    let pid = first.pid();
    let bundle = t.bundle(|c| {
        sh(c, "readlink /proc/self/ns/mnt");
        without_namespace(c, "mount");
        namespaces(c).push(json!({"type": "mount", "path": format!("/proc/{pid}/ns/mnt")}));
    });
    // The root of that namespace is not this bundle's: either it works inside
    // that namespace, or the refusal says which field is to blame.
    let out = t.run(&bundle);
    if out.code == 0 {
        out.prints(&of(pid, "mnt"));
    } else {
        out.exits(1);
    }
    first.remove();
}

fn pid_namespace_shared(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "exec sleep 1000");
        without_namespace(c, "pid");
    });
    let c = t.detach(&bundle);
    assert_eq!(of(c.pid(), "pid"), own("pid"));
    c.kill("KILL");
    c.wait("stopped");
    c.remove();
}

fn time_offsets(t: &Trial) {
    t.only(&[Kind::Richrun], "no time namespace in these versions");
    let uptime = |text: &str| text.split('.').next().and_then(|s| s.trim().parse::<i64>().ok());
    let own_time = uptime(&fs::read_to_string("/proc/uptime").expect("uptime")).expect("a number");
    let edit = |c: &mut serde_json::Value| {
        namespaces(c).push(json!({"type": "time"}));
        c["linux"]["timeOffsets"] = json!({
            "monotonic": {"secs": 10_000, "nanosecs": 0},
            "boottime": {"secs": 1_000_000, "nanosecs": 5},
        });
    };
    let out = t.sh_with("cat /proc/uptime; readlink /proc/self/ns/time", edit).ok();
    let theirs = uptime(&out.out).expect("a number");
    assert!((theirs - own_time - 1_000_000).abs() < 60, "{theirs} beside {own_time}");
    assert!(!out.out.contains(&own("time")));
    let c = t.idle_with(edit);
    let out = c.exec("cat /proc/uptime").ok();
    assert!(uptime(&out.out).expect("a number") > own_time + 900_000, "exec joins it too");
    c.remove();
}

fn user_namespace_mappings(t: &Trial) {
    let c = t.idle_with(user_namespace);
    let map = c.proc_file("uid_map");
    let words: Vec<_> = map.split_whitespace().collect();
    assert_eq!(words, ["0", "2000000", "65536"]);
    assert!(c.proc_file("status").contains("Uid:\t2000000"));
    c.exec("id -u; cat /proc/self/gid_map").ok().shows("0\n");
    c.exec("touch /dev/shm/x && stat -c %u /dev/shm/x").ok().prints("0");
    c.remove();
}

fn rootless_mappings(t: &Trial) {
    let out = t.sh(
        "cat /proc/self/uid_map; cat /proc/self/setgroups; id -u; touch /tmp/x; stat -c %u /tmp/x",
    );
    let out = out.ok();
    let words: Vec<_> = out.out.split_whitespace().collect();
    assert_eq!(words, ["0", "20001", "1", "1", "2000000", "65535", "allow", "0", "0"]);
    t.sh_with("id -u", |c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000}))
        .ok()
        .prints("1000");
}

/// Without the helpers: one id, mapped by the process itself.
fn rootless_single_id(t: &Trial) {
    let out = t.sh_with("cat /proc/self/uid_map; cat /proc/self/setgroups", |c| {
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"][kind] = json!([{"containerID": 0, "hostID": 20_001, "size": 1}]);
        }
        // gid 5 is not mapped here.
        richrun_tests::bundle::mounts(c).retain(|entry| entry["destination"] != "/dev/pts");
    });
    let out = out.ok();
    let words: Vec<_> = out.out.split_whitespace().collect();
    assert_eq!(words, ["0", "20001", "1", "deny"]);
}

/// As rootless podman's `--userns=auto`: the runtime is root of a user namespace, the
/// container's root somebody else there, who may not walk to what is bound.
fn nested_user_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "one runtime is enough");
    let bundle = t.bundle(|c| {
        sh(c, "cat /given; stat -c %u /given");
        user_namespace(c);
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"][kind] = json!([{"containerID": 0, "hostID": 1, "size": 1000}]);
        }
        if let Some(linux) = c["linux"].as_object_mut() {
            linux.remove("resources");
            linux.remove("cgroupsPath");
        }
    });
    let secret = Path::new(bundle.path()).join("secret/given");
    bundle.edit(|c| bind(c, &secret, "/given", &["rbind", "ro"]));
    let script = r#"
        cd "$1"; chown -R 100000:100000 .; chown -R 100001:100001 rootfs; mkfifo go
        mkdir -m 700 secret; echo kept >secret/given; chown 100000 secret; chown 100001 secret/given
        unshare --user --keep-caps --mount sh -c 'read go <go; exec "$@"' sh \
            setpriv --reuid 0 --regid 0 --clear-groups "$2" --root "$1/state" run --bundle "$1" nested &
        pid=$!
        while [ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
        echo 0 100000 65536 >/proc/$pid/uid_map
        echo 0 100000 65536 >/proc/$pid/gid_map
        echo >go
        wait $pid"#;
    let runtime = t.runtime_path();
    let line = ["-c", script, "sh", bundle.path(), &runtime.to_string_lossy()];
    t.cmd("sh", &line).ok().prints("kept\n0");
}

fn several_mappings(t: &Trial) {
    let out = t.sh_with("cat /proc/self/uid_map", |c| {
        user_namespace(c);
        c["linux"]["uidMappings"] = json!([
            {"containerID": 0, "hostID": 2_000_000, "size": 10},
            {"containerID": 10, "hostID": 3_000_000, "size": 20},
            {"containerID": 1000, "hostID": 0, "size": 1},
        ]);
    });
    let out = out.ok();
    let rows: Vec<Vec<_>> = out.out.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows, [["0", "2000000", "10"], ["10", "3000000", "20"], ["1000", "0", "1"]]);
}

/// Without mknod: the devices are the host's own, bound.
fn user_namespace_devices(t: &Trial) {
    let out = t.sh_with(
        "echo x > /dev/null && head -c 4 /dev/zero | wc -c; stat -c %t:%T /dev/null",
        user_namespace,
    );
    out.ok().prints("4\n1:3");
}

fn wrong_path(t: &Trial) {
    for (kind, path) in [
        ("network", "/proc/self/ns/uts"),
        ("network", "/no/such/namespace"),
        ("ipc", "/etc/passwd"),
        ("pid", "/proc/self/ns/net"),
    ] {
        let out = t.sh_with("true", |c| {
            without_namespace(c, kind);
            namespaces(c).push(json!({"type": kind, "path": path}));
        });
        let out = out.fails();
        if t.is_richrun() {
            out.exits(1).says(path);
        }
    }
}

fn loopback_is_there(t: &Trial) {
    t.sh("ip link show | head -1; ip addr show lo").ok().shows("1: lo:");
}

fn network_namespace_of_ip(t: &Trial) {
    if !std::path::Path::new("/bin/ip").exists() && !std::path::Path::new("/sbin/ip").exists() {
        t.skip("iproute2 is not installed");
    }
    let name = t.name("net");
    t.cmd("ip", &["netns", "add", &name]).ok();
    t.accept_mounts();
    t.cmd("ip", &["netns", "exec", &name, "ip", "link", "set", "lo", "up"]).ok();
    let path = format!("/run/netns/{name}");
    t.sh_with("ip addr show lo", |c| {
        without_namespace(c, "network");
        namespaces(c).push(json!({"type": "network", "path": path}));
    })
    .ok()
    .shows("127.0.0.1/8");
    t.cmd("ip", &["netns", "del", &name]).ok();
    t.accept_mounts();
}

/// A session keyring of its own, named after the container, joined by exec.
fn keyring(t: &Trial) {
    let bundle = t.bundle(|c| {
        args(c, &["/probe", "keyring"]);
        c["linux"]["maskedPaths"] = json!([]);
    });
    let bundle = bundle.with_probe();
    if t.kind() != Kind::Crun {
        let out = t.run(&bundle).ok();
        out.prints(&format!("_ses.{}", bundle.id));
    }
    let out = t.run_cmd(&bundle, &["--no-new-keyring"]).ok();
    assert_ne!(out.trimmed(), format!("_ses.{}", bundle.id));
    bundle.edit(|c| sh(c, richrun_tests::container::IDLE));
    let c = t.detach(&bundle);
    let out = c.exec_cmd(&[], &["/probe", "keyring"]).ok();
    out.prints(&format!("_ses.{}", bundle.id));
    c.remove();
}
