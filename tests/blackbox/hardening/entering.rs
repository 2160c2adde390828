//! Who enters a container, and what becomes of him: what those inside see of him, and what they
//! and the world can do to whoever waits for him.

use std::fs;
use std::path::{Path, PathBuf};

use richrun_tests::bundle::{args, caps, sh, user_namespace};
use richrun_tests::command::wait_until;
use richrun_tests::container::{Container, IDLE};
use richrun_tests::injection::traced;
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

use super::Canary;

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "watched_with_every_capability", |t| watched(t, |_| {}))
        .on(ONE, "watched_in_a_user_namespace", |t| watched(t, user_namespace))
        .on(ONE, "a_created_container_has_nothing_of_the_caller", created_is_bare)
        .on(ROOT, "killed_on_the_way", killed_on_the_way)
        .on(ROOT, "races_with_the_end", races_with_the_end)
        .on(ONE, "what_is_missing_is_told_at_once", what_is_missing_is_told_at_once)
        .on(ROOT, "headless_is_told_at_once", headless_is_told_at_once)
        .on(ROOT, "asked_to_end_while_frozen", asked_to_end_while_frozen)
        .on(ONE, "asked_to_end_during_hooks", asked_to_end_during_hooks)
        .on(ONE, "a_caller_that_ignores_its_children", a_caller_that_ignores_its_children);
}

/// Every capability of Linux 6, by its number.
const EVERYTHING: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID \
    SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER \
    SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE \
    SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN \
    SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";

/// The capabilities that this machine has to give.
pub(super) fn everything() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").expect("the status");
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).expect("CapBnd");
    let mask = u64::from_str_radix(mask, 16).expect("a mask");
    let named = EVERYTHING.split_whitespace().enumerate();
    let there = named.filter(|(number, _)| mask & (1 << number) != 0);
    there.map(|(_, name)| format!("CAP_{name}")).collect()
}

/// A container whose first process does a deed of the probe's, and where it reports.
pub(super) fn with_deed<'t>(
    t: &'t Trial,
    words: &[&str],
    edit: impl FnOnce(&mut Value),
) -> (Container<'t>, PathBuf) {
    let bundle = t.bundle(|c| {
        args(c, words);
        let names = everything();
        caps(c, &names.iter().map(String::as_str).collect::<Vec<_>>());
        edit(c);
    });
    let bundle = bundle.with_probe();
    fs::create_dir_all(bundle.rootfs().join("tmp")).expect("mkdir");
    let report = bundle.rootfs().join("tmp/report");
    let c = t.detach(&bundle);
    wait_until("the deed", || report.exists());
    (c, report)
}

/// Ends it; what it has reported.
pub(super) fn end(c: &Container<'_>, report: &Path) -> String {
    c.bundle.file("/tmp/stop", "");
    c.wait("stopped");
    c.remove();
    fs::read_to_string(report).expect("the report")
}

