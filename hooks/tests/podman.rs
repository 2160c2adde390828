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
