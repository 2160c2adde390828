//! Root file systems made to lead the runtime outside, or to have it mount, mask
//! or write the wrong thing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use richrun_tests::bundle::{bind, mounts, sh};
use richrun_tests::suite::{BOTH, ONE, ROOT};
use richrun_tests::terminal::FdSocket;
use richrun_tests::{Bundle, Kind, Suite, Trial, View, sys};
use serde_json::{Value, json};

use super::{Canary, Dice};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "targets_swapped_meanwhile", targets_swapped_meanwhile)
        .on(BOTH, "random_links", random_links)
        .on(ONE, "proc_and_sys_are_directories", proc_and_sys_are_directories)
        .on(ONE, "sysctls_reach_the_kernel_only", sysctls_reach_the_kernel_only)
        .on(ONE, "masked_by_the_null_device_only", masked_by_the_null_device_only)
        .on(ONE, "console_is_no_link", console_is_no_link)
        .on(ONE, "terminals_come_from_devpts", terminals_come_from_devpts)
        .on(ONE, "dev_is_a_link", dev_is_a_link)
        .on(ROOT, "cgroups_are_read_only", cgroups_are_read_only);
}

fn tmpfs(c: &mut Value, destination: &str) {
    let mount = json!({"destination": destination, "type": "tmpfs", "source": "x"});
    mounts(c).push(mount);
}

/// R5, CVE-2021-30465 and CVE-2019-18837: another container changes the tree
/// while mount points are looked up and made in it.
fn targets_swapped_meanwhile(t: &Trial) {
    let canary = Canary::new(t);
    let bundle = t.bundle(|c| {
        sh(c, "true");
        for place in ["/swap/deeper/inner/mount", "/swap/made", "/swap/deeper/made"] {
            tmpfs(c, place);
        }
        bind(c, &canary.dir.join("secret"), "/swap/deeper/file", &["bind", "ro"]);
    });
    let (good, bad) = (bundle.rootfs().join("swap"), bundle.rootfs().join("link"));
    fs::create_dir_all(good.join("deeper")).expect("mkdir");
    symlink("../../canary", &bad).expect("symlink");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swapping = std::thread::spawn(move || {
        let mut count = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            sys::exchange(&good, &bad).expect("swap");
            count += 1;
        }
        count
    });
    for round in 0..100 {
        t.run(&bundle); // may fail: the place is not what it was
        t.rt(&["delete", "--force", &bundle.id]).ok();
        canary.is_untouched(&format!("round {round}"));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swapping.join().expect("the swapper") > 1000, "hardly swapped at all");
}

/// R6, CVE-2024-45310: mount points below links that lead anywhere.
fn random_links(t: &Trial) {
    let canary = Canary::new(t);
    let mut dice = Dice::new(45310);
    let names = ["a", "b", "c", "d"];
    let targets = [
        "/",
        "..",
        "../../../canary",
        "../../../../../../..",
        "/a",
        "b",
        "../c",
        "/mnt/canary",
        "/proc/self/root",
        "/proc/1/cwd",
        "nowhere",
        "/mnt/canary/deeper",
        "../../../canary/new",
    ];
    for round in 0..40 {
        let mut place = String::new();
        for _ in 0..=dice.roll(4) {
            place = format!("{place}/{}", dice.pick(&names));
        }
        let file = dice.roll(2) == 0;
        let bundle = t.bundle(|c| {
            sh(c, "true");
            match file {
                true => bind(c, &canary.dir.join("secret"), &place, &["bind", "ro"]),
                false => tmpfs(c, &place),
            }
        });
        for _ in 0..6 {
            let mut entry = bundle.rootfs();
            for _ in 0..=dice.roll(2) {
                if !entry.is_symlink() {
                    entry.push(dice.pick(&names));
                }
            }
            let _ = match dice.roll(3) {
                0 => fs::create_dir_all(&entry),
                _ => symlink(dice.pick(&targets), &entry),
            };
        }
        if !t.is_root() {
            bundle.give_away();
        }
        t.run(&bundle); // a loop or a dead end is an error
        canary.is_untouched(&format!("round {round}, {place}"));
        fs::remove_dir_all(&bundle.dir).expect("remove the bundle");
    }
}

/// R7, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: a link in
/// their places, and mounts over parts of `/proc`.
fn proc_and_sys_are_directories(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "crun follows the link inside the root");
    for name in ["proc", "sys"] {
        for target in ["tmp", "/tmp", "../../..", "nowhere"] {
            let bundle = t.bundle(|c| sh(c, "true"));
            let place = bundle.rootfs().join(name);
            fs::remove_dir(&place).expect("rmdir");
            symlink(target, &place).expect("symlink");
            let out = t.run(&bundle).fails();
            assert!(out.err.contains(name), "{name} -> {target}: {}", out.err);
        }
    }
    let source = t.dir.join("home/file");
    fs::write(&source, "").expect("write");
    for place in ["/proc/self/attr/exec", "/proc/sys", "/proc/1", "/proc/../proc/self"] {
        let bundle = t.bundle(|c| {
            sh(c, "true");
            bind(c, &source, place, &["bind"]);
        });
        t.run(&bundle).fails().says("/proc");
    }
}

