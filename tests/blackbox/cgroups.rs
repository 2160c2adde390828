//! Control groups: paths, limits as the kernel has them, removal.

mod threads;

use std::fs;
use std::path::Path;

use richrun_tests::bundle::{sh, user_namespace, without_namespace};
use richrun_tests::command::wait_until;
use richrun_tests::suite::{ALL, ONE, ROOT, ROOTLESS, V1, V2};
use richrun_tests::{Kind, Suite, Trial, View};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "path_absolute", path_absolute)
        .on(ROOT, "path_relative", path_relative)
        .on(ROOT, "path_nested", path_nested)
        .on(ROOT, "default_path", default_path)
        .on(ROOT, "parent_kept", parent_kept)
        .on(V1, "v1_limits_read_back", v1_limits_read_back)
        .on(V1, "v1_cpu_cpuset", v1_cpu_cpuset)
        .on(V1, "v1_blkio", v1_blkio)
        .on(V1, "v1_memory_kills", v1_memory_kills)
        .on(V1, "v1_pids_hold", v1_pids_hold)
        .on(V1, "v1_swap_rules", v1_swap_rules)
        .on(V1, "v1_all_hierarchies", v1_all_hierarchies)
        .on(V2, "v2_hugetlb", v2_hugetlb)
        .on(V2, "v2_unified", v2_unified)
        .on(V2, "v2_missing_controller", v2_missing_controller)
        .on(V2, "v2_delegation", v2_delegation)
        .on(V2, "v2_threaded_groups", threads::joined)
        .on(V2, "v2_threaded_limits", threads::domain_limits_refused)
        .on(ROOTLESS, "rootless_path_refused", rootless_path_refused)
        .on(ROOTLESS, "rootless_shared_pids_warn", rootless_shared_pids_warn)
        .on(ROOT, "process_and_children_inside", process_and_children_inside)
        .on(ROOT, "removed_with_children", removed_with_children)
        .on(ROOT, "removed_while_frozen", removed_while_frozen)
        .on(ROOT, "busy_cgroup_refused", busy_cgroup_refused)
        .on(ROOT, "frozen_cgroup_refused", frozen_cgroup_refused)
        .on(ROOT, "fork_bomb_is_deleted", fork_bomb_is_deleted)
        .on(ROOT, "impossible_limits", impossible_limits)
        .on(ROOTLESS, "rootless_without_limits", rootless_without_limits)
        .on(ROOTLESS, "rootless_with_limits", rootless_with_limits)
        .on(ALL, "inside_sees_its_own", inside_sees_its_own)
        .on(ONE, "two_in_one_parent", two_in_one_parent);
}

