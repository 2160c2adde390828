//! `mounts add` and `mounts remove`: mounts in a container that runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use richrun_tests::bundle::{caps, namespaces, user_namespace, without_namespace};
use richrun_tests::command::Output;
use richrun_tests::container::Container;
use richrun_tests::suite::{BOTH, ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

use super::{fields, foreign::private_directory};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "added_and_removed", added_and_removed)
        .on(ROOT, "added_whatever_it_does", added_whatever_it_does)
        .on(ONE, "added_in_a_user_namespace", added_in_a_user_namespace)
        .on(ONE, "added_attributes_stay_locked", added_attributes_stay_locked)
        .on(ONE, "added_by_id", added_by_id)
        .on(BOTH, "added_all_or_none", added_all_or_none)
        .on(BOTH, "links_lead_nobody_out", links_lead_nobody_out)
        .on(ONE, "the_host_sees_nothing_of_it", the_host_sees_nothing_of_it)
        .on(BOTH, "not_added", not_added);
}

const WHY: &str = "has no `mounts`";

fn asked(t: &Trial, c: &Container<'_>, verb: &str, list: &Value) -> Output {
    t.rt(&["mounts", verb, &c.id, "-"]).input(&list.to_string()).run()
}

/// A directory of the host's with a file in it.
fn data(t: &Trial, name: &str) -> PathBuf {
    let dir = t.dir.join(name);
    fs::create_dir_all(&dir).expect("mkdir");
    fs::write(dir.join("file"), format!("{name}\n")).expect("write");
    dir
}

fn bound(source: &Path, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}

fn added_and_removed(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let c = t.idle();
    let dir = data(t, "data");
    let before = c.proc_file("mountinfo");
    let list = json!([
        bound(&dir, "/added/dir", &["rbind", "ro"]),
        bound(&dir.join("file"), "/added/a-file", &["bind"]),
        {"destination": "/added/memory", "type": "tmpfs", "source": "x",
         "options": ["nosuid", "size=64k", "mode=700", "ro"]},
    ]);
    // By a file as well as from standard input.
    let file = t.dir.join("mounts.json");
    fs::write(&file, list.to_string()).expect("write");
    t.rt(&["mounts", "add", &c.id, file.to_str().expect("utf-8")]).ok();
    let script = "cat /added/dir/file /added/a-file; stat -c %a /added/memory; touch /added/dir/x";
    c.exec(script).fails().says("Read-only file system").prints("data\ndata\n700");
    let seen = c.proc_file("mountinfo");
    assert!(fields(&seen, "/added/dir").0.starts_with("ro"), "{seen}");
    let memory = fields(&seen, "/added/memory");
    assert!(memory.0.starts_with("ro,nosuid"), "{seen}");
    asked(t, &c, "remove", &list).ok();
    assert_eq!(c.proc_file("mountinfo"), before);
    // A second time there is nothing, and nobody's mount is taken for it.
    asked(t, &c, "remove", &list).exits(1).says("nothing is mounted there");
    assert_eq!(c.proc_file("mountinfo"), before);
    c.remove();
}

/// Also one that waits for its start, and one that is paused.
fn added_whatever_it_does(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let dir = data(t, "data");
    let list = json!([bound(&dir, "/mnt", &["bind"])]);
    let bundle = t.bundle(|c| richrun_tests::bundle::sh(c, "cat /mnt/file > /tmp/seen; sleep 100"));
    let c = t.create(&bundle);
    asked(t, &c, "add", &list).ok();
    c.start();
    let seen = bundle.rootfs().join("tmp/seen");
    richrun_tests::command::wait_until("the payload", || {
        fs::read(&seen).is_ok_and(|b| b == b"data\n")
    });
    c.verb("pause", &[]).ok();
    asked(t, &c, "remove", &list).ok();
    asked(t, &c, "add", &list).ok();
    c.verb("resume", &[]).ok();
    c.exec("cat /mnt/file").ok().prints("data");
    c.kill("KILL");
    c.wait("stopped");
    for verb in ["add", "remove"] {
        asked(t, &c, verb, &list).exits(1).says("container not running");
    }
    c.remove();
    t.rt(&["mounts", "add", "nobody", "-"]).input("[]").run().exits(1).says("does not exist");
}

