//! Faults of the world around: races, a full disk, no memory, calls that fail.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use richrun_tests::bundle::{args, sh};
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Kind, Output, Suite, Trial, View, leftovers};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "one_id_many_creates", one_id_many_creates)
        .on(ONE, "one_container_many_starts", one_container_many_starts)
        .on(ONE, "many_at_once", many_at_once)
        .on(ONE, "full_disk", full_disk)
        .on(ONE, "few_descriptors", few_descriptors)
        .on(ONE, "readers_see_whole_states", readers_see_whole_states)
        .on(ROOT, "no_memory", no_memory)
        .on(ROOT, "frozen_and_nested", frozen_and_nested)
        .on(ROOT, "fork_bomb", fork_bomb);
}

/// R23: one wins, the others are told why not, and nothing is mixed up.
fn one_id_many_creates(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    for _ in 0..4 {
        let bundle = t.bundle(|c| sh(c, IDLE));
        let line = ["create", "-b", bundle.path(), &bundle.id];
        let all: Vec<_> = (0..32).map(|_| t.rt(&line).spawn()).collect();
        let ends: Vec<Output> = all.into_iter().map(|one| one.wait()).collect();
        let (won, lost): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| end.code == 0);
        assert_eq!(won.len(), 1, "{lost:?}");
        for end in lost {
            end.exits(1).says("already exists");
        }
        let c = t.take(&bundle);
        assert_eq!(c.status(), "created");
        c.start();
        c.exec("echo whole").ok().prints("whole");
        c.remove();
        assert_eq!(leftovers::state(&t.root()), Vec::<String>::new());
    }
}

/// Who has no descriptors left for looking takes nobody for dead, and loses nothing.
fn few_descriptors(t: &Trial) {
    t.only(&[Kind::Richrun], "says what it likes");
    let (path, root) = (t.runtime_path(), t.root());
    let (path, root) = (path.to_str().expect("utf-8"), root.to_str().expect("utf-8"));
    let limited = |count: u32, words: &[&str]| {
        let script = format!("ulimit -n {count}; exec \"$@\"");
        let out = t.cmd("sh", &["-c", &script, "sh", path, "--root", root]).args(words).run();
        for wrong in ["not running", "has stopped", "a stopped container"] {
            assert!(!out.err.contains(wrong), "{words:?} with {count} descriptors: {}", out.err);
        }
        out
    };
    let c = t.idle();
    for count in 4..=16 {
        limited(count, &["kill", &c.id, "0"]);
        limited(count, &["exec", &c.id, "true"]);
        limited(count, &["events", "--stats", &c.id]);
        limited(count, &["delete", &c.id]).fails();
    }
    assert_eq!(c.status(), "running");
    c.remove();
    let c = t.create(&t.bundle(|c| sh(c, IDLE)));
    let started = (4..=16).find(|count| {
        let started = limited(*count, &["start", &c.id]).code == 0;
        assert_eq!(c.status(), if started { "running" } else { "created" }, "{count}");
        started
    });
    assert!(started.is_some_and(|count| count > 4), "{started:?}");
    c.remove();
}

/// R23: the payload is started once.
fn one_container_many_starts(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    let bundle = t.bundle(|c| sh(c, &format!("echo x >> /tmp/started; {IDLE}")));
    let c = t.create(&bundle);
    let all: Vec<_> = (0..16).map(|_| c.verb("start", &[]).spawn()).collect();
    let won = all.into_iter().map(|one| one.wait()).filter(|end| end.code == 0).count();
    assert_eq!(won, 1);
    assert_eq!(c.status(), "running");
    let file = bundle.rootfs().join("tmp/started");
    wait_until("the payload", || file.exists());
    assert_eq!(fs::read_to_string(&file).expect("read"), "x\n");
    c.remove();
}

/// 200 containers, all being made at the same time.
fn many_at_once(t: &Trial) {
    let bundle = t.bundle(|c| args(c, &["sleep", "1000"]));
    let ids: Vec<String> = (0..200).map(|number| t.name(&format!("n{number}"))).collect();
    let each = |verb: &[&str], tail: &[&str]| {
        let all: Vec<_> =
            ids.iter().map(|id| t.rt(verb).arg(id).args(tail).timeout(60).spawn()).collect();
        all.into_iter().for_each(|one| drop(one.wait().ok()));
    };
    bundle.edit(|c| drop(c["linux"].as_object_mut().expect("linux").remove("cgroupsPath")));
    each(&["create", "-b", bundle.path()], &[]);
    each(&["start"], &[]);
    let list = t.rt(&["list", "--format", "json"]).ok().json();
    let list = list.as_array().expect("an array");
    assert_eq!(list.len(), 200);
    assert!(list.iter().all(|one| one["status"] == "running"), "{list:?}");
    each(&["delete", "--force"], &[]);
}