/// Reads a knob of the container's cgroup.
fn knob(t: &Trial, controller: &str, id: &str, name: &str) -> String {
    let path = t.cgroup(controller, id).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

fn resources(c: &mut Value, more: Value) {
    for (key, value) in more.as_object().expect("an object") {
        c["linux"]["resources"][key] = value.clone();
    }
}

fn path_absolute(t: &Trial) {
    let c = t.idle();
    let wanted = format!("/{}", c.id);
    let text = c.proc_file("cgroup");
    let line = match t.view {
        View::V1 => text.lines().find(|line| line.contains(":memory:")),
        _ => text.lines().find(|line| line.starts_with("0::")),
    };
    assert!(line.is_some_and(|line| line.ends_with(&wanted)), "{text}");
    assert!(t.cgroup("pids", &c.id).is_dir());
    c.remove();
    assert!(!t.cgroup("pids", &c.id).exists());
}

fn path_relative(t: &Trial) {
    let name = t.name("relative/leaf");
    let c = t.idle_with(|c| c["linux"]["cgroupsPath"] = json!(name));
    let text = c.proc_file("cgroup");
    assert!(text.contains(&name), "{text}");
    c.remove();
    remove_parents(t, &t.name("relative"));
}

/// Parents that a test made for its own path; a runtime may keep them.
fn remove_parents(t: &Trial, word: &str) {
    for dir in t.cgroup_dirs(word) {
        let _ = fs::remove_dir(dir);
    }
}

fn path_nested(t: &Trial) {
    let name = t.name("nest");
    let c = t.idle_with(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/a/b")));
    assert!(c.proc_file("cgroup").contains(&format!("/{name}/a/b")));
    c.remove();
    assert!(!t.cgroup("pids", &name).join("a/b").exists(), "the container's own is gone");
    remove_parents(t, &name);
}

fn default_path(t: &Trial) {
    let c = t.idle_with(|c| {
        c["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
    });
    let text = c.proc_file("cgroup");
    assert!(text.contains(&c.id), "named after the container: {text}");
    c.remove();
}

/// What was there before the container is there after it.
fn parent_kept(t: &Trial) {
    let name = t.name("parent");
    let dirs: Vec<_> = match t.view {
        View::V1 => ["pids", "memory", "devices"].iter().map(|c| t.cgroup(c, &name)).collect(),
        _ => vec![t.cgroup("", &name)],
    };
    for dir in &dirs {
        fs::create_dir(dir).expect("make a cgroup");
    }
    let c = t.idle_with(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/leaf")));
    c.remove();
    for dir in &dirs {
        assert!(dir.is_dir() && !dir.join("leaf").exists(), "{}", dir.display());
    }
    remove_parents(t, &name);
}

fn v1_limits_read_back(t: &Trial) {
    let c = t.idle_with(|c| {
        resources(
            c,
            json!({
                "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swappiness": 30},
                "pids": {"limit": 77},
                "cpu": {"shares": 333, "quota": 25_000, "period": 50_000},
            }),
        );
    });
    let get = |controller: &str, name: &str| knob(t, controller, &c.id, name);
    assert_eq!(get("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(get("memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
    assert_eq!(get("memory", "memory.swappiness"), "30");
    assert_eq!(get("pids", "pids.max"), "77");
    assert_eq!(get("cpu", "cpu.shares"), "333");
    assert_eq!(get("cpu", "cpu.cfs_quota_us"), "25000");
    assert_eq!(get("cpu", "cpu.cfs_period_us"), "50000");
    c.remove();
}

fn v1_cpu_cpuset(t: &Trial) {
    let c = t.idle_with(|c| resources(c, json!({"cpu": {"cpus": "0", "mems": "0"}})));
    assert_eq!(knob(t, "cpuset", &c.id, "cpuset.cpus"), "0");
    assert_eq!(knob(t, "cpuset", &c.id, "cpuset.mems"), "0");
    c.exec("grep ^Cpus_allowed_list /proc/self/status").ok().prints("Cpus_allowed_list:\t0");
    c.remove();
    let c = t.idle();
    let all = fs::read_to_string("/sys/fs/cgroup/cpuset/cpuset.cpus").expect("cpus");
    assert_eq!(knob(t, "cpuset", &c.id, "cpuset.cpus"), all.trim(), "unset means the parent's");
    c.remove();
    if t.is_richrun() {
        let c = t.idle_with(|c| resources(c, json!({"cpu": {"idle": 1}})));
        if t.cgroup("cpu", &c.id).join("cpu.idle").exists() {
            assert_eq!(knob(t, "cpu", &c.id, "cpu.idle"), "1");
        }
        c.remove();
    }
}

fn v1_blkio(t: &Trial) {
    let Some(device) = block_device() else { t.skip("no block device") };
    let weight = Path::new("/sys/fs/cgroup/blkio/blkio.bfq.weight").exists()
        || Path::new("/sys/fs/cgroup/blkio/blkio.weight").exists();
    let c = t.idle_with(|c| {
        let rate = json!([{"major": device.0, "minor": device.1, "rate": 1_048_576}]);
        let mut block = json!({"throttleReadBpsDevice": rate, "throttleWriteIOPSDevice": rate});
        if weight {
            block["weight"] = json!(300);
        }
        resources(c, json!({"blockIO": block}));
    });
    let line = format!("{}:{} 1048576", device.0, device.1);
    assert_eq!(knob(t, "blkio", &c.id, "blkio.throttle.read_bps_device"), line);
    assert_eq!(knob(t, "blkio", &c.id, "blkio.throttle.write_iops_device"), line);
    c.remove();
}

/// A whole disk of this machine.
fn block_device() -> Option<(u32, u32)> {
    let entries = fs::read_dir("/sys/block").ok()?.flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
    names.sort();
    let name = names.iter().find(|path| {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("vd") || name.starts_with("sd") || name.starts_with("nvme")
    })?;
    let text = fs::read_to_string(name.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn v1_memory_kills(t: &Trial) {
    let out = t.sh_with(
        "dd if=/dev/zero of=/dev/shm/big bs=1M count=200 2>/dev/null; echo survived $?",
        |c| {
            resources(c, json!({"memory": {"limit": 24 << 20, "swap": 24 << 20}}));
            for entry in richrun_tests::bundle::mounts(c) {
                if entry["destination"] == "/dev/shm" {
                    entry["options"] = json!(["size=300m"]);
                }
            }
        },
    );
    // Either the shell or dd is killed; nobody writes 200 MB.
    assert!(!out.out.contains("survived 0"), "{out:?}");
}

fn v1_pids_hold(t: &Trial) {
    let out =
        t.sh_with("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait; echo end", |c| {
            resources(c, json!({"pids": {"limit": 6}}));
        });
    assert!(out.err.contains("fork") || out.code != 0, "{out:?}");
}

fn v1_swap_rules(t: &Trial) {
    let file = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes");
    if !file.exists() {
        t.skip("swap accounting is off");
    }
    let c = t.idle_with(|c| resources(c, json!({"memory": {"limit": 32 << 20, "swap": 64 << 20}})));
    assert_eq!(knob(t, "memory", &c.id, "memory.memsw.limit_in_bytes"), (64 << 20).to_string());
    c.remove();
    let c = t.idle_with(|c| resources(c, json!({"memory": {"limit": 32 << 20, "swap": -1}})));
    assert!(knob(t, "memory", &c.id, "memory.memsw.limit_in_bytes").len() > 10);
    c.remove();
}

fn v1_all_hierarchies(t: &Trial) {
    let c = t.idle();
    let text = c.proc_file("cgroup");
    for controller in ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"]
    {
        let line = text.lines().find(|line| line.contains(&format!(":{controller}:")));
        assert!(line.is_some_and(|line| line.ends_with(&c.id)), "{controller}: {text}");
    }
    c.remove();
}

fn v2_hugetlb(t: &Trial) {
    let names = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !names.contains("hugetlb")
        || !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists()
    {
        t.skip("no hugetlb controller, or no 2 MiB pages");
    }
    let c = t.idle_with(|c| {
        resources(c, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}));
    });
    assert_eq!(knob(t, "", &c.id, "hugetlb.2MB.max"), (4 << 20).to_string());
    c.remove();
}

fn v2_unified(t: &Trial) {
    let c = t.idle_with(|c| {
        resources(c, json!({"unified": {"cgroup.max.depth": "3", "cgroup.max.descendants": "9"}}))
    });
    assert_eq!(knob(t, "", &c.id, "cgroup.max.depth"), "3");
    assert_eq!(knob(t, "", &c.id, "cgroup.max.descendants"), "9");
    c.remove();
    let out = t.sh_with("true", |c| resources(c, json!({"unified": {"no.such.knob": "1"}})));
    out.exits(1).says("no.such.knob");
    let out =
        t.sh_with("true", |c| resources(c, json!({"unified": {"../x/cgroup.max.depth": "1"}})));
    out.exits(1).says("..");
}

fn v2_missing_controller(t: &Trial) {
    let names = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if names.contains("memory") {
        t.skip("this machine has the memory controller on v2");
    }
    let out = t.sh_with("true", |c| resources(c, json!({"memory": {"limit": 64 << 20}})));
    out.exits(1).says("memory");
}

/// The container's root owns its cgroup where it has a cgroup namespace, a user
/// namespace and a writable mount; the limits stay with the host.
fn v2_delegation(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 does so with the systemd driver only");
    let c = t.idle_with(|c| {
        user_namespace(c);
        for entry in richrun_tests::bundle::mounts(c) {
            if entry["destination"] == "/sys/fs/cgroup" {
                entry["options"] = json!(["nosuid", "noexec", "nodev", "relatime", "rw"]);
            }
        }
    });
    use std::os::unix::fs::MetadataExt;
    let dir = t.cgroup("", &c.id);
    let owner = |path: &Path| fs::metadata(path).expect("stat").uid();
    assert_eq!(owner(&dir), 2_000_000);
    for name in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        assert_eq!(owner(&dir.join(name)), 2_000_000, "{name}");
    }
    for name in ["cgroup.freeze", "cgroup.max.depth", "cgroup.kill"] {
        assert_eq!(owner(&dir.join(name)), 0, "{name}");
    }
    c.exec("mkdir /sys/fs/cgroup/mine && echo 0 > /sys/fs/cgroup/mine/cgroup.procs && echo moved")
        .ok()
        .prints("moved");
    c.remove();
    // A read-only mount: nothing changes hands.
    let c = t.idle_with(user_namespace);
    assert_eq!(owner(&t.cgroup("", &c.id)), 0);
    c.remove();
}

fn process_and_children_inside(t: &Trial) {
    let c = t.idle_with(|c| sh(c, "for i in 1 2 3; do setsid sleep 100 & done; trap 'exit 7' TERM; while :; do sleep 0.05; done"));
    let procs = || knob(t, "pids", &c.id, "cgroup.procs").lines().count();
    wait_until("four processes", || procs() >= 4);
    c.remove();
}

/// A container that made cgroups of its own below its cgroup.
fn removed_with_children(t: &Trial) {
    let c = t.idle();
    let dir = t.cgroup("pids", &c.id);
    fs::create_dir_all(dir.join("x/y/z")).expect("make sub-cgroups");
    fs::write(dir.join("x/y/cgroup.procs"), c.pid().to_string()).expect("move the process");
    c.remove();
    assert!(!dir.exists());
}

fn removed_while_frozen(t: &Trial) {
    let c = t.idle();
    match t.view {
        View::V1 => {
            let file = t.cgroup("freezer", &c.id).join("freezer.state");
            fs::write(file, "FROZEN").expect("freeze");
        }
        _ => fs::write(t.cgroup("", &c.id).join("cgroup.freeze"), "1").expect("freeze"),
    }
    c.remove();
}

fn busy_cgroup_refused(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 only warns");
    let first = t.idle();
    let path = format!("/{}", first.id);
    let bundle = t.bundle(|c| c["linux"]["cgroupsPath"] = json!(path));
    let out = t.rt(&["create", "-b", bundle.path(), &bundle.id]).run().exits(1);
    assert!(out.err.contains("cgroup"), "{}", out.err);
    assert_eq!(first.status(), "running", "the first container is unharmed");
    first.exec("true").ok();
    first.remove();
}

fn frozen_cgroup_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "goes on");
    let name = t.name("frozen");
    let dir = match t.view {
        View::V1 => t.cgroup("freezer", &name),
        _ => t.cgroup("", &name),
    };
    fs::create_dir(&dir).expect("make a cgroup");
    let file =
        if t.view == View::V1 { ("freezer.state", "FROZEN") } else { ("cgroup.freeze", "1") };
    fs::write(dir.join(file.0), file.1).expect("freeze");
    let bundle = t.bundle(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}")));
    let out = t.rt(&["create", "-b", bundle.path(), &bundle.id]).run().exits(1);
    assert!(out.err.contains("frozen"), "{}", out.err);
    let _ = fs::write(dir.join(file.0), if t.view == View::V1 { "THAWED" } else { "0" });
    remove_parents(t, &name);
}

fn fork_bomb_is_deleted(t: &Trial) {
    let c = t.idle_with(|c| {
        sh(c, "f() { sleep 0.01 & sleep 0.01 & }; trap '' TERM; while :; do f; done");
        if t.view == View::V1 {
            resources(c, json!({"pids": {"limit": 200}}));
        }
        without_namespace(c, "pid");
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    if !t.is_richrun() {
        t.rt(&["kill", "--all", &c.id, "KILL"]).run();
    }
    c.remove();
}

fn impossible_limits(t: &Trial) {
    let table = match t.view {
        View::V1 => vec![
            ("memory", json!({"memory": {"limit": 1}})),
            ("cpu", json!({"cpu": {"quota": 1, "period": 1}})),
            ("cpuset", json!({"cpu": {"cpus": "4000"}})),
        ],
        _ => vec![("hugetlb", json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}))],
    };
    for (word, limits) in table {
        let out = t.sh_with("true", |c| resources(c, limits.clone())).fails();
        if t.is_richrun() {
            out.exits(1).says(word);
        }
    }
}

fn rootless_without_limits(t: &Trial) {
    t.sh("echo fine").ok().prints("fine");
}

fn rootless_with_limits(t: &Trial) {
    let out =
        t.sh_with("true", |c| c["linux"]["resources"] = json!({"pids": {"limit": 10}})).fails();
    if t.is_richrun() {
        out.exits(1).says("cgroup");
    }
}

fn inside_sees_its_own(t: &Trial) {
    let out = t.sh("ls /sys/fs/cgroup | head -3; echo x > /sys/fs/cgroup/cgroup.procs");
    let out = out.fails();
    assert!(!out.out.is_empty(), "{out:?}");
}

fn two_in_one_parent(t: &Trial) {
    let name = t.name("pod");
    let one = t.idle_with(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/one")));
    let two = t.idle_with(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/two")));
    one.remove();
    assert_eq!(two.status(), "running");
    two.exec("true").ok();
    two.remove();
    remove_parents(t, &name);
}

/// A group that was asked for by its path and cannot be made is an error; without a path
/// the caller's own will do.
fn rootless_path_refused(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "echo ran");
        c["linux"]["cgroupsPath"] = json!(format!("/{}", t.name("denied")));
    });
    t.run(&bundle).fails().says("linux.cgroupsPath");
    bundle.edit(|c| {
        c["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
    });
    t.run(&bundle).ok().prints("ran");
}

/// Neither a group nor a pid namespace says who belongs to the container.
fn rootless_shared_pids_warn(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo ran"));
    assert!(!t.run(&bundle).ok().err.contains("pid namespace"));
    bundle.edit(|c| {
        without_namespace(c, "pid");
        // A new proc mount needs a pid namespace of one's own.
        let all = richrun_tests::bundle::mounts(c);
        let proc = all.iter_mut().find(|entry| entry["destination"] == "/proc").expect("/proc");
        *proc = json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    t.run(&bundle).ok().prints("ran").says("no cgroup and no pid namespace of its own");
}