fn added_in_a_user_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    // Its root may not walk there on the host.
    let hidden = t.dir.join("hidden");
    let dir = data(t, "hidden/data");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&hidden, mode).expect("chmod");
    let c = t.idle_with(user_namespace);
    let list = json!([
        bound(&dir, "/usr", &["bind"]),
        {"destination": "/root", "type": "tmpfs", "source": "x"},
    ]);
    asked(t, &c, "add", &list).ok();
    c.exec("cat /usr/file; touch /root/x && stat -c %u:%g /root/x").ok().prints("hidden/data\n0:0");
    asked(t, &c, "remove", &list).ok();
    c.exec("ls /usr").ok().prints("");
    c.remove();
}

/// What is read-only for the host stays so, whatever the container's root does; so does what
/// hides a part of it.
fn added_attributes_stay_locked(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let dir = private_directory(t, "locked", MsFlags::MS_RDONLY | MsFlags::MS_NODEV);
    let outer = private_directory(t, "outer", MsFlags::empty());
    fs::write(outer.join("secret"), "").expect("write");
    fs::create_dir(outer.join("inner")).expect("mkdir");
    fs::write(outer.join("inner/secret"), "").expect("write");
    private_directory(t, "outer/inner", MsFlags::empty());
    let c = t.idle_with(|c| {
        user_namespace(c);
        caps(c, &["CAP_SYS_ADMIN"]);
    });
    let list = json!([bound(&dir, "/usr", &["bind"]), bound(&outer, "/home", &["rbind"])]);
    asked(t, &c, "add", &list).ok();
    let admin = ["--cap", "CAP_SYS_ADMIN"];
    let undo = "mount -o remount,bind,rw,dev /usr; touch /usr/x";
    c.exec_cmd(&admin, &["sh", "-c", undo]).run().fails().says("Read-only file system");
    let (seen, ..) = fields(&c.proc_file("mountinfo"), "/usr");
    assert!(seen.starts_with("ro,") && seen.contains("nodev"), "{seen}");
    let uncover = "umount /home/inner; ls /home/inner";
    c.exec_cmd(&admin, &["sh", "-c", uncover]).run().prints("");
    asked(t, &c, "add", &json!([bound(&dir, "/tmp", &["bind", "rw"])]))
        .exits(1)
        .says("operation not permitted");
    c.remove();
}

fn added_by_id(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let dir = data(t, "data");
    let c = t.idle();
    let mut entry = bound(&dir, "/mnt", &["bind"]);
    entry["uidMappings"] = json!([{"containerID": 0, "hostID": 7, "size": 1}]);
    entry["gidMappings"] = json!([{"containerID": 0, "hostID": 8, "size": 1}]);
    asked(t, &c, "add", &json!([entry])).ok();
    c.exec("stat -c %u:%g /mnt/file").ok().prints("7:8");
    c.remove();
}

fn added_all_or_none(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let dir = data(t, "data");
    let c = t.idle();
    let before = c.proc_file("mountinfo");
    // Neither a source that is not there nor a destination that cannot be, at the end.
    let file = bound(&dir.join("file"), "/etc", &["bind"]);
    for (last, says) in [
        (bound(&t.dir.join("none"), "/tmp", &["bind"]), "no such file"),
        (file, "is a directory, the other is not"),
    ] {
        let first = [
            bound(&dir, "/a", &["bind"]),
            bound(&dir.join("file"), "/b", &["bind"]),
            json!({"destination": "/c", "type": "tmpfs", "source": "x"}),
        ];
        let list = Value::from([&first[..], &[last]].concat());
        asked(t, &c, "add", &list).exits(1).says(says).says("mounts[3]");
        assert_eq!(c.proc_file("mountinfo"), before, "{says}");
    }
    c.remove();
}

