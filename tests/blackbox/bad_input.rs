//! Bad input: each refusal is one line that names field and cause, on standard
//! error and in the log, with the right exit status, and nothing is left.
//!
//! The peers are held to the exit status and to leaving nothing, in the rows
//! that say so; the words are this project's.

mod refusal;
mod values;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use richrun_tests::bundle::{namespaces, sh};
use richrun_tests::container::{Container, IDLE};
use richrun_tests::suite::{BOTH, ONE, ROOT, USER};
use richrun_tests::{Kind, Output, Suite, Trial, leftovers};
use serde_json::{Value, json};

use refusal::Who::{self, All, Ours};
use refusal::{Row, Table, set};
use values::{create_refused, host_refuses, limits_refused};

/// Why crun is left out of most tables.
const CRUN: &str = "takes some of these values, or leaves something behind";

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "json_that_runc_takes", json_that_runc_takes)
        .on(BOTH, "documents", documents)
        .on(ONE, "create_refused", create_refused)
        .on(ONE, "host_refuses", host_refuses)
        .on(BOTH, "namespaces_refused", namespaces_refused)
        .on(ROOT, "limits_refused", limits_refused)
        .on(BOTH, "oddities_accepted", oddities_accepted)
        .on(BOTH, "ids_refused", ids_refused)
        .on(ROOT, "states_refused", states_refused)
        .on(BOTH, "exec_refused", exec_refused)
        .on(USER, "rights_refused", rights_refused)
        .on(BOTH, "options_refused", options_refused);
}

fn documents(t: &Trial) {
    let mut table = Table::new(t);
    let bundle = t.bundle(|c| sh(c, "true"));
    let file = bundle.dir.join("config.json");
    let good = bundle.config();
    let pretty = serde_json::to_string_pretty(&good).expect("JSON");
    let mut wrong_type = good.clone();
    wrong_type["process"]["args"] = json!("sh");
    // The field is named also where the text had to be altered first.
    let mut newer = wrong_type.clone();
    newer["process"]["capabilities"] = json!({"bounding": ["CAP_FLY"]});
    let mut long = good.clone();
    long["mounts"][1]["options"] = json!("x".repeat(100_000));
    let nested = format!("{{\"ociVersion\":\"1.0.0\",\"x\":{}", "[".repeat(1_000_000));
    let texts: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", Vec::new(), &["config.json", "line 1 column 0"]),
        ("a word", b"{\n  \"ociVersion\": oops }".to_vec(), &["config.json", "line 2 column 17"]),
        ("cut off", pretty.as_bytes()[..pretty.len() / 2].to_vec(), &["config.json", " column "]),
        ("a list", b"[]".to_vec(), &["ociVersion"]),
        ("null", b"null".to_vec(), &["config.json", "line 1 column "]),
        ("not UTF-8", b"{\"ociVersion\": \"\xff\"}".to_vec(), &["config.json", "line 1 column "]),
        ("nested", nested.into_bytes(), &["config.json", "line 1 column "]),
        (
            "a type",
            wrong_type.to_string().into_bytes(),
            &["config.json: process.args: ", "line 1 column "],
        ),
        ("a newer one's type", newer.to_string().into_bytes(), &["config.json: process.args: "]),
        ("a long value", long.to_string().into_bytes(), &["config.json: mounts[1].options: "]),
        ("17 MiB", vec![b' '; 17 << 20], &["config.json", "larger than 16 MiB"]),
    ];
    for (what, text, words) in texts {
        // runc panics over null; crun takes values of other types.
        let ours = ["null", "a type", "a newer one's type", "a long value"];
        if ours.contains(what) && !t.is_richrun() {
            continue;
        }
        fs::write(&file, text).expect("write config.json");
        table.no_container(what, &bundle, words);
    }
    fs::remove_file(&file).expect("remove config.json");
    table.no_container("none", &bundle, &["config.json", "no such file or directory"]);
    fs::create_dir(&file).expect("make a directory");
    table.no_container("a directory", &bundle, &["config.json", "is a directory"]);
    fs::remove_dir(&file).expect("remove the directory");
    if t.is_richrun() {
        // The peers wait for somebody to write.
        t.cmd("mkfifo", &[file.to_str().expect("utf-8 path")]).ok();
        table.no_container("a FIFO", &bundle, &["config.json", "not a regular file"]);
        fs::remove_file(&file).expect("remove the FIFO");
    }
    std::os::unix::fs::symlink("/dev/zero", &file).expect("link a device");
    if t.is_richrun() {
        table.no_container("a device", &bundle, &["config.json", "not a regular file"]);
    }
    fs::remove_file(&file).expect("remove the link");
    if !t.is_root() {
        bundle.write(&good);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("chmod");
        std::os::unix::fs::chown(&file, Some(0), Some(0)).expect("chown");
        table.no_container("unreadable", &bundle, &["config.json", "permission denied"]);
    }
    for (place, word) in [("/no/such/bundle", "no such file"), ("/etc/passwd", "not a directory")] {
        table.refused(place, &["create", "-b", place, &bundle.id], 1, &[place, word]);
    }
    table.end();
}

