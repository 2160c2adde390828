//! Rich containers whose PID 1 reads an inittab: busybox's init, and SysV's
//! with sysv-rc's scripts or with OpenRC.

use std::fs;

use richrun_tests::bundle::{args, caps, sh, user_namespace};
use richrun_tests::command::{Cmd, Running};
use richrun_tests::podman_caps::PODMAN_CAPS;
use richrun_tests::stage::SUB_FIRST;
use richrun_tests::suite::{BOTH, ONE, ROOT, USER};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::json;

use super::{
    PATIENCE, PAYLOAD, boot_as, detached_as, patiently, payload_is_what_was_asked, ready, rooted,
    terminal_is_the_payloads,
};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "busybox_passes_the_exit_code", busybox_passes_the_exit_code)
        .on(ONE, "busybox_payload_has_its_limits", busybox_payload_has_its_limits)
        .on(ONE, "busybox_is_the_command", busybox_is_the_command)
        .on(ONE, "busybox_stops", busybox_stops)
        .on(ROOT, "sysv_passes_the_exit_code", sysv_passes_the_exit_code)
        .on(ONE, "sysv_payload_is_what_was_asked", sysv_payload_is_what_was_asked)
        .on(ONE, "sysv_stops", sysv_stops)
        .on(ONE, "sysv_stops_while_it_comes_up", sysv_stops_while_it_comes_up)
        .on(ONE, "sysv_ends_by_its_own_commands", sysv_ends_by_its_own_commands)
        .on(ONE, "sysv_terminal", sysv_terminal)
        .on(ONE, "sysv_with_all_rights", sysv_with_all_rights)
        .on(ONE, "sysv_in_a_user_namespace", sysv_in_a_user_namespace)
        .on(USER, "sysv_rootless", sysv_rootless)
        .on(ROOT, "sysv_restarts_and_pauses", sysv_restarts_and_pauses)
        .on(ONE, "sysv_is_the_command", sysv_is_the_command)
        .on(ROOT, "nobody_keeps_groups_beside_it", nobody_keeps_groups);
}

/// The images whose init is SysV's.
const IMAGES: [&str; 2] = ["sysv", "openrc"];

fn sbin_init<'t>(t: &'t Trial, bundle: &Bundle) -> Cmd<'t> {
    boot_as(t, bundle, "sbin-init", &[])
}

/// A root whose `/sbin/init` is busybox's.
fn busybox(t: &Trial, script: &str) -> Bundle {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| {
        sh(config, script);
        caps(config, PODMAN_CAPS);
        config["root"]["readonly"] = json!(false);
    });
    fs::create_dir(bundle.rootfs().join("sbin")).expect("make /sbin");
    std::os::unix::fs::symlink("../bin/busybox", bundle.rootfs().join("sbin/init")).expect("link");
    bundle.file("/etc/inittab", "::sysinit:/bin/touch /tmp/sysinit\n::askfirst:-/bin/sh\n");
    if !t.is_root() {
        bundle.give_away();
    }
    bundle
}

fn busybox_passes_the_exit_code(t: &Trial) {
    let bundle = busybox(t, "cat /proc/1/comm; ls /tmp; cat /etc/inittab | wc -l; exit 23");
    let options = ["--rich", "--rich-mode", "sbin-init"];
    let run = t.run_cmd(&bundle, &options).timeout(PATIENCE);
    run.run().exits(23).prints("init\nsysinit\n3");
    // What is in the image is as it was.
    let inittab = fs::read_to_string(bundle.rootfs().join("etc/inittab")).expect("inittab");
    assert!(inittab.contains("askfirst"));
}

/// By TERM, and by what podman sends to whatever is called `init`.
fn busybox_stops(t: &Trial) {
    let bundle = busybox(t, "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    for signal in ["TERM", "RTMIN+3"] {
        let running = sbin_init(t, &bundle).spawn();
        ready(&running);
        t.rt(&["kill", &bundle.id, signal]).ok();
        running.wait().exits(7);
    }
}

