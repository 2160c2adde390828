//! list, ps, pause, resume, spec, features, --version.

use std::fs;

use richrun_tests::bundle::sh;
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::runtime::Runtime;
use richrun_tests::suite::{BOTH, ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "list_table", list_table)
        .on(BOTH, "list_json", list_json)
        .on(BOTH, "list_quiet", list_quiet)
        .on(ONE, "list_empty", list_empty)
        .on(BOTH, "options_given_twice", options_given_twice)
        .on(ONE, "the_log_is_for_who_reads_it", the_log_is_for_who_reads_it)
        .on(ROOT, "ps_formats", ps_formats)
        .on(ROOT, "pause_resume", pause_resume)
        .on(ROOT, "pause_stops_every_process", pause_stops_every_process)
        .on(ROOT, "kill_of_paused", kill_of_paused)
        .on(ROOT, "delete_force_of_paused", delete_force_of_paused)
        .on(ONE, "version", version)
        .on(BOTH, "spec", spec)
        .on(ONE, "spec_for_what_is_asked", spec_for_what_is_asked)
        .on(ONE, "another_command_for_a_bundle", another_command_for_a_bundle)
        .on(ONE, "spec_as_runc", spec_as_runc)
        .on(ONE, "features", features)
        .on(ONE, "help", help);
}

fn list_table(t: &Trial) {
    let c = t.idle();
    let out = t.rt(&["list"]).ok();
    let mut lines = out.out.lines();
    let head: Vec<_> = lines.next().expect("a head line").split_whitespace().collect();
    if t.kind() != Kind::Crun {
        assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    }
    let row: Vec<_> = lines.next().expect("a row").split_whitespace().collect();
    assert_eq!(row[0], c.id);
    assert_eq!(row[1], c.pid().to_string());
    assert_eq!(row[2], "running");
    assert_eq!(row[3], c.bundle.path());
    c.remove();
}

fn list_json(t: &Trial) {
    let c = t.idle();
    let stopped = t.detach(&t.bundle(|c| sh(c, "true")));
    stopped.wait("stopped");
    let list = t.rt(&["list", "--format", "json"]).ok().json();
    let list = list.as_array().expect("an array");
    assert_eq!(list.len(), 2);
    for entry in list {
        let running = entry["id"] == json!(c.id);
        assert_eq!(entry["status"], if running { "running" } else { "stopped" });
        assert_eq!(entry["pid"].as_i64() == Some(0), !running);
        for field in ["bundle", "created", "owner"] {
            assert!(entry[field].is_string(), "{field}: {entry}");
        }
    }
    let _: Value = t.rt(&["list", "-f", "json"]).ok().json();
    t.rt(&["list", "-f", "yaml"]).run().fails();
    stopped.remove();
    c.remove();
}

fn list_quiet(t: &Trial) {
    let one = t.idle();
    let two = t.idle();
    let out = t.rt(&["list", "-q"]).ok();
    let mut ids: Vec<_> = out.out.lines().collect();
    ids.sort_unstable();
    let mut wanted = [one.id.as_str(), two.id.as_str()];
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
    one.remove();
    two.remove();
}

fn list_empty(t: &Trial) {
    let out = t.rt(&["list", "--format", "json"]).ok();
    if t.kind() != Kind::Crun {
        out.prints("null");
    }
    t.rt(&["list", "-q"]).ok().prints("");
    if t.is_richrun() {
        // The default is made by the first container; another that is named and not there
        // is a mistake (as with runc from 1.2 on).
        let program = t.runtime_path();
        let program = program.to_str().expect("utf-8");
        let path = t.dir.join("not-there");
        let line = ["--root", path.to_str().expect("utf-8"), "list"];
        t.cmd(program, &line).run().exits(1).says("not-there: no such file or directory");
        assert!(!path.exists());
        if !t.is_root() {
            t.cmd(program, &["list", "-q"]).ok().prints("");
        }
    }
}

