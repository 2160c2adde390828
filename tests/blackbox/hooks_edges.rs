//! Hooks at the edges: what they print, what they do to their own container,
//! and that poststop runs once however the container ended.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use richrun_tests::bundle::sh;
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{BOTH, ONE, ROOT};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "output_is_in_the_log", output_is_in_the_log)
        .on(BOTH, "output_is_in_the_log_of_run", output_is_in_the_log_of_run)
        .on(BOTH, "a_timeout_ends_all_that_was_started", a_timeout_ends_all)
        .on(ROOT, "pause_and_resume_within_a_hook", pause_and_resume_within_a_hook)
        .on(BOTH, "delete_within_a_hook_is_refused", delete_within_a_hook_is_refused)
        .on(BOTH, "start_within_a_hook_is_refused", start_within_a_hook_is_refused)
        .on(ONE, "a_lock_that_is_kept_names_its_holder", a_lock_that_is_kept)
        .on(BOTH, "poststop_once_after_a_crash", poststop_once_after_a_crash)
        .on(BOTH, "poststop_once_after_a_crash_of_run", poststop_once_after_a_crash_of_run)
        .on(BOTH, "poststop_once_of_a_half_made", poststop_once_of_a_half_made)
        .on(BOTH, "poststop_once_of_a_killed_run", poststop_once_of_a_killed_run)
        .on(BOTH, "poststop_each_once_of_a_killed_delete", poststop_each_once_of_a_killed_delete);
}

const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn script(words: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", words], "env": ["PATH=/bin:/usr/bin"]})
}

/// A file that hooks of the trial's user can write.
fn record(t: &Trial, name: &str) -> PathBuf {
    t.dir.join("run").join(name)
}

fn lines(file: &std::path::Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

fn talkative(t: &Trial) -> Bundle {
    t.bundle(|c| {
        sh(c, IDLE);
        for kind in ALL {
            c["hooks"][kind] = json!([script(&format!("echo out {kind}; echo err {kind} >&2"))]);
        }
    })
}

fn assert_all_said(log: &str, kinds: &[&str]) {
    for kind in kinds {
        for stream in ["out", "err"] {
            let words = format!("{kind} hook #0 sh: {stream} {kind}");
            assert_eq!(log.matches(&words).count(), 1, "{words}: {log}");
        }
        let words = format!("{kind} hook #0 /bin/sh: took ");
        assert_eq!(log.matches(&words).count(), 1, "{words}: {log}");
    }
}

fn output_is_in_the_log(t: &Trial) {
    t.only(&[Kind::Richrun], "logs nothing of it");
    let bundle = talkative(t);
    let log = record(t, "log");
    let path = log.to_str().expect("utf-8");
    let verb = |words: &[&str]| t.rt(&["--debug", "--log", path]).args(words).ok();
    let said = || fs::read_to_string(&log).unwrap_or_default();
    verb(&["create", "-b", bundle.path(), &bundle.id]);
    assert_all_said(&said(), &ALL[..3]);
    verb(&["start", &bundle.id]);
    assert_all_said(&said(), &ALL[..5]);
    verb(&["delete", "--force", &bundle.id]);
    assert_all_said(&said(), &ALL);
    // Nobody asked for it: nothing is said.
    let quiet = record(t, "quiet");
    let path = quiet.to_str().expect("utf-8");
    let verb = |words: &[&str]| t.rt(&["--log", path]).args(words).ok();
    let outs = [
        verb(&["create", "-b", bundle.path(), &bundle.id]),
        verb(&["start", &bundle.id]),
        verb(&["delete", "--force", &bundle.id]),
    ];
    assert!(outs.iter().all(|out| out.out.is_empty() && out.err.is_empty()));
    assert_eq!(fs::read_to_string(&quiet).unwrap_or_default(), "");
}

fn output_is_in_the_log_of_run(t: &Trial) {
    t.only(&[Kind::Richrun], "logs nothing of it");
    let bundle = talkative(t);
    bundle.edit(|c| {
        sh(c, "echo payload");
        let flood = "i=0; while [ $i -lt 3000 ]; do echo a line of the flood; i=$((i+1)); done";
        c["hooks"]["startContainer"].as_array_mut().expect("hooks").push(script(flood));
    });
    let log = record(t, "log");
    let words = ["--debug", "--log", log.to_str().expect("utf-8"), "--log-format", "json"];
    t.rt(&words).args(&["run", "-b", bundle.path(), &bundle.id]).ok().prints("payload");
    let said = fs::read_to_string(&log).expect("the log");
    assert_all_said(&said, &ALL);
    let flood = "startContainer hook #1 sh: a line of the flood";
    assert_eq!(said.matches(flood).count(), 3000);
}

/// Also what has left the hook's session and process group, in every phase: the
/// trial's end looks for processes.
fn a_timeout_ends_all(t: &Trial) {
    t.only(&[Kind::Richrun], "ends the hook alone");
    for kind in ALL {
        let mut hook = script("setsid sleep 1000 & (setsid setsid sleep 1000 &) ; sleep 1000");
        hook["timeout"] = json!(1);
        let bundle = t.bundle(|c| {
            sh(c, "true");
            c["hooks"] = json!({(kind): [hook]});
        });
        let out = t.run(&bundle).exits(i32::from(kind != "poststop"));
        let words =
            format!("error running {kind} hook #0: hook ran past specified timeout of 1.0s");
        out.says(&words);
        t.finish();
    }
}

/// The runtime, as a hook calls it.
fn own(t: &Trial) -> String {
    format!("{} --root {}", t.runtime_path().display(), t.root().display())
}

fn pause_and_resume_within_a_hook(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 runs poststart in create");
    let done = record(t, "done");
    let bundle = t.bundle(|c| sh(c, IDLE));
    let (own, id, file) = (own(t), &bundle.id, done.display());
    let words = format!(
        "exec > {file} 2>&1; {own} pause {id} && {own} state {id} | grep status && {own} resume {id} && \
         {own} state {id} | grep status"
    );
    bundle.edit(|c| c["hooks"]["poststart"] = json!([script(&words)]));
    let c = t.create(&bundle);
    c.start();
    let said = fs::read_to_string(&done).expect("what the hook saw");
    let statuses: Vec<&str> =
        said.split('"').filter(|word| word.ends_with("ed") || word.ends_with("ing")).collect();
    assert_eq!(statuses, ["paused", "running"], "{said}");
    assert_eq!(c.status(), "running");
    c.remove();
}

fn delete_within_a_hook_is_refused(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    let said = record(t, "said");
    let bundle = t.bundle(|c| sh(c, IDLE));
    let words =
        format!("{} delete --force {} >> {} 2>&1; exit 0", own(t), bundle.id, said.display());
    bundle.edit(|c| {
        for kind in ["createRuntime", "poststart", "poststop"] {
            c["hooks"][kind] = json!([script(&words)]);
        }
    });
    let c = t.create(&bundle);
    c.start();
    assert_eq!(c.status(), "running");
    c.remove();
    let text = fs::read_to_string(&said).expect("what the hooks heard");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, verb) in lines.iter().zip(["create", "start", "delete"]) {
        assert!(line.contains(&format!("container {} is busy: process ", bundle.id)), "{line}");
        assert!(line.contains(&format!(" {verb} ")), "{line}");
        assert!(line.contains("waits for the hook that this command is part of"), "{line}");
    }
}

