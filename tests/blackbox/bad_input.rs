//! Bad input: each refusal is one line that names field and cause, on standard
//! error and in the log, with the right exit status, and nothing is left.
//!
//! The peers are held to the exit status and to leaving nothing, in the rows
//! that say so; the words are this project's.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use richrun_tests::bundle::{namespaces, sh, user_namespace};
use richrun_tests::container::{Container, IDLE};
use richrun_tests::suite::{BOTH, ONE, ROOT, USER};
use richrun_tests::{Bundle, Kind, Output, Suite, Trial, View, leftovers};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "documents", documents)
        .on(ONE, "create_refused", create_refused)
        .on(ONE, "host_refuses", host_refuses)
        .on(BOTH, "namespaces_refused", namespaces_refused)
        .on(ROOT, "limits_refused", limits_refused)
        .on(BOTH, "ids_refused", ids_refused)
        .on(ROOT, "states_refused", states_refused)
        .on(BOTH, "exec_refused", exec_refused)
        .on(USER, "rights_refused", rights_refused)
        .on(BOTH, "options_refused", options_refused);
}

/// For whom a row holds.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// Every runtime refuses it.
    All,
    /// The peers take it, or are not asked.
    Ours,
}
use Who::{All, Ours};

/// Why crun is left out of most tables.
const CRUN: &str = "takes some of these values, or leaves something behind";

/// A field, its bad value, and the words of the refusal.
type Row = (Who, &'static str, Value, &'static [&'static str]);

/// Runs a command that has to fail: plainly, and again with a JSON log.
#[track_caller]
fn refused(t: &Trial, what: &str, line: &[&str], code: i32, words: &[&str]) {
    let plain = t.rt(line).run();
    let log = t.dir.join("run").join(format!("{}.log", t.next()));
    let path = log.to_str().expect("utf-8 path");
    let mut logged = vec!["--log", path, "--log-format", "json"];
    logged.extend(line);
    let logged = t.rt(&logged).run();
    if !t.is_richrun() {
        for out in [plain, logged] {
            assert!(out.code != 0, "{what}: accepted: {out:?}");
            assert!(t.kind() == Kind::Crun || out.code == code, "{what}: exit {}", out.code);
        }
        return;
    }
    for out in [&plain, &logged] {
        assert!(out.code == code, "{what}: exit {} instead of {code}: {out:?}", out.code);
        assert!(out.err.lines().count() == 1, "{what}: not one line: {:?}", out.err);
        assert!(out.out.is_empty(), "{what}: standard output: {:?}", out.out);
    }
    assert!(plain.err.contains(" level=error msg="), "{what}: {:?}", plain.err);
    let text = fs::read_to_string(&log).unwrap_or_default();
    assert!(text.lines().count() == 1, "{what}: the log is not one line: {text:?}");
    let entry: Value = serde_json::from_str(&text).expect("a JSON log");
    assert_eq!(entry["level"], "error", "{what}: {text}");
    assert_eq!(entry["msg"], logged.err.trim_end(), "{what}: the log and standard error differ");
    let said = logged.err.to_lowercase();
    for word in words {
        assert!(said.contains(&word.to_lowercase()), "{what}: no {word:?} in {:?}", logged.err);
    }
}

/// Both ways to make a container refuse a bundle, and nothing is left of them.
#[track_caller]
fn no_container(t: &Trial, what: &str, bundle: &Bundle, words: &[&str]) {
    for verb in ["create", "run"] {
        let what = format!("{verb}: {what}");
        refused(t, &what, &[verb, "--bundle", bundle.path(), &bundle.id], 1, words);
    }
    t.finish();
}

/// A bundle, each row's value put into its configuration in turn.
fn table(t: &Trial, bundle: &Bundle, rows: &[Row]) {
    let good = bundle.config();
    for (who, path, value, words) in rows {
        if *who == Ours && !t.is_richrun() {
            continue;
        }
        let mut config = good.clone();
        set(&mut config, path, value.clone());
        bundle.write(&config);
        no_container(t, &format!("{path} = {value}"), bundle, words);
    }
    bundle.write(&good);
    t.run(bundle).ok();
}

/// Puts a value at `a.b.0.c`; `+` stands for a new entry of a list.
fn set(config: &mut Value, path: &str, value: Value) {
    let mut here = config;
    for part in path.split('.') {
        if here.is_null() {
            let list = part == "+" || part.parse::<usize>().is_ok();
            *here = if list { json!([]) } else { json!({}) };
        }
        here = match here {
            Value::Array(list) => {
                let at = part.parse().unwrap_or(list.len());
                if at == list.len() {
                    list.push(Value::Null);
                }
                &mut list[at]
            }
            Value::Object(map) => map.entry(part).or_insert(Value::Null),
            other => panic!("{path}: {other} has no {part}"),
        };
    }
    *here = value;
}

fn documents(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "true"));
    let file = bundle.dir.join("config.json");
    let good = bundle.config();
    let pretty = serde_json::to_string_pretty(&good).expect("JSON");
    let mut wrong_type = good.clone();
    wrong_type["process"]["args"] = json!("sh");
    let texts: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", Vec::new(), &["config.json", "line 1 column 0"]),
        ("a word", b"{\n  \"ociVersion\": oops }".to_vec(), &["config.json", "line 2 column 17"]),
        ("cut off", pretty.as_bytes()[..pretty.len() / 2].to_vec(), &["config.json", " column "]),
        ("a tail", format!("{good}\n}}").into_bytes(), &["config.json", "line 2 column 1"]),
        ("a list", b"[]".to_vec(), &["config.json", "line 1 column "]),
        ("null", b"null".to_vec(), &["config.json", "line 1 column "]),
        ("not UTF-8", b"{\"ociVersion\": \"\xff\"}".to_vec(), &["config.json", "line 1 column "]),
        ("nested", "[".repeat(1_000_000).into_bytes(), &["config.json", "recursion", "line 1"]),
        ("a type", wrong_type.to_string().into_bytes(), &["config.json", "line 1 column "]),
        ("17 MiB", vec![b' '; 17 << 20], &["config.json", "larger than 16 MiB"]),
    ];
    for (what, text, words) in texts {
        // runc stops reading at the document's end and panics over null; crun
        // takes values of other types.
        if ["a tail", "null", "a type"].contains(what) && !t.is_richrun() {
            continue;
        }
        fs::write(&file, text).expect("write config.json");
        no_container(t, what, &bundle, words);
    }
    fs::remove_file(&file).expect("remove config.json");
    no_container(t, "none", &bundle, &["config.json", "no such file or directory"]);
    fs::create_dir(&file).expect("make a directory");
    no_container(t, "a directory", &bundle, &["config.json", "is a directory"]);
    fs::remove_dir(&file).expect("remove the directory");
    if !t.is_root() {
        bundle.write(&good);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("chmod");
        std::os::unix::fs::chown(&file, Some(0), Some(0)).expect("chown");
        no_container(t, "unreadable", &bundle, &["config.json", "permission denied"]);
    }
    for (place, word) in [("/no/such/bundle", "no such file"), ("/etc/passwd", "not a directory")] {
        refused(t, place, &["create", "-b", place, &bundle.id], 1, &[place, word]);
    }
}

