//! What a container can get hold of: the runtime's program, its processes,
//! its descriptors, directories of the host.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use richrun_tests::bundle::{args, caps, namespaces, probe, sh, without_namespace};
use richrun_tests::command::{Cmd, wait_until};
use richrun_tests::container::{Container, IDLE};
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

use super::Canary;

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "the_program_is_not_writable", the_program_is_not_writable)
        .on(ONE, "who_enters_shows_nothing", who_enters_shows_nothing)
        .on(BOTH, "no_descriptor_leaks", no_descriptor_leaks)
        .on(ONE, "no_descriptor_leaks_into_hooks", no_descriptor_leaks_into_hooks)
        .on(ONE, "cwd_is_inside", cwd_is_inside)
        .on(ONE, "no_abstract_socket", no_abstract_socket)
        .on(ONE, "odd_passwd", odd_passwd)
        .on(ONE, "tampered_proc", tampered_proc);
}

/// A container whose first process is hostile, and the file it reports to.
fn hostile<'t>(
    t: &'t Trial,
    deed: &str,
    edit: impl FnOnce(&mut Value),
) -> (Container<'t>, PathBuf) {
    let bundle = t.bundle(|c| {
        args(c, &["/probe", deed, "/tmp/report"]);
        edit(c);
    });
    let bundle = bundle.with_probe();
    bundle.script("/trampoline", "#!/proc/self/exe\n");
    let report = bundle.rootfs().join("tmp/report");
    let c = t.detach(&bundle);
    wait_until("the attacker", || report.exists());
    (c, report)
}

/// Ends the attacker; what it reports, and how many processes it has seen.
fn end(c: &Container<'_>, report: &PathBuf) -> (String, u32) {
    c.bundle.file("/tmp/stop", "");
    c.wait("stopped");
    c.remove();
    let text = fs::read_to_string(report).expect("the report");
    let seen = text.lines().find_map(|line| line.strip_prefix("seen ")).expect("an end");
    let seen = seen.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    (text, seen)
}

/// Others enter the attacker's namespaces, by `exec` and by joining its pid
/// namespace; `program` is the runtime.
fn visits(t: &Trial, c: &Container<'_>, program: &str) {
    let root = t.root();
    let root = root.to_str().expect("utf-8 path");
    let pid_namespace = format!("/proc/{}/ns/pid", c.pid());
    for round in 0..25 {
        t.cmd(program, &["--root", root, "exec", &c.id, "/probe", "name"]).ok();
        if round % 5 == 0 {
            // Becomes the runtime's own program again, now as a payload.
            t.cmd(program, &["--root", root, "exec", &c.id, "/trampoline"]).run();
            let guest = t.bundle(|config| {
                args(config, &["/probe", "name"]);
                without_namespace(config, "pid");
                namespaces(config).push(json!({"type": "pid", "path": pid_namespace}));
            });
            let guest = guest.with_probe();
            t.cmd(program, &["--root", root, "run", "-b", guest.path(), &guest.id]).ok();
        }
    }
}

