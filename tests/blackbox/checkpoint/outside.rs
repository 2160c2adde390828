//! What of a container is outside of it: bind mounts, namespaces of others, hooks.

use std::fs;
use std::path::Path;

use richrun_tests::bundle::{bind, namespaces, without_namespace};
use richrun_tests::command::wait_until;
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

use super::{checkpoint, count, counting, goes_on, gone, restore, restored};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "bind_mounts_are_what_they_are_here", bind_mounts)
        .on(ONE, "a_network_namespace_by_its_path", network)
        .on(ONE, "other_namespaces_by_their_paths", others)
        .on(ONE, "a_user_namespace", user_namespace)
        .on(ROOT, "hooks_of_a_restore", hooks);
}

fn bind_mounts(t: &Trial) {
    let data = t.dir.join("run/data");
    fs::create_dir_all(data.join("inner")).expect("mkdir");
    fs::write(data.join("file"), "then").expect("write");
    let single = t.dir.join("run/single");
    fs::write(&single, "alone").expect("write");
    let inner = data.join("inner");
    let inner = inner.to_str().expect("utf-8 path");
    t.cmd("mount", &["-t", "tmpfs", "inner", inner]).ok();
    t.accept_mounts();
    fs::write(data.join("inner/deep"), "deep").expect("write");
    let c = counting(t, |c| {
        bind(c, &data, "/data", &["rbind", "ro"]);
        bind(c, &single, "/etc/single file", &["bind"]);
        bind(c, &single, "/data/file", &["bind"]);
    });
    checkpoint(t, &c, &[]).ok();
    // What is mounted is not written: it is what is here now.
    fs::write(&single, "now").expect("write");
    let again = restored(t, &c);
    let seen = again.exec("cat '/etc/single file' /data/file /data/inner/deep").ok();
    seen.prints("nownowdeep");
    again.exec("echo x > /data/new").fails().says("Read-only file system");
    again.exec("echo more > '/etc/single file'").ok();
    assert_eq!(fs::read_to_string(&single).expect("read"), "more\n");
    again.remove();
    t.cmd("umount", &[inner]).ok();
    t.accept_mounts();
}

fn network(t: &Trial) {
    if !Path::new("/bin/ip").exists() && !Path::new("/sbin/ip").exists() {
        t.skip("iproute2 is not installed");
    }
    let name = t.name("net");
    t.cmd("ip", &["netns", "add", &name]).ok();
    t.accept_mounts();
    t.cmd("ip", &["netns", "exec", &name, "ip", "link", "add", "kept0", "type", "dummy"]).run();
    let path = format!("/run/netns/{name}");
    let c = counting(t, |c| {
        without_namespace(c, "network");
        namespaces(c).push(json!({"type": "network", "path": path}));
    });
    checkpoint(t, &c, &[]).ok();
    let before = count(&c);
    let again = restored(t, &c);
    goes_on(&again, before);
    let number = |path: &str| {
        fs::read_link(path).map_or_else(
            |_| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("a namespace")),
            |link| {
                let text = link.to_string_lossy().into_owned();
                let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                digits.parse().expect("a number")
            },
        )
    };
    assert_eq!(number(&path), number(&format!("/proc/{}/ns/net", again.pid())));
    again.remove();
    t.cmd("ip", &["netns", "del", &name]).ok();
    t.accept_mounts();
}

fn others(t: &Trial) {
    let holder = counting(t, |_| {});
    let ns = |kind: &str| format!("/proc/{}/ns/{kind}", holder.pid());
    let c = counting(t, |c| {
        for (word, kind) in [("ipc", "ipc"), ("uts", "uts")] {
            without_namespace(c, word);
            namespaces(c).push(json!({"type": word, "path": ns(kind)}));
        }
        c.as_object_mut().expect("an object").remove("hostname");
    });
    checkpoint(t, &c, &[]).ok();
    let before = count(&c);
    let again = restored(t, &c);
    goes_on(&again, before);
    for kind in ["ipc", "uts"] {
        let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
        assert_eq!(link(again.pid()), link(holder.pid()), "{kind}");
    }
    again.remove();
    holder.remove();
}

/// CRIU 4.2 opens images as root of the user namespace, who may not read root's files.
fn user_namespace(t: &Trial) {
    let c = counting(t, richrun_tests::bundle::user_namespace);
    let map = c.proc_file("uid_map");
    checkpoint(t, &c, &[]).ok();
    let before = count(&c);
    let out = restore(t, &c.bundle, &[], &c.id).run();
    if out.err.contains("img: Permission denied") {
        gone(t, &c.id);
        t.skip(out.err.trim());
    }
    assert_eq!(out.code, 0, "{}", out.err);
    goes_on(&c, before);
    assert_eq!(c.proc_file("uid_map"), map);
    c.remove();
}

/// As with runc: prestart and createRuntime when the namespaces are there, in the runtime's; and
/// poststart at the end. Those of the inside do not run: nothing is created and nothing executed.
fn hooks(t: &Trial) {
    let file = t.dir.join("run/hooked");
    let c = counting(t, |c| {
        for kind in [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ] {
            let script = format!(
                "state=$(cat); pid=$(echo \"$state\" | sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); \
                 echo {kind} $(echo \"$state\" | grep -o '\"id\":\"[^\"]*\"') $(readlink /proc/$pid/ns/net) >> {} || true",
                file.display()
            );
            c["hooks"][kind] = hook(&script);
        }
    });
    checkpoint(t, &c, &[]).ok();
    let said = || fs::read_to_string(&file).unwrap_or_default();
    assert!(said().contains("poststop"), "the container is deleted: {}", said());
    fs::remove_file(&file).expect("rm");
    let again = restored(t, &c);
    let net = fs::read_link(format!("/proc/{}/ns/net", again.pid())).expect("a namespace");
    let lines = ["prestart", "createRuntime", "poststart"]
        .map(|kind| format!("{kind} \"id\":\"{}\" {}\n", again.id, net.display()));
    assert_eq!(said(), lines.concat());
    goes_on(&again, 3);
    again.kill("KILL");
    again.wait("stopped");
    again.verb("delete", &[]).ok();
    wait_until("poststop", || said().contains("poststop"));
}

/// A hook that runs a script.
pub(super) fn hook(script: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
}
