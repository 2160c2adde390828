//! What a container asks for beyond the specification: `io.richrun.*` and its options.

use richrun_tests::bundle::{args, caps, mounts, sh};
use richrun_tests::command::wait_until;
use richrun_tests::suite::{ALL, BOTH, ONE, ROOT, V1, V2};
use richrun_tests::{Suite, Trial, sys};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "landlock_paths", landlock_paths)
        .on(BOTH, "landlock_holds_for_exec_and_scripts", landlock_holds_for_exec_and_scripts)
        .on(ONE, "landlock_with_new_privileges", landlock_with_new_privileges)
        .on(ONE, "landlock_ports_and_scopes", landlock_ports_and_scopes)
        .on(ONE, "landlock_of_two_origins", landlock_of_two_origins)
        .on(ONE, "landlock_follows_no_link_out", landlock_follows_no_link_out)
        .on(BOTH, "landlock_refusals", landlock_refusals)
        .on(V2, "a_delegated_group", a_delegated_group)
        .on(V2, "a_delegated_group_of_another_user", a_delegated_group_of_another_user)
        .on(V2, "a_delegated_group_grants_nothing", a_delegated_group_grants_nothing)
        .on(V1, "no_delegated_group_on_v1", no_delegated_group_on_v1)
        .on(BOTH, "core_scheduling", core_scheduling)
        .on(ALL, "no_core_dumps", no_core_dumps)
        .on(ROOT, "no_node_but_the_listed", no_node_but_the_listed)
        .on(V1, "a_small_memory_limit", a_small_memory_limit);
}

fn annotate(config: &mut Value, name: &str, value: &str) {
    config["annotations"][format!("io.richrun.{name}")] = value.into();
}

fn needs_landlock(t: &Trial, least: i64) {
    if sys::landlock_abi() < least {
        t.skip("this kernel has no such Landlock");
    }
}

fn landlock_paths(t: &Trial) {
    needs_landlock(t, 5);
    let script = "echo a > /open/x && cat /open/x; cat /shut/y; echo b > /shut/y; \
                  /open/prog && echo ran; exit 3";
    let bundle = t.bundle(|c| {
        c["root"]["readonly"] = false.into();
        annotate(c, "landlock", "exec=/bin ro=/shut rw=/open rw=/dev/null");
        sh(c, script);
    });
    bundle.file("/open/z", "");
    bundle.file("/shut/y", "shut\n");
    bundle.script("/open/prog", "#!/bin/sh\necho no\n");
    if !t.is_root() {
        bundle.give_away();
    }
    let out = t.run(&bundle).exits(3);
    assert_eq!(out.out, "a\nshut\n", "{}", out.err);
    assert!(out.err.contains("/shut/y") && out.err.contains("ermission denied"), "{}", out.err);
    // Without its program no payload starts.
    bundle.edit(|c| annotate(c, "landlock", "ro=/"));
    t.run(&bundle).fails().says("exec").says("permission denied");
}

fn landlock_holds_for_exec_and_scripts(t: &Trial) {
    needs_landlock(t, 5);
    let c = t.idle_with(|c| {
        c["root"]["readonly"] = false.into();
        annotate(c, "landlock", "exec=/bin ro=/proc rw=/dev");
    });
    c.exec("ls /").fails().says("ermission denied");
    c.exec("ls /bin >/dev/null").ok();
    c.remove();
    let bundle = t.bundle(|c| {
        c["root"]["readonly"] = false.into();
        annotate(c, "landlock", "exec=/bin rw=/dev rw=/made");
        args(c, &["true"]);
    });
    bundle.file("/made/x", "");
    if !t.is_root() {
        bundle.give_away();
    }
    let scripted = |line: &str| {
        let words = ["run", "--rich", "--initcmd", line, "-b", bundle.path(), &bundle.id];
        t.rt(&words).run()
    };
    scripted("echo a > /made/b").ok();
    scripted("echo a > /elsewhere").fails();
    assert!(bundle.rootfs().join("made/b").exists() && !bundle.rootfs().join("elsewhere").exists());
}

/// Without no_new_privs it takes a capability that the payload does not get.
fn landlock_with_new_privileges(t: &Trial) {
    needs_landlock(t, 5);
    for uid in [0, 1000] {
        let edit = |c: &mut Value| {
            c["process"]["noNewPrivileges"] = false.into();
            c["process"]["user"] = json!({"uid": uid, "gid": uid});
            caps(c, &[]);
            annotate(c, "landlock", "exec=/bin ro=/proc");
        };
        let out = t.sh_with("ls / || grep -E 'NoNewPrivs|CapPrm' /proc/self/status", edit).ok();
        let lines: Vec<&str> = out.out.split_whitespace().collect();
        assert_eq!(lines, ["CapPrm:", "0000000000000000", "NoNewPrivs:", "0"], "{}", out.err);
        let c = t.idle_with(edit);
        let out = c.exec("ls / || grep -E 'NoNewPrivs|CapPrm' /proc/self/status").ok();
        assert!(out.out.contains("0000000000000000"), "{}", out.out);
        c.remove();
    }
}