/// A hook of `create` cannot start what is not created; its failure ends the creation.
fn start_within_a_hook_is_refused(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    let bundle = t.bundle(|c| sh(c, IDLE));
    let words = format!("{} start {}", own(t), bundle.id);
    bundle.edit(|c| c["hooks"]["createRuntime"] = json!([script(&words)]));
    let out = t.rt(&["create", "-b", bundle.path(), &bundle.id]).run().exits(1);
    out.says("error running createRuntime hook #0: exit status 1").says("is busy: process ");
    assert!(!t.root().join(&bundle.id).exists());
}

/// Half a minute is enough for any command that does something.
fn a_lock_that_is_kept(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    let c = t.idle();
    let place = t.root().join(&c.id);
    let up = record(t, "up");
    let words = format!("touch {}; exec sleep 1000", up.display());
    let holder =
        t.cmd("flock", &[place.to_str().expect("utf-8"), "sh", "-c", &words]).timeout(300).spawn();
    wait_until("the lock to be taken", || up.exists());
    let begin = Instant::now();
    let out = t.rt(&["delete", "--force", &c.id]).run().exits(1);
    assert!(begin.elapsed() >= Duration::from_secs(30), "{:?}", begin.elapsed());
    out.says(&format!("container {} is busy: process {} (flock ", c.id, holder.pid()))
        .says("gave up after 30 s");
    // Looking at it needs no lock.
    assert_eq!(c.status(), "running");
    for (pid, _) in richrun_tests::leftovers::processes() {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if words == "sleep\u{0}1000\u{0}" {
            richrun_tests::sys::kill(pid, 9);
        }
    }
    holder.wait();
    c.remove();
}

