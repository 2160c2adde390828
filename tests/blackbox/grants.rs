//! What a process of the container is granted, and what it has given up: filters, capabilities,
//! privileges, memory policy, in hooks and in `exec` too.

use std::fs;

use richrun_tests::bundle::{args, caps, sh, user_namespace};
use richrun_tests::suite::{BOTH, ONE, V1};
use richrun_tests::{Bundle, Suite, Trial};
use serde_json::{Value, json};

use crate::process::mask;

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "hooks_inside_have_the_payloads_rights", hooks_inside_have_the_payloads_rights)
        .on(ONE, "what_cannot_be_granted_warns", what_cannot_be_granted_warns)
        .on(ONE, "what_cannot_be_ambient_warns", what_cannot_be_ambient_warns)
        .on(ONE, "exec_adds_nothing_inheritable", exec_adds_nothing_inheritable)
        .on(BOTH, "exec_keeps_no_new_privileges", exec_keeps_no_new_privileges)
        .on(ONE, "memory_policy", memory_policy)
        .on(ONE, "calls_newer_than_the_profile", calls_newer_than_the_profile)
        .on(ONE, "sysctls_of_a_user_namespace", sysctls_of_a_user_namespace)
        .on(ONE, "no_process_until_start", no_process_until_start)
        .on(V1, "no_process_limit", no_process_limit)
        .on(V1, "kernel_memory", kernel_memory);
}

/// Docker's default profile.
const DOCKERS: &str = include_str!("../differential/profiles/docker.json");

/// A profile that denies one call and allows the rest.
fn denies(name: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    })
}

/// A startContainer hook is a program of the container's: what the payload may not do, it may
/// not either.
fn hooks_inside_have_the_payloads_rights(t: &Trial) {
    for no_new_privs in [true, false] {
        let bundle = t.bundle(|c| {
            sh(c, "cat /tmp/seen; cat /proc/self/status");
            caps(c, &["CAP_KILL"]);
            c["process"]["noNewPrivileges"] = json!(no_new_privs);
            c["linux"]["seccomp"] = denies("mkdir");
            let script = "cat /proc/self/status > /tmp/seen; mkdir /tmp/made";
            c["hooks"]["startContainer"] = json!([{"path": "/bin/sh",
                "args": ["sh", "-c", format!("{script}; true")], "env": ["PATH=/bin"]}]);
        });
        let started = t.run(&bundle).ok().out;
        let (hook, payload) = started.split_at(started.rfind("Name:").expect("two reports"));
        assert!(hook.contains("Seccomp:\t2"), "{hook}");
        assert!(!bundle.rootfs().join("tmp/made").exists(), "a denied call was made");
        let rights = |text: &str| {
            let kept = ["Cap", "NoNewPrivs", "Seccomp:", "Uid", "Gid", "Groups"];
            let lines = text.lines().filter(|line| kept.iter().any(|word| line.starts_with(word)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(rights(hook), rights(payload));
        fs::remove_file(bundle.rootfs().join("tmp/seen")).expect("remove the report");
        let c = t.create(&bundle);
        c.start();
        c.wait("stopped");
        let seen = fs::read_to_string(bundle.rootfs().join("tmp/seen")).expect("the hook's report");
        assert!(seen.contains("Seccomp:\t2"), "{seen}");
        assert!(!bundle.rootfs().join("tmp/made").exists(), "a denied call was made");
        c.remove();
    }
}

/// The runtime's foreground `run` of a bundle, without these capabilities.
fn run_without(t: &Trial, bundle: &Bundle, names: &str) -> richrun_tests::command::Output {
    let runtime = t.runtime_path();
    let root = t.root();
    let words = [
        &format!("--bounding-set={names}"),
        &format!("--inh-caps={names}"),
        runtime.to_str().expect("utf-8 path"),
        "--root",
        root.to_str().expect("utf-8 path"),
        "run",
        "--bundle",
        bundle.path(),
        &bundle.id,
    ];
    t.cmd("/usr/bin/setpriv", &words).run()
}

fn what_cannot_be_granted_warns(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "cat /proc/self/status");
        caps(c, &["CAP_KILL", "CAP_SYS_BOOT", "CAP_WAKE_ALARM"]);
        let inheritable = json!(["CAP_KILL", "CAP_SYS_BOOT"]);
        c["process"]["capabilities"]["inheritable"] = inheritable;
    });
    let out = run_without(t, &bundle, "-sys_boot,-wake_alarm").ok();
    for name in ["CapPrm", "CapEff", "CapBnd", "CapInh"] {
        assert_eq!(mask(&out.out, name), 1 << 5, "{name}");
    }
    out.says("process.capabilities: CAP_SYS_BOOT, CAP_WAKE_ALARM cannot be granted here");
}

