//! What a timeout kills, and what it must not touch.

mod stage;

use std::process::Command;
use std::time::{Duration, Instant};

use rich_hooks::{Cause, Options, Phase, run_phase};
use stage::{STATE, Stage, alive, hook, shell, wait_until};

/// Runs `script` with a phase limit of 300 ms and returns how it failed.
fn overrun(script: &str) -> rich_hooks::Failure {
    let limit = Duration::from_millis(300);
    let options = Options { phase_timeout: Some(limit), ..Options::default() };
    let before = Instant::now();
    let error = run_phase(Phase::CreateRuntime, &[shell(script)], STATE, &options).unwrap_err();
    let took = before.elapsed();
    assert!(took >= limit && took < limit + Duration::from_secs(2), "took {took:?}");
    error.failures()[0].clone()
}

const KILLED: Cause =
    Cause::TimedOut { limit: Duration::from_millis(300), of_phase: true, survivors: false };

#[test]
fn a_hooks_own_timeout_ends_it() {
    let _stage = Stage::new();
    let json = r#"{"path":"/bin/sh","args":["sh","-c","echo begun; exec sleep 60"],"timeout":1}"#;
    let before = Instant::now();
    let error = run_phase(Phase::Prestart, &[hook(json)], STATE, &Options::default()).unwrap_err();
    let text = "error running prestart hook #0: hook ran past specified timeout of 1.0s, stdout: begun, stderr: ; program: /bin/sh";
    assert_eq!(error.to_string(), text);
    assert!(before.elapsed() < Duration::from_millis(1900));
}

#[test]
fn the_shorter_limit_counts_and_is_named() {
    let _stage = Stage::new();
    let json = r#"{"path":"/bin/sleep","args":["sleep","60"],"timeout":1}"#;
    let options = Options { phase_timeout: Some(Duration::from_secs(30)), ..Options::default() };
    let error = run_phase(Phase::Prestart, &[hook(json)], STATE, &options).unwrap_err();
    let own = Cause::TimedOut { limit: Duration::from_secs(1), of_phase: false, survivors: false };
    assert_eq!(error.failures()[0].cause, own);
}

#[test]
fn a_phase_limit_spans_its_hooks_and_starts_none_after_it() {
    let stage = Stage::new();
    let touch = format!("echo ran >> {}", stage.path("log"));
    let hooks = [shell("sleep 0.15"), shell("sleep 60"), shell(&touch)];
    let options = Options { phase_timeout: Some(Duration::from_millis(400)), ..Options::default() };
    let error = run_phase(Phase::Poststop, &hooks, STATE, &options).unwrap_err();
    let failed: Vec<usize> = error.failures().iter().map(|failure| failure.index).collect();
    assert_eq!(failed, [1, 2]);
    assert!(!std::path::Path::new(&stage.path("log")).exists());
}

#[test]
fn daemonised_descendants_die_too() {
    let stage = Stage::new();
    let pids = stage.path("pids");
    // Plain, own session, forked twice with the middle gone, own session twice, deaf to signals.
    let script = format!(
        "sleep 61 & echo $! >> {pids}
         setsid sh -c 'echo $$ >> {pids}; exec sleep 62' &
         (setsid sh -c 'sleep 63 & echo $! >> {pids}') 
         setsid sh -c 'setsid sh -c \"echo \\$\\$ >> {pids}; trap : TERM INT HUP; sleep 64; sleep 65\" &'
         sh -c 'kill -STOP $$' &
         echo $! >> {pids}
         while [ $(wc -l < {pids}) -lt 5 ]; do sleep 0.02; done
         sleep 60"
    );
    assert_eq!(overrun(&script).cause, KILLED);
    let pids = stage.pids("pids");
    assert_eq!(pids.len(), 5);
    for pid in pids {
        assert!(!alive(pid), "{pid} outlived the hook");
    }
}

#[test]
fn a_hook_that_keeps_forking_dies_as_a_whole() {
    let stage = Stage::new();
    let mark = format!("richhooksfork{}", std::process::id());
    // A thousand processes in flight at most: each level dies as the next is born.
    let script = format!(
        "{mark}() {{ while :; do setsid sh -c 'sleep 0.01; : {mark}' & sleep 0.002; done; }}; {mark} & {mark} & {mark}"
    );
    assert_eq!(overrun(&script).cause, KILLED);
    drop(stage);
    let left = Command::new("pgrep").args(["-f", &mark]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
}

#[test]
fn nothing_but_the_hooks_own_is_killed_or_reaped() {
    let stage = Stage::new();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    let mut ended = Command::new("true").spawn().unwrap();
    // A child of the caller that orphans a process of its own while the hook runs.
    let script = format!("sleep 0.1; sleep 60 & echo $! > {}; exit 5", stage.path("orphan"));
    let mut parent = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    stage::with_subreaper(|| {
        assert_eq!(overrun("sleep 60").cause, KILLED);
    });
    let orphan = stage.pids("orphan")[0];
    assert!(alive(orphan), "a stranger was killed");
    assert!(bystander.try_wait().unwrap().is_none(), "the caller's child was killed");
    assert_eq!(ended.wait().unwrap().code(), Some(0), "the caller's child was reaped");
    assert_eq!(parent.wait().unwrap().code(), Some(5));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    stage::kill(orphan);
}

#[test]
fn daemons_of_a_hook_that_ends_in_time_stay() {
    let stage = Stage::new();
    for timeout in [None, Some(Duration::from_secs(30))] {
        let (pid, done) = (stage.path("pid"), stage.path("done"));
        // It writes to its inherited output after the hook has ended: that must not kill it either.
        let daemon = format!(
            "echo $$ > {pid}; sleep 0.3; echo late; echo late >&2; echo yes > {done}; exec sleep 60"
        );
        let script = format!("setsid sh -c '{daemon}' & while [ ! -s {pid} ]; do sleep 0.01; done");
        let options = Options { phase_timeout: timeout, ..Options::default() };
        let before = Instant::now();
        run_phase(Phase::Prestart, &[shell(&script)], STATE, &options).unwrap();
        assert!(before.elapsed() < Duration::from_millis(250), "waited for the daemon");
        let daemon = stage.pids("pid")[0];
        assert!(alive(daemon));
        wait_until("the daemon has written", || stage.exists("done"));
        assert!(alive(daemon));
        stage::kill(daemon);
        stage.remove("pid");
        stage.remove("done");
    }
}

#[test]
fn the_caller_keeps_its_own_reaper_flag_and_gets_no_children() {
    let _stage = Stage::new();
    let before = stage::children();
    assert!(!stage::is_subreaper());
    let options = Options { phase_timeout: Some(Duration::from_secs(9)), ..Options::default() };
    run_phase(Phase::Prestart, &[shell("exit 0")], STATE, &options).unwrap();
    assert_eq!(overrun("sleep 60 & sleep 60").cause, KILLED);
    assert!(!stage::is_subreaper());
    assert_eq!(stage::children(), before, "a zombie or a subreaper was left");
}

#[test]
fn a_subreaper_killed_from_outside_is_an_error_not_a_hang() {
    let stage = Stage::new();
    let script = format!("echo $$ > {}; kill -9 $PPID; sleep 60", stage.path("pid"));
    let options = Options { phase_timeout: Some(Duration::from_secs(9)), ..Options::default() };
    let error = run_phase(Phase::Prestart, &[shell(&script)], STATE, &options).unwrap_err();
    assert_eq!(error.failures()[0].cause, Cause::Unknown);
    stage::kill(stage.pids("pid")[0]);
}