fn busybox_payload_has_its_limits(t: &Trial) {
    let bundle = busybox(t, "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; id -u");
    bundle.edit(|config| {
        let process = &mut config["process"];
        process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
        process["oomScoreAdj"] = json!(77);
        process["user"] = json!({"uid": 5, "gid": 5});
    });
    sbin_init(t, &bundle).ok().prints("100\n200\n77\n5");
}

/// Without a payload an init that is asked to end has done what it should.
fn busybox_is_the_command(t: &Trial) {
    let bundle = busybox(t, "true");
    bundle.file("/etc/inittab", "::sysinit:/bin/touch /tmp/sysinit\n");
    ends_with_zero(t, &bundle, "test -e /tmp/sysinit");
}

/// The bundle's init as the container's command: it comes up, and ends.
fn ends_with_zero(t: &Trial, bundle: &Bundle, is_up: &str) {
    bundle.edit(|config| {
        args(config, &["/sbin/init"]);
        config["annotations"] = json!({"io.richrun.rich": "true", "io.richrun.mode": "auto"});
    });
    let running = t.run_cmd(bundle, &[]).timeout(PATIENCE).spawn();
    let up = || t.rt(&["exec", &bundle.id, "sh", "-c", is_up]).run().code == 0;
    patiently("the system", || {
        assert!(running.alive(), "it has ended: {}", running.printed());
        up()
    });
    t.rt(&["kill", &bundle.id]).ok();
    running.wait().exits(0);
}

fn sysv_passes_the_exit_code(t: &Trial) {
    for image in IMAGES {
        // The scripts of the start have run, and the runlevel is the image's.
        let script = "cat /proc/1/comm; runlevel; test -p /run/initctl && echo up; exit 42";
        let bundle = rooted(t, image, script);
        sbin_init(t, &bundle).run().exits(42).prints("init\nN 2\nup");
        for untouched in ["etc/inittab", "etc/init.d", "usr/sbin"] {
            assert!(!bundle.dir.join("upper").join(untouched).exists(), "{image}: {untouched}");
        }
    }
    let bundle = rooted(t, IMAGES[0], "kill -SEGV $$");
    sbin_init(t, &bundle).run().exits(139);
    bundle.edit(|config| args(config, &["/no/such/program"]));
    sbin_init(t, &bundle).run().exits(1).says("stat /no/such/program: no such file or directory");
}

fn sysv_payload_is_what_was_asked(t: &Trial) {
    for image in IMAGES {
        payload_is_what_was_asked(t, &rooted(t, image, "true"), "sbin-init");
    }
}

/// A payload that answers TERM with 7, and what is told when it is there.
fn answering(t: &Trial, image: &str) -> (Bundle, Running) {
    let bundle = rooted(t, image, &format!("echo ready; {PAYLOAD}"));
    let running = sbin_init(t, &bundle).spawn();
    ready(&running);
    (bundle, running)
}

/// `kill` with TERM and with systemd's signal, and TERM and INT to the foreground.
fn sysv_stops(t: &Trial) {
    for (image, signal) in IMAGES.into_iter().zip(["TERM", "RTMIN+3"]) {
        let (bundle, running) = answering(t, image);
        t.rt(&["kill", &bundle.id, signal]).ok();
        running.wait().exits(7);
    }
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (_bundle, running) = answering(t, IMAGES[0]);
        running.kill(signal);
        running.wait().exits(7);
    }
    let bundle = rooted(t, IMAGES[0], "echo ready; exec sleep 1000");
    let running = sbin_init(t, &bundle).spawn();
    ready(&running);
    running.kill(libc::SIGTERM);
    running.wait().exits(143);
}

/// Asked before there is a payload, it ends too.
fn sysv_stops_while_it_comes_up(t: &Trial) {
    let bundle = rooted(t, IMAGES[0], "true");
    let inittab = "id:2:initdefault:\nsl:2:wait:/bin/sh -c \"touch /var/tmp/up; sleep 1000\"\n";
    bundle.file("/etc/inittab", inittab);
    let running = sbin_init(t, &bundle).spawn();
    patiently("the start", || bundle.rootfs().join("var/tmp/up").exists());
    t.rt(&["kill", &bundle.id]).ok();
    running.wait().exits(143);
}

