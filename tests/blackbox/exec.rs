//! exec: every option, exit statuses, what the process sees.

use std::fs;

use richrun_tests::bundle::{caps, sh};
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{ALL, BOTH, ONE, ROOT, V2};
use richrun_tests::{Kind, Suite, Trial, View};
use serde_json::json;

pub fn register(suite: &mut Suite) {
    suite
        .on(ALL, "output_and_status", output_and_status)
        .on(ALL, "joins_namespaces", joins_namespaces)
        .on(ROOT, "joins_cgroup", joins_cgroup)
        .on(V2, "follows_init", follows_init)
        .on(ROOT, "never_in_the_callers_cgroup", never_in_the_callers_cgroup)
        .on(BOTH, "failures_exit_255", failures_exit_255)
        .on(BOTH, "signal_death", signal_death)
        .on(BOTH, "user", user)
        .on(ONE, "user_by_name", user_by_name)
        .on(BOTH, "cwd", cwd)
        .on(BOTH, "env", env)
        .on(ONE, "home", home)
        .on(ONE, "additional_gids", additional_gids)
        .on(ONE, "caps", caps_added)
        .on(ONE, "no_new_privs", no_new_privs)
        .on(BOTH, "process_file", process_file)
        .on(BOTH, "detached_pid_file", detached_pid_file)
        .on(BOTH, "standard_input", standard_input)
        .on(ONE, "preserve_fds", preserve_fds)
        .on(ONE, "options_end", options_end)
        .on(BOTH, "into_created", into_created)
        .on(ROOT, "ignore_paused", ignore_paused)
        .on(ONE, "many_in_a_row", many_in_a_row)
        .on(ONE, "many_at_once", many_at_once)
        .on(ROOT, "cgroup_option", cgroup_option)
        .on(ONE, "umask_of_its_own", umask_of_its_own)
        .on(ONE, "cpu_affinity", cpu_affinity);
}

fn output_and_status(t: &Trial) {
    let c = t.idle();
    c.exec("echo out; echo err >&2; exit 0").ok().prints("out").says("err");
    for code in [1, 2, 42, 127, 200, 255] {
        c.exec(&format!("exit {code}")).exits(code);
    }
    c.remove();
}

fn joins_namespaces(t: &Trial) {
    let c = t.idle();
    let pid = c.pid();
    for name in ["pid", "net", "ipc", "uts", "mnt", "user", "cgroup"] {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("readlink");
        let ours = c.exec(&format!("readlink /proc/self/ns/{name}")).ok();
        assert_eq!(ours.trimmed(), theirs.to_string_lossy(), "namespace {name}");
    }
    c.exec("hostname").ok().prints("richrun");
    c.remove();
}

fn joins_cgroup(t: &Trial) {
    let c = t.idle();
    let theirs = c.proc_file("cgroup");
    let out = c.exec_cmd(&["-d", "--pid-file", "/mnt/run/x"], &["sleep", "100"]).ok();
    assert_eq!(out.code, 0);
    let pid = fs::read_to_string("/mnt/run/x").expect("pid file");
    let ours = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).expect("cgroup");
    assert_eq!(ours, theirs);
    c.remove();
}

/// An init that has moved below its group and handed controllers on: nobody else may be in it.
fn follows_init(t: &Trial) {
    let c = t.idle();
    let group = t.cgroup("memory", &c.id);
    fs::create_dir(group.join("leaf")).expect("mkdir");
    let controllers = fs::read_to_string(group.join("cgroup.controllers")).expect("controllers");
    let Some(first) = controllers.split_whitespace().next() else {
        t.skip("the v2 hierarchy has no controller here");
    };
    wait_until("the controllers to be handed on", || {
        // IDLE's sleep comes and goes.
        for pid in fs::read_to_string(group.join("cgroup.procs")).expect("processes").lines() {
            let _gone = fs::write(group.join("leaf/cgroup.procs"), pid);
        }
        fs::write(group.join("cgroup.subtree_control"), format!("+{first}")).is_ok()
    });
    let theirs = c.proc_file("cgroup");
    assert!(theirs.contains("/leaf"), "{theirs}");
    c.exec_cmd(&["-d", "--pid-file", "/mnt/run/leaf"], &["sleep", "100"]).ok();
    let pid = fs::read_to_string("/mnt/run/leaf").expect("pid file");
    let ours = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).expect("cgroup");
    assert_eq!(ours, theirs);
    c.remove();
}