/// Values that no host can make anything of, field by field.
fn create_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let bundle = t.bundle(|c| sh(c, "true"));
    let rows: &[Row] = &[
        (Ours, "ociVersion", json!("2.0.0"), &["ociVersion: ", "2.0.0"]),
        (Ours, "ociVersion", json!("one"), &["ociVersion: ", "one"]),
        (All, "root", json!(null), &["root.path: "]),
        (All, "root.path", json!("nowhere"), &["root", "nowhere", "no such file or directory"]),
        (All, "root.path", json!("config.json"), &["root", "config.json", "not a directory"]),
        (All, "process", json!(null), &["process: "]),
        (All, "process.args", json!([]), &["process.args: "]),
        (All, "process.args", json!(["a\0b"]), &["process.args: ", "NUL"]),
        (All, "process.cwd", json!("tmp"), &["process.cwd: ", "absolute"]),
        (Ours, "process.env.+", json!("NAME"), &["process.env: ", "NAME"]),
        (All, "process.user.uid", json!(-1), &["config.json", "column"]),
        (All, "process.user.uid", json!(1u64 << 32), &["config.json", "column"]),
        (All, "process.rlimits.0.type", json!("RLIMIT_NONE"), &["RLIMIT_NONE", "column"]),
        (
            Ours,
            "process.rlimits.+",
            json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}),
            &["process.rlimits: ", "RLIMIT_NOFILE", "twice"],
        ),
        (Ours, "process.rlimits.0.soft", json!(5000), &["process.rlimits: ", "RLIMIT_NOFILE"]),
        (Ours, "process.oomScoreAdj", json!(1001), &["process.oomScoreAdj: ", "1001"]),
        (
            Ours,
            "process.ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            &["process.ioPriority.priority: "],
        ),
        (
            Ours,
            "process.scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            &["process.scheduler.nice: ", "20"],
        ),
        (Ours, "mounts.+", json!({"type": "tmpfs"}), &["mounts[", "destination"]),
        (Ours, "mounts.+", json!({"destination": "/x"}), &["mounts[", "].type: "]),
        (
            Ours,
            "mounts.+",
            json!({"destination": "/x", "type": "bind"}),
            &["mounts[", "].source: "],
        ),
        (
            Ours,
            "mounts.+",
            json!({"destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind"],
                   "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
            &["mounts[", "].uidMappings: "],
        ),
        (
            Ours,
            "mounts.+",
            json!({"destination": "/proc/self", "type": "tmpfs", "source": "x"}),
            &["mounts[", "].destination: ", "/proc/self"],
        ),
        (
            All,
            "hooks.createRuntime",
            json!([{"path": "hook"}]),
            &["hooks.createRuntime[0].path: ", "absolute"],
        ),
        (
            Ours,
            "hooks.poststop",
            json!([{"path": "/bin/true", "timeout": 0}]),
            &["hooks.poststop[0].timeout: "],
        ),
        (All, "linux.namespaces.+", json!({"type": "moon"}), &["moon", "column"]),
        (
            All,
            "linux.namespaces.+",
            json!({"type": "uts"}),
            &["linux.namespaces: ", "uts", "twice"],
        ),
        (
            Ours,
            "linux.namespaces.0",
            json!({"type": "pid", "path": "proc/1/ns/pid"}),
            &["linux.namespaces: ", "pid", "absolute"],
        ),
        (
            Ours,
            "linux.uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            &["linux.uidMappings: "],
        ),
        (
            Ours,
            "linux.timeOffsets",
            json!({"monotonic": {"secs": 1}}),
            &["linux.timeOffsets: ", "time namespace"],
        ),
        (
            Ours,
            "linux.devices",
            json!([{"path": "dev/x", "type": "c", "major": 1, "minor": 3}]),
            &["linux.devices[0].path: "],
        ),
        (
            All,
            "linux.devices",
            json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]),
            &["column"],
        ),
        (All, "linux.sysctl", json!({"vm.swappiness": "1"}), &["linux.sysctl", "vm.swappiness"]),
        (Ours, "linux.rootfsPropagation", json!("up"), &["linux.rootfsPropagation: ", "up"]),
        (Ours, "linux.cgroupsPath", json!("/a/../../b"), &["linux.cgroupsPath: ", ".."]),
        (
            All,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_SING"}),
            &["SCMP_ACT_SING", "column"],
        ),
        (
            All,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            &["linux.seccomp", "SCMP_ACT_NOTIFY"],
        ),
        (
            Ours,
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
                "names": ["read"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
            &["linux.seccomp.syscalls[0].args[0].index: ", "6"],
        ),
        (
            Ours,
            "linux.memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0-"}),
            &["linux.memoryPolicy.nodes: "],
        ),
        (Ours, "linux.personality", json!({"domain": "MARS"}), &["MARS", "column"]),
    ];
    table(t, &bundle, rows);
}

