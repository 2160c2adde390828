//! Containers that join the pid namespace of another one (pods; `podman run --pid=container:X`):
//! what those who are there see of them, and what has to go on working.

use std::fs;

use richrun_tests::bundle::{args, bind, namespaces, sh, user_namespace, without_namespace};
use richrun_tests::command::Cmd;
use richrun_tests::container::{Container, IDLE};
use richrun_tests::injection::{follow, reached, steps};
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Bundle, Suite, Trial};
use serde_json::{Value, json};

use super::Canary;
use super::entering::{end, user_may_write, with_deed};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "watched_while_others_are_born", |t| watched(t, &["pid"], &runs))
        .on(ONE, "watched_while_others_are_born_in_a_user_namespace", |t| {
            watched(t, &["user", "pid"], &runs);
        })
        .on(ROOT, "watched_while_others_get_a_user_namespace", watched_with_a_new_user_namespace)
        .on(ONE, "watched_before_linux_6_17", |t| watched(t, &["pid"], &runs_on_an_old_kernel))
        .on(ROOT, "born_with_few_rights", born_with_few_rights)
        .on(ROOT, "born_into_a_pid_namespace", born_into_a_pid_namespace);
}

/// A bundle whose container joins the namespaces of `c`.
fn guest(t: &Trial, c: &Container<'_>, kinds: &[&str], edit: impl FnOnce(&mut Value)) -> Bundle {
    let pid = c.pid();
    t.bundle(|config| {
        for kind in kinds {
            without_namespace(config, kind);
            let path = format!("/proc/{pid}/ns/{kind}");
            namespaces(config).push(json!({"type": kind, "path": path}));
        }
        edit(config);
    })
}

/// Hooks of every kind, each of which takes a moment.
fn hooked(config: &mut Value) {
    let slow = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.02"]}]);
    for kind in ["createRuntime", "createContainer", "startContainer", "poststart"] {
        config["hooks"][kind] = slow.clone();
    }
}