/// The container's groups are gone: v2 joins its init where that is, v1 is an error.
fn never_in_the_callers_cgroup(t: &Trial) {
    let c = t.idle();
    let group = t.cgroup("memory", &c.id);
    let other = group.with_file_name(format!("{}-other", c.id));
    fs::create_dir(&other).expect("mkdir");
    let pids = fs::read_to_string(group.join("cgroup.procs")).expect("the processes");
    for pid in pids.lines() {
        // IDLE's sleep may be over.
        let _gone = fs::write(other.join("cgroup.procs"), pid);
    }
    wait_until("the group to be empty", || {
        for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
            let _gone = fs::write(other.join("cgroup.procs"), pid);
        }
        fs::remove_dir(&group).is_ok()
    });
    let out = c.exec_cmd(&[], &["cat", "/proc/self/cgroup"]).run();
    match t.view {
        View::V1 => drop(out.exits(255).says("gone")),
        _ => assert_eq!(out.ok().out, c.exec("cat /proc/1/cgroup").out),
    }
    c.remove();
    for pid in fs::read_to_string(other.join("cgroup.procs")).unwrap_or_default().lines() {
        richrun_tests::sys::kill(pid.parse().expect("a pid"), 9);
    }
    wait_until("the other group's end", || fs::remove_dir(&other).is_ok());
}

fn failures_exit_255(t: &Trial) {
    let c = t.idle();
    let missing = c.exec_cmd(&[], &["no-such-program"]).run();
    let absolute = c.exec_cmd(&[], &["/no/such/program"]).run();
    let denied = c.exec_cmd(&[], &["/etc/passwd"]).run();
    let directory = c.exec_cmd(&[], &["/etc"]).run();
    if t.kind() == Kind::Crun {
        for out in [missing, absolute, denied, directory] {
            out.fails();
        }
    } else {
        missing.exits(255).says("executable file not found in");
        absolute.exits(255).says("no such file or directory");
        denied.exits(255).says("permission denied");
        directory.exits(255);
        c.exec_cmd(&["--cwd", "/nowhere"], &["true"]).run().exits(255).says("/nowhere");
    }
    c.remove();
}

fn signal_death(t: &Trial) {
    let c = t.idle();
    for signal in [1, 9, 15, 11] {
        c.exec(&format!("kill -{signal} $$")).exits(128 + signal);
    }
    c.remove();
}

fn user(t: &Trial) {
    let c = t.idle();
    c.exec_cmd(&["-u", "1000"], &["id", "-u"]).ok().prints("1000");
    c.exec_cmd(&["--user", "1000:2000"], &["sh", "-c", "echo $(id -u):$(id -g)"])
        .ok()
        .prints("1000:2000");
    c.exec_cmd(&[], &["sh", "-c", "echo $(id -u):$(id -g)"]).ok().prints("0:0");
    c.remove();
}

fn user_by_name(t: &Trial) {
    let c = t.idle();
    // runc's and crun's exec take numbers only; a name must fail, not mean root.
    c.exec_cmd(&["-u", "nobody-here"], &["true"]).run().fails();
    for odd in ["-1", "4294967296", "1000:x", "0x10", " 1000"] {
        let out = c.exec_cmd(&[&format!("--user={odd}")], &["id", "-u"]).run();
        if t.is_richrun() {
            out.exits(255);
        }
    }
    c.remove();
}