/// What this host, or this root file system, does not have.
fn host_refuses(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "true"));
    let mount = |kind: &str, source: &str, options: &[&str]| json!({"destination": "/x", "type": kind, "source": source, "options": options});
    let rows: &[Row] = &[
        (All, "process.args", json!(["no-such-program"]), &["no-such-program", "not found in"]),
        (All, "process.args", json!(["/no/such"]), &["/no/such", "no such file or directory"]),
        (All, "process.args", json!(["/etc/passwd"]), &["/etc/passwd", "permission denied"]),
        (All, "process.args", json!(["/etc"]), &["\"/etc\"", "permission denied"]),
        (All, "process.cwd", json!("/etc/passwd"), &["cwd", "/etc/passwd", "not a directory"]),
        (All, "mounts.+", mount("nofs", "x", &[]), &["nofs", "/x", "no such device"]),
        (All, "mounts.+", mount("tmpfs", "x", &["size=much"]), &["/x", "size", "invalid argument"]),
        (
            All,
            "mounts.+",
            mount("bind", "/no/such/source", &["bind"]),
            &["/no/such/source", "no such file or directory"],
        ),
        (
            All,
            "linux.sysctl",
            json!({"net.ipv4.ip_forward": "maybe"}),
            &["net.ipv4.ip_forward", "invalid argument"],
        ),
        (
            All,
            "linux.sysctl",
            json!({"net.no_such": "1"}),
            &["net", "no_such", "no such file or directory"],
        ),
        (
            All,
            "hooks.createRuntime",
            json!([{"path": "/no/such/hook"}]),
            &["createRuntime hook #0", "/no/such/hook", "no such file or directory"],
        ),
        (
            All,
            "hooks.createContainer",
            json!([{"path": "/bin/false"}]),
            &["createContainer hook #0", "exit status 1"],
        ),
        (
            Ours,
            "linux.netDevices",
            json!({"no-such-device": {}}),
            &["linux.netDevices", "no-such-device"],
        ),
        (Ours, "linux.intelRdt", json!({"closID": "x"}), &["linux.intelRdt", "resctrl"]),
        (
            Ours,
            "process.apparmorProfile",
            json!("no-such-profile"),
            &["process.apparmorProfile", "no-such-profile"],
        ),
    ];
    table(t, &bundle, rows);
    let mapped = t.bundle(|c| {
        sh(c, "true");
        user_namespace(c);
    });
    let beyond: &[Row] = &[
        (All, "process.user.uid", json!(70_000), &["process.user", "70000"]),
        (All, "process.user.gid", json!(70_000), &["process.user", "70000"]),
    ];
    table(t, &mapped, beyond);
}

