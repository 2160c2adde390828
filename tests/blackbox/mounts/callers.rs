//! No mount namespace is listed: the container is in the caller's, and changes nothing there.

use std::fs;

use richrun_tests::bundle::{caps, mounts, sh, user_namespace, without_namespace};
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "inherited_namespace", inherited_namespace)
        .on(ONE, "no_way_out_of_the_root", no_way_out_of_the_root)
        .on(ONE, "rich_without_a_namespace", rich_without_a_namespace)
        .on(ONE, "what_needs_a_namespace", what_needs_a_namespace);
}

const WHY: &str = "mounts into the host's namespace, where it stays";

fn mine(name: &str) -> String {
    fs::read_to_string(format!("/proc/self/{name}")).expect("read")
}

fn without(c: &mut Value) {
    without_namespace(c, "mount");
}

fn inherited_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let before = mine("mountinfo");
    let c = t.idle_with(|c| {
        without(c);
        c["root"]["readonly"] = json!(true);
        c["process"]["cwd"] = json!("/a/b");
        c["linux"]["rootfsPropagation"] = json!("unbindable");
    });
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("readlink");
    assert_eq!(of(&c.pid().to_string()), of("self"));
    assert_eq!(mine("mountinfo"), before, "while it runs");
    // All that the configuration asks for is there, in exec too.
    let out =
        c.exec("touch /x || touch /proc/sys/kernel/x || wc -c < /proc/keys; pwd; ls /dev/pts");
    out.ok().prints("0\n/a/b\nptmx").says("Read-only");
    c.remove();
    assert_eq!(mine("mountinfo"), before, "at the end");
    // Nor does one that is killed while it is being made leave anything.
    let bundle = t.bundle(|c| {
        without(c);
        c["hooks"] = json!({"createContainer": [{"path": "/bin/sh",
            "args": ["sh", "-c", "touch hooked; exec sleep 1000"]}]});
    });
    let running = t.rt(&["create", "-b", bundle.path(), &bundle.id]).spawn();
    richrun_tests::command::wait_until("the hook runs", || bundle.rootfs().join("hooked").exists());
    running.kill(libc::SIGKILL);
    running.wait();
    assert_eq!(mine("mountinfo"), before, "killed");
    t.rt(&["delete", "-f", &bundle.id]).ok();
}

/// A root that lies on nothing has nothing above it.
fn no_way_out_of_the_root(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| {
        without(c);
        caps(c, &["CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE"]);
        c["process"]["args"] = json!(["/probe", "climb", "/below"]);
    });
    let bundle = bundle.with_probe();
    bundle.file("below/here", "");
    bundle.file("top-of-the-container", "");
    t.run(&bundle).ok().shows("top-of-the-container");
}

fn rich_without_a_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "rich containers");
    let bundle = t.bundle(|c| {
        without(c);
        sh(c, "cat /proc/1/comm; readlink /proc/1/ns/mnt /proc/self/ns/mnt | sort -u | wc -l");
        c["process"]["capabilities"]["effective"] = json!(["CAP_SYS_PTRACE"]);
    });
    t.run_cmd(&bundle, &["--rich"]).ok().shows("rich-init");
}

fn what_needs_a_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let out = t.sh_with("true", |c| {
        user_namespace(c);
        without(c);
    });
    out.exits(1).says("linux.namespaces: a user namespace has no rights");
    let out = t.sh_with("true", |c| {
        without(c);
        mounts(c).push(json!({"destination": "/x", "type": "tmpfs", "source": "x",
            "options": ["runbindable"]}));
    });
    out.exits(1).says(".options: runbindable needs a mount namespace");
}