/// Engines put their options before the user's: the last of several counts.
fn options_given_twice(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "takes no option twice");
    let c = t.idle();
    let program = t.runtime_path();
    let root = t.root();
    let root = root.to_str().expect("utf-8");
    let global = ["--root", "/nowhere", "--debug", "--root", root, "--debug"];
    let rt = |line: &[&str]| t.cmd(program.to_str().expect("utf-8"), &global).args(line).ok();
    rt(&["list", "-q", "-q"]).shows(&format!("{}\n", c.id));
    rt(&["list", "-q", "-f", "json", "-f", "table"]).shows(&format!("{}\n", c.id));
    rt(&["exec", "-u", "1", "-u", "2", &c.id, "id", "-u"]).shows("2\n");
    rt(&["exec", "-e", "A=1", "-e", "B=2", &c.id, "sh", "-c", "echo $A$B"]).shows("12\n");
    rt(&["state", &c.id]).shows("running");
    rt(&["delete", "-f", "--force", &c.id]);
}

/// A log that cannot be written is told to who asked, and nothing is done; one that can
/// be has what was wrong with the line.
fn the_log_is_for_who_reads_it(t: &Trial) {
    t.only(&[Kind::Richrun], "says other words");
    let bundle = t.bundle(|c| sh(c, "true"));
    for line in [&["list"][..], &["run", "-b", bundle.path(), &bundle.id], &["no-such"]] {
        let whole = [&["--log", "/nope/x"][..], line].concat();
        t.rt(&whole).run().fails();
    }
    let out = t.rt(&["--log", "/nope/x", "list"]).run().exits(1);
    out.says("--log: open /nope/x: no such file or directory");
    let log = t.dir.join("run/told.log");
    let path = log.to_str().expect("utf-8");
    for wrong in ["--no-such", "--rootless=perhaps"] {
        let line = ["--log", path, "--log-format", "json", wrong, "list"];
        let out = t.rt(&line).run().exits(1);
        let told = std::fs::read_to_string(&log).expect("the log");
        let last: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["level"], "error");
        let word = wrong.split('=').next_back().expect("a word");
        assert!(last["msg"].as_str().is_some_and(|said| said.contains(word)), "{told}");
        out.says(word);
    }
}

fn ps_formats(t: &Trial) {
    let c = t.idle();
    let pids = c.verb("ps", &["--format", "json"]);
    drop(pids);
    let json = t.rt(&["ps", "--format", "json", &c.id]).ok().json();
    let pids: Vec<i64> =
        json.as_array().expect("an array").iter().filter_map(Value::as_i64).collect();
    assert!(pids.contains(&i64::from(c.pid())), "{json}");
    if t.kind() != Kind::Crun {
        let table = t.rt(&["ps", &c.id]).ok();
        assert!(table.out.lines().next().is_some_and(|head| head.contains("PID")), "{}", table.out);
        assert!(table.out.contains(&c.pid().to_string()));
        let chosen = t.rt(&["ps", &c.id, "-o", "pid,args"]).ok();
        chosen.shows("trap");
    }
    t.rt(&["ps", "-f", "yaml", &c.id]).run().fails();
    c.remove();
}

fn pause_resume(t: &Trial) {
    let script = "i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.01; done";
    let c = t.idle_with(|c| sh(c, script));
    let file = c.bundle.rootfs().join("tmp/n");
    let count = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("the counter", || !count().trim().is_empty());
    c.verb("pause", &[]).ok();
    assert_eq!(c.status(), "paused");
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(150));
    assert_eq!(count(), before, "a paused container stands still");
    c.verb("resume", &[]).ok();
    assert_eq!(c.status(), "running");
    wait_until("the counter to go on", || count() != before && !count().is_empty());
    c.remove();
}

fn pause_stops_every_process(t: &Trial) {
    let c = t.idle_with(|c| sh(c, "for i in 1 2 3 4; do sleep 100 & done; wait"));
    wait_until("the children", || {
        t.rt(&["ps", "--format", "json", &c.id])
            .ok()
            .json()
            .as_array()
            .is_some_and(|a| a.len() >= 5)
    });
    c.verb("pause", &[]).ok();
    let names: Vec<_> = t.cgroup_dirs(&c.id);
    let frozen = names.iter().any(|dir| {
        fs::read_to_string(dir.join("freezer.state")).is_ok_and(|s| s.trim() == "FROZEN")
            || fs::read_to_string(dir.join("cgroup.events")).is_ok_and(|s| s.contains("frozen 1"))
    });
    assert!(frozen, "{names:?}");
    c.verb("resume", &[]).ok();
    c.remove();
}