fn namespaces_refused(t: &Trial) {
    let cases = [
        (All, "network", "/no/such/namespace", "no such file or directory"),
        (All, "network", "/proc/self/ns/uts", "network"),
        (All, "ipc", "/etc/passwd", "ipc"),
        (All, "pid", "/proc/self/ns/net", "pid"),
    ];
    let bundle = t.bundle(|c| sh(c, "true"));
    let good = bundle.config();
    for (who, kind, path, word) in cases {
        if who == Ours && !t.is_richrun() {
            continue;
        }
        let mut config = good.clone();
        namespaces(&mut config).retain(|entry| entry["type"] != kind);
        namespaces(&mut config).push(json!({"type": kind, "path": path}));
        bundle.write(&config);
        no_container(t, &format!("{kind} at {path}"), &bundle, &["namespace", path, word]);
    }
}

fn limits_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let bundle = t.bundle(|c| sh(c, "true"));
    let v1: &[Row] = &[
        (All, "linux.resources.memory", json!({"limit": 1}), &["linux.resources.memory.limit"]),
        (
            All,
            "linux.resources.cpu",
            json!({"quota": 1, "period": 1}),
            &["linux.resources.cpu.", "invalid argument"],
        ),
        (
            All,
            "linux.resources.cpu",
            json!({"cpus": "4000"}),
            &["linux.resources.cpu.cpus", "4000"],
        ),
        (
            Ours,
            "linux.resources.hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 1}]),
            &["linux.resources.hugepageLimits", "3MB"],
        ),
    ];
    let v2: &[Row] = &[
        (
            Ours,
            "linux.resources.hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 1}]),
            &["linux.resources.hugepageLimits"],
        ),
        (
            All,
            "linux.resources.unified",
            json!({"no.such.knob": "1"}),
            &["linux.resources.unified", "no.such.knob"],
        ),
        (
            Ours,
            "linux.resources.unified",
            json!({"cgroup.max.depth": "deep"}),
            &["linux.resources.unified", "cgroup.max.depth", "invalid argument"],
        ),
    ];
    table(t, &bundle, if t.view == View::V1 { v1 } else { v2 });
}

fn ids_refused(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let long = "x".repeat(1025);
    for id in ["", ".", "..", "a/b", "../x", "a b", "a\nb", "ä", "a:b", "a*", &long] {
        if t.kind() == Kind::Crun && !["", ".", "..", "a/b", "../x"].contains(&id) {
            continue;
        }
        let line = ["create", "-b", bundle.path(), id];
        refused(t, &format!("id {id:.20?}"), &line, 1, &["container id"]);
        t.finish();
    }
    let first = t.detach(&bundle);
    let again = ["create", "-b", bundle.path(), &first.id];
    refused(t, "an id in use", &again, 1, &[&first.id, "exist"]);
    assert_eq!(first.status(), "running", "the first container is unharmed");
    first.remove();
}

