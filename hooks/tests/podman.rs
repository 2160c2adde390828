//! Differential: what podman injects from a hooks directory, against what this crate injects from the
//! same files for the same configuration. podman runs for real, with a runtime that
//! only keeps the `config.json` it is given: no container is started.

#[path = "../src/hooks_d/pattern_cases.rs"]
mod pattern_cases;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use oci_spec::runtime::{Hooks, Spec};
use rich_hooks::hooks_d::{self, Facts};
use serde_json::{Value, json};

fn main() {
    let missing = missing();
    let trial = |name: &str, test: fn(&Podman) -> Result<(), Failed>| {
        let name = name.to_owned();
        let run = move || test(&Podman::new()?);
        let trial = Trial::test(name, run).with_ignored_flag(missing.is_some());
        if let Some(reason) = missing { trial.with_kind(reason) } else { trial }
    };
    let tests = vec![
        trial("every_pattern_matches_as_in_go", every_pattern_matches_as_in_go),
        trial("refused_patterns_are_refused_by_both", refused_patterns_are_refused_by_both),
        trial("the_same_hooks_in_the_same_order", the_same_hooks_in_the_same_order),
        trial("a_later_directory_replaces_a_name", a_later_directory_replaces_a_name),
        trial("broken_files_are_refused_by_both", broken_files_are_refused_by_both),
        trial("odd_files_are_read_alike", odd_files_are_read_alike),
        trial("random_directories_are_read_alike", random_directories_are_read_alike),
    ];
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1); // they share podman's storage
    libtest_mimic::run(&arguments, tests).exit();
}

/// Why the tests cannot run here, if they cannot.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let version = Command::new("podman").arg("--version").stdout(Stdio::null()).status();
    if version.is_ok_and(|status| status.success()) { None } else { Some("needs podman") }
}

/// A podman with its own storage, one empty image and a runtime that keeps what it is given.
struct Podman {
    home: PathBuf,
}

