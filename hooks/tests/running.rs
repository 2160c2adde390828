//! What a hook gets, and what its failure says: real programs, run for real.

mod stage;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rich_hooks::{Cause, Options, Phase, Stream, run_phase};
use stage::{STATE, Stage, hook, shell};

#[test]
fn no_hooks_are_no_work() {
    let before = Instant::now();
    for phase in Phase::ALL {
        run_phase(phase, &[], STATE, &Options::default()).unwrap();
    }
    assert!(before.elapsed() < Duration::from_millis(5));
}

#[test]
fn several_run_in_their_order_and_the_first_failure_ends_the_phase() {
    let stage = Stage::new();
    let log = stage.path("log");
    let line = |text: &str, status: i32| shell(&format!("echo {text} >> {log}; exit {status}"));
    let hooks = [line("one", 0), line("two", 0), line("three", 4), line("four", 0)];
    let error = stage.run(Phase::CreateRuntime, &hooks).unwrap_err();
    assert_eq!(stage.read("log"), "one\ntwo\nthree\n");
    let text =
        "error running createRuntime hook #2: exit status 4, stdout: , stderr: ; program: /bin/sh";
    assert_eq!(error.to_string(), text);
    assert!(!error.is_warning());
}

#[test]
fn who_was_interrupted_goes_on_behind_what_had_begun() {
    let stage = Stage::new();
    let log = stage.path("log");
    let hooks = ["one", "two", "three"].map(|text| shell(&format!("echo {text} >> {log}; exit 1")));
    let begun = std::cell::RefCell::new(Vec::new());
    let begin = |at: usize| {
        // It is told before the hook has done anything.
        let lines = std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        begun.borrow_mut().push((at, lines));
    };
    let options = Options { first: 1, begin: Some(&begin), ..Options::default() };
    let error = run_phase(Phase::Poststop, &hooks, STATE, &options).unwrap_err();
    assert_eq!(stage.read("log"), "two\nthree\n");
    assert_eq!(begun.into_inner(), [(1, 0), (2, 1)]);
    let failed: Vec<usize> = error.failures().iter().map(|failure| failure.index).collect();
    assert_eq!(failed, [1, 2], "each has its own place in the list");
    let none_left = Options { first: 3, ..Options::default() };
    run_phase(Phase::Poststop, &hooks, STATE, &none_left).unwrap();
}