/// KILL to a paused container ends it: the runtime thaws it afterwards.
fn kill_of_paused(t: &Trial) {
    let c = t.idle();
    c.verb("pause", &[]).ok();
    c.kill("KILL");
    if t.kind() == Kind::Crun {
        c.verb("resume", &[]).run();
    }
    c.wait("stopped");
    c.verb("delete", &[]).ok();
}

fn delete_force_of_paused(t: &Trial) {
    let c = t.idle();
    c.verb("pause", &[]).ok();
    c.remove();
}

fn version(t: &Trial) {
    let path = t.runtime_path();
    let path = path.to_str().expect("utf-8");
    for option in ["--version", "-v"] {
        let out = t.cmd(path, &[option]).run();
        if option == "-v" && !t.is_richrun() {
            continue;
        }
        let out = out.ok();
        let lines: Vec<_> = out.out.lines().collect();
        let words: Vec<_> = lines[0].split(' ').collect();
        assert_eq!(words[1], "version", "name, the word version, number: {lines:?}");
        assert!(words[2].contains('.'));
        assert!(lines.iter().any(|line| line.starts_with("commit: ")), "{lines:?}");
        let spec = lines.iter().find_map(|line| line.strip_prefix("spec: "));
        assert!(spec.is_some_and(|version| version.starts_with("1.")), "{lines:?}");
    }
}

fn spec(t: &Trial) {
    let place = t.dir.join("home");
    t.rt(&["spec"]).dir(&place).ok();
    let text = fs::read_to_string(place.join("config.json")).expect("config.json");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["root"]["readonly"], true);
    if t.kind() != Kind::Crun {
        t.rt(&["spec"]).dir(&place).run().fails().says("exist");
    }
    let other = t.dir.join("home/other");
    fs::create_dir(&other).expect("mkdir");
    std::os::unix::fs::chown(&other, Some(20_001), Some(20_001)).expect("chown");
    t.rt(&["spec", "--bundle", other.to_str().expect("utf-8"), "--rootless"]).ok();
    let text = fs::read_to_string(other.join("config.json")).expect("config.json");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    let kinds = config["linux"]["namespaces"].as_array().expect("namespaces");
    assert!(kinds.iter().any(|entry| entry["type"] == "user"), "{kinds:?}");
    assert!(config["linux"]["uidMappings"][0]["size"] == 1);
}

/// What is written can be run as it stands: without a terminal, with these capabilities,
/// with this command; and a rich mode has what it asks for.
fn spec_for_what_is_asked(t: &Trial) {
    t.only(&[Kind::Richrun], "has no such options");
    let written = |options: &[&str]| {
        let bundle = t.bundle(|_| {});
        fs::remove_file(bundle.dir.join("config.json")).expect("remove");
        t.rt(&["spec", "-b", bundle.path()]).args(options).ok();
        bundle
    };
    let show = ["--", "grep", "CapBnd", "/proc/self/status"];
    for (caps, shown) in [
        (&["--caps", "none"][..], "0000000000000000"),
        (&["--caps", "default"], "00000000a80425fb"),
        (&["--caps", "net_admin,CAP_KILL"], "0000000000001020"),
        (&[], "0000000020000420"),
    ] {
        let bundle = written(&[&["--no-terminal"][..], caps, &show].concat());
        t.run(&bundle).ok().shows(shown);
        let c = t.create(&bundle);
        c.start();
        c.wait("stopped");
        c.remove();
    }
    let bundle = written(&["--no-terminal", "--rich", "dumb-init", "--", "cat", "/proc/1/comm"]);
    t.run(&bundle).ok().shows("rich-init");
    // The image has no systemd: that it is looked for says that nothing else is missing.
    let bundle = written(&["--no-terminal", "--rich", "systemd"]);
    let said = t.run(&bundle).fails().err;
    assert!(!said.contains("missing") && said.contains("systemd"), "{said}");
    for (option, word, says) in [
        ("--caps", "NO_SUCH", "--caps: no capability CAP_NO_SUCH"),
        ("--rich", "sysemd", "not supported rich mode: sysemd"),
    ] {
        t.rt(&["spec", option, word]).dir(&t.dir.join("run")).run().exits(1).says(says);
        assert!(!t.dir.join("run/config.json").exists());
    }
}

