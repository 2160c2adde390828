//! hooks.d for every container, and the command `hooks`.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use richrun_tests::bundle::sh;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "by_option", by_option)
        .on(BOTH, "off_by_default", off_by_default)
        .on(ONE, "by_settings", by_settings)
        .on(ONE, "wrong_settings", wrong_settings)
        .on(BOTH, "conditions_and_order", conditions_and_order)
        .on(BOTH, "a_wrong_definition", a_wrong_definition)
        .on(BOTH, "run_by_hand", run_by_hand)
        .on(BOTH, "run_by_hand_with_a_containers_state", run_with_a_state)
        .on(BOTH, "run_by_hand_fails", run_fails)
        .on(BOTH, "list_says_why", list_says_why)
        .on(BOTH, "check_names_all", check_names_all);
}

const WHY: &str = "has no such command or option";

/// A directory that the ordinary user can read and write.
fn directory(t: &Trial, name: &str) -> PathBuf {
    let dir = t.dir.join("run").join(name);
    fs::create_dir(&dir).expect("make a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&dir, open).expect("chmod");
    dir
}

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("utf-8").to_owned()
}

/// A hook that adds a word and the status to a file.
fn noting(file: &std::path::Path, word: &str) -> Value {
    let status = r#"sed 's/.*"status": *"\([a-z]*\)".*/\1/'"#;
    let script = format!("echo {word} $({status}) >> {}", file.display());
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

fn define(dir: &std::path::Path, name: &str, hook: Value, when: Value, stages: &[&str]) {
    let definition = json!({"version": "1.0.0", "hook": hook, "when": when, "stages": stages});
    fs::write(dir.join(name), definition.to_string()).expect("write a definition");
}

/// A bundle, and a directory whose only hook runs at four stages for any container.
fn staged(t: &Trial) -> (Bundle, PathBuf, PathBuf) {
    let dir = directory(t, "hooks.d");
    let log = dir.join("log");
    let stages = ["createRuntime", "poststart", "poststop"];
    define(&dir, "50-note.json", noting(&log, "note"), json!({"always": true}), &stages);
    (t.bundle(|c| sh(c, IDLE)), dir, log)
}

fn read(log: &std::path::Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

fn by_option(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let (bundle, dir, log) = staged(t);
    let before = fs::read(bundle.dir.join("config.json")).expect("config.json");
    t.rt(&["create", "--hooks-dir", &text(&dir), "-b", bundle.path(), &bundle.id]).ok();
    assert_eq!(read(&log), "note creating\n");
    // Whoever comes later need not know of the directory.
    fs::remove_file(dir.join("50-note.json")).expect("remove the definition");
    let c = t.take(&bundle);
    c.start();
    assert_eq!(read(&log), "note creating\nnote running\n");
    c.remove();
    assert_eq!(read(&log), "note creating\nnote running\nnote stopped\n");
    assert_eq!(fs::read(bundle.dir.join("config.json")).expect("config.json"), before);
}

fn off_by_default(t: &Trial) {
    let (bundle, _, log) = staged(t);
    bundle.edit(|c| sh(c, "true"));
    t.run(&bundle).ok();
    assert_eq!(read(&log), "");
}

/// `/etc` with a settings file, in the trial's own mounts only.
fn settings(t: &Trial, words: &str) {
    let (upper, work) = (directory(t, "upper"), directory(t, "work"));
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", text(&upper), text(&work));
    let data = Some(options.as_str());
    if mount(Some("overlay"), "/etc", Some("overlay"), MsFlags::empty(), data).is_err() {
        t.skip("no overlay file system here");
    }
    t.accept_mounts();
    fs::create_dir_all("/etc/richrun").expect("make the settings' directory");
    fs::write("/etc/richrun/config.toml", words).expect("write the settings");
}

fn by_settings(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let (bundle, dir, log) = staged(t);
    bundle.edit(|c| sh(c, "true"));
    settings(t, &format!("# for all\nhooks_dirs = [\"/nonexistent\", \"{}\"]\n", text(&dir)));
    t.run(&bundle).ok();
    assert_eq!(read(&log), "note creating\nnote running\nnote stopped\n");
    // The option takes their place.
    let none = directory(t, "none");
    t.run_cmd(&bundle, &["--hooks-dir", &text(&none)]).ok();
    assert_eq!(read(&log).lines().count(), 3);
    let out = t.rt(&["hooks", "list", "-b", bundle.path()]).ok();
    assert_eq!(out.out.matches("50-note.json").count(), 3, "{}", out.out);
}

fn wrong_settings(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| sh(c, "true"));
    settings(t, "\nhook_dirs = []\n");
    let words = "parse /etc/richrun/config.toml: line 2: unknown field `hook_dirs`";
    t.run(&bundle).exits(1).says(words);
}

fn conditions_and_order(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let (low, high) = (directory(t, "low"), directory(t, "high"));
    let log = low.join("log");
    let always = json!({"always": true});
    let one = |dir: &PathBuf, name: &str, word: &str, when: Value| {
        define(dir, name, noting(&log, word), when, &["prestart"]);
    };
    one(&low, "30-z.json", "third", always.clone());
    one(&low, "10-a.json", "replaced", always.clone());
    one(&high, "10-a.json", "first", always);
    one(&low, "20-b.json", "second", json!({"annotations": {"^org\\.x$": "^yes"}}));
    one(&low, "21-c.json", "never", json!({"annotations": {"^org\\.x$": "^no"}}));
    one(&low, "22-d.json", "command", json!({"commands": ["^sh$"]}));
    one(&low, "23-e.json", "never", json!({"commands": ["^/usr/bin/app$"]}));
    let bundle = t.bundle(|c| {
        sh(c, "true");
        c["annotations"]["org.x"] = json!("yes!");
        c["hooks"]["prestart"] = json!([noting(&log, "own")]);
    });
    let dirs = ["--hooks-dir", &text(&low), "--hooks-dir", &text(&high)];
    t.run_cmd(&bundle, &dirs).ok();
    let words: Vec<String> = read(&log).lines().map(|line| line.replace(" creating", "")).collect();
    assert_eq!(words, ["own", "first", "second", "command", "third"]);
}

fn a_wrong_definition(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let (bundle, dir, log) = staged(t);
    fs::write(dir.join("60-bad.json"), "{\"version\":\"0.9\"}").expect("write");
    let out = t.rt(&["create", "--hooks-dir", &text(&dir), "-b", bundle.path(), &bundle.id]).run();
    let words = format!("hooks directory: {}/60-bad.json: version: ", dir.display());
    out.exits(1).says(&words);
    assert_eq!(read(&log), "", "nothing ran");
    assert!(!t.root().join(&bundle.id).exists());
}

fn run_by_hand(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let (bundle, dir, log) = staged(t);
    bundle.edit(|c| {
        let script = "pwd; cat; echo; echo to stderr >&2";
        c["hooks"]["createRuntime"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    });
    let words = ["hooks", "run", "--phase", "createRuntime", "--hooks-dir", &text(&dir)];
    let out = t.rt(&words).dir(&bundle.dir).ok();
    let head = "createRuntime hook #0 sh: ";
    let lines: Vec<&str> = out.out.lines().collect();
    assert_eq!(lines[0], format!("{head}{}", bundle.path()));
    let state: Value =
        serde_json::from_str(lines[1].strip_prefix(head).expect("the hook's name")).expect("JSON");
    assert_eq!(state["status"], "creating");
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert_eq!(out.err, format!("{head}to stderr\n"));
    assert_eq!(read(&log), "note creating\n");
    // The bundle by option, from elsewhere, and of a file alone.
    let none = directory(t, "none");
    t.rt(&[
        "hooks",
        "run",
        "--phase",
        "poststop",
        "-b",
        bundle.path(),
        "--hooks-dir",
        &text(&none),
    ])
    .ok()
    .prints("");
    let file = text(&dir.join("50-note.json"));
    t.rt(&["hooks", "run", "--phase", "poststop", "--hooks", &file]).ok();
    t.rt(&["hooks", "run", "--phase", "prestart", "--hooks", &file]).ok();
    assert_eq!(read(&log), "note creating\nnote stopped\n");
    // A file's hooks for a bundle: its annotations, and its environment where that is inherited.
    bundle.edit(|c| {
        c["annotations"] = json!({"k": "v"});
        c["process"]["env"] = json!(["PATH=/bin:/usr/bin", "OF_THE_BUNDLE=yes"]);
    });
    let hooks = t.dir.join("run/hooks.json");
    let script = "cat; echo; echo $OF_THE_BUNDLE; pwd";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    fs::write(&hooks, json!({"startContainer": hook}).to_string()).expect("write");
    let words = ["hooks", "run", "--phase", "startContainer", "--hooks", &text(&hooks), "-b"];
    let head = "startContainer hook #0 sh: ";
    let out = t.rt(&words).arg(bundle.path()).ok().out;
    assert!(out.contains(r#""annotations":{"k":"v"}"#), "{out}");
    assert!(out.contains(&format!("{head}yes\n{head}{}\n", bundle.path())), "{out}");
    // A directory without a configuration will do.
    let out = t.rt(&words).arg(&text(&none)).ok().out;
    assert!(out.contains(&format!("{head}\n{head}{}\n", text(&none))), "{out}");
}

fn run_with_a_state(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let c = t.idle_with(|c| {
        let script = r#"cat | tr -d ' \n'; pwd"#;
        c["hooks"] = json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    });
    let state = c.verb("state", &[]).ok().out;
    let run = ["hooks", "run", "--phase", "poststop", "--state"];
    let out = t.rt(&run).arg("-").input(&state).ok();
    assert!(out.out.contains(&format!("\"id\":\"{}\"", c.id)), "{}", out.out);
    assert!(out.out.contains(&format!("\"pid\":{}", c.pid())), "{}", out.out);
    assert!(out.out.trim_end().ends_with(c.bundle.path()), "{}", out.out);
    let file = t.dir.join("home/state");
    fs::write(&file, &state).expect("write the state");
    assert_eq!(t.rt(&run).arg(&text(&file)).ok().out, out.out);
    t.rt(&run).arg("-").input("[]").run().exits(1).says("--state -: is not an object");
    c.remove();
}

fn run_fails(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| {
        let one = |script: &str| json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let list = json!([one("exit 4"), one("echo ran")]);
        c["hooks"] = json!({"prestart": list, "poststop": list,
            "poststart": [one("setsid sleep 100 & sleep 100"), one("echo ran")]});
    });
    let run = |phase: &str, more: &[&str]| {
        t.rt(&["hooks", "run", "-b", bundle.path(), "--phase", phase]).args(more).run().exits(1)
    };
    let out = run("prestart", &[]).says("error running prestart hook #0: exit status 4");
    assert_eq!(out.out, "");
    let out = run("poststop", &[]).says("error running poststop hook #0: exit status 4");
    assert_eq!(out.out, "poststop hook #1 sh: ran\n");
    // What it has started in a session of its own is ended too: the trial looks for it.
    let out = run("poststart", &["--timeout", "0.4"]);
    out.says("error running poststart hook #0: hook ran past its phase's timeout of 0.4s");
    run("poststart", &["--timeout", "0"]).says("a number of seconds above 0 is needed");
    run("startup", &[]).says("possible values: prestart, createRuntime");
}

fn list_says_why(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let (bundle, dir, log) = staged(t);
    bundle.edit(|c| c["hooks"] = json!({"poststop": [{"path": "/bin/true", "timeout": 3}]}));
    define(&dir, "60-no.json", noting(&log, "x"), json!({"commands": ["^/app$"]}), &["poststop"]);
    let missing = json!({"path": "/nonexistent/hook"});
    define(&dir, "70-gone.json", missing, json!({"always": true}), &["poststop"]);
    let list = ["hooks", "list", "-b", bundle.path(), "--hooks-dir", &text(&dir)];
    let table = t.rt(&list).ok().out;
    assert!(table.starts_with("PHASE "), "{table}");
    let document = t.rt(&list).args(&["--format", "json"]).ok().json();
    let rows: Vec<String> = document["hooks"]
        .as_array()
        .expect("hooks")
        .iter()
        .map(|row| format!("{} {} {} {}", row["phase"], row["index"], row["path"], row["why"]))
        .map(|row| row.replace('"', ""))
        .collect();
    let wanted = [
        "createRuntime 0 /bin/sh always",
        "poststart 0 /bin/sh always",
        "poststop 0 /bin/true its own",
        "poststop 1 /bin/sh always",
    ];
    assert_eq!(rows, wanted);
    assert_eq!(document["hooks"][2]["timeout"], 3);
    let over = document["passedOver"].as_array().expect("the others");
    assert_eq!(over[0]["why"], "command sh matches none");
    assert_eq!(over[1]["why"], "hook.path: /nonexistent/hook: no such file or directory");
    assert_eq!(read(&log), "", "nothing ran");
}

fn check_names_all(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let (bundle, dir, _) = staged(t);
    t.rt(&["hooks", "check"]).dir(&bundle.dir).ok().prints("config.json: good");
    bundle.edit(|c| {
        c["hooks"] = json!({"prestart": [{"path": "/bin/true"}, {"path": "rel", "argv": []}],
            "postStop": []});
    });
    fs::write(dir.join("60-bad.json"), "{\"version\":\"1.0.0\"").expect("write");
    let config = text(&bundle.dir.join("config.json"));
    let out = t.rt(&["hooks", "check", &config, "--hooks-dir", &text(&dir)]).run().exits(1);
    for line in [
        format!("{config}: hooks.postStop: is not known"),
        format!("{config}: hooks.prestart[1].argv: is not known"),
        format!("{config}: hooks.prestart[1].path: rel: must be absolute"),
        format!("{}/50-note.json: good", dir.display()),
        format!("{}/60-bad.json: EOF while parsing an object at line 1 column 18", dir.display()),
    ] {
        assert!(out.out.lines().any(|said| said == line), "{line}\n{}", out.out);
    }
    assert_eq!(out.out.lines().count(), 5, "{}", out.out);
    out.says("hooks check: 2 of 3 are wrong");
}