/// A container brought into a status.
fn in_status<'t>(t: &'t Trial, status: &str) -> Container<'t> {
    let bundle = t.bundle(|c| sh(c, IDLE));
    let c = t.create(&bundle);
    if status != "created" {
        c.start();
    }
    match status {
        "paused" => drop(c.verb("pause", &[]).ok()),
        "stopped" => c.kill("KILL"),
        _ => {}
    }
    c.wait(status);
    c
}

fn states_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "allows some of these");
    let table: &[(&str, &[(&str, &str)])] = &[
        ("created", &[("resume", "not paused")]),
        ("running", &[("start", "running"), ("delete", "not stopped"), ("resume", "not paused")]),
        ("paused", &[("start", "paused"), ("delete", "not stopped"), ("pause", "paused")]),
        (
            "stopped",
            &[
                ("start", "stopped"),
                ("kill", "container not running"),
                ("pause", "not running"),
                ("resume", "not paused"),
                ("ps", "not running"),
            ],
        ),
    ];
    for (status, commands) in table {
        let c = in_status(t, status);
        for (verb, word) in *commands {
            if !t.is_richrun() && *verb == "ps" {
                continue; // prints an empty list
            }
            refused(t, &format!("{verb} of a {status} container"), &[verb, &c.id], 1, &[word]);
            assert_eq!(c.status(), *status, "{verb} has no effect");
        }
        c.remove();
    }
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        let id = t.name("nobody");
        refused(t, verb, &[verb, &id], 1, &["does not exist", &id]);
    }
}

/// The pids in the trial's pid namespace.
fn pids() -> Vec<i32> {
    let mut pids: Vec<i32> = leftovers::processes().into_iter().map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    pids
}

fn exec_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    // A payload that starts no process, so that pids can be compared.
    let bundle = t.bundle(|c| c["process"]["args"] = json!(["sleep", "1000"]));
    let c = t.detach(&bundle);
    let id = c.id.as_str();
    let file = t.dir.join("home/process.json");
    let path = file.to_str().expect("utf-8 path");
    let before = pids();
    let check = |what: &str, line: &[&str], words: &[&str]| {
        refused(t, what, line, 255, words);
        assert_eq!(pids(), before, "{what}: a process is left");
        assert_eq!(c.status(), "running", "{what}");
    };
    let commands: &[(&[&str], &[&str])] = &[
        (&["exec", id], &["process.args"]),
        (&["exec", id, "no-such-program"], &["no-such-program", "executable file not found in"]),
        (&["exec", id, "/no/such"], &["/no/such", "no such file or directory"]),
        (&["exec", id, "/etc/passwd"], &["/etc/passwd", "permission denied"]),
        (&["exec", "--cwd", "/nowhere", id, "true"], &["cwd", "/nowhere"]),
        (&["exec", "--cwd", "tmp", id, "true"], &["process.cwd", "absolute"]),
        (&["exec", "--user", "nobody", id, "true"], &["--user", "nobody"]),
        (&["exec", "--user", "4294967296", id, "true"], &["--user", "4294967296"]),
        (&["exec", "-p", "/no/such.json", id], &["/no/such.json", "no such file or directory"]),
        (&["exec", "--pid-file", "/nowhere/pid", id, "true"], &["/nowhere", "no such file"]),
        (&["exec", "--no-such-option", id, "true"], &["--no-such-option"]),
    ];
    for (line, words) in commands {
        // The peers make the directory, know accounts, run the configuration's
        // command, and exit otherwise for a wrong option.
        let ours = ["--cwd", "--user", "--no-such-option"];
        if !t.is_richrun() && (line.len() == 2 || ours.contains(&line[1])) {
            continue;
        }
        check(&line.join(" "), line, words);
    }
    let process = json!({"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["true"]});
    let documents: &[(Who, &str, Value, &[&str])] = &[
        (All, "args", json!([]), &["process.args: "]),
        (Ours, "cwd", json!("tmp"), &["process.cwd: "]),
        (All, "user.uid", json!(-1), &["process.json", "column"]),
    ];
    for (who, field, value, words) in documents {
        if *who == Ours && !t.is_richrun() {
            continue;
        }
        let mut document = process.clone();
        set(&mut document, field, value.clone());
        fs::write(&file, document.to_string()).expect("write process.json");
        check(&format!("{field} = {value}"), &["exec", "-p", path, id], words);
    }
    fs::write(&file, "{\"args\":\n [").expect("write process.json");
    check("cut off", &["exec", "-p", path, id], &["process.json", "line 2 column 2"]);
    let nobody = t.name("nobody");
    check("nobody", &["exec", &nobody, "true"], &["does not exist", &nobody]);
    c.kill("KILL");
    c.wait("stopped");
    refused(t, "stopped", &["exec", id, "true"], 255, &["not running"]);
    c.remove();
}

/// What an ordinary user may not do, named.
fn rights_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let bundle = t.bundle(|c| sh(c, "true"));
    let rows: &[Row] = &[
        (Ours, "linux.resources", json!({"pids": {"limit": 10}}), &["linux.resources", "cgroup"]),
        (All, "linux.uidMappings.1.hostID", json!(5), &["linux.uidMappings", "newuidmap"]),
        (All, "linux.gidMappings.1.hostID", json!(5), &["linux.gidMappings", "newgidmap"]),
    ];
    table(t, &bundle, rows);
    // Without a user namespace of its own the caller has no rights at all.
    bundle.edit(|c| {
        namespaces(c).retain(|entry| entry["type"] != "user");
        for name in ["uidMappings", "gidMappings"] {
            c["linux"].as_object_mut().expect("linux").remove(name);
        }
    });
    no_container(t, "no user namespace", &bundle, &["namespace", "operation not permitted"]);
    let closed = t.dir.join("out");
    let place = closed.join("bundle");
    fs::create_dir(&place).expect("make a directory");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).expect("chmod");
    let path = place.to_str().expect("utf-8 path");
    refused(t, "a closed bundle", &["create", "-b", path, &bundle.id], 1, &[path, "permission"]);
    let root = closed.join("state");
    let line = ["--root", root.to_str().expect("utf-8 path"), "create", "-b", bundle.path()];
    let program = t.runtime_path();
    let out = t.cmd(program.to_str().expect("utf-8 path"), &line).arg(&bundle.id).run().fails();
    if t.is_richrun() {
        out.exits(1).says("permission denied").says("/state");
    }
}