/// How a guest is run: its round, its bundle, and the command line up to the verb.
type Runs = dyn Fn(&Trial, u32, &Bundle, &dyn Fn(Cmd<'_>));

/// Whoever is born among others shows nothing of the host's, to whoever has every right there.
fn watched(t: &Trial, kinds: &[&str], runs: &Runs) {
    watched_also(t, kinds, runs, false);
}

fn watched_with_a_new_user_namespace(t: &Trial) {
    watched_also(t, &["pid"], &runs, true);
}

fn without_procfs(config: &mut Value) {
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["type"] != "proc");
}

/// `new_user`: they have a user namespace each that is made for them.
fn watched_also(t: &Trial, kinds: &[&str], runs: &Runs, new_user: bool) {
    let canary = Canary::new(t);
    let marks = ["CALLERS-SECRET", "SECRET-OF-AN-OPTION"];
    let words = ["/probe", "watch", "/tmp/report", canary.path(), marks[0], marks[1]];
    let user = kinds.contains(&"user");
    let (c, report) = with_deed(t, &words, |c| {
        user_may_write(c);
        if user {
            user_namespace(c);
        }
    });
    let count = report.with_extension("seen");
    let seen = || fs::read_to_string(&count).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut rounds = 0_u32;
    while rounds < 10 || (seen() < 10 && rounds < 200) {
        rounds += 1;
        let bundle = guest(t, &c, kinds, |config| {
            if new_user {
                // Nobody mounts a procfs of another user namespace's.
                args(config, &["/probe", "name"]);
                without_procfs(config);
                user_namespace(config);
                if rounds.is_multiple_of(2) {
                    hooked(config);
                }
                return;
            }
            // Its procfs shows those who are there.
            let script = "grep -q sh /proc/$$/comm && exec /probe name";
            args(config, &["/bin/sh", "-c", script]);
            if !user {
                bind(config, &canary.dir.join("deeper"), "/data", &["rbind", "ro"]);
            }
            if rounds.is_multiple_of(2) {
                hooked(config);
            }
        });
        let bundle = bundle.with_probe();
        runs(t, rounds, &bundle, &|command| {
            command.env("HOST", "CALLERS-SECRET").dir(&canary.dir).ok();
        });
    }
    let seen = seen();
    let text = end(&c, &report);
    assert!(seen >= 10, "the watcher saw {seen} in {rounds} rounds: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    canary.is_untouched("a watched birth");
}

fn runs(t: &Trial, round: u32, bundle: &Bundle, call: &dyn Fn(Cmd<'_>)) {
    let log = format!("--log={}/SECRET-OF-AN-OPTION", t.dir.display());
    if !round.is_multiple_of(3) {
        return call(t.rt(&[&log, "run", "-b", bundle.path(), &bundle.id]));
    }
    call(t.rt(&[&log, "create", "-b", bundle.path(), &bundle.id]));
    call(t.rt(&[&log, "start", &bundle.id]));
    let guest = t.take(bundle);
    guest.wait("stopped");
    guest.remove();
}

/// fsconfig(2) of a procfs does not know `pidns`, which is the first that is asked of it.
fn runs_on_an_old_kernel(t: &Trial, _: u32, bundle: &Bundle, call: &dyn Fn(Cmd<'_>)) {
    if !cfg!(target_arch = "x86_64") {
        t.skip("calls are made to fail on x86_64 only");
    }
    let line = ["run", "-b", bundle.path(), &bundle.id];
    let all = steps(t, &line);
    let first = all.iter().find(|step| step.call == libc::SYS_fsconfig).expect("fsconfig");
    call(follow(t, &format!("error-{}", libc::EINVAL), *first, &line));
    assert!(reached(t).is_some(), "{first:?}");
}

/// What may be traced before it is the payload has little that could be used: what it takes to
/// become the payload, and the payload's own.
fn born_with_few_rights(t: &Trial) {
    // CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID, SETPCAP, and the payload's NET_RAW.
    const FEW: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 13;
    let (c, report) = with_deed(t, &["/probe", "rights", "/tmp/report"], user_may_write);
    let few = |process: &mut Value| {
        let sets = ["bounding", "permitted", "effective"].map(|set| (set, json!(["CAP_NET_RAW"])));
        process["capabilities"] = sets.into_iter().collect();
        process["noNewPrivileges"] = json!(true);
        process.as_object_mut().expect("an object").remove("rlimits");
        process["args"] = json!(["/probe", "name"]);
    };
    let mut process = c.bundle.config()["process"].clone();
    few(&mut process);
    let document = t.dir.join("process.json");
    fs::write(&document, process.to_string()).expect("write");
    let count = report.with_extension("seen");
    let seen = || fs::read_to_string(&count).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut rounds = 0_u32;
    while rounds < 20 || (seen() < 20 && rounds < 400) {
        rounds += 1;
        c.exec_cmd(&["--process", document.to_str().expect("utf-8")], &[]).ok();
        if rounds.is_multiple_of(4) {
            let bundle = guest(t, &c, &["pid"], |config| few(&mut config["process"]));
            t.run(&bundle.with_probe()).ok();
        }
    }
    let seen = seen();
    let text = end(&c, &report);
    let mask = u64::from_str_radix(text.trim(), 16).expect("a mask");
    assert!(seen >= 20, "the watcher saw {seen} in {rounds} rounds");
    assert_eq!(mask & !FEW, 0, "{mask:x}");
}

/// All that others have works there, too.
fn born_into_a_pid_namespace(t: &Trial) {
    let c = t.idle();
    let own = t.dir.join("home");
    let tell = |kind: &str| {
        let script = format!(
            r#"state=$(cat); pid=$(echo "$state" | sed 's/.*"pid": *\([0-9]*\).*/\1/')
            for ns in net mnt ipc uts; do readlink /proc/$pid/ns/$ns; done >{}/{kind}"#,
            own.display()
        );
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}])
    };
    let bundle = guest(t, &c, &["pid"], |config| {
        sh(config, &format!("echo started; {IDLE}"));
        for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
            config["hooks"][kind] = tell(kind);
        }
        let read = r#"sed 's/.*"pid": *\([0-9]*\).*/\1/' >/tmp/told; echo $PPID >/tmp/parent"#;
        config["hooks"]["startContainer"] =
            json!([{"path": "/bin/sh", "args": ["sh", "-c", read], "env": ["PATH=/bin"]}]);
        config["process"]["oomScoreAdj"] = json!(77);
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 7, "hard": 7}]);
        user_may_write(config);
    });
    let pid_file = t.dir.join("pid");
    let file = pid_file.to_str().expect("utf-8");
    t.rt(&["create", "--pid-file", file, "-b", bundle.path(), &bundle.id]).ok();
    let guest = t.take(&bundle);
    let pid = guest.pid();
    assert_eq!(fs::read_to_string(&pid_file).expect("the pid file"), pid.to_string());
    let of =
        |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a link");
    assert_eq!(of(pid, "pid"), of(c.pid(), "pid"));
    let namespaces: Vec<String> =
        ["net", "mnt", "ipc", "uts"].iter().map(|k| of(pid, k).display().to_string()).collect();
    t.rt(&["start", &bundle.id]).ok();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let told = fs::read_to_string(own.join(kind)).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(told.lines().collect::<Vec<_>>(), namespaces, "{kind}");
    }
    let inside = |name: &str| fs::read_to_string(bundle.rootfs().join(name)).expect("a file");
    assert_eq!(inside("tmp/told").trim(), inner_pid(pid), "startContainer");
    let there = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).expect("a file");
    assert_eq!(there("oom_score_adj").trim(), "77");
    assert!(there("limits").lines().any(|l| l.starts_with("Max core") && l.contains(" 7 ")));
    assert_eq!(there("stat").split(' ').nth(5).expect("a session"), pid.to_string());
    // Each sees the other in its own procfs, by the same number.
    let word = guest.exec(&format!("cat /proc/{}/comm", inner_pid(pid))).ok().out;
    assert_eq!(word, c.exec(&format!("cat /proc/{}/comm", inner_pid(pid))).ok().out);
    guest.exec("test $(readlink /proc/self/ns/pid) = $(readlink /proc/1/ns/pid)").ok();
    guest.verb("kill", &["KILL"]).ok();
    guest.wait("stopped");
    guest.remove();
    c.exec("true").ok();
    c.remove();
}

/// A process's number in its own pid namespace.
fn inner_pid(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).expect("NSpid");
    line.split_whitespace().last().expect("a number").to_owned()
}