fn another_command_for_a_bundle(t: &Trial) {
    t.only(&[Kind::Richrun], "takes config.json's only");
    let bundle = t.bundle(|c| sh(c, "echo of the bundle"));
    t.run_cmd(&bundle, &[]).args(&["--", "echo", "-n", "another"]).ok().prints("another");
    t.run_cmd(&bundle, &["--rich"]).args(&["--", "sh", "-c", "exit 3"]).run().exits(3);
    t.run_cmd(&bundle, &[]).args(&["--"]).ok().prints("of the bundle");
    t.run(&bundle).ok().prints("of the bundle");
}

/// The same document as runc's, name and version apart.
fn spec_as_runc(t: &Trial) {
    t.only(&[Kind::Richrun], "compared with itself");
    let Some(runc) = Runtime::peer("runc") else { t.skip("runc is not installed") };
    let (ours, theirs) = (t.dir.join("home/ours"), t.dir.join("home/theirs"));
    let mut documents = Vec::new();
    for rootless in [false, true] {
        for (place, program) in [(&ours, t.runtime_path()), (&theirs, runc.path.clone())] {
            let _ = fs::remove_dir_all(place);
            fs::create_dir(place).expect("mkdir");
            let mut words = vec!["spec"];
            if rootless {
                words.push("--rootless");
            }
            t.cmd(program.to_str().expect("utf-8"), &words).dir(place).ok();
            let text = fs::read_to_string(place.join("config.json")).expect("config.json");
            let mut config: Value = serde_json::from_str(&text).expect("JSON");
            config["hostname"] = json!("");
            config["ociVersion"] = json!("");
            // runc 1.1 still wrote an ambient set, and on its own choice of
            // masked paths the newer one is the measure.
            config["process"]["capabilities"]["ambient"] = json!(null);
            config["linux"]["maskedPaths"] = json!(null);
            if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
                list.retain(|entry| entry["type"] != "cgroup");
            }
            documents.push(config);
        }
    }
    assert_eq!(documents[0], documents[1]);
    assert_eq!(documents[2], documents[3]);
}

fn features(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "has no features command");
    // Neither a root directory nor rights are needed.
    let path = t.runtime_path();
    let document = t.cmd(path.to_str().expect("utf-8"), &["features"]).ok().json();
    assert!(document["ociVersionMin"].is_string(), "{document}");
    assert!(document["ociVersionMax"].is_string());
    let has = |list: &Value, word: &str| {
        list.as_array().is_some_and(|list| list.iter().any(|entry| entry == word))
    };
    for hook in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        assert!(has(&document["hooks"], hook), "{hook}");
    }
    for option in ["ro", "rbind", "rshared", "tmpcopyup"] {
        assert!(has(&document["mountOptions"], option), "{option}");
    }
    let linux = &document["linux"];
    for kind in ["mount", "pid", "network", "user", "uts", "ipc", "cgroup"] {
        assert!(has(&linux["namespaces"], kind), "{kind}");
    }
    assert!(has(&linux["capabilities"], "CAP_SYS_ADMIN"));
    assert_eq!(linux["cgroup"]["v1"], true);
    assert_eq!(linux["cgroup"]["v2"], true);
    assert_eq!(linux["seccomp"]["enabled"], true);
    assert!(has(&linux["seccomp"]["actions"], "SCMP_ACT_ERRNO"));
    if t.is_richrun() {
        assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
        assert!(has(&linux["namespaces"], "time"));
    }
}

fn help(t: &Trial) {
    let path = t.runtime_path();
    let path = path.to_str().expect("utf-8");
    let out = t.cmd(path, &["--help"]).ok();
    for verb in ["create", "start", "state", "kill", "delete", "run", "exec", "list", "ps"] {
        assert!(out.out.contains(verb), "{verb} in the help");
        t.cmd(path, &[verb, "--help"]).ok();
    }
    let bundle = t.bundle(|c| sh(c, IDLE));
    t.rt(&["run", "--no-such-option", "-b", bundle.path(), &bundle.id]).run().fails();
    t.rt(&["no-such-command"]).run().fails();
}
