//! Errors that name what is missing, and the way out.

use richrun_tests::bundle::{args, sh, without_namespace};
use richrun_tests::suite::{BOTH, ONE, ROOT, USER, V2};
use richrun_tests::{Kind, Suite, Trial, View};
use serde_json::json;

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "a_missing_interpreter_is_named", a_missing_interpreter_is_named)
        .on(USER, "an_ordinary_user_is_told_what_it_lacks", an_ordinary_user_is_told_what_it_lacks)
        .on(USER, "a_state_directory_that_is_not_ours", a_state_directory_that_is_not_ours)
        .on(BOTH, "the_rule_of_ids", the_rule_of_ids)
        .on(ONE, "a_failed_hook_is_named", a_failed_hook_is_named)
        .on(ROOT, "debug_tells_what_was_done", debug_tells_what_was_done)
        .on(V2, "control_groups_that_are_read_only", control_groups_that_are_read_only);
}

/// With `--debug` each command says what it did with which namespaces, groups, filter and
/// processes; without it, nothing. Arguments and variables, which may be secrets, are in neither.
fn debug_tells_what_was_done(t: &Trial) {
    t.only(&[Kind::Richrun], "has words of its own");
    let log = t.dir.join("out/debug.log");
    let path = log.to_str().expect("utf-8 path");
    let bundle = t.bundle(|c| {
        sh(c, ": hidden-word; exec sleep 1000");
        c["process"]["env"].as_array_mut().expect("env").push(json!("PASSWORD=hidden-word"));
        c["process"]["noNewPrivileges"] = json!(true);
        c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        // A machine with both has the pids controller in v1's view.
        match t.view {
            View::V1 => c["linux"]["resources"]["pids"] = json!({"limit": 77}),
            _ => c["linux"]["resources"]["unified"] = json!({"cgroup.max.depth": "3"}),
        }
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["kcmp"], "action": "SCMP_ACT_ERRNO"}]});
        c["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
    });
    let id = bundle.id.clone();
    let said = |words: &[&str], status: i32| {
        let _none = std::fs::remove_file(&log);
        t.rt(&["--debug", "--log", path]).args(words).run().exits(status);
        let text = std::fs::read_to_string(&log).expect("the log");
        assert!(!text.contains("hidden-word"), "{text}");
        text
    };
    let tells = |text: &str, words: &[&str]| {
        for word in words {
            assert!(text.contains(word), "no {word:?} in:\n{text}");
        }
    };
    let limit = match t.view {
        View::V1 => format!("cgroup: pids.max=77 in /sys/fs/cgroup/pids/{id}"),
        _ => format!("cgroup: cgroup.max.depth=3 in /sys/fs/cgroup/{id}"),
    };
    let text = said(&["create", "-b", bundle.path(), &id], 0);
    let c = t.take(&bundle);
    let pid = c.pid();
    let first = format!("first process: {pid}");
    let root = format!("root: {}", bundle.rootfs().display());
    tells(&text, &[&first, &root, &limit, "namespaces: new: pid, net, ", "joined: none"]);
    tells(&text, &["mounts: /proc, /dev, ", "no_new_privs; capabilities: ", "device rules: "]);
    tells(&text, &["sysctl: net/ipv4/ip_forward=1", "createRuntime hooks: 1", "set up: "]);
    assert!(!text.contains("seccomp: no filter"), "{text}");
    tells(&said(&["start", &id], 0), &["the payload is executed"]);
    let text = said(&["exec", "-e", "A=hidden-word", &id, "sh", "-c", "exit 3 # hidden-word"], 3);
    let of = format!("namespaces of process {pid}: ");
    tells(&text, &[&of, "cgroup: /sys/fs/cgroup/", "has ended: exit status 3"]);
    if t.view == View::V1 {
        let update = ["update", "--pids-limit", "78", &id];
        tells(&said(&update, 0), &["cgroup: pids.max=78 in "]);
    }
    let sent = format!("signal 9 was sent to process {pid}");
    tells(&said(&["kill", &id, "KILL"], 0), &[&sent]);
    c.wait("stopped");
    let removed = format!("remove the cgroups of {id}");
    tells(&said(&["delete", &id], 0), &[&removed, "remove the state of "]);
    let quiet = t.bundle(|c| sh(c, "true"));
    let out = t.run(&quiet).ok();
    assert_eq!(out.err, "");
}