/// Who enters shows nothing of the host's, to whoever has every right inside.
fn watched(t: &Trial, edit: impl FnOnce(&mut Value)) {
    let canary = Canary::new(t);
    let marks = ["CALLERS-SECRET", "SECRET-OF-AN-OPTION"];
    let words = ["/probe", "watch", "/tmp/report", canary.path(), marks[0], marks[1]];
    let (c, report) = with_deed(t, &words, |c| {
        user_may_write(c);
        edit(c);
    });
    let count = report.with_extension("seen");
    let seen = || fs::read_to_string(&count).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut rounds = 0;
    while rounds < 40 || (seen() < 10 && rounds < 400) {
        rounds += 1;
        // The payload has another environment, so that the option is to be seen nowhere.
        let options = ["--cwd", "/", "-e", "A=SECRET-OF-AN-OPTION", "-e", "A=harmless"];
        let exec = c.exec_cmd(&options, &["/probe", "name"]);
        exec.env("HOST", "CALLERS-SECRET").dir(&canary.dir).ok();
    }
    let seen = seen();
    let text = end(&c, &report);
    assert!(seen >= 10, "the watcher saw {seen} in {rounds} rounds: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    canary.is_untouched("exec");
}

pub(super) fn user_may_write(c: &mut Value) {
    c["root"]["readonly"] = json!(false);
}

/// Before its start the first process is the runtime still: others inside see it.
fn created_is_bare(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let create = t.rt(&["create", "--bundle", bundle.path(), &bundle.id]);
    create.env("HOST", "CALLERS-SECRET").ok();
    let c = t.take(&bundle);
    let seen = c.exec("cat /proc/1/cmdline /proc/1/environ 2>/dev/null | tr '\\0' ' '; echo end");
    let seen = seen.ok().out;
    let pid = c.pid();
    let outside = |name| fs::read(format!("/proc/{pid}/{name}")).expect("read");
    let outside = [outside("cmdline"), outside("environ")].concat();
    c.remove();
    assert!(!seen.contains("bundle") && !seen.contains("CALLERS"), "{seen}");
    assert!(outside.iter().all(|byte| *byte == 0), "{}", String::from_utf8_lossy(&outside));
}

/// Whoever waits for one that was killed on the way hears of it.
fn killed_on_the_way(t: &Trial) {
    let (c, report) = with_deed(t, &["/probe", "kill-all", "/tmp/report"], user_may_write);
    for _ in 0..20 {
        let out = c.exec_cmd(&[], &["/probe", "name"]).timeout(60).run();
        assert!([0, 137, 255].contains(&out.code), "{out:?}");
    }
    let text = end(&c, &report);
    assert_ne!(text.trim(), "seen 0");
}

/// Nobody waits for the end of a container that does not end.
fn what_is_missing_is_told_at_once(t: &Trial) {
    t.only(&[Kind::Richrun], "is an other program with other calls");
    let c = t.idle();
    let trace = t.dir.join("run/trace");
    let words = [trace.to_str().expect("utf-8"), "-e", "trace=poll,ppoll"];
    let out = traced(t, &words, &["exec", &c.id, "/no/such/program"]).run();
    assert!(out.code == 255 && out.err.contains("no such file or directory"), "{out:?}");
    let text = fs::read_to_string(&trace).expect("the trace");
    let waits = |line: &&str| line.contains("(Timeout)") && !line.contains("tv_sec=0, tv_nsec=0}");
    assert_eq!(text.lines().filter(waits).collect::<Vec<_>>(), Vec::<&str>::new());
    c.remove();
}

/// A process whose first thread has ended lives on with the others, for as long as it likes, and
/// cannot be entered: who asks hears so without waiting for an end.
fn headless_is_told_at_once(t: &Trial) {
    t.only(&[Kind::Richrun], "takes it for an ended one");
    let bundle = t.bundle(|c| args(c, &["/probe", "headless"])).with_probe();
    let c = t.detach(&bundle);
    let stat = format!("/proc/{}/stat", c.pid());
    wait_until("the end of the first thread", || {
        fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z "))
    });
    let trace = t.dir.join("run/trace");
    let words = [trace.to_str().expect("utf-8"), "-e", "trace=poll,ppoll"];
    let refused = [
        (vec!["exec", &c.id, "/probe", "name"], "the first thread of its init has ended"),
        (vec!["delete", &c.id], "that is not stopped: running"),
    ];
    for (line, why) in refused {
        let out = traced(t, &words, &line).run();
        assert!(out.code != 0 && out.err.contains(why), "{out:?}");
        let text = fs::read_to_string(&trace).expect("the trace");
        let long = |line: &&str| line.contains("(Timeout)") && !line.contains("tv_sec=0");
        assert_eq!(text.lines().filter(long).collect::<Vec<_>>(), Vec::<&str>::new());
    }
    c.verb("kill", &["KILL"]).ok();
    c.wait("stopped");
    c.remove();
}

/// An exec that meets the container's end comes to an end itself, in the engines' words.
fn races_with_the_end(t: &Trial) {
    let bundle = t.bundle(|c| args(c, &["sleep", "0.03"]));
    for round in 0..40 {
        let c = t.detach(&bundle);
        std::thread::sleep(std::time::Duration::from_millis(round % 8 * 5));
        let out = c.exec_cmd(&[], &["/bin/true"]).timeout(60).run();
        match out.code {
            0 | 137 => {}
            255 => {
                let known = ["container not running", "stopped container"];
                assert!(known.iter().any(|words| out.err.contains(words)), "{out:?}");
            }
            _ => panic!("{out:?}"),
        }
        c.remove();
    }
}

/// Nothing in a frozen container goes on; who waits for that can be asked to end.
fn asked_to_end_while_frozen(t: &Trial) {
    t.only(&[Kind::Richrun], "a process on its way into a frozen container");
    let c = t.idle();
    c.verb("pause", &[]).ok();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let exec = c.exec_cmd(&["--ignore-paused"], &["/bin/true"]).timeout(60).spawn();
        wait_until("the process to be frozen", || {
            let children = format!("/proc/{0}/task/{0}/children", exec.pid());
            fs::read_to_string(children).is_ok_and(|text| !text.trim().is_empty())
        });
        exec.kill(signal);
        exec.wait().exits(128 + signal);
    }
    c.verb("resume", &[]).ok();
    c.remove();
}

/// A hook may take as long as it likes, and the foreground can still be ended.
fn asked_to_end_during_hooks(t: &Trial) {
    t.only(&[Kind::Richrun], "the runtime's own end");
    for kind in ["createRuntime", "createContainer", "startContainer", "poststart"] {
        let bundle = t.bundle(|c| {
            sh(c, IDLE);
            let begun = match kind {
                "startContainer" => "/tmp/begun".to_owned(),
                _ => t.dir.join("home").join(kind).display().to_string(),
            };
            let script = format!(": > {begun}; exec sleep 1000");
            c["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
            user_may_write(c);
        });
        let begun = match kind {
            "startContainer" => bundle.rootfs().join("tmp/begun"),
            _ => t.dir.join("home").join(kind),
        };
        let run = t.run_cmd(&bundle, &[]).timeout(60).spawn();
        wait_until("the hook", || begun.exists());
        run.kill(libc::SIGTERM);
        run.wait().exits(143);
        let out = t.rt(&["state", &bundle.id]).run().fails();
        assert!(out.err.contains("does not exist"), "{kind}: {out:?}");
    }
}

/// `nohup`, cron, some languages: what a caller has made of SIGCHLD is its own.
fn a_caller_that_ignores_its_children(t: &Trial) {
    let (program, root) = (t.runtime_path(), t.root());
    let ignoring = |line: &[&str]| {
        let program = program.to_str().expect("utf-8 path");
        let words = ["--ignore-signal=CHLD", program, "--root", root.to_str().expect("utf-8 path")];
        t.cmd("/usr/bin/env", &words).args(line).run()
    };
    let bundle = t.bundle(|c| sh(c, "exit 42"));
    ignoring(&["run", "-b", bundle.path(), &bundle.id]).exits(42);
    let c = t.idle();
    ignoring(&["exec", &c.id, "sh", "-c", "exit 43"]).exits(43);
    c.remove();
}