/// R8, CVE-2019-16884 and CVE-2025-52881: what is mounted on `/proc` is not
/// the kernel's; what is written must not land in it.
fn sysctls_reach_the_kernel_only(t: &Trial) {
    let fake = t.dir.join("home/proc");
    fs::create_dir_all(fake.join("sys/net/ipv4")).expect("mkdir");
    let file = fake.join("sys/net/ipv4/ip_forward");
    fs::write(&file, "fake").expect("write");
    let bundle = t.bundle(|c| {
        sh(c, "true");
        mounts(c).retain(|mount| mount["destination"] != "/proc");
        bind(c, &fake, "/proc", &["rbind"]);
        c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    t.run(&bundle);
    assert_eq!(fs::read_to_string(&file).expect("read"), "fake");
}

/// A `/dev` of the bundle's choice instead of the stock mounts.
fn own_dev(t: &Trial, edit: impl FnOnce(&mut Value)) -> Bundle {
    let bundle = t.bundle(|c| {
        mounts(c).retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        sh(c, "cat /masked");
        edit(c);
    });
    bundle.file("/masked", "HIDDEN");
    bundle.file("/secret", "SECRET");
    bundle
}

/// R9, CVE-2025-31133 and CVE-2025-62161.
fn masked_by_the_null_device_only(t: &Trial) {
    for what in ["file", "link", "zero", "directory"] {
        let bundle = own_dev(t, |c| c["linux"]["maskedPaths"] = json!(["/masked"]));
        let null = bundle.rootfs().join("dev/null");
        let path = null.to_str().expect("utf-8 path");
        match what {
            "file" => fs::write(&null, "SECRET").expect("write"),
            "link" => symlink("../secret", &null).expect("symlink"),
            "zero" => drop(t.cmd("mknod", &["-m", "666", path, "c", "1", "5"]).ok()),
            _ => fs::create_dir(&null).expect("mkdir"),
        }
        bundle.edit(|c| sh(c, "head -c 10 /masked | od -c; echo MASKED"));
        let out = t.run(&bundle);
        let bare = out.out.replace(' ', "");
        assert!(!bare.contains("SECRET") && !bare.contains("HIDDEN"), "{what}: {out:?}");
        assert!(out.code != 0 || !bare.contains("\\0\\0"), "{what}: {out:?}");
    }
}

/// R10, CVE-2025-52565: the terminal is not bound over what a link names.
fn console_is_no_link(t: &Trial) {
    let canary = Canary::new(t);
    let socket = FdSocket::new(&t.dir.join("run/console"));
    for target in
        ["../secret", "/secret", "../../../canary/secret", "/proc/sys/kernel/core_pattern"]
    {
        let bundle = own_dev(t, |c| {
            c["process"]["terminal"] = json!(true);
            mounts(c).push(json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}));
        });
        let marks = bundle.rootfs().join("seen");
        bundle.edit(|c| {
            sh(c, "[ -c /secret ] && echo over > /seen; [ -c /proc/sys/kernel/core_pattern ] && echo over > /seen; true");
        });
        symlink(target, bundle.rootfs().join("dev/console")).expect("symlink");
        let line =
            ["run", "-d", "--console-socket", socket.path(), "-b", bundle.path(), &bundle.id];
        let out = t.rt(&line).run();
        if out.code == 0 {
            t.take(&bundle).wait("stopped");
        } else if socket.has_more() {
            drop(socket.conversation());
        }
        t.rt(&["delete", "--force", &bundle.id]).ok();
        assert!(!marks.exists(), "{target}: the terminal is mounted over something else");
        canary.is_untouched(target);
        if out.code == 0 {
            drop(socket.receive());
        }
    }
}

/// R10: a directory that looks like a devpts is none.
fn terminals_come_from_devpts(t: &Trial) {
    t.only(&[Kind::Richrun], "takes what is there");
    let socket = FdSocket::new(&t.dir.join("run/console"));
    let bundle = own_dev(t, |c| c["process"]["terminal"] = json!(true));
    let pts = bundle.rootfs().join("dev/pts");
    fs::create_dir(&pts).expect("mkdir");
    let path = pts.join("ptmx");
    let path = path.to_str().expect("utf-8 path");
    t.cmd("mknod", &["-m", "666", path, "c", "5", "2"]).ok();
    let line = ["create", "--console-socket", socket.path(), "-b", bundle.path(), &bundle.id];
    t.rt(&line).run().exits(1).says("devpts");
}

/// R11, CVE-2026-41579 and CVE-2026-47766: devices and links are made inside.
fn dev_is_a_link(t: &Trial) {
    let canary = Canary::new(t);
    for target in [canary.path(), "../../canary", "/proc/self/root", "../../../../../.."] {
        let bundle = own_dev(t, |c| {
            sh(c, "true");
            c["linux"]["devices"] = json!([{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3,
                "fileMode": 438, "uid": 0, "gid": 0}]);
        });
        let dev = bundle.rootfs().join("dev");
        fs::remove_dir(&dev).expect("rmdir");
        symlink(target, &dev).expect("symlink");
        t.run(&bundle);
        canary.is_untouched(target);
        assert!(!Path::new("/extra").exists() && !Path::new("/null").exists(), "made on the host");
    }
}

/// R15, CVE-2022-0492 and CVE-2023-25809: `ro` holds in every hierarchy.
fn cgroups_are_read_only(t: &Trial) {
    let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -d $d ] || continue; \
        mkdir $d/evil 2>/dev/null && echo made in $d; \
        for f in cgroup.procs release_agent notify_on_release cgroup.subtree_control; do \
        [ -e $d/$f ] && (echo 0 > $d/$f) 2>/dev/null && echo wrote $d/$f; done; done; true";
    for private in [false, true] {
        let out = t.sh_with(script, |c| {
            let list = c["linux"]["namespaces"].as_array_mut().expect("namespaces");
            list.retain(|entry| entry["type"] != "cgroup");
            if private {
                list.push(json!({"type": "cgroup"}));
            }
            let stock = mounts(c).iter().any(|mount| mount["destination"] == "/sys/fs/cgroup");
            if !stock {
                mounts(c).push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup",
                    "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}));
            }
        });
        if out.code != 0 && t.view == View::V1 && private && t.kind() == Kind::Crun {
            continue;
        }
        out.ok().prints("");
    }
}
