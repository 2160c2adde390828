//! Hooks that go wrong, or do what hooks rarely do: under all three.

use std::fs;

use richrun_tests::bundle::sh;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Kind, Output, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite.compare(BOTH, "hooks_annotations", annotations);
    suite.compare(ONE, "hooks_fail_and_clean", fail_and_clean);
    suite.compare(BOTH, "hooks_without_program", without_program);
    suite.compare(ONE, "hooks_closed_stdin", closed_stdin);
    suite.compare(ONE, "hooks_huge_output", huge_output);
    suite.compare(ONE, "hooks_that_kill", that_kill);
    suite.compare(BOTH, "hooks_that_reenter", that_reenter);
    suite.compare(ONE, "hooks_time_out_each", time_out_each);
}

/// The kinds that run outside the container, where a test's files are.
const OUTSIDE: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];
/// Those whose failure keeps the payload from running.
const BEFORE: [&str; 4] = ["prestart", "createRuntime", "createContainer", "startContainer"];

/// A hook that runs a script.
fn script(words: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["busybox", "sh", "-c", words], "env": ["PATH=/bin:/usr/bin"]})
}

/// Runs a container with these hooks.
fn run(t: &Trial, hooks: &Value) -> (Output, String) {
    crate::needs(t, "run");
    let bundle = t.bundle(|c| {
        sh(c, "echo payload");
        c["hooks"] = hooks.clone();
        c["annotations"] = json!({"org.example.key": "a value"});
    });
    let out = t.run(&bundle);
    (out, bundle.id)
}

/// What must be gone after a failure is, or is taken away.
fn clean(t: &Trial, id: &str) {
    t.rt(&["delete", "--force", id]).run();
}

fn annotations(t: &Trial) {
    let file = t.dir.join("run/states");
    let words = format!("cat >> {0}; echo >> {0}", file.display());
    let hooks: serde_json::Map<String, Value> =
        OUTSIDE.iter().map(|kind| ((*kind).to_owned(), json!([script(&words)]))).collect();
    let (out, _) = run(t, &Value::Object(hooks));
    out.ok();
    let text = fs::read_to_string(&file).expect("the states");
    let states: Vec<Value> = serde_json::Deserializer::from_str(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON");
    assert_eq!(states.len(), 4, "{text}");
    for state in states {
        assert_eq!(state["annotations"]["org.example.key"], "a value", "{state}");
    }
}

/// What is printed, what did not run, and what is left.
fn fail_and_clean(t: &Trial) {
    for kind in BEFORE {
        let second = script("touch /mnt/run/second 2>/dev/null");
        let ended = script("touch /mnt/run/ended; exit 0");
        let hooks = json!({(kind): [script("echo to out; echo to err >&2; exit 3"), second],
            "poststop": [ended]});
        let (out, id) = run(t, &hooks);
        let out = out.fails();
        assert!(!out.out.contains("payload"), "{kind}: {}", out.out);
        match t.kind() {
            Kind::Crun => {
                let inside = kind.ends_with("Container");
                assert!(inside || out.err.contains("hook"), "{kind}: {}", out.err);
            }
            _ => {
                assert!(out.err.contains("hook #0"), "{kind}: {}", out.err);
                assert!(out.err.contains("exit status 3"), "{kind}: {}", out.err);
            }
        }
        if t.is_richrun() {
            let words = format!(
                "error running {kind} hook #0: exit status 3, stdout: to out, stderr: to err"
            );
            assert!(out.err.contains(&words), "{kind}: {}", out.err);
        }
        assert!(!t.dir.join("run/second").exists(), "{kind}: the next hook ran");
        let left = t.rt(&["state", &id]).run();
        assert!(left.code != 0, "{kind}: {}", left.out);
        clean(t, &id);
        let _ = fs::remove_file(t.dir.join("run/ended"));
        t.finish();
    }
}

/// A program that is missing, is no program, or is named by half.
fn without_program(t: &Trial) {
    let plain = t.dir.join("run/plain");
    fs::write(&plain, "no program").expect("write a file");
    for (path, word) in [
        ("/nonexistent/hook", "no such file or directory"),
        (plain.to_str().expect("utf-8"), "permission denied"),
        ("bin/busybox", ""),
    ] {
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let hook = json!({"path": path, "args": ["busybox", "true"]});
            let (out, id) = run(t, &json!({(kind): [hook]}));
            clean(t, &id);
            // Its hook stands in the root file system, and that path is there.
            if t.kind() == Kind::Runc && kind == "createContainer" && path.starts_with("bin") {
                out.ok().prints("payload");
                continue;
            }
            let out = out.fails();
            assert!(!out.out.contains("payload"), "{path} {kind}: {}", out.out);
            // crun names the hook and a status.
            let word = if t.kind() == Kind::Crun { "" } else { word };
            assert!(out.err.to_lowercase().contains(word), "{path} {kind}: {}", out.err);
        }
    }
}