/// The program is there: what execve(2) did not find is what it names.
fn a_missing_interpreter_is_named(t: &Trial) {
    t.only(&[Kind::Richrun], "says that the program is missing");
    let mut loaded = vec![0; 300];
    loaded[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let number = |file: &mut Vec<u8>, at: usize, value: u64, width: usize| {
        file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    };
    let own = std::fs::read("/proc/self/exe").expect("a program of this machine");
    loaded[16..20].copy_from_slice(&own[16..20]);
    for (at, value, width) in
        [(16, 2, 2), (20, 1, 4), (32, 64, 8), (52, 64, 2), (54, 56, 2), (56, 1, 2)]
    {
        number(&mut loaded, at, value, width);
    }
    for (at, value, width) in [(64, 3, 4), (72, 200, 8), (96, 16, 8), (104, 16, 8)] {
        number(&mut loaded, at, value, width);
    }
    loaded[200..216].copy_from_slice(b"/no/such/loader\0");
    let bundle = t.bundle(|c| args(c, &["/program"]));
    let idle = t.idle();
    for (content, name) in [
        (&b"#!/no/such/shell -e\nexit 0\n"[..], "/no/such/shell"),
        (b"#! /usr/bin/nothing\r\n", "/usr/bin/nothing\\r"),
        (&loaded, "/no/such/loader"),
    ] {
        let says = format!("its interpreter {name:?}: no such file or directory");
        let says = says.replace("\\\\", "\\");
        for root in [bundle.rootfs(), idle.bundle.rootfs()] {
            let file = root.join("program");
            std::fs::write(&file, content).expect("write");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&file, mode).expect("chmod");
        }
        let said = t.run_cmd(&bundle, &[]).run().fails().err.replace("\\\"", "\"");
        assert!(said.replace("\\\\", "\\").contains(&says), "{said} {says}");
        let out = idle.exec_cmd(&[], &["/program"]).run().exits(255);
        let said = out.err.replace("\\\"", "\"").replace("\\\\", "\\");
        assert!(said.contains(&says), "{said} {says}");
        let c = t.create(&bundle);
        let said = c.verb("start", &[]).run().fails().err.replace("\\\"", "\"");
        assert!(said.replace("\\\\", "\\").contains(&says), "{said} {says}");
        c.remove();
    }
    idle.remove();
}

fn an_ordinary_user_is_told_what_it_lacks(t: &Trial) {
    t.only(&[Kind::Richrun], "says other words");
    let bundle = t.bundle(|c| {
        sh(c, "true");
        without_namespace(c, "user");
        for field in ["uidMappings", "gidMappings"] {
            c["linux"].as_object_mut().expect("linux").remove(field);
        }
    });
    t.run(&bundle).fails().says("linux.namespaces has no user namespace").says("spec --rootless");
    let bundle = t.bundle(|c| {
        sh(c, "true");
        c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 3_000_000, "size": 7}]);
    });
    t.run(&bundle).fails().says("linux.uidMappings: newuidmap: ").says("/etc/subuid");
}

fn a_state_directory_that_is_not_ours(t: &Trial) {
    t.only(&[Kind::Richrun], "says other words");
    let bundle = t.bundle(|c| sh(c, "true"));
    let program = t.runtime_path();
    let line = ["run", "-b", bundle.path(), &bundle.id];
    let run = |root: &[&str]| {
        t.cmd(program.to_str().expect("utf-8"), root).args(&line).env("XDG_RUNTIME_DIR", "").run()
    };
    run(&[]).fails().says("--root or XDG_RUNTIME_DIR");
    run(&["--root", "/"]).fails().says("--root or XDG_RUNTIME_DIR");
}

fn the_rule_of_ids(t: &Trial) {
    t.only(&[Kind::Richrun], "says other words");
    let bundle = t.bundle(|c| sh(c, "true"));
    for id in ["a/b", "a b", "..", &"x".repeat(256)] {
        let out = t.rt(&["run", "-b", bundle.path(), id]).run().fails();
        out.says("invalid container ID format").says("1 to 255 letters, digits and _ + - .");
    }
}

fn a_failed_hook_is_named(t: &Trial) {
    t.only(&[Kind::Richrun], "says other words");
    for kind in ["createRuntime", "startContainer"] {
        let bundle = t.bundle(|c| {
            sh(c, "true");
            c["hooks"] = json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", "exit 9"]}]});
        });
        t.run(&bundle).fails().says("hook #0: exit status 9").says("program: /bin/sh");
    }
}

/// As in a container that is to run containers.
fn control_groups_that_are_read_only(t: &Trial) {
    t.only(&[Kind::Richrun], "says other words");
    let bundle = t.bundle(|c| sh(c, "echo done"));
    let again = |mode: &str| {
        let option = format!("remount,bind,{mode}");
        t.cmd("mount", &["-o", option.as_str(), "/sys/fs/cgroup"]).ok();
    };
    again("ro");
    let refused = t.run(&bundle);
    let without = ["--cgroup-manager", "disabled", "run", "-b", bundle.path(), &bundle.id];
    let without = t.rt(&without).run();
    again("rw");
    refused.fails().says("read-only file system").says("--cgroup-manager disabled");
    without.ok().prints("done");
}