fn cwd(t: &Trial) {
    let c = t.idle_with(|c| c["process"]["cwd"] = json!("/home"));
    c.exec_cmd(&[], &["pwd"]).ok().prints("/home");
    c.exec_cmd(&["--cwd", "/tmp"], &["pwd"]).ok().prints("/tmp");
    c.remove();
}

fn env(t: &Trial) {
    let c = t.idle_with(|c| c["process"]["env"] = json!(["PATH=/bin", "KEEP=yes", "A=config"]));
    let script = "echo $KEEP,$A,$B";
    c.exec_cmd(&["-e", "A=one", "-e", "B=x=y"], &["sh", "-c", script]).ok().prints("yes,one,x=y");
    c.exec_cmd(&["-e", "A=1", "-e", "A=2"], &["sh", "-c", "env | grep -c ^A=; echo $A"])
        .ok()
        .prints("1\n2");
    c.remove();
}

fn home(t: &Trial) {
    let c = t.idle();
    let show = ["sh", "-c", "echo $HOME"];
    c.exec_cmd(&[], &show).ok().prints("/root");
    c.exec_cmd(&["-u", "1000"], &show).ok().prints("/home/app");
    c.exec_cmd(&["-u", "4242"], &show).ok().prints("/");
    c.exec_cmd(&["-e", "HOME=/x"], &show).ok().prints("/x");
    c.remove();
}

fn additional_gids(t: &Trial) {
    let c = t.idle();
    c.exec_cmd(&["-g", "100", "-g", "200"], &["grep", "^Groups", "/proc/self/status"])
        .ok()
        .shows("100 200");
    c.exec_cmd(&[], &["grep", "^Groups", "/proc/self/status"]).ok().prints("Groups:");
    c.remove();
}

/// The named capability mask of a process that a command line shows.
fn mask(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    u64::from_str_radix(line.unwrap_or_else(|| panic!("{name} in {text}")).trim(), 16).expect("hex")
}

fn caps_added(t: &Trial) {
    let c = t.idle_with(|c| caps(c, &["CAP_KILL"]));
    let show = ["cat", "/proc/self/status"];
    let plain = c.exec_cmd(&[], &show).ok().out;
    assert_eq!(mask(&plain, "CapEff"), 1 << 5, "{plain}");
    let more = c.exec_cmd(&["-c", "CAP_SYS_CHROOT", "-c", "CAP_CHOWN"], &show).ok().out;
    let wanted = 1 << 5 | 1 << 18 | 1;
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        assert_eq!(mask(&more, set), wanted, "{set}: {more}");
    }
    assert_eq!(mask(&more, "CapInh"), 0, "the inheritable set stays empty");
    // An engine may be newer than the runtime: what it does not know is told.
    let odd = c.exec_cmd(&["-c", "CAP_FLY", "-c", "CAP_CHOWN"], &show).ok();
    assert_eq!(mask(&odd.out, "CapEff"), 1 << 5 | 1, "{}", odd.out);
    if t.is_richrun() {
        odd.says("ignoring unknown capability CAP_FLY");
    }
    c.remove();
}

fn no_new_privs(t: &Trial) {
    let c = t.idle_with(|c| c["process"]["noNewPrivileges"] = json!(false));
    let show = ["grep", "NoNewPrivs", "/proc/self/status"];
    c.exec_cmd(&[], &show).ok().prints("NoNewPrivs:\t0");
    c.exec_cmd(&["--no-new-privs"], &show).ok().prints("NoNewPrivs:\t1");
    c.remove();
}