impl Podman {
    fn new() -> Result<Self, Failed> {
        let home = std::env::temp_dir().join(format!("rich-hooks-podman-{}", std::process::id()));
        let podman = Podman { home };
        fs::create_dir_all(podman.home.join("rootfs/bin"))?;
        let runtime = podman.home.join("runtime");
        let kept = podman.home.join("kept.json");
        let script = format!(
            "#!/bin/sh\nfor a; do [ \"$p\" = --bundle ] && cp \"$a/config.json\" {}; p=$a; done\nexit 1\n",
            kept.display()
        );
        fs::write(&runtime, script)?;
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755))?;
        let (archive, tree) = (podman.home.join("image.tar"), podman.home.join("rootfs"));
        let tar =
            Command::new("tar").arg("-C").arg(tree).arg("-cf").arg(&archive).arg(".").status();
        assert!(tar?.success());
        let import = podman.command().arg("import").arg(archive).arg("hooks:test").output()?;
        assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
        Ok(podman)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.home.join("storage"));
        command.arg("--runroot").arg(self.home.join("run"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command
    }

    /// An empty hooks directory.
    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.home.join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// What podman makes of `directories`: the configuration for its runtime, or its complaint.
    fn configure(&self, directories: &[&Path], arguments: &[String]) -> Result<Value, String> {
        let (kept, default) = (self.home.join("kept.json"), ["/bin/app".to_owned()]);
        let _ = fs::remove_file(&kept);
        let mut command = self.command();
        for directory in directories {
            command.arg("--hooks-dir").arg(directory);
        }
        command.arg("--runtime").arg(self.home.join("runtime"));
        command.args(["run", "--rm", "--net", "none", "--ulimit", "nofile=1024:4096"]);
        command.args(["--ulimit", "nproc=1000:1000"]);
        let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
        command.args(&arguments[..end]).arg("hooks:test");
        let program = arguments.get(end + 1..).unwrap_or_default();
        command.args(if program.is_empty() { &default[..] } else { program });
        let output: Output = command.output().unwrap();
        match fs::read(&kept) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap()),
            Err(_) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command().args(["rmi", "-af"]).output();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// What this crate makes of the same directories for the configuration that podman made.
fn ours(directories: &[&Path], config: &Value) -> Result<Value, String> {
    let read = hooks_d::read(directories);
    if let Some(problem) = read.problems.first() {
        return Err(problem.to_string());
    }
    let mut bare = config.clone();
    bare.as_object_mut().unwrap().remove("hooks");
    let spec: Spec = serde_json::from_value(bare).unwrap();
    let mut hooks = Hooks::default();
    hooks_d::inject(&read.definitions, &Facts::of(&spec), &mut hooks).map_err(|p| p.to_string())?;
    // podman runs poststop hooks itself, so its runtime does not see them.
    hooks.set_poststop(None);
    Ok(serde_json::to_value(hooks).unwrap())
}

fn write(directory: &Path, name: &str, definition: &Value) {
    fs::write(directory.join(name), definition.to_string()).unwrap();
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn every_pattern_matches_as_in_go(podman: &Podman) -> Result<(), Failed> {
    let directory = podman.directory("patterns");
    let mut arguments = Vec::new();
    let mut expected = Vec::new();
    for (at, (pattern, text, matches)) in pattern_cases::CASES.iter().enumerate() {
        // An argument cannot hold a NUL byte.
        let (Some(matches), false) = (matches, text.contains('\0')) else { continue };
        // podman reads the option as a line of comma-separated values.
        let quoted = format!("\"case{at}={}\"", text.replace('"', "\"\""));
        arguments.extend(["--annotation".to_owned(), quoted]);
        let when = json!({"annotations": {format!("^case{at}$"): pattern}});
        let hook = json!({"path": "/bin/sh", "args": [at.to_string()]});
        let definition =
            json!({"version": "1.0.0", "hook": hook, "when": when, "stages": ["prestart"]});
        write(&directory, &format!("{at:05}.json"), &definition);
        if *matches {
            expected.push(at.to_string());
        }
    }
    let config = podman.configure(&[&directory], &arguments)?;
    let injected = config["hooks"]["prestart"].as_array().cloned().unwrap_or_default();
    let injected: Vec<&str> = injected.iter().filter_map(|hook| hook["args"][0].as_str()).collect();
    assert_eq!(injected, expected, "podman does not agree with the table");
    let ours = ours(&[&directory], &config)?;
    assert_eq!(ours["prestart"], config["hooks"]["prestart"]);
    Ok(())
}

fn refused_patterns_are_refused_by_both(podman: &Podman) -> Result<(), Failed> {
    for (pattern, _, matches) in pattern_cases::CASES.iter().filter(|case| case.2.is_none()) {
        assert_eq!(*matches, None);
        let directory = podman.directory("refused");
        let hook = json!({"path": "/bin/sh"});
        let when = json!({"commands": [pattern]});
        let definition =
            json!({"version": "1.0.0", "hook": hook, "when": when, "stages": ["prestart"]});
        write(&directory, "x.json", &definition);
        let podmans = podman.configure(&[&directory], &[]).err().unwrap_or_default();
        assert!(podmans.contains("invalid command"), "podman says to {pattern:?}: {podmans}");
        assert!(!hooks_d::read(&[&directory]).problems.is_empty(), "we take {pattern:?}");
    }
    Ok(())
}

/// Definitions of every kind, under several command lines.
fn the_same_hooks_in_the_same_order(podman: &Podman) -> Result<(), Failed> {
    let directory = podman.directory("many");
    let names = [
        "10-b.json",
        "10-a.json",
        "10-C.json",
        "9-z.json",
        "Z.json",
        "a.json",
        "_x.json",
        "é.json",
        "10-a-b.json",
        "10-ab.json",
        "10_a.json",
        "zz.json",
        "00.json",
        "10-a.json.bak",
        ".hidden.json",
    ];
    let whens = [
        json!({"always": true}),
        json!({"always": false}),
        json!({}),
        json!({"commands": ["^/bin/app$"]}),
        json!({"commands": ["nothing", "sh$"]}),
        json!({"hasBindMounts": true}),
        json!({"hasBindMounts": false}),
        json!({"annotations": {"^io\\.x$": "^1$"}}),
        json!({"annotations": {"^io\\.": "2"}}),
        json!({"annotations": {"^io\\.x$": "1", "^io\\.y$": "2"}}),
        json!({"always": true, "commands": ["app"], "hasBindMounts": true}),
        json!({"always": true, "annotations": {"x": "."}, "commands": ["app"]}),
        json!({"annotations": {}, "commands": []}),
        json!({"Always": true}),
        json!({"always": null, "hasbindmounts": true}),
    ];
    let stages = [
        json!(["prestart"]),
        json!(["createRuntime", "poststart"]),
        json!(["createContainer", "startContainer", "poststop"]),
        json!(["poststart", "prestart", "prestart"]),
        json!([]),
        json!(["poststop"]),
    ];
    for (at, when) in whens.iter().enumerate() {
        for (round, name) in names.iter().enumerate().skip(at % 3).step_by(3) {
            let hook = json!({
                "path": "/bin/sh", "args": ["sh", format!("{at} {name}")], "env": ["A=b", ""], "timeout": at + 1,
            });
            let stages = &stages[(at + round) % stages.len()];
            let definition = json!({"version": "1.0.0", "hook": hook, "when": when, "stages": stages, "more": 1});
            write(
                &directory,
                &format!("{}{name}", char::from(b'a' + (at % 26) as u8)),
                &definition,
            );
        }
    }
    for arguments in [
        words(&["--", "/bin/app"]),
        words(&["--", "/bin/sh", "-c", "/bin/app"]),
        words(&["-v", "/tmp:/data", "--", "/bin/app"]),
        words(&["-v", "/tmp:/data:ro", "--annotation", "io.x=1", "--", "app"]),
        words(&["--annotation", "io.x=1", "--annotation", "io.y=2", "--", "/bin/app"]),
        words(&["--annotation", "io.x=2", "--annotation", "io.y=1", "--", "/bin/app"]),
        words(&["--mount", "type=bind,src=/usr,dst=/u", "--annotation", "xio.=12", "--", "sh"]),
    ] {
        let config = podman.configure(&[&directory], &arguments)?;
        let ours = ours(&[&directory], &config)?;
        assert_eq!(ours, config["hooks"], "{arguments:?}");
        assert!(config["hooks"]["prestart"].as_array().is_some_and(|list| list.len() > 3));
    }
    Ok(())
}

fn a_later_directory_replaces_a_name(podman: &Podman) -> Result<(), Failed> {
    let (first, second) = (podman.directory("first"), podman.directory("second"));
    let definition = |mark: &str, always: bool| {
        let hook = json!({"path": "/bin/sh", "args": [mark]});
        json!({"version": "1.0.0", "hook": hook, "when": {"always": always}, "stages": ["createRuntime"]})
    };
    write(&first, "a.json", &definition("first a", true));
    write(&first, "b.json", &definition("first b", true));
    write(&first, "c.json", &definition("first c", true));
    write(&second, "b.json", &definition("second b", true));
    write(&second, "c.json", &definition("second c", false));
    write(&second, "B.json", &definition("second B", true));
    std::os::unix::fs::symlink("/nonexistent", second.join("dangling.json"))?;
    // A program that does not exist: the definition before it stays.
    let missing = definition("missing", true).to_string().replace("/bin/sh", "/nonexistent/sh");
    fs::write(second.join("a.json"), missing)?;
    for directories in [[&*first, &*second], [&*second, &*first]] {
        let mut config = podman.configure(&directories, &[])?;
        let mut ours = ours(&directories, &config)?;
        // b.json and B.json are equal in lower case: podman leaves their order open.
        for hooks in [&mut ours, &mut config["hooks"]] {
            let list = hooks["createRuntime"].as_array_mut().unwrap();
            list.sort_by_key(|hook| hook["args"][0].as_str().unwrap().to_lowercase());
            list.retain(|hook| hook["args"][0] != "second B");
        }
        assert_eq!(ours, config["hooks"]);
    }
    Ok(())
}

fn broken_files_are_refused_by_both(podman: &Podman) -> Result<(), Failed> {
    let good = json!({"version": "1.0.0", "hook": {"path": "/bin/sh"}, "when": {"always": true}, "stages": ["prestart"]});
    let with = |pointer: &str, value: Value| {
        let mut definition = good.clone();
        *definition.pointer_mut(pointer).unwrap() = value;
        definition.to_string()
    };
    for text in [
        String::new(),
        "{".into(),
        "null".into(),
        "[]".into(),
        format!("{good} x"),
        good.to_string().replace('}', ",}"),
        with("/version", json!("1.1.0")),
        with("/version", json!(1)),
        with("/hook", json!({})),
        with("/hook", json!("x")),
        with("/hook", json!({"path": "/bin/sh", "args": "x"})),
        with("/hook", json!({"path": "/bin/sh", "timeout": "1"})),
        with("/hook", json!({"path": "/bin/sh", "timeout": 1.5})),
        with("/when", json!([])),
        with("/when", json!({"always": "true"})),
        with("/when", json!({"commands": "x"})),
        with("/when", json!({"annotations": ["x"]})),
        with("/when", json!({"annotations": {"x": 1}})),
        with("/stages", json!(null)),
        with("/stages", json!("prestart")),
        with("/stages", json!(["prestart", "Poststop"])),
    ] {
        let directory = podman.directory("broken");
        fs::write(directory.join("x.json"), &text)?;
        let podmans = podman.configure(&[&directory], &[]).err().unwrap_or_default();
        assert!(podmans.contains("setting up OCI Hooks"), "podman says to {text}: {podmans}");
        assert_eq!(hooks_d::read(&[&directory]).problems.len(), 1, "{text}");
    }
    let directory = podman.directory("broken");
    fs::create_dir(directory.join("directory.json"))?;
    assert!(podman.configure(&[&directory], &[]).is_err());
    assert_eq!(hooks_d::read(&[&directory]).problems.len(), 1);
    Ok(())
}

/// Files as no person writes them: taken or refused by both, and with the same hooks.
fn odd_files_are_read_alike(podman: &Podman) -> Result<(), Failed> {
    let good = r#"{"version":"1.0.0","hook":{"path":"/bin/sh"},"when":{"always":true},"stages":["prestart"]}"#;
    let with = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replace(from, to).into_bytes()
    };
    let hook = r#"{"path":"/bin/sh"}"#;
    let mut cases: Vec<Vec<u8>> = vec![
        with(hook, r#"{"path":"/bin/sh","args":["a",null,"b"]}"#),
        with(hook, r#"{"path":"/bin/sh","env":[null]}"#),
        with(hook, r#"{"path":"/bin/sh","args":null,"env":null,"timeout":null}"#),
        with(hook, r#"{"path":"/bin/sh","args":[],"env":[]}"#),
        with(hook, r#"{"path":"/bin/sh","timeout":1.0}"#),
        with(hook, r#"{"path":"/bin/sh","timeout":1e2}"#),
        with(hook, r#"{"path":"/bin/sh","timeout":9223372036854775808}"#),
        with(hook, r#"{"path":"/bin/true","path":"/bin/sh"}"#),
        with(hook, r#"{"path":"/bin/sh/"}"#),
        with(hook, r#"{"path":null}"#),
        with(hook, "null"),
        with(r#"{"always":true}"#, "null"),
        with(r#"{"always":true}"#, r#"{"always":true,"commands":null,"annotations":null}"#),
        with(r#"{"always":true}"#, r#"{"always":true,"commands":[null]}"#),
        with(r#"{"always":true}"#, r#"{"annotations":{"nothing":null}}"#),
        with(r#"{"always":true}"#, r#"{"always":true},"when":{"commands":["^nothing$"]}"#),
        with(r#"{"always":true}"#, r#"{"always":true,"or":true,"Or":true,"commands":["^x$"]}"#),
        with(r#"{"always":true}"#, r#"{"always":false,"always":true}"#),
        with(r#"{"always":true}"#, r#"{"always":true,"always":null}"#),
        with(r#"{"always":true}"#, "{}"),
        with(r#"["prestart"]"#, r#"["prestart",null]"#),
        with(r#"["prestart"]"#, r#"["poststop"]"#),
        with(r#"["prestart"]"#, r#"[]"#),
        with(r#"["prestart"]"#, r#"["prestart"],"stages":["poststart"]"#),
        with(r#"["prestart"]"#, r#"["prestart"],"stages":null"#),
        with(r#""version":"1.0.0""#, r#""version":"1.0.0","version":"0.1.0""#),
        with(r#""version":"1.0.0""#, r#""Version":"1.0.0""#),
        with(r#""version":"1.0.0","#, ""),
        with(r#""1.0.0""#, r#""0.1.0""#),
        [b"\xef\xbb\xbf", good.as_bytes()].concat(),
        [good.as_bytes(), b"\n\t \r\n"].concat(),
        [good.as_bytes(), b"\0"].concat(),
        with(hook, "{\"path\":\"/bin/sh\",\"args\":[\"a\tb\"]}"),
    ];
    let mut raw = with(hook, r#"{"path":"/bin/sh","args":["~","~~"]}"#);
    raw.iter_mut().filter(|byte| **byte == b'~').for_each(|byte| *byte = 0xff);
    cases.push(raw);
    let mut wrong = String::new();
    for text in cases {
        let directory = podman.directory("odd");
        fs::write(directory.join("x.json"), &text)?;
        wrong += &disagreement(podman, &[&directory], &[], &String::from_utf8_lossy(&text));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// What podman and this crate make of the directories, unless it is the same.
fn disagreement(
    podman: &Podman,
    directories: &[&Path],
    arguments: &[String],
    told: &str,
) -> String {
    let theirs = podman.configure(directories, arguments);
    // What the configuration is does not matter to a file that is refused.
    let process = json!({"args": ["/bin/app"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    let plain = json!({"ociVersion": "1.0.2", "process": process});
    let ours = ours(directories, theirs.as_ref().unwrap_or(&plain));
    let theirs = theirs.map(|config| match &config["hooks"] {
        Value::Null => json!({}),
        hooks => hooks.clone(),
    });
    match theirs.as_ref().ok() == ours.as_ref().ok() {
        true => String::new(),
        false => format!("{told}\n    podman: {theirs:?}\n    ours: {ours:?}\n"),
    }
}

/// How many random sets of directories are compared.
const ROUNDS: usize = 60;

/// A small generator of numbers (xorshift64*): the directories are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.roll(list.len())]
    }

    /// Up to `most` of the list, perhaps one twice.
    fn some(&mut self, list: &[&str], most: usize) -> Vec<String> {
        (0..self.roll(most + 1)).map(|_| (*self.pick(list)).to_owned()).collect()
    }
}

const NAMES: [&str; 14] = [
    "a.json",
    "B.json",
    "10-x.json",
    "9-x.json",
    "_.json",
    "A1.json",
    "z.JSON",
    "note.txt",
    "x.json.bak",
    ".json",
    ".dot.json",
    "É.json",
    "a b.json",
    "json",
];
const PATTERNS: [&str; 10] =
    ["", ".*", "^/bin/app$", "app", "^io\\.", "x$", "^(one|two)$", "[0-9]+", "(?i)ONE", "^$"];
const PROGRAMS: [&str; 5] = ["/bin/sh", "/bin/true", "/nonexistent/program", "/usr", "/bin/cat"];
const STAGES: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A definition; now and then one that is wrong.
fn definition(dice: &mut Dice, mark: usize, may_be_wrong: bool) -> Value {
    let mut hook = json!({"path": dice.pick(&PROGRAMS), "args": ["sh", mark.to_string()]});
    match dice.roll(6) {
        0 => hook["timeout"] = json!(1 + dice.roll(9)),
        1 => hook["env"] = json!(dice.some(&["A=b", "C=", "D"], 3)),
        2 => drop(hook.as_object_mut().unwrap().remove("args")),
        _ => {}
    }
    let mut when = serde_json::Map::new();
    if dice.roll(3) == 0 {
        when.insert("always".into(), json!(dice.roll(4) > 0));
    }
    if dice.roll(4) == 0 {
        when.insert("hasBindMounts".into(), json!(dice.roll(3) > 0));
    }
    if dice.roll(2) == 0 {
        when.insert("commands".into(), json!(dice.some(&PATTERNS, 2)));
    }
    if dice.roll(3) == 0 {
        let pairs =
            dice.some(&PATTERNS, 2).into_iter().map(|key| (key, json!(dice.pick(&PATTERNS))));
        when.insert("annotations".into(), Value::Object(pairs.collect()));
    }
    let mut all =
        json!({"version": "1.0.0", "hook": hook, "when": when, "stages": dice.some(&STAGES, 3)});
    if may_be_wrong && dice.roll(4) == 0 {
        let place = dice.pick(&["/version", "/hook", "/hook/path", "/when", "/stages"]);
        let value = [json!(null), json!("x"), json!(7), json!(["prestart"]), json!({}), json!([])];
        *all.pointer_mut(place).unwrap() = dice.pick(&value).clone();
    }
    all
}

/// Directories of generated files, under random command lines.
fn random_directories_are_read_alike(podman: &Podman) -> Result<(), Failed> {
    let mut wrong = String::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let directories = ["one", "two", "three"].map(|name| podman.directory(name));
        let used = 1 + dice.roll(3);
        let (mut told, mut mark) = (format!("round {round}\n"), 0);
        for directory in &directories[..used] {
            let mut lower = Vec::new();
            for _ in 0..dice.roll(9) {
                let name = *dice.pick(&NAMES);
                let text = definition(&mut dice, mark, round % 3 == 0).to_string();
                mark += 1;
                let file = directory.join(name);
                if lower.contains(&name) {
                    continue;
                }
                lower.push(name);
                told += &format!("{} {text}\n", file.display());
                match dice.roll(8) {
                    0 => {
                        let elsewhere = podman.home.join(format!("target{mark}"));
                        fs::write(&elsewhere, &text)?;
                        std::os::unix::fs::symlink(&elsewhere, &file)?;
                    }
                    1 => std::os::unix::fs::symlink("/nonexistent/file", &file)?,
                    _ => fs::write(&file, &text)?,
                }
            }
        }
        let mut arguments = Vec::new();
        for pair in dice.some(&["io.x=one", "io.y=two", "x=x1", "n=", "io.z=a/bin/app"], 3) {
            arguments.extend(["--annotation".to_owned(), pair]);
        }
        if dice.roll(2) == 0 {
            arguments.extend(words(&["-v", "/tmp:/data"]));
        }
        arguments.push("--".into());
        arguments.push((*dice.pick(&["/bin/app", "app", "x", "1"])).to_owned());
        told += &format!("{arguments:?}");
        let used: Vec<&Path> = directories[..used].iter().map(PathBuf::as_path).collect();
        wrong += &disagreement(podman, &used, &arguments, &told);
        accepted += usize::from(hooks_d::read(&used).problems.is_empty());
    }
    assert!((ROUNDS / 2..ROUNDS).contains(&accepted), "{accepted} of {ROUNDS} are accepted");
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