/// What somebody in the container may say to SysV's init.
fn sysv_ends_by_its_own_commands(t: &Trial) {
    for command in ["init 0", "telinit 6", "shutdown -h now", "kill -INT 1"] {
        let (bundle, running) = answering(t, IMAGES[0]);
        let exec = |command: &str| t.rt(&["exec", &bundle.id, "sh", "-c", command]).run();
        // Which executes the init anew, as an upgrade of it does, is no end.
        exec("telinit u").exits(0);
        exec("telinit q").exits(0);
        patiently("the init to be itself again", || {
            exec("readlink /proc/1/exe").trimmed().ends_with("/init")
        });
        exec(command);
        running.wait().exits(7);
    }
}

fn sysv_terminal(t: &Trial) {
    terminal_is_the_payloads(t, IMAGES[0], "sbin-init");
}

/// Where it may do harm, it finds the scripts that would do it covered.
fn sysv_with_all_rights(t: &Trial) {
    for image in IMAGES {
        let bundle = rooted(t, image, "/etc/init.d/halt stop; grep -c 'Not in' /etc/init.d/halt");
        let more = ["CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_NET_ADMIN", "CAP_MKNOD"];
        bundle.edit(|config| caps(config, &[PODMAN_CAPS, &more].concat()));
        sbin_init(t, &bundle).ok().prints("1");
    }
}

fn sysv_in_a_user_namespace(t: &Trial) {
    let bundle = rooted(t, IMAGES[0], "cat /proc/self/uid_map | tr -s ' '; exit 9");
    bundle.edit(user_namespace);
    let owner = format!("{SUB_FIRST}:{SUB_FIRST}");
    t.cmd("chown", &["-R", "-h", &owner, bundle.rootfs().to_str().expect("a path")]).ok();
    sbin_init(t, &bundle).run().exits(9).prints(&format!("0 {SUB_FIRST} 65536"));
}

/// It needs no groups of its own, unlike systemd.
fn sysv_rootless(t: &Trial) {
    for image in IMAGES {
        let bundle = rooted(t, image, "cat /proc/1/comm; id -u; exit 11");
        sbin_init(t, &bundle).run().exits(11).prints("init\n0");
    }
}

fn sysv_restarts_and_pauses(t: &Trial) {
    let bundle = rooted(t, IMAGES[0], PAYLOAD);
    for _ in 0..2 {
        let c = detached_as(t, &bundle, "sbin-init");
        c.verb("pause", &[]).ok();
        assert_eq!(c.status(), "paused");
        c.verb("resume", &[]).ok();
        c.exec("cat /proc/1/comm").ok().prints("init");
        t.rt(&["kill", &c.id]).ok();
        patiently("the end", || c.status() == "stopped");
        c.remove();
        fs::remove_file(bundle.rootfs().join("var/tmp/up")).expect("remove the mark");
    }
}

fn sysv_is_the_command(t: &Trial) {
    for image in IMAGES {
        ends_with_zero(t, &rooted(t, image, "true"), "runlevel | grep -q 2");
    }
}

/// Beside an init of the image the groups are those of config.json, for who enters, too.
fn nobody_keeps_groups(t: &Trial) {
    let bundle = busybox(t, "sleep 1000");
    bundle.edit(|config| {
        config["process"]["user"]["additionalGids"] = json!([9]);
        config["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    });
    let settings = t.dir.join("settings.toml");
    let text = "[annotations]\nallow = [\"run.oci.keep_original_groups\"]\n";
    fs::write(&settings, text).expect("write");
    let script = format!(
        "set -e
         run() {{ setpriv --groups 5,7 {runtime} --root {root} \"$@\"; }}
         run run -d --rich --rich-mode sbin-init -b {bundle} {name}
         run exec {name} grep Groups: /proc/self/status
         run delete -f {name}",
        runtime = t.runtime_path().display(),
        root = t.root().display(),
        bundle = bundle.path(),
        name = t.name("groups"),
    );
    let path = settings.to_str().expect("a path");
    let out = t.cmd("sh", &["-c", &script]).env("RICHRUN_CONFIG", path).run().exits(0);
    let out = out.says("ignored beside an init of the image");
    assert_eq!(out.out.trim(), "Groups:\t9");
}