/// A container that waits for a mount with links where it is to be.
fn links_lead_nobody_out(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let dir = data(t, "data");
    let victim = data(t, "victim");
    let bundle = t.bundle(|c| richrun_tests::bundle::sh(c, "sleep 100"));
    let up = format!("../../../../../../../../../..{}", victim.display());
    symlink(&up, bundle.rootfs().join("out")).expect("symlink");
    symlink("/proc", bundle.rootfs().join("into-proc")).expect("symlink");
    let c = t.detach(&bundle);
    let before = fs::read_to_string("/proc/self/mountinfo").expect("read");
    asked(t, &c, "add", &json!([bound(&dir, "/out", &["bind"])])).ok();
    assert_eq!(fs::read_to_string(victim.join("file")).expect("read"), "victim\n");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("read"), before);
    c.exec(&format!("cat {}/file", victim.display())).ok().prints("data");
    asked(t, &c, "add", &json!([bound(&dir, "/into-proc/self", &["bind"])])).exits(1);
    // The link chooses nothing that is taken away.
    let masked = c.proc_file("mountinfo");
    symlink("/proc/kcore", bundle.rootfs().join("tmp/kcore")).expect("symlink");
    for place in ["/out", "/into-proc/kcore", "/tmp/kcore"] {
        let out = asked(t, &c, "remove", &json!([{"destination": place}]));
        out.exits(1).says("unmount");
    }
    assert_eq!(c.proc_file("mountinfo"), masked);
    asked(t, &c, "remove", &json!([{"destination": victim}])).ok();
    c.remove();
}

/// A source that is shared on the host is no way back to it.
fn the_host_sees_nothing_of_it(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let dir = private_directory(t, "shared", MsFlags::empty());
    let none = None::<&str>;
    nix::mount::mount(none, &dir, none, MsFlags::MS_SHARED, none).expect("make it shared");
    fs::create_dir(dir.join("below")).expect("mkdir");
    let c = t.idle_with(|c| caps(c, &["CAP_SYS_ADMIN"]));
    asked(t, &c, "add", &json!([bound(&dir, "/mnt", &["rbind"])])).ok();
    let before = fs::read_to_string("/proc/self/mountinfo").expect("read");
    asked(t, &c, "add", &json!([bound(&dir, "/mnt/below", &["rbind"])])).ok();
    let admin = ["--cap", "CAP_SYS_ADMIN"];
    c.exec_cmd(&admin, &["mount", "-t", "tmpfs", "x", "/mnt/below"]).ok();
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("read"), before);
    c.remove();
}

fn not_added(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let c = t.idle();
    let before = c.proc_file("mountinfo");
    let of = |kind: &str| json!([{"destination": "/x", "type": kind, "source": kind}]);
    for (list, says) in [
        (of("proc"), "shows namespaces"),
        (of("sysfs"), "shows namespaces"),
        (of("cgroup"), "shows namespaces"),
        (json!([bound(Path::new("/etc"), "/", &["bind"])]), "the root of a running container"),
        (json!([bound(Path::new("/etc"), "/proc/self", &["bind"])]), "inside /proc"),
        (json!([{"destination": "/x"}]), "mounts[0].type"),
        (json!({"mounts": []}), "mounts must be an array"),
        (json!([7]), "mounts[0]"),
    ] {
        asked(t, &c, "add", &list).exits(1).says(says);
    }
    asked(t, &c, "remove", &json!([{"destination": "/tmp/.."}])).exits(1).says("the root of");
    asked(t, &c, "remove", &json!([{"destination": "/tmp/none"}])).exits(1).says("no such file");
    assert_eq!(c.proc_file("mountinfo"), before);
    c.remove();
    if t.is_root() {
        let c = t.idle_with(|c| {
            without_namespace(c, "mount");
            assert!(!namespaces(c).is_empty());
        });
        let list = json!([{"destination": "/x", "type": "tmpfs", "source": "x"}]);
        asked(t, &c, "add", &list).exits(1).says("no mount namespace of its own");
        c.remove();
    }
}