fn namespaces_refused(t: &Trial) {
    let mut table = Table::new(t);
    let cases = [
        (All, "network", "/no/such/namespace", "no such file or directory"),
        (All, "network", "/proc/self/ns/uts", "net namespace"),
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
        table.no_container(&format!("{kind} at {path}"), &bundle, &["namespace", path, word]);
    }
    table.end();
}

/// What has no effect is no error either.
fn oddities_accepted(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo fine"));
    let good = bundle.config();
    for (path, value) in [
        ("process.consoleSize", json!({"height": 25, "width": 80})),
        ("annotations", json!(null)),
        ("annotations", json!({"org.opencontainers.image.unheard": ""})),
        ("linux.maskedPaths", json!(["/no/such/path"])),
        ("hooks", json!({})),
    ] {
        let mut config = good.clone();
        set(&mut config, path, value);
        bundle.write(&config);
        t.run(&bundle).ok().prints("fine");
    }
}

fn ids_refused(t: &Trial) {
    let mut table = Table::new(t);
    let bundle = t.bundle(|c| sh(c, IDLE));
    let long = "x".repeat(1025);
    for id in ["", ".", "..", "a/b", "../x", "a b", "a\nb", "ä", "a:b", "a*", &long] {
        if t.kind() == Kind::Crun && !["", ".", "..", "a/b", "../x"].contains(&id) {
            continue;
        }
        let line = ["create", "-b", bundle.path(), id];
        table.refused(&format!("id {id:.20?}"), &line, 1, &["container id"]);
        t.finish();
    }
    let first = t.detach(&bundle);
    let again = ["create", "-b", bundle.path(), &first.id];
    table.refused("an id in use", &again, 1, &[&first.id, "exist"]);
    assert_eq!(first.status(), "running", "the first container is unharmed");
    first.remove();
    table.end();
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
    let mut table = Table::new(t);
    let states: &[(&str, &[(&str, &str)])] = &[
        ("created", &[("resume", "not paused")]),
        ("running", &[("start", "running"), ("delete", "not stopped"), ("resume", "not paused")]),
        ("paused", &[("start", "paused"), ("delete", "not stopped"), ("pause", "not running")]),
        (
            "stopped",
            &[
                ("start", "stopped"),
                ("kill", "container not running"),
                ("pause", "not running"),
                ("resume", "not paused"),
            ],
        ),
    ];
    for (status, commands) in states {
        let c = in_status(t, status);
        for (verb, word) in *commands {
            table.refused(&format!("{verb} of a {status} container"), &[verb, &c.id], 1, &[word]);
            assert_eq!(c.status(), *status, "{verb} has no effect");
        }
        c.remove();
    }
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        let id = t.name("nobody");
        table.refused(verb, &[verb, &id], 1, &["does not exist", &id]);
    }
    table.end();
}

/// The pids in the trial's pid namespace.
fn pids() -> Vec<i32> {
    let mut pids: Vec<i32> = leftovers::processes().into_iter().map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    pids
}