fn landlock_ports_and_scopes(t: &Trial) {
    needs_landlock(t, 6);
    // busybox's nc binds, and says why it cannot.
    let binds = |port: u32| format!("timeout 1 nc -l -p {port} </dev/null; true");
    let out = t.sh_with(&format!("{}; {}", binds(1234), binds(1235)), |c| {
        annotate(c, "landlock", "bind=1235 connect=none");
    });
    assert_eq!(out.err.matches("ermission denied").count(), 1, "{}", out.err);
    // A signal within the domain arrives, one from an exec's does not.
    let c = t.idle_with(|c| annotate(c, "landlock", "scope=signal"));
    c.exec("sleep 9 & kill $! && ! kill -0 1").ok();
    c.remove();
    let c = t.idle();
    c.exec("kill -0 1").ok();
    c.remove();
}

/// What an image asks for lifts nothing of what the command line takes away.
fn landlock_of_two_origins(t: &Trial) {
    needs_landlock(t, 5);
    let bundle = t.bundle(|c| {
        annotate(c, "landlock", "exec=/ rw=/");
        sh(c, "ls /tmp || ls /bin >/dev/null && echo bin");
    });
    let words = [
        "run",
        "--landlock",
        "exec=/bin",
        "--landlock",
        "rw=/dev",
        "-b",
        bundle.path(),
        &bundle.id,
    ];
    let out = t.rt(&words).ok();
    assert_eq!(out.out, "bin\n", "{}", out.err);
}

/// A link of the image's leads nowhere but to what lies in the root.
fn landlock_follows_no_link_out(t: &Trial) {
    needs_landlock(t, 5);
    let bundle = t.bundle(|c| {
        c["root"]["readonly"] = false.into();
        annotate(c, "landlock", "exec=/bin rw=/dev ro=/out");
        sh(c, "cat /inside/word");
    });
    bundle.file("/inside/word", "inside\n");
    std::os::unix::fs::symlink("../../../../inside", bundle.rootfs().join("out")).expect("link");
    t.run(&bundle).ok().prints("inside");
}

fn landlock_refusals(t: &Trial) {
    let refused = |rules: &str, words: &str| {
        let bundle = t.bundle(|c| {
            annotate(c, "landlock", rules);
            args(c, &["true"]);
        });
        t.run(&bundle).fails().says(words);
    };
    refused("wr=/x", "is none of ro=/PATH");
    refused("best-effort", "no rules");
    needs_landlock(t, 5);
    refused("exec=/bin ro=/no/such", "no such file");
    let bundle = t.bundle(|c| {
        annotate(c, "landlock", "best-effort exec=/bin ro=/no/such");
        args(c, &["true"]);
    });
    t.run(&bundle).ok().says("/no/such");
}

fn writable_cgroups(config: &mut Value) {
    for mount in mounts(config) {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        }
    }
}

/// Divides the group: a group beside its own, with a controller, and a process in it.
const DIVIDE: &str = "cd /sys/fs/cgroup && grep ^0: /proc/self/cgroup && cat cgroup.procs && \
                      mkdir mine && cat mine/cgroup.controllers && echo $$ > mine/cgroup.procs && \
                      grep ^0: /proc/self/cgroup";

fn a_delegated_group(t: &Trial) {
    for rich in [false, true] {
        let bundle = t.bundle(|c| {
            writable_cgroups(c);
            annotate(c, "delegate-cgroup", "true");
            annotate(c, "rich", if rich { "true" } else { "false" });
            sh(c, DIVIDE);
        });
        let out = t.run(&bundle).ok().out;
        let all = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "0::/payload", "{out}");
        assert_eq!(*lines.last().expect("a line"), "0::/mine", "{out}");
        assert!(lines[1].contains(all.trim()) && !all.trim().is_empty(), "{all}: {out}");
    }
    // Who enters stands beside the payload, and all is found and taken away.
    let c = t.idle_with(|c| {
        writable_cgroups(c);
        annotate(c, "delegate-cgroup", "true");
    });
    c.exec("grep ^0: /proc/self/cgroup").ok().prints("0::/payload");
    let listed = t.rt(&["ps", "--format", "json", &c.id]).ok().json();
    assert!(listed.as_array().is_some_and(|all| all.contains(&json!(c.pid()))), "{listed}");
    c.verb("pause", &[]).ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume", &[]).ok();
    c.remove();
    // Between create and start too.
    let c = t.create(&bundle_of(t));
    c.exec("grep ^0: /proc/self/cgroup").ok().prints("0::/payload");
    c.remove();
}