/// R1, CVE-2019-5736. The attacker may even look into every process.
fn the_program_is_not_writable(t: &Trial) {
    let program = t.dir.join("bin/victim");
    fs::copy(t.runtime_path(), &program).expect("copy the runtime");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let before = fs::read(&program).expect("read the program");
    let (c, report) = hostile(t, "overwrite", |c| {
        caps(c, &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    });
    visits(t, &c, program.to_str().expect("utf-8 path"));
    let (text, seen) = end(&c, &report);
    assert!(seen > 0, "the attacker saw nothing: {text}");
    assert!(!text.contains("written"), "{text}");
    assert!(fs::read(&program).expect("read the program") == before, "the program was changed");
}

/// R2, CVE-2016-9962.
fn who_enters_shows_nothing(t: &Trial) {
    let (c, report) = hostile(t, "snoop", |_| {});
    let program = t.runtime_path();
    let count = report.with_extension("seen");
    let seen = || fs::read_to_string(&count).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    // It sees as many as the machine lets it look at.
    let mut rounds = 0;
    while rounds < 3 || (seen() <= 20 && rounds < 100) {
        rounds += 1;
        let guest = program.to_str().expect("utf-8 path");
        for _ in 0..15 {
            let root = t.root();
            let root = root.to_str().expect("utf-8 path");
            t.cmd(guest, &["--root", root, "exec", &c.id, "/bin/true"]).ok();
        }
        joins(t, &c);
    }
    let (text, seen) = end(&c, &report);
    assert!(seen > 20, "the attacker saw nothing: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// A container that joins the attacker's pid namespace.
fn joins(t: &Trial, c: &Container<'_>) {
    let guest = t.bundle(|config| {
        args(config, &["/bin/true"]);
        without_namespace(config, "pid");
        let path = format!("/proc/{}/ns/pid", c.pid());
        namespaces(config).push(json!({"type": "pid", "path": path}));
    });
    t.run(&guest).ok();
}

/// Gives a command fifty descriptors of the host's root directory.
fn with_fifty(command: Cmd<'_>) -> Cmd<'_> {
    (3..53).fold(command, |command, number| command.fd(number, File::open("/").expect("open /")))
}

/// The numbers that `probe descriptors` wrote.
fn numbers(file: &PathBuf) -> Vec<u32> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.lines().map(|line| line.split(' ').next().unwrap().parse().expect("a number")).collect()
}

/// R3, CVE-2024-21626.
fn no_descriptor_leaks(t: &Trial) {
    let probing = || t.bundle(|c| args(c, &["/probe", "descriptors", "/tmp/seen"])).with_probe();
    let seen = |bundle: &Bundle| {
        let file = bundle.rootfs().join("tmp/seen");
        wait_until("the descriptors", || fs::metadata(&file).is_ok_and(|data| data.len() > 0));
        numbers(&file)
    };
    let bundle = probing();
    with_fifty(t.run_cmd(&bundle, &[])).ok();
    assert_eq!(seen(&bundle), [0, 1, 2], "run");
    let bundle = probing();
    with_fifty(t.rt(&["create", "-b", bundle.path(), &bundle.id])).ok();
    with_fifty(t.rt(&["start", &bundle.id])).ok();
    assert_eq!(seen(&bundle), [0, 1, 2], "create and start");
    t.take(&bundle).remove();
    let bundle = t.bundle(|c| sh(c, IDLE)).with_probe();
    let c = t.detach(&bundle);
    with_fifty(c.exec_cmd(&[], &["/probe", "descriptors", "/tmp/seen"])).ok();
    assert_eq!(seen(&bundle), [0, 1, 2], "exec");
    c.remove();
}

/// R3 and R29: every hook has its standard streams and nothing more.
fn no_descriptor_leaks_into_hooks(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "its own descriptors reach createContainer hooks");
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let place = |kind: &str| t.dir.join("home").join(kind);
    let bundle = t.bundle(|c| {
        sh(c, "true");
        for kind in kinds {
            c["hooks"][kind] =
                json!([{"path": probe(), "args": ["probe", "descriptors", place(kind)]}]);
        }
        c["hooks"]["startContainer"] =
            json!([{"path": "/probe", "args": ["probe", "descriptors", "/tmp/seen"]}]);
    });
    let bundle = bundle.with_probe();
    with_fifty(t.rt(&["create", "-b", bundle.path(), &bundle.id])).ok();
    with_fifty(t.rt(&["start", &bundle.id])).ok();
    t.take(&bundle).wait("stopped");
    with_fifty(t.rt(&["delete", &bundle.id])).ok();
    for kind in kinds {
        assert_eq!(numbers(&place(kind)), [0, 1, 2], "{kind}");
    }
    assert_eq!(numbers(&bundle.rootfs().join("tmp/seen")), [0, 1, 2], "startContainer");
}

/// R4, CVE-2024-21626: by a descriptor of the runtime's or one that was passed,
/// directly or by a link of the image, there is no way out.
fn cwd_is_inside(t: &Trial) {
    let canary = Canary::new(t);
    let show =
        "[ -e secret ] && echo OUTSIDE; [ -e ../../../../proc/1 ] && readlink /proc/self/cwd";
    let inside = |out: richrun_tests::Output, what: &str| {
        let place = out.trimmed();
        assert!(
            out.code != 0 || (place.starts_with('/') && !place.contains("OUTSIDE")),
            "{what}: {out:?}"
        );
    };
    let open = || File::open(&canary.dir).expect("open");
    let c = t.idle();
    for number in 0..=20 {
        for link in [false, true] {
            let mut cwd = format!("/proc/self/fd/{number}");
            let bundle = t.bundle(|c| sh(c, show));
            if link {
                symlink(&cwd, bundle.rootfs().join("way")).expect("symlink");
                "/way".clone_into(&mut cwd);
            }
            bundle.edit(|c| c["process"]["cwd"] = json!(cwd));
            inside(t.run_cmd(&bundle, &[]).fd(3, open()).run(), &format!("run {cwd} {number}"));
            let kept = t.run_cmd(&bundle, &["--preserve-fds", "2"]).fd(3, open()).fd(4, open());
            inside(kept.run(), &format!("run --preserve-fds {cwd} {number}"));
        }
        let cwd = format!("/proc/self/fd/{number}");
        let exec = c.exec_cmd(&["--cwd", &cwd], &["sh", "-c", show]).fd(3, open()).run();
        inside(exec, &format!("exec {cwd}"));
        let options = ["--preserve-fds", "2", "--cwd", &cwd];
        let exec = c.exec_cmd(&options, &["sh", "-c", show]).fd(3, open()).fd(4, open()).run();
        inside(exec, &format!("exec --preserve-fds {cwd}"));
    }
    c.remove();
    canary.is_untouched("working directories");
}

/// R20, CVE-2020-15257: an abstract socket can be reached from a container that
/// shares the host's network.
fn no_abstract_socket(t: &Trial) {
    let names = || {
        let table = fs::read_to_string("/proc/net/unix").expect("the sockets");
        let names = table.lines().filter_map(|line| line.split(' ').next_back());
        names.filter(|name| name.starts_with('@')).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = names();
    let bundle = t.bundle(|c| {
        sh(c, IDLE);
        without_namespace(c, "network");
        without_namespace(c, "net");
    });
    let running = t.run_cmd(&bundle, &[]).spawn();
    let c = t.take(&bundle);
    wait_until("the container", || t.rt(&["state", &bundle.id]).run().out.contains("\"running\""));
    let during = names();
    let new: Vec<_> = during.iter().filter(|name| !before.contains(name)).collect();
    assert!(new.is_empty(), "{new:?}");
    c.kill("KILL");
    running.wait().exits(137);
}

/// The image's passwd is asked for the home directory: it may be anything.
fn odd_passwd(t: &Trial) {
    let canary = Canary::new(t);
    fs::write(canary.dir.join("secret"), "root:x:0:0::/LEAKED:/bin/sh\n").expect("write");
    for what in ["fifo", "device", "link", "upwards", "large"] {
        let bundle = t.bundle(|c| {
            sh(c, &format!("echo $HOME; {IDLE}"));
            c["process"]["env"] = json!(["PATH=/bin"]);
        });
        let file = bundle.rootfs().join("etc/passwd");
        let path = file.to_str().expect("utf-8 path");
        fs::remove_file(&file).expect("remove passwd");
        match what {
            "fifo" => drop(t.cmd("mkfifo", &[path]).ok()),
            "device" => drop(t.cmd("mknod", &[path, "c", "1", "5"]).ok()),
            "link" => symlink(canary.dir.join("secret"), &file).expect("symlink"),
            "upwards" => symlink("../../../canary/secret", &file).expect("symlink"),
            _ => File::create(&file).expect("create").set_len(1 << 40).expect("grow"),
        }
        let c = t.detach(&bundle);
        let out = c.exec_cmd(&[], &["sh", "-c", "echo $HOME"]).ok();
        assert!(!out.out.contains("LEAKED"), "{what}: {out:?}");
        c.remove();
    }
}

/// `exec` trusts nothing in the container's `/proc`.
fn tampered_proc(t: &Trial) {
    let c = t.idle_with(|c| {
        caps(c, &["CAP_SYS_ADMIN"]);
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
        c["process"]["oomScoreAdj"] = json!(10);
    });
    let fake = "mount -t tmpfs fake /proc; mkdir -p /proc/self/attr /proc/self/fd /proc/1; \
        mkfifo /proc/self/attr/exec /proc/self/setgroups /proc/self/oom_score_adj; \
        mkfifo /proc/self/status /proc/thread-self; ln -s / /proc/self/cwd";
    c.exec(fake).ok();
    for _ in 0..3 {
        c.exec_cmd(&["--user", "1000"], &["sh", "-c", "id -u; pwd"]).ok().prints("1000\n/");
    }
    c.remove();
}