fn exec_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let mut table = Table::new(t);
    // A payload that starts no process, so that pids can be compared.
    let bundle = t.bundle(|c| c["process"]["args"] = json!(["sleep", "1000"]));
    let c = t.detach(&bundle);
    let id = c.id.as_str();
    let file = t.dir.join("home/process.json");
    let path = file.to_str().expect("utf-8 path");
    let before = pids();
    let mut check = |what: &str, line: &[&str], words: &[&str]| {
        table.refused(what, line, 255, words);
        assert_eq!(pids(), before, "{what}: a process is left");
        assert_eq!(c.status(), "running", "{what}");
    };
    let commands: &[(&[&str], &[&str])] = &[
        (&["exec", id], &["process args"]),
        (&["exec", id, "no-such-program"], &["no-such-program", "executable file not found in"]),
        (&["exec", id, "/no/such"], &["/no/such", "no such file or directory"]),
        (&["exec", id, "/etc/passwd"], &["/etc/passwd", "permission denied"]),
        (&["exec", "--cwd", "/nowhere", id, "true"], &["cwd", "/nowhere"]),
        (&["exec", "--cwd", "tmp", id, "true"], &["cwd", "absolute"]),
        (&["exec", "--user", "nobody", id, "true"], &["--user", "nobody"]),
        (&["exec", "--user", "4294967296", id, "true"], &["--user", "4294967296"]),
        (&["exec", "-e", "NO_VALUE", id, "true"], &["--env", "NO_VALUE"]),
        (&["exec", "-p", "/no/such.json", id], &["/no/such.json", "no such file or directory"]),
        (&["exec", "--pid-file", "/nowhere/pid", id, "true"], &["/nowhere", "no such file"]),
    ];
    for (line, words) in commands {
        // The peers make the directory, know accounts, and run the
        // configuration's command.
        let ours = ["--cwd", "--user"];
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
        // The kernel takes it for "as it is", which is root.
        (All, "user.uid", json!(u32::MAX), &["process.user.uid: 4294967295"]),
        (All, "user.gid", json!(u32::MAX), &["process.user.gid: 4294967295"]),
        (All, "user.additionalGids", json!([u32::MAX]), &["process.user.additionalGids: "]),
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
    // A wrong option is 1, as with runc.
    let line = ["exec", "--no-such-option", id, "true"];
    table.refused("an option", &line, 1, &["--no-such-option"]);
    c.kill("KILL");
    c.wait("stopped");
    table.refused("stopped", &["exec", id, "true"], 255, &["stopped container"]);
    c.remove();
    table.end();
}

/// What an ordinary user may not do, named.
fn rights_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let mut table = Table::new(t);
    let bundle = t.bundle(|c| sh(c, "true"));
    let rows: &[Row] = &[
        (Ours, "linux.resources", json!({"pids": {"limit": 10}}), &["linux.resources", "cgroup"]),
        (All, "linux.uidMappings.1.hostID", json!(5), &["linux.uidMappings", "newuidmap"]),
        (All, "linux.gidMappings.1.hostID", json!(5), &["linux.gidMappings", "newgidmap"]),
    ];
    table.rows(&bundle, rows);
    // Without a user namespace of its own the caller has no rights at all.
    bundle.edit(|c| {
        namespaces(c).retain(|entry| entry["type"] != "user");
        for name in ["uidMappings", "gidMappings"] {
            c["linux"].as_object_mut().expect("linux").remove(name);
        }
    });
    table.no_container("no user namespace", &bundle, &["operation not permitted"]);
    let closed = t.dir.join("out");
    let place = closed.join("bundle");
    fs::create_dir(&place).expect("make a directory");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).expect("chmod");
    let path = place.to_str().expect("utf-8 path");
    table.refused("a closed bundle", &["create", "-b", path, &bundle.id], 1, &[path, "permission"]);
    let root = closed.join("state");
    let line = ["--root", root.to_str().expect("utf-8 path"), "create", "-b", bundle.path()];
    let program = t.runtime_path();
    let out = t.cmd(program.to_str().expect("utf-8 path"), &line).arg(&bundle.id).run().fails();
    if t.is_richrun() {
        out.exits(1).says("permission denied").says("/state");
    }
    table.end();
}

fn options_refused(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    let mut table = Table::new(t);
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
        (Ours, &["create", "-b", dir, "--preserve-fds", "3", id], &["preserved-fd 3"]),
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
        table.refused(&line.join(" "), line, 1, words);
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
    table.end();
}

/// What Go's reader takes, engines hand on.
fn json_that_runc_takes(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], CRUN);
    for (append, from, to, warns) in [
        ("\n \n", "", "", ""),
        ("\n}{ and so on", "", "", "is ignored"),
        (
            "",
            "\"hostname\":\"richrun\"",
            "\"hostname\":\"x\",\"hostname\":\"richrun\"",
            "the last counts",
        ),
        ("", "\"NAME=value\"", "\"NAME=value\",\"HALF=\\ud83d\"", "U+FFFD"),
    ] {
        let bundle = t.bundle(|c| {
            sh(c, "hostname; echo \"$HALF\"");
            c["hostname"] = json!("richrun");
            c["process"]["env"].as_array_mut().expect("env").push(json!("NAME=value"));
        });
        let path = std::path::Path::new(bundle.path()).join("config.json");
        let text = bundle.config().to_string();
        assert!(text.contains(from), "{from} in {text}");
        fs::write(&path, text.replacen(from, to, 1) + append).expect("write");
        let output = t.run(&bundle).ok().shows("richrun");
        if t.is_richrun() && !warns.is_empty() {
            output.says(warns);
        }
    }
}