fn options_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let bundle = t.bundle(|c| sh(c, "true"));
    let with_terminal = t.bundle(|c| {
        sh(c, "true");
        c["process"]["terminal"] = json!(true);
    });
    let (dir, tty) = (bundle.path(), with_terminal.path());
    let id = bundle.id.as_str();
    let lines: &[(Who, &[&str], &[&str])] = &[
        (All, &["create", "--no-such-option", "-b", dir, id], &["--no-such-option"]),
        (All, &["create", "-b", dir, "--pid-file", "/nowhere/pid", id], &["/nowhere/pid"]),
        (All, &["create", "-b", dir, "--preserve-fds", "x", id], &["preserve-fds", "x"]),
        (Ours, &["create", "-b", dir, "--preserve-fds", "3", id], &["preserve-fds"]),
        (All, &["create", "-b", tty, id], &["console"]),
        (
            All,
            &["create", "-b", tty, "--console-socket", "/no/such.sock", id],
            &["/no/such.sock", "no such file or directory"],
        ),
        (Ours, &["create", "-b", dir, "--rich-mode", "dumb-init", id], &["rich mode"]),
        (
            Ours,
            &["create", "-b", dir, "--rich", "--rich-mode", "upstart", id],
            &["rich mode", "upstart"],
        ),
        (All, &["list", "-f", "xml"], &["format", "xml"]),
        (Ours, &["state"], &["ID"]),
        (All, &["spec", "-b", "/no/such/bundle"], &["/no/such/bundle"]),
    ];
    for (who, line, words) in lines {
        if *who == Ours && !t.is_richrun() {
            continue;
        }
        refused(t, &line.join(" "), line, 1, words);
        t.finish();
    }
    let unknown: Output = t.rt(&["no-such-command"]).run().fails();
    if t.is_richrun() {
        unknown.exits(3).says("no-such-command");
    }
    let unwritable = ["--log", "/no/such/log", "create", "-b", dir, "--no-such-option", id];
    let out = t.rt(&unwritable).run().fails();
    if t.is_richrun() {
        out.says("/no/such/log").says("--no-such-option");
    }
}
