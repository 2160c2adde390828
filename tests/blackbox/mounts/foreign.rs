//! Mounts and devices of a container in a user namespace that root has made for it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use richrun_tests::bundle::{bind, caps, mounts, sh, user_namespace};
use richrun_tests::suite::{ONE, USER};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

use super::fields;

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "pinned_mount_namespace", pinned_mount_namespace)
        .on(ONE, "sources_that_earlier_mounts_provide", sources_that_earlier_mounts_provide)
        .on(ONE, "no_mappings_are_none", no_mappings_are_none)
        .on(ONE, "idmap_of_a_joined_namespace", idmap_of_a_joined_namespace)
        .on(ONE, "locked_attributes", locked_attributes)
        .on(ONE, "hidden_parts_stay_hidden", hidden_parts_stay_hidden)
        .on(ONE, "listed_devices", listed_devices)
        .on(USER, "other_device_of_the_host", other_device_of_the_host);
}

/// A directory, a mount of its own, private.
pub fn private_directory(t: &Trial, name: &str, flags: MsFlags) -> PathBuf {
    let dir = t.dir.join(name);
    fs::create_dir_all(&dir).expect("mkdir");
    mount(Some(name), &dir, Some("tmpfs"), flags, None::<&str>).expect("mount a tmpfs");
    mount(None::<&str>, &dir, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).expect("private");
    t.accept_mounts();
    dir
}

/// A tree that holds another mount namespace, as that of every host with snaps does.
fn pinned_mount_namespace(t: &Trial) {
    let dir = private_directory(t, "pins", MsFlags::empty());
    fs::write(dir.join("file"), "found").expect("write");
    fs::write(dir.join("pin"), "").expect("write");
    // One may be bound in an older one only. The kernel tells by their numbers, which grow
    // on each CPU for itself (Linux 6.18): on that where ours was made, a new one is newer.
    let pinned = (0..CpuSet::count()).find_map(|cpu| {
        let mut one = CpuSet::new();
        one.set(cpu).ok()?;
        sched_setaffinity(Pid::from_raw(0), &one).ok()?;
        let other = t.idle();
        let namespace = format!("/proc/{}/ns/mnt", other.pid());
        let (pin, none) = (dir.join("pin"), None::<&str>);
        match mount(Some(namespace.as_str()), &pin, none, MsFlags::MS_BIND, none) {
            Ok(()) => Some(other),
            Err(_) => {
                other.remove();
                None
            }
        }
    });
    let other = pinned.expect("pin a mount namespace");
    t.accept_mounts();
    for foreign in [false, true] {
        let out = t.sh_with("cat /usr/file", |c| {
            bind(c, &dir, "/usr", &["rbind"]);
            if foreign {
                user_namespace(c);
            }
        });
        out.ok().prints("found");
    }
    other.remove();
}

fn sources_that_earlier_mounts_provide(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 opens all sources before the first mount");
    let source = t.dir.join("data");
    fs::create_dir(&source).expect("mkdir");
    fs::write(source.join("file"), "first\n").expect("write");
    let maps = json!([{"containerID": 0, "hostID": 0, "size": 10}]);
    let edits: [fn(&mut Value, &Value); 2] = [
        |c, _| user_namespace(c),
        |c, maps| {
            if let Some(last) = mounts(c).last_mut() {
                last["uidMappings"] = maps.clone();
                last["gidMappings"] = maps.clone();
            }
        },
    ];
    for edit in edits {
        let bundle = t.bundle(|c| sh(c, "cat /again/file"));
        let provided = bundle.rootfs().join("mnt");
        for place in ["mnt", "again"] {
            fs::create_dir(bundle.rootfs().join(place)).expect("mkdir");
        }
        bundle.edit(|c| {
            bind(c, &source, "/mnt", &["bind"]);
            bind(c, &provided, "/again", &["bind"]);
            edit(c, &maps);
        });
        t.run(&bundle).ok().prints("first");
    }
}

fn no_mappings_are_none(t: &Trial) {
    let source = t.dir.join("data");
    fs::create_dir(&source).expect("mkdir");
    for (foreign, seen) in [(false, "0:0"), (true, "65534:65534")] {
        let bundle = t.bundle(|c| sh(c, "stat -c %u:%g /x"));
        fs::create_dir(bundle.rootfs().join("x")).expect("mkdir");
        bundle.edit(|c| {
            bind(c, &source, "/x", &["bind"]);
            if let Some(last) = mounts(c).last_mut() {
                last["uidMappings"] = json!([]);
                last["gidMappings"] = json!([]);
            }
            if foreign {
                user_namespace(c);
            }
        });
        t.run(&bundle).ok().prints(seen);
    }
}