/// R24: no state is better than half of one.
fn full_disk(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "leaves its directory");
    let root = t.dir.join("small");
    fs::create_dir(&root).expect("mkdir");
    let program = t.runtime_path();
    let program = program.to_str().expect("utf-8 path");
    let rt =
        |line: &[&str]| t.cmd(program, &["--root", root.to_str().expect("utf-8 path")]).args(line);
    let mut good = 0;
    // Pages are 4 KiB, and inodes count too.
    for limits in [
        "nr_blocks=1",
        "nr_blocks=2",
        "nr_blocks=3",
        "nr_blocks=6",
        "nr_inodes=2",
        "nr_inodes=3",
        "nr_inodes=4",
        "nr_inodes=5",
        "nr_inodes=8",
    ] {
        mount(Some("small"), &root, Some("tmpfs"), MsFlags::empty(), Some(limits)).expect("mount");
        let bundle = t.bundle(|c| sh(c, IDLE));
        let out = rt(&["create", "-b", bundle.path(), &bundle.id]).run();
        if out.code == 0 {
            rt(&["start", &bundle.id]).ok();
            rt(&["state", &bundle.id]).ok();
            rt(&["delete", "--force", &bundle.id]).ok();
            good += 1;
        } else if t.is_richrun() {
            out.exits(1).says("no space left on device");
        }
        assert_eq!(leftovers::state(&root), Vec::<String>::new(), "{limits}");
        wait_until("the processes to be gone", || leftovers::processes().is_empty());
        umount2(&root, MntFlags::MNT_DETACH).expect("umount");
    }
    assert!(good > 0, "the largest are large enough");
}

/// R24: whoever reads sees the whole state or none.
fn readers_see_whole_states(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "writes in place");
    let bundle = t.bundle(|c| sh(c, IDLE));
    let (stop, place) = (Arc::new(AtomicBool::new(false)), t.root().join(&bundle.id));
    let stopped = Arc::clone(&stop);
    let reader = std::thread::spawn(move || {
        let mut reads = 0;
        while !stopped.load(Ordering::Relaxed) {
            if let Ok(text) = fs::read_to_string(place.join("state.json")) {
                let state: Result<Value, _> = serde_json::from_str(&text);
                assert!(state.is_ok(), "torn: {text:?}");
                reads += 1;
            }
        }
        reads
    });
    for _ in 0..20 {
        let c = t.create(&bundle);
        t.rt(&["list"]).ok();
        c.start();
        c.state();
        c.remove();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(reader.join().expect("no torn state") > 100);
}

/// R30: a first process that is killed for memory, in its set-up or after.
fn no_memory(t: &Trial) {
    t.only(&[Kind::Richrun], "refuses such limits, or says other words");
    for limit in [4096, 65_536, 262_144, 1 << 20] {
        let bundle = t.bundle(|c| {
            sh(c, "head -c 50000000 /dev/zero | tail");
            c["linux"]["resources"]["memory"] = json!({"limit": limit, "swap": limit});
        });
        let out = t.run(&bundle);
        assert!(out.code != 0, "{limit}: {out:?}");
        if out.code == 1 {
            out.says("memory");
        }
        t.rt(&["state", &bundle.id]).run().exits(1).says("does not exist");
        assert_eq!(t.cgroup_dirs(&bundle.id), Vec::<std::path::PathBuf>::new(), "{limit}");
    }
}

/// R26: below its own group, frozen, a container has made more and frozen them.
fn frozen_and_nested(t: &Trial) {
    let c = t.idle();
    let controller = if t.view == View::V1 { "freezer" } else { "" };
    let group = match t.view {
        View::V1 => t.cgroup(controller, &c.id),
        _ => t.cgroup("", &c.id),
    };
    let inner = group.join("inner/most");
    fs::create_dir_all(&inner).expect("mkdir");
    let out = c.exec_cmd(&["-d", "--pid-file", "/mnt/run/nested"], &["sleep", "1000"]);
    out.ok();
    let pid = fs::read_to_string("/mnt/run/nested").expect("pid file");
    fs::write(inner.join("cgroup.procs"), &pid).expect("move");
    let freeze = |dir: &Path| match t.view {
        View::V1 => fs::write(dir.join("freezer.state"), "FROZEN"),
        _ => fs::write(dir.join("cgroup.freeze"), "1"),
    };
    freeze(&inner).expect("freeze");
    freeze(&group).expect("freeze");
    c.remove();
    assert_eq!(t.cgroup_dirs(&c.id), Vec::<std::path::PathBuf>::new());
}

/// R26: deletion wins against processes that fork as fast as they can.
fn fork_bomb(t: &Trial) {
    let c = t.idle_with(|c| {
        // Not by the cgroup: the v2 view of a hybrid host has no such controller.
        c["process"]["user"] = json!({"uid": 31_337, "gid": 31_337});
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_NPROC", "soft": 200, "hard": 200}]);
        sh(c, "b() { b & b & }; trap '' TERM; while :; do (b) 2>/dev/null; done");
        richrun_tests::bundle::without_namespace(c, "pid");
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    c.remove();
    assert_eq!(t.cgroup_dirs(&c.id), Vec::<std::path::PathBuf>::new());
}