fn process_file(t: &Trial) {
    let c = t.idle();
    let process = json!({
        "terminal": false, "cwd": "/tmp", "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin", "MARK=file"],
        "args": ["sh", "-c", "echo $MARK $(pwd); umask; exit 9"],
    });
    let file = t.dir.join("home/process.json");
    fs::write(&file, process.to_string()).expect("write process.json");
    let path = file.to_str().expect("utf-8 path");
    for option in ["-p", "--process"] {
        t.rt(&["exec", option, path, &c.id]).run().exits(9).shows("file /tmp");
    }
    let nobody = json!({"cwd": "/", "user": null, "args": ["id", "-u"], "env": ["PATH=/bin"]});
    fs::write(&file, nobody.to_string()).expect("write process.json");
    t.rt(&["exec", "-p", path, &c.id]).ok().prints("0");
    // Without a word about them: the container's capabilities, no more and no less.
    let bare = json!({"cwd": "/", "args": ["cat", "/proc/self/status"], "env": ["PATH=/bin"]});
    fs::write(&file, bare.to_string()).expect("write process.json");
    t.rt(&["exec", "-p", path, &c.id]).ok().shows("CapPrm:\t0000000020000420\n");
    fs::write(&file, "{\"args\": [").expect("write process.json");
    let out = t.rt(&["exec", "-p", path, &c.id]).run().fails();
    if t.is_richrun() {
        out.exits(255);
    }
    c.remove();
}

fn detached_pid_file(t: &Trial) {
    let c = t.idle();
    let file = t.dir.join("run/exec.pid");
    let path = file.to_str().expect("utf-8 path");
    let script = "echo started > /tmp/started; exec sleep 100";
    c.exec_cmd(&["-d", "--pid-file", path], &["sh", "-c", script]).ok();
    let pid: i32 = fs::read_to_string(&file).expect("pid file").trim().parse().expect("a pid");
    wait_until("the detached process", || c.bundle.rootfs().join("tmp/started").exists());
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("comm");
    // busybox executes itself by that name on its way.
    assert!(["sleep", "sh", "exe"].contains(&comm.trim()), "{comm}");
    c.remove();
}

fn standard_input(t: &Trial) {
    let c = t.idle();
    c.exec_cmd(&[], &["sh", "-c", "tr a-z A-Z"]).input("some words").ok().prints("SOME WORDS");
    c.remove();
}

fn preserve_fds(t: &Trial) {
    let c = t.idle();
    let file = t.dir.join("home/kept");
    fs::write(&file, "kept text").expect("write");
    let open = || fs::File::open(&file).expect("open");
    c.exec_cmd(&["--preserve-fds", "2"], &["sh", "-c", "ls /proc/self/fd | wc -l; cat <&4"])
        .fd(3, open())
        .fd(4, open())
        .fd(5, open())
        .ok()
        // 0 to 2, the two kept, and the one ls itself opens.
        .prints("6\nkept text");
    c.exec_cmd(&[], &["sh", "-c", "ls /proc/self/fd | wc -l"]).fd(3, open()).ok().prints("4");
    c.remove();
}

fn options_end(t: &Trial) {
    let c = t.idle();
    t.rt(&["exec", &c.id, "echo", "-d", "--tty", "-e"]).ok().prints("-d --tty -e");
    if t.kind() != Kind::Crun {
        t.rt(&["exec", "-user", "1000", &c.id, "id", "-u"]).ok().prints("1000");
    }
    c.remove();
}

fn into_created(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let c = t.create(&bundle);
    c.exec("echo early").ok().prints("early");
    assert_eq!(c.status(), "created");
    // It is not left open to whoever is in it.
    c.start();
    c.exec("echo late").ok().prints("late");
    c.remove();
}

fn ignore_paused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "has no --ignore-paused");
    let c = t.idle();
    c.verb("pause", &[]).ok();
    c.exec("true").exits(255).says("paused");
    let running = c.exec_cmd(&["--ignore-paused"], &["echo", "thawed"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(200));
    c.verb("resume", &[]).ok();
    running.wait().ok().prints("thawed");
    c.remove();
}

fn many_in_a_row(t: &Trial) {
    let c = t.idle();
    for number in 0..50 {
        let code = number % 7;
        c.exec(&format!("exit {code}")).exits(code);
    }
    c.remove();
}