fn idmap_of_a_joined_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 and 1.8 want other forms of id-mapped mounts");
    let source = t.dir.join("data");
    fs::create_dir(&source).expect("mkdir");
    let holder = t.idle_with(user_namespace);
    let path = format!("/proc/{}/ns/user", holder.pid());
    let bundle = t.bundle(|c| {
        sh(c, "stat -c %u:%g /x");
        richrun_tests::bundle::namespaces(c).push(json!({"type": "user", "path": path}));
        bind(c, &source, "/x", &["bind", "idmap"]);
    });
    fs::create_dir(bundle.rootfs().join("x")).expect("mkdir");
    t.run(&bundle).ok().prints("0:0");
    holder.remove();
}

/// What is read-only for the host is so for a less privileged namespace, whatever its root does.
fn locked_attributes(t: &Trial) {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    let dir = private_directory(t, "locked", flags);
    let script = "cat /proc/self/mountinfo; mount -o remount,bind,rw,dev /mnt; touch /mnt/x";
    let run = |options: &[&str]| {
        let bundle = t.bundle(|c| {
            sh(c, script);
            user_namespace(c);
            caps(c, &["CAP_SYS_ADMIN"]);
            bind(c, &dir, "/mnt", options);
        });
        fs::create_dir(bundle.rootfs().join("mnt")).expect("mkdir");
        t.run(&bundle)
    };
    for options in [&["rbind"][..], &["bind", "noexec"]] {
        let out = run(options).fails().says("Read-only file system");
        let (seen, ..) = fields(&out.out, "/mnt");
        assert!(seen.starts_with("ro,") && seen.contains("nodev"), "{options:?}: {seen}");
    }
    for option in ["rw", "dev"] {
        run(&["bind", option]).exits(1).says("operation not permitted");
    }
}

/// A mount below the source hides what lies under it.
fn hidden_parts_stay_hidden(t: &Trial) {
    t.only(&[Kind::Richrun], "refuses every bind of a tree without its mounts");
    let dir = private_directory(t, "outer", MsFlags::MS_NODEV);
    private_directory(t, "outer/inner", MsFlags::empty());
    let run = |option: &str| {
        t.sh_with("true", |c| {
            user_namespace(c);
            bind(c, &dir, "/usr", &[option]);
        })
    };
    run("rbind").ok();
    run("bind").exits(1).says("use rbind");
}

fn device(path: &str, minor: u32) -> Value {
    json!({"path": path, "type": "c", "major": 1, "minor": minor, "fileMode": 0o644, "uid": 5, "gid": 6})
}

/// Listed devices are what they are said to be, whatever the host has at their paths.
fn listed_devices(t: &Trial) {
    t.only(&[Kind::Richrun], "binds the host's node, whatever it is");
    let out = t.sh_with(
        "stat -c '%n %t:%T %a %u:%g' /dev/none /dev/full /dev/sub/zero; head -c 3 /dev/sub/zero | wc -c
         grep -c ' - tmpfs dev ' /proc/self/mountinfo",
        |c| {
            user_namespace(c);
            c["linux"]["devices"] =
                json!([device("/dev/none", 3), device("/dev/full", 3), device("/dev/sub/zero", 5)]);
        },
    );
    out.ok()
        .prints("/dev/none 1:3 644 5:6\n/dev/full 1:3 644 5:6\n/dev/sub/zero 1:5 644 5:6\n3\n3");
    // The host's nodes are as they were.
    assert!(Path::new("/dev/full").exists() && !Path::new("/dev/none").exists());
}

/// An ordinary user can only have what the host has.
fn other_device_of_the_host(t: &Trial) {
    t.only(&[Kind::Richrun], "binds the host's node, whatever it is");
    let out = t.sh_with("true", |c| c["linux"]["devices"] = json!([device("/dev/zero", 3)]));
    out.exits(1).says("/dev/zero").says("another device (1:5)");
    let out = t.sh_with("true", |c| c["linux"]["devices"] = json!([device("/dev/none", 3)]));
    out.exits(1).says("/dev/none").says("no such file or directory");
}