fn what_cannot_be_ambient_warns(t: &Trial) {
    let out = t.sh_with("cat /proc/self/status", |c| {
        caps(c, &["CAP_KILL", "CAP_CHOWN"]);
        c["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
        c["process"]["capabilities"]["ambient"] = json!(["CAP_KILL", "CAP_CHOWN"]);
    });
    let out = out.ok();
    assert_eq!(mask(&out.out, "CapAmb"), 1 << 5);
    out.says("process.capabilities.ambient: CAP_CHOWN cannot be raised");
}

fn exec_adds_nothing_inheritable(t: &Trial) {
    let c = t.idle_with(|c| {
        caps(c, &["CAP_KILL"]);
        c["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    let options = ["--cap", "CAP_SYSLOG", "--cap", "CAP_KILL"];
    let out = c.exec_cmd(&options, &["cat", "/proc/self/status"]).ok().out;
    assert_eq!(mask(&out, "CapInh"), 1 << 5, "{out}");
    assert_eq!(mask(&out, "CapAmb"), 1 << 5, "{out}");
    assert_eq!(mask(&out, "CapBnd"), 1 << 5 | 1 << 34, "{out}");
    c.remove();
}

/// A process document without a word of it does not get back what the container gave up.
fn exec_keeps_no_new_privileges(t: &Trial) {
    let show = ["grep", "NoNewPrivs", "/proc/self/status"];
    for value in [true, false] {
        let c = t.idle_with(|c| c["process"]["noNewPrivileges"] = json!(value));
        let file = t.dir.join("run/process.json");
        let process = json!({"cwd": "/", "args": show, "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0}});
        fs::write(&file, process.to_string()).expect("write the process");
        let out = c.exec_cmd(&["--process", file.to_str().expect("utf-8 path")], &[]).ok();
        out.prints(&format!("NoNewPrivs:\t{}", u8::from(value)));
        c.exec_cmd(&[], &show).ok().prints(&format!("NoNewPrivs:\t{}", u8::from(value)));
        c.remove();
    }
}

/// Modes that need no nodes, at `run` and at `exec`; what is set is in numa_maps.
fn memory_policy(t: &Trial) {
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        t.skip("this kernel has no memory policies");
    }
    let show = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2";
    for (mode, shown) in
        [("MPOL_DEFAULT", "default"), ("MPOL_LOCAL", "local"), ("MPOL_PREFERRED", "local")]
    {
        let policy = json!({"mode": mode});
        t.sh_with(show, |c| c["linux"]["memoryPolicy"] = policy.clone()).ok().prints(shown);
        let c = t.idle_with(|c| c["linux"]["memoryPolicy"] = policy.clone());
        c.exec(show).ok().prints(shown);
        c.remove();
    }
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let c = t.idle_with(|c| c["linux"]["memoryPolicy"] = policy);
    c.exec(show).ok().prints("bind:0");
    c.remove();
}

/// A C library asks for a new call first, and falls back on ENOSYS: the profile need not name
/// the architecture for that.
fn calls_newer_than_the_profile(t: &Trial) {
    let bundle = t.bundle(|c| {
        args(c, &["/probe", "call", "900"]);
        let mut profile: Value = serde_json::from_str(DOCKERS).expect("docker's profile");
        profile.as_object_mut().expect("an object").remove("architectures");
        c["linux"]["seccomp"] = profile;
    });
    t.run(&bundle.with_probe()).ok().prints("38");
}

fn sysctls_of_a_user_namespace(t: &Trial) {
    let key = "user.max_uts_namespaces";
    let show = "cat /proc/sys/user/max_uts_namespaces";
    t.sh_with(show, |c| {
        user_namespace(c);
        c["linux"]["sysctl"] = json!({key: "17"});
    })
    .ok()
    .prints("17");
    let out = t.sh_with(show, |c| c["linux"]["sysctl"] = json!({key: "17"}));
    out.fails().says("user.max_uts_namespaces");
}

/// A limit of 0 processes is none in documents of before version 1.3.
fn no_process_limit(t: &Trial) {
    for (version, limit) in [("1.0.2", "max"), ("1.2.1-dev", "max"), ("1.3.0", "1")] {
        let c = t.idle_with(|c| {
            c["ociVersion"] = json!(version);
            c["process"]["args"] = json!(["sleep", "1000"]);
            c["linux"]["resources"]["pids"] = json!({"limit": 0});
        });
        let file = t.cgroup("pids", &c.id).join("pids.max");
        assert_eq!(fs::read_to_string(file).expect("pids.max").trim(), limit, "{version}");
        c.remove();
    }
}

/// Limits that the kernel no longer has are told of; the one that is left is set.
fn kernel_memory(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "true");
        c["linux"]["resources"]["memory"] = json!({"kernel": 1 << 30, "kernelTCP": 1 << 20});
    });
    t.run(&bundle).ok().says("linux.resources.memory.kernel: ignored");
    let c = t.create(&bundle);
    let file = t.cgroup("memory", &c.id).join("memory.kmem.tcp.limit_in_bytes");
    if let Ok(limit) = fs::read_to_string(file) {
        assert_eq!(limit.trim(), "1048576");
    }
    c.remove();
}

/// A document need not say what is run before `start`; the container takes others' processes.
fn no_process_until_start(t: &Trial) {
    let bundle = t.bundle(|c| {
        c.as_object_mut().expect("an object").remove("process");
    });
    t.run(&bundle).fails().says("process");
    let c = t.create(&bundle);
    assert_eq!(c.status(), "created");
    let file = t.dir.join("run/process.json");
    let process =
        json!({"cwd": "/", "args": ["/bin/echo", "inside"], "user": {"uid": 0, "gid": 0}});
    fs::write(&file, process.to_string()).expect("write the process");
    c.exec_cmd(&["--process", file.to_str().expect("utf-8 path")], &[]).ok().prints("inside");
    c.exec_cmd(&[], &["true"]).run().fails().says("process");
    c.verb("start", &[]).run().fails().says("process must be specified");
    assert_eq!(c.status(), "created", "nothing has changed");
    c.remove();
}