/// A bundle whose poststop hook adds a line to a file.
fn counted(t: &Trial) -> (Bundle, PathBuf) {
    let file = record(t, "poststop");
    let bundle = t.bundle(|c| {
        sh(c, IDLE);
        let words = format!("sleep 0.2; echo ran >> {}", file.display());
        c["hooks"] = json!({"poststop": [script(&words)]});
    });
    (bundle, file)
}

fn poststop_once_after_a_crash(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    let (bundle, file) = counted(t);
    let c = t.detach(&bundle);
    richrun_tests::sys::kill(c.pid(), 9);
    c.wait("stopped");
    assert_eq!(lines(&file), 0, "nobody has deleted it yet");
    let deletes: Vec<_> = (0..6).map(|_| t.rt(&["delete", "--force", &c.id]).spawn()).collect();
    for delete in deletes {
        delete.wait().ok();
    }
    assert_eq!(lines(&file), 1);
}

fn poststop_once_after_a_crash_of_run(t: &Trial) {
    t.only(&[Kind::Richrun], "has no lock for an id");
    let (bundle, file) = counted(t);
    let run = t.run_cmd(&bundle, &[]).spawn();
    let c = t.take(&bundle);
    wait_until("the container to run", || {
        t.rt(&["state", &c.id]).run().out.contains("\"running\"")
    });
    richrun_tests::sys::kill(c.pid(), 9);
    let other = t.rt(&["delete", "--force", &c.id]).spawn();
    run.wait().exits(137);
    other.wait().ok();
    assert_eq!(lines(&file), 1);
}

/// `create` is killed while a hook of each of its kinds runs.
fn poststop_once_of_a_half_made(t: &Trial) {
    t.only(&[Kind::Richrun], "leaves what is half made");
    for kind in &ALL[..3] {
        let (bundle, file) = counted(t);
        let up = record(t, &format!("up-{kind}"));
        let words = format!("touch {}; sleep 1", up.display());
        bundle.edit(|c| c["hooks"][*kind] = json!([script(&words)]));
        let create = t.rt(&["create", "-b", bundle.path(), &bundle.id]).spawn();
        wait_until("the hook", || up.exists());
        create.kill(9);
        create.wait();
        assert_eq!(lines(&file), 0, "{kind}");
        t.rt(&["delete", "--force", &bundle.id]).ok();
        assert_eq!(lines(&file), 1, "{kind}: once");
        t.rt(&["delete", "--force", &bundle.id]).ok();
        assert_eq!(lines(&file), 1, "{kind}: not again");
        assert!(!t.root().join(&bundle.id).exists(), "{kind}");
        fs::remove_file(&file).expect("remove");
    }
}

/// `run` in the foreground is killed: its container is left for `delete`.
fn poststop_once_of_a_killed_run(t: &Trial) {
    t.only(&[Kind::Richrun], "leaves what is half made");
    let (bundle, file) = counted(t);
    let run = t.run_cmd(&bundle, &[]).spawn();
    let c = t.take(&bundle);
    wait_until("the container to run", || {
        t.rt(&["state", &c.id]).run().out.contains("\"running\"")
    });
    run.kill(9);
    run.wait();
    assert_eq!(lines(&file), 0);
    c.remove();
    c.remove();
    assert_eq!(lines(&file), 1);
}

/// `delete` is killed while the second of three hooks runs: the next one goes on at the third.
fn poststop_each_once_of_a_killed_delete(t: &Trial) {
    t.only(&[Kind::Richrun], "begins again at the first");
    let (file, go) = (record(t, "poststop"), record(t, "go"));
    let bundle = t.bundle(|c| {
        sh(c, IDLE);
        let name = file.display();
        let wait = format!("while ! test -e {}; do sleep 0.01; done", go.display());
        c["hooks"]["poststop"] = json!([
            script(&format!("echo first >> {name}")),
            script(&format!("echo second >> {name}; {wait}; echo over >> {name}")),
            script(&format!("echo third >> {name}")),
        ]);
    });
    let c = t.detach(&bundle);
    let delete = t.rt(&["delete", "--force", &c.id]).spawn();
    wait_until("the second hook", || lines(&file) == 2);
    delete.kill(9);
    delete.wait();
    fs::write(&go, "").expect("let it end");
    // The hook itself is not the runtime's to end: it finishes.
    wait_until("the end of the second hook", || lines(&file) == 3);
    t.rt(&["delete", "--force", &c.id]).ok();
    t.rt(&["delete", "--force", &c.id]).ok();
    let text = fs::read_to_string(&file).expect("what ran");
    assert_eq!(text, "first\nsecond\nover\nthird\n");
    assert!(!t.root().join(&c.id).exists());
}