#[test]
fn after_the_end_all_hooks_run_and_every_failure_is_told() {
    let stage = Stage::new();
    let log = stage.path("log");
    let line = |text: &str, status: i32| shell(&format!("echo {text} >> {log}; exit {status}"));
    let missing = hook(r#"{"path":"/nonexistent/hook"}"#);
    let hooks = [line("one", 1), missing, line("three", 0), line("four", 2)];
    let error = stage.run(Phase::Poststop, &hooks).unwrap_err();
    assert_eq!(stage.read("log"), "one\nthree\nfour\n");
    assert!(error.is_warning());
    let failed: Vec<usize> = error.failures().iter().map(|failure| failure.index).collect();
    assert_eq!(failed, [0, 1, 3]);
}

#[test]
fn arguments_are_exact() {
    let stage = Stage::new();
    let script = stage.script("args", "#!/bin/sh\nfor a; do printf '[%s]' \"$a\"; done > \"$OUT\"");
    let env = format!("OUT={}", stage.path("out"));
    let json = serde_json::json!({"path": script, "args": ["zero", "", " a  b", "$HOME", "é\n"], "env": [env]});
    stage.run(Phase::Prestart, &[hook(&json.to_string())]).unwrap();
    assert_eq!(stage.read("out"), "[][ a  b][$HOME][é\n]");
    let out = stage.path("zero");
    let script = format!("cat /proc/$$/cmdline > {out}");
    let json = serde_json::json!({"path": "/bin/sh", "args": ["any name", "-c", script]});
    stage.run(Phase::Prestart, &[hook(&json.to_string())]).unwrap();
    assert!(stage.read("zero").starts_with("any name\0-c\0"));
}

#[test]
fn the_environment_is_the_hooks_own_or_its_phases() {
    let stage = Stage::new();
    let out = stage.path("env");
    let dump = |env: Option<&[&str]>| {
        let mut json = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", format!("cat /proc/self/environ > {out}")]});
        if let Some(env) = env {
            json["env"] = env.into();
        }
        [hook(&json.to_string())]
    };
    // The shell exports PWD, SHLVL or _ on its own account to `cat`.
    let seen = || {
        let text = stage.read("env");
        let own = |entry: &&str| {
            !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|p| entry.starts_with(p))
        };
        text.split_terminator('\0').filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    let path = "PATH=/usr/bin:/bin";
    stage.run(Phase::Prestart, &dump(Some(&[path, "B=2=3"]))).unwrap();
    assert_eq!(seen(), [path, "B=2=3"]);
    stage.run(Phase::Prestart, &dump(Some(&[]))).unwrap();
    assert_eq!(seen(), [""; 0]);
    stage.run(Phase::Prestart, &dump(None)).unwrap();
    let mut runtimes: Vec<String> = std::env::vars().map(|(k, v)| format!("{k}={v}")).collect();
    runtimes
        .retain(|entry| !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|p| entry.starts_with(p)));
    let mut inherited = seen();
    inherited.sort();
    runtimes.sort();
    assert_eq!(inherited, runtimes);
    stage.run(Phase::CreateContainer, &dump(None)).unwrap();
    assert_eq!(seen(), [""; 0]);
    let container = ["IN=container".to_owned()];
    let options = Options { container_env: Some(&container), ..Options::default() };
    run_phase(Phase::StartContainer, &dump(None), STATE, &options).unwrap();
    assert_eq!(seen(), ["IN=container"]);
}

#[test]
fn the_working_directory_is_the_callers_or_the_one_given() {
    let stage = Stage::new();
    let hooks = [shell(&format!("readlink /proc/self/cwd > {}", stage.path("cwd")))];
    stage.run(Phase::Prestart, &hooks).unwrap();
    let own = std::env::current_dir().unwrap();
    assert_eq!(stage.read("cwd").trim_end(), own.to_str().unwrap());
    let options = Options { cwd: Some("/usr".as_ref()), ..Options::default() };
    run_phase(Phase::Prestart, &hooks, STATE, &options).unwrap();
    assert_eq!(stage.read("cwd"), "/usr\n");
    let options = Options { cwd: Some("/nonexistent".as_ref()), ..Options::default() };
    let error = run_phase(Phase::Prestart, &hooks, STATE, &options).unwrap_err();
    let text = "error running prestart hook #0: chdir /nonexistent: no such file or directory";
    assert_eq!(error.to_string(), text);
}

#[test]
fn only_three_descriptors_get_there() {
    let stage = Stage::new();
    let leaks: Vec<std::fs::File> = (0..50)
        .map(|_| std::fs::File::open("/dev/null").unwrap())
        .inspect(|file| {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
        })
        .collect();
    let out = stage.path("fds");
    for timeout in [None, Some(9)] {
        // The shell lists its own: the directory it reads, and its redirection (dash saves that at 10).
        let script = format!("for f in /proc/$$/fd/*; do echo ${{f##*/}}; done > {out}");
        let mut json = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        json["timeout"] = timeout.into();
        stage.run(Phase::Prestart, &[hook(&json.to_string())]).unwrap();
        let mut fds: Vec<u32> = stage.read("fds").lines().map(|fd| fd.parse().unwrap()).collect();
        fds.sort_unstable();
        assert_eq!(fds[..3], [0, 1, 2]);
        assert!(fds[3..].iter().all(|fd| [3, 10].contains(fd)), "{fds:?}");
    }
    drop(leaks);
}