fn bundle_of(t: &Trial) -> richrun_tests::Bundle {
    t.bundle(|c| {
        writable_cgroups(c);
        annotate(c, "delegate-cgroup", "true");
        args(c, &["sleep", "1000"]);
    })
}

fn a_delegated_group_of_another_user(t: &Trial) {
    let out = t.sh_with(DIVIDE, |c| {
        writable_cgroups(c);
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        caps(c, &[]);
        annotate(c, "delegate-cgroup", "required");
    });
    assert!(out.ok().out.ends_with("0::/mine\n"));
}

fn a_delegated_group_grants_nothing(t: &Trial) {
    // The stock mount is read-only.
    let bundle = t.bundle(|c| {
        annotate(c, "delegate-cgroup", "true");
        sh(c, "grep ^0: /proc/self/cgroup");
    });
    t.run(&bundle).fails().says("no cgroup namespace of its own with a writable");
    bundle.edit(|c| annotate(c, "delegate-cgroup", "best-effort"));
    t.run(&bundle).ok().says("no cgroup namespace").prints("0::/");
    let words = ["run", "--delegate-cgroup", "-b", bundle.path(), &bundle.id];
    t.rt(&words).run().fails().says("delegate-cgroup");
}

fn no_delegated_group_on_v1(t: &Trial) {
    let bundle = t.bundle(|c| {
        writable_cgroups(c);
        annotate(c, "delegate-cgroup", "true");
        args(c, &["true"]);
    });
    t.run(&bundle).fails().says("no cgroup v2 group");
    bundle.edit(|c| annotate(c, "delegate-cgroup", "best-effort"));
    t.run(&bundle).ok().says("no cgroup v2 group");
}

fn core_scheduling(t: &Trial) {
    let bundle = t.bundle(|c| {
        annotate(c, "core-scheduling", "required");
        args(c, &["true"]);
    });
    match sys::has_core_scheduling() {
        true => t.run(&bundle).ok(),
        false => t.run(&bundle).fails().says("io.richrun.core-scheduling: prctl PR_SCHED_CORE"),
    };
    bundle.edit(|c| annotate(c, "core-scheduling", "best-effort"));
    let out = t.run(&bundle).ok();
    assert_eq!(out.err.contains("core-scheduling"), !sys::has_core_scheduling(), "{}", out.err);
    bundle.edit(|c| annotate(c, "core-scheduling", "maybe"));
    t.run(&bundle).fails().says("is none of true, required");
}

fn no_core_dumps(t: &Trial) {
    let c = t.idle_with(|c| {
        annotate(c, "core-dumps", "false");
        c["process"]["rlimits"] =
            json!([{"type": "RLIMIT_CORE", "soft": 1 << 20, "hard": 1 << 20}]);
    });
    let line = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Max core file size")).unwrap_or("");
        line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
    };
    // One byte: no file, and no program that is told.
    assert_eq!(line(&c.proc_file("limits")), "1 1");
    assert_eq!(line(&c.exec("cat /proc/self/limits").out), "1 1");
    c.remove();
}

fn no_node_but_the_listed(t: &Trial) {
    let settings = t.dir.join("config.toml");
    std::fs::write(&settings, "[devices]\nmknod = false\n").expect("write");
    let bundle = t.bundle(|c| {
        c["root"]["readonly"] = false.into();
        caps(c, &["CAP_MKNOD"]);
        c["linux"]["devices"] = json!([{"path": "/dev/listed", "type": "c", "major": 1, "minor": 11,
            "fileMode": 0o600, "uid": 0, "gid": 0}]);
        sh(
            c,
            "test -c /dev/listed && mknod /null c 1 3 && mknod /listed c 1 11 && echo own; \
               mknod /kmsg2 c 1 12 || mknod /disk b 8 0 || echo none",
        );
    });
    let run = || t.rt(&["run", "-b", bundle.path(), &bundle.id]);
    let out = run().env("RICHRUN_CONFIG", &settings.to_string_lossy()).ok();
    assert_eq!(out.out, "own\nnone\n", "{}", out.err);
    for node in ["null", "listed"] {
        std::fs::remove_file(bundle.rootfs().join(node)).expect("remove");
    }
    let out = run().ok();
    assert_eq!(out.out, "own\n", "{}", out.err);
    wait_until("its end", || !t.root().join(&bundle.id).exists());
}

/// The set-up of a container and of who enters it is charged to the container: it has to be
/// small. runc takes 2 MiB.
fn a_small_memory_limit(t: &Trial) {
    for rich in ["false", "true"] {
        let c = t.idle_with(|c| {
            c["linux"]["resources"]["memory"] = json!({"limit": 1 << 20});
            annotate(c, "rich", rich);
        });
        for _ in 0..3 {
            c.exec("true").ok();
        }
        c.remove();
    }
}