/// Nobody reads the state.
fn closed_stdin(t: &Trial) {
    let hooks = json!({
        "prestart": [script("exec <&-; exit 0")],
        "createRuntime": [script("exec </dev/null; exit 0")],
        "createContainer": [script("exit 0")],
        "poststart": [script("exec <&-; exit 0")],
        "poststop": [script("exec <&-; exit 0")],
    });
    let (out, _) = run(t, &hooks);
    out.ok().prints("payload");
}

/// More than a pipe holds.
fn huge_output(t: &Trial) {
    let words = "busybox dd if=/dev/zero bs=1024 count=4096 2>/dev/null | busybox tr '\\0' x | \
                 busybox tee /dev/stderr";
    let hooks = json!({"prestart": [script(words)], "createRuntime": [script(words)]});
    let (out, _) = run(t, &hooks);
    let out = out.ok();
    // crun's hooks have its own streams.
    assert!(out.out.ends_with("payload\n"), "{} bytes", out.out.len());
    assert!(t.kind() == Kind::Crun || out.out == "payload\n", "{} bytes", out.out.len());
}

fn that_kill(t: &Trial) {
    let words = r#"pid=$(sed 's/.*"pid": *\([0-9]*\).*/\1/'); kill -9 $pid"#;
    for kind in ["prestart", "createRuntime"] {
        let (out, id) = run(t, &json!({(kind): [script(words)]}));
        let out = out.fails();
        assert!(!out.out.contains("payload"), "{kind}: {}", out.out);
        t.rt(&["state", &id]).run().fails();
        clean(t, &id);
        t.finish();
    }
    crate::needs(t, "run");
    let bundle = t.bundle(|c| {
        sh(c, "sleep 100");
        c["hooks"] = json!({"poststart": [script(words)]});
    });
    let out = t.run(&bundle);
    // runc 1.1 runs it before it lets the payload go.
    out.exits(if t.kind() == Kind::Runc && t.runtime.version < (1, 2) { 1 } else { 137 });
    t.rt(&["state", &bundle.id]).run().fails();
    clean(t, &bundle.id);
}

/// A hook asks the runtime for its own container's state.
fn that_reenter(t: &Trial) {
    crate::needs(t, "run");
    let file = t.dir.join("run/said");
    let bundle = t.bundle(|c| sh(c, "until [ -e /tmp/said ]; do sleep 0.02; done"));
    let words = format!(
        "{} --root {} state {} > {} 2>&1; touch {}",
        t.runtime_path().display(),
        t.root().display(),
        bundle.id,
        file.display(),
        bundle.rootfs().join("tmp/said").display()
    );
    bundle.edit(|c| c["hooks"] = json!({"poststart": [script(&words)]}));
    t.run(&bundle).ok();
    let text = fs::read_to_string(&file).expect("what it said");
    let state: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(state["id"], json!(bundle.id));
    let early = t.kind() == Kind::Runc && t.runtime.version < (1, 2);
    let status = if early { "created" } else { "running" };
    assert_eq!(state["status"], status, "{state}");
}

/// Each kind of hook has its timeout.
fn time_out_each(t: &Trial) {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let mut slow = script("exec sleep 1000");
        slow["timeout"] = json!(1);
        let (out, id) = run(t, &json!({(kind): [slow]}));
        assert_ne!(out.code, 0, "{kind}: {}", out.err);
        // crun says nothing of its child's.
        assert!(t.kind() == Kind::Crun || out.err.contains("hook"), "{kind}: {}", out.err);
        if t.is_richrun() {
            let words =
                format!("error running {kind} hook #0: hook ran past specified timeout of 1.0s");
            assert!(out.err.contains(&words), "{kind}: {}", out.err);
        }
        clean(t, &id);
    }
}