#[test]
fn signals_are_as_in_a_new_login() {
    if !stage::ignoring("USR2 PIPE HUP CHLD", "signals_are_as_in_a_new_login") {
        return;
    }
    let _stage = Stage::new();
    stage::block_one_signal();
    let before = stage::signals();
    assert!(before.contains("SigBlk:\t0000000000000200\n"), "{before}");
    let seen = std::cell::RefCell::new(String::new());
    let sink = |line: rich_hooks::OutputLine<'_>| *seen.borrow_mut() += &format!("{}\n", line.text);
    let hooks =
        [hook(r#"{"path":"/bin/grep","args":["grep","-E","^Sig(Blk|Ign)","/proc/self/status"]}"#)];
    for phase_timeout in [None, Some(Duration::from_secs(9))] {
        let options = Options { sink: Some(&sink), phase_timeout, ..Options::default() };
        run_phase(Phase::Prestart, &hooks, STATE, &options).unwrap();
        let none = "0000000000000000\n";
        assert_eq!(seen.take(), format!("SigBlk:\t{none}SigIgn:\t{none}"));
        assert_eq!(stage::signals(), before, "the caller's own signals were changed");
    }
}

#[test]
fn a_hook_is_a_process_group_of_its_own() {
    let stage = Stage::new();
    let out = stage.path("group");
    let hooks = [shell(&format!("echo $$ $(cut -d' ' -f5 /proc/$$/stat) > {out}"))];
    stage.run(Phase::Prestart, &hooks).unwrap();
    let text = stage.read("group");
    let (pid, group) = text.trim_end().split_once(' ').unwrap();
    assert_eq!(pid, group);
}

#[test]
fn the_state_document_arrives_whole_whatever_its_size() {
    let stage = Stage::new();
    let hooks = [shell(&format!("cat > {}", stage.path("state")))];
    for size in [0, 1, 4096, 65536, 65537, 8 << 20] {
        let state = vec![b's'; size];
        for timeout in [None, Some(Duration::from_secs(20))] {
            let options = Options { phase_timeout: timeout, ..Options::default() };
            run_phase(Phase::CreateRuntime, &hooks, &state, &options).unwrap();
            assert!(stage.read("state").as_bytes() == state, "{size} bytes");
        }
    }
}

#[test]
fn a_hook_need_not_read_its_input() {
    let stage = Stage::new();
    let state = vec![b's'; 4 << 20];
    for script in ["exit 0", "exec <&-; exit 0", "exec 0</dev/null; exit 0", "head -c 1 >/dev/null"]
    {
        run_phase(Phase::Prestart, &[shell(script)], &state, &Options::default()).unwrap();
    }
    let hooks = [shell("cat >/dev/null"), shell(&format!("cat > {}", stage.path("second")))];
    stage.run(Phase::Prestart, &hooks).unwrap();
    assert_eq!(stage.read("second").as_bytes(), STATE, "a hook before it took the document");
    let error = stage.run(Phase::Prestart, &[shell("echo x >&0")]).unwrap_err();
    assert!(error.to_string().contains("exit status"), "the document can be written: {error}");
}

#[test]
fn huge_output_neither_blocks_nor_fills_memory() {
    let stage = Stage::new();
    let script = "i=0; while [ $i -lt 64 ]; do head -c 524288 /dev/zero | tr '\\0' o; head -c 524288 /dev/zero | tr '\\0' e >&2; i=$((i+1)); done; exit 9";
    let error = stage.run(Phase::CreateRuntime, &[shell(script)]).unwrap_err();
    let failure = &error.failures()[0];
    assert_eq!(failure.cause, Cause::Exited(9));
    assert_eq!(failure.stdout, format!("...{}", "o".repeat(4096)));
    assert_eq!(failure.stderr, format!("...{}", "e".repeat(4096)));
}

#[test]
fn output_goes_to_the_sink_line_by_line_with_the_hooks_name() {
    let stage = Stage::new();
    let script = stage.script("network-setup", "#!/bin/sh\necho one; echo two >&2; printf three");
    let lines = std::cell::RefCell::new(Vec::new());
    let sink = |line: rich_hooks::OutputLine<'_>| {
        let entry =
            (line.phase, line.index, line.hook.to_owned(), line.stream, line.text.to_owned());
        lines.borrow_mut().push(entry);
    };
    let hooks = [shell("exit 0"), hook(&serde_json::json!({"path": script}).to_string())];
    let options = Options { sink: Some(&sink), ..Options::default() };
    run_phase(Phase::Poststart, &hooks, STATE, &options).unwrap();
    let mut lines = lines.into_inner();
    lines.sort_by_key(|line| line.4.clone());
    let expect = |stream, text: &str| {
        (Phase::Poststart, 1, "network-setup".to_owned(), stream, text.to_owned())
    };
    let expected = [
        expect(Stream::Stdout, "one"),
        expect(Stream::Stdout, "three"),
        expect(Stream::Stderr, "two"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn failures_say_what_runc_says() {
    let stage = Stage::new();
    let plain = stage.script("plain", "no interpreter line");
    std::fs::set_permissions(stage.path("plain"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let no_interpreter = stage.script("lost", "#!/nonexistent/interpreter\n");
    let format = stage.script("format", "\0\0not a program");
    for (json, text) in [
        (
            r#"{"path":"/nonexistent"}"#.to_owned(),
            "fork/exec /nonexistent: no such file or directory".to_owned(),
        ),
        (format!(r#"{{"path":"{plain}"}}"#), format!("fork/exec {plain}: permission denied")),
        (r#"{"path":"/usr"}"#.to_owned(), "fork/exec /usr: permission denied".to_owned()),
        (r#"{"path":"/bin/sh/x"}"#.to_owned(), "fork/exec /bin/sh/x: not a directory".to_owned()),
        (
            format!(r#"{{"path":"{no_interpreter}"}}"#),
            format!("fork/exec {no_interpreter}: no such file or directory"),
        ),
        (format!(r#"{{"path":"{format}"}}"#), format!("fork/exec {format}: exec format error")),
        (r#"{"path":"bin/sh"}"#.to_owned(), "path: bin/sh: must be absolute".to_owned()),
        (
            r#"{"path":"/bin/true","timeout":0}"#.to_owned(),
            "timeout: 0: must be greater than zero".to_owned(),
        ),
        (
            r#"{"path":"/bin/true","timeout":-5}"#.to_owned(),
            "timeout: -5: must be greater than zero".to_owned(),
        ),
        (
            r#"{"path":"/bin/sh","args":["sh","-c","echo out; echo err >&2; exit 3"]}"#.to_owned(),
            "exit status 3, stdout: out, stderr: err; program: /bin/sh".to_owned(),
        ),
        (
            r#"{"path":"/bin/sh","args":["sh","-c","echo a; echo b; kill -9 $$"]}"#.to_owned(),
            "signal: killed, stdout: a\\nb, stderr: ; program: /bin/sh".to_owned(),
        ),
        (
            r#"{"path":"/bin/sh","args":["sh","-c","kill -15 $$"]}"#.to_owned(),
            "signal: terminated, stdout: , stderr: ; program: /bin/sh".to_owned(),
        ),
    ] {
        for timeout in [None, Some(Duration::from_secs(9))] {
            let options = Options { phase_timeout: timeout, ..Options::default() };
            let hooks = [hook(r#"{"path":"/bin/true"}"#), hook(&json)];
            let error = run_phase(Phase::CreateContainer, &hooks, STATE, &options).unwrap_err();
            assert_eq!(error.to_string(), format!("error running createContainer hook #1: {text}"));
        }
    }
}

#[test]
fn a_caller_that_ignores_its_children_still_learns_the_status() {
    if !stage::ignoring("CHLD", "a_caller_that_ignores_its_children_still_learns_the_status") {
        return;
    }
    let stage = Stage::new();
    let error = stage.run(Phase::Prestart, &[shell("exit 7")]).unwrap_err();
    assert_eq!(error.failures()[0].cause, Cause::Exited(7));
}