fn many_at_once(t: &Trial) {
    let c = t.idle();
    let running: Vec<_> = (0..16)
        .map(|number| {
            c.exec_cmd(&[], &["sh", "-c", &format!("sleep 0.2; echo {number}; exit {number}")])
                .spawn()
        })
        .collect();
    for (number, one) in running.into_iter().enumerate() {
        one.wait().exits(number as i32).prints(&number.to_string());
    }
    c.remove();
}

fn cgroup_option(t: &Trial) {
    t.only(&[Kind::Richrun], "--cgroup takes other forms or is not there");
    let c = t.idle();
    let parent = t.cgroup("pids", &c.id);
    fs::create_dir(parent.join("sub")).expect("make a sub-cgroup");
    let out = c.exec_cmd(&["--cgroup", "sub"], &["cat", "/proc/self/cgroup"]).run();
    if t.view == richrun_tests::View::V2 {
        out.ok().shows("/sub");
    } else {
        drop(out);
        let one = c.exec_cmd(&["--cgroup", "pids:sub"], &["cat", "/proc/self/cgroup"]).ok();
        let line = one.out.lines().find(|line| line.contains(":pids:")).expect("the pids line");
        assert!(line.ends_with("/sub"), "{line}");
    }
    c.exec_cmd(&["--cgroup", "../../.."], &["true"]).run().exits(255);
    c.exec_cmd(&["--cgroup", "not-there"], &["true"]).run().exits(255);
    // A controller that there is not is an error with every path.
    for unknown in ["nonsense:/", "nonsense:sub", "nonsense:"] {
        c.exec_cmd(&["--cgroup", unknown], &["true"]).run().exits(255).says("nonsense");
    }
    c.exec_cmd(&["--cgroup", "/"], &["true"]).ok();
    c.remove();
}

fn umask_of_its_own(t: &Trial) {
    t.only(&[Kind::Richrun], "exec has no umask in these versions");
    let c = t.idle();
    let process = |umask: serde_json::Value| {
        let mut process = json!({
            "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], "args": ["sh", "-c", "umask"],
        });
        if !umask.is_null() {
            process["user"]["umask"] = umask;
        }
        fs::write("/mnt/home/p.json", process.to_string()).expect("write process.json");
        t.rt(&["exec", "-p", "/mnt/home/p.json", &c.id]).ok()
    };
    process(json!(0o077)).prints("0077");
    c.remove();
}

/// `process.execCPUAffinity` is about exec alone.
fn cpu_affinity(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 and 1.21 do not know it");
    let allowed = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let c =
        t.idle_with(|c| c["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"}));
    c.exec_cmd(&[], &allowed).ok().prints("Cpus_allowed_list:\t0");
    // More CPUs than the C library's mask has room for: those that there are count.
    let document = |cpus: &str| {
        let mut process = c.bundle.config()["process"].clone();
        process["args"] = json!(allowed);
        process["execCPUAffinity"] = json!({"initial": cpus, "final": cpus});
        fs::write("/mnt/home/wide.json", process.to_string()).expect("write");
        t.rt(&["exec", "-p", "/mnt/home/wide.json", &c.id]).run()
    };
    document("0,1024-8191").ok().prints("Cpus_allowed_list:\t0");
    document("1024-8191").fails().says("execCPUAffinity.initial");
    document("0-8192").fails().says("no list of numbers");
    let own = fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("status");
    assert!(!own.contains("Cpus_allowed_list:\t0\n"), "init has its group's: {own}");
    c.remove();
    t.sh_with("true", |c| c["process"]["execCPUAffinity"] = json!({"final": "0"})).ok();
    t.sh_with("true", |c| c["process"]["execCPUAffinity"] = json!({"initial": "0-x"}))
        .fails()
        .says("execCPUAffinity");
}
