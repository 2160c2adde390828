//! At every step of a command something happens to one of its processes: it is
//! killed, the other one is, it is held, it is stopped, it is deleted meanwhile, its call fails.
//! The steps are the system calls that the command makes, taken from a good run:
//! a new one cannot be forgotten. A part of them is tried here; all of them
//! where minutes do not count (`make test-long`).

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use richrun_tests::bundle::{namespaces, probe, sh, user_namespace, without_namespace};
use richrun_tests::command::{Running, wait_until};
use richrun_tests::container::IDLE;
use richrun_tests::injection::{Step, follow, may_fail, reached, steps};
use richrun_tests::leftovers;
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Bundle, Kind, Output, Suite, Trial};
use serde_json::json;

/// Trials of so many steps of each command, with each action.
pub fn register(suite: &mut Suite, part: usize, seconds: u64) {
    suite
        .on(ROOT, "stopped_on_its_way", |t| stopped_on_its_way(t, Place::Alone))
        .on(ONE, "stopped_on_its_way_in_a_user_namespace", |t| stopped_on_its_way(t, Place::User))
        .on(ONE, "stopped_on_its_way_among_others", |t| stopped_on_its_way(t, Place::Others))
        .on(ROOT, "a_stopped_exec", a_stopped_exec)
        .long(ROOT, "steps", seconds, move |t| steps_of(t, part, Place::Alone))
        .long(ONE, "steps_in_a_user_namespace", seconds, move |t| steps_of(t, part, Place::User))
        .long(ONE, "steps_among_others", seconds, move |t| steps_of(t, part, Place::Others))
        .long(ROOT, "failing_calls", seconds, move |t| failing(t, part, Place::Alone))
        .long(ONE, "failing_calls_in_a_user_namespace", seconds, move |t| {
            failing(t, part, Place::User);
        })
        .long(ONE, "failing_calls_among_others", seconds, move |t| {
            failing(t, part, Place::Others);
        });
}

/// What a container has of its own.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// A pid namespace.
    Alone,
    /// A user namespace, too.
    User,
    /// It joins a pid namespace with others in it.
    Others,
}

/// A command, and what there must be before it.
struct Act {
    before: &'static [&'static [&'static str]],
    line: &'static [&'static str],
}

const RUNNING: &[&str] = &["run", "-d", "-b", "BUNDLE", "ID"];

/// `ID` and `BUNDLE` are put in; `SHORT` is a bundle whose payload ends by itself, so that the
/// whole life of PID 1 is seen.
const ACTS: &[Act] = &[
    Act { before: &[], line: &["create", "-b", "BUNDLE", "ID"] },
    Act { before: &[], line: RUNNING },
    Act { before: &[], line: &["run", "--rich", "-b", "SHORT", "ID"] },
    Act { before: &[], line: &["run", "--rich", "--services", "SERVICES", "-b", "SHORT", "ID"] },
    Act { before: &[&["create", "-b", "BUNDLE", "ID"]], line: &["start", "ID"] },
    Act { before: &[RUNNING], line: &["exec", "ID", "true"] },
    Act { before: &[RUNNING], line: &["pause", "ID"] },
    Act { before: &[RUNNING, &["pause", "ID"]], line: &["resume", "ID"] },
    Act { before: &[RUNNING], line: &["delete", "--force", "ID"] },
];

/// One command on one bundle.
struct Stage<'t> {
    t: &'t Trial,
    bundle: &'t Bundle,
    short: &'t Bundle,
    services: &'t str,
    act: &'t Act,
}

impl Stage<'_> {
    fn words<'w>(&'w self, line: &[&'w str]) -> Vec<&'w str> {
        let put_in = |word: &&'w str| match *word {
            "BUNDLE" => self.bundle.path(),
            "SHORT" => self.short.path(),
            "SERVICES" => self.services,
            "ID" => self.bundle.id.as_str(),
            word => word,
        };
        line.iter().map(put_in).collect()
    }

    fn line(&self) -> Vec<&str> {
        self.words(self.act.line)
    }

    fn before(&self) {
        for line in self.act.before {
            self.t.rt(&self.words(line)).ok();
        }
    }

    /// The steps of a good run.
    fn steps(&self) -> Vec<Step> {
        self.before();
        let all = steps(self.t, &self.line());
        self.t.rt(&["delete", "--force", &self.bundle.id]).ok();
        assert!(all.len() > 20, "{:?}: only {} steps", self.act.line, all.len());
        eprintln!("{:?}: {} steps", self.act.line, all.len());
        all
    }

    /// Whatever has happened: it ended, without a panic; all goes away, and the
    /// id is free.
    fn after(&self, what: &str, out: &Output, again: bool) {
        assert!(!out.err.contains("panicked"), "{what}: {out:?}");
        let deleted = self.t.rt(&["delete", "--force", &self.bundle.id]).run();
        assert_eq!(deleted.code, 0, "{what}: {out:?}: {deleted:?}");
        let left = catch_unwind(AssertUnwindSafe(|| self.t.finish()));
        assert!(left.is_ok(), "{what}: {out:?}: something is left");
        if again {
            self.t.detach(self.bundle).remove();
        }
    }
}

impl Stage<'_> {
    fn sweep(&self) {
        leftovers::sweep(&self.t.id);
        for entry in fs::read_dir(self.t.root()).into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The commands, one after the other, on bundles with hooks of both sorts: one that is waited for
/// by the runtime itself, and one with a time limit, that has a process of its own to wait for it.
fn each(t: &Trial, place: Place, mut act: impl FnMut(usize, &Stage<'_>)) {
    t.only(&[Kind::Richrun], "leaves something behind, or hangs");
    let others = (place == Place::Others).then(|| others(t));
    let bundle = |script: &str| {
        t.bundle(|c| {
            sh(c, script);
            for kind in ["createRuntime", "startContainer", "poststart", "poststop"] {
                c["hooks"][kind] = json!([{"path": "/bin/true"}]);
            }
            c["hooks"]["createContainer"] = json!([{"path": "/bin/true", "timeout": 300}]);
            if place == Place::User {
                user_namespace(c);
            }
            if let Some((_, pid)) = &others {
                without_namespace(c, "pid");
                let path = format!("/proc/{pid}/ns/pid");
                namespaces(c).push(json!({"type": "pid", "path": path}));
            }
        })
    };
    let (idle, short) = (bundle(IDLE), bundle(":"));
    let services = t.dir.join("home/services.toml");
    let text = "[service.a]\ncommand = \"sleep 1000\"\n[service.b]\ncommand = \"true\"\ntype = \"oneshot\"\n";
    fs::write(&services, text).expect("write the services");
    let services = services.to_str().expect("utf-8 path");
    // All but the first two is as elsewhere.
    let acts = if others.is_some() { &ACTS[..2] } else { ACTS };
    for (number, one) in acts.iter().enumerate() {
        act(number, &Stage { t, bundle: &idle, short: &short, services, act: one });
    }
}

/// A process in a pid namespace of its own, to its end.
pub fn others(t: &Trial) -> (Running, i32) {
    let probe = probe();
    let words = ["--pid", "--fork", "--kill-child", probe.to_str().expect("utf-8"), "reap"];
    let running = t.cmd("/usr/bin/unshare", &words).timeout(10_000).spawn();
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let child = || fs::read_to_string(&children).ok().and_then(|pid| pid.trim().parse().ok());
    wait_until("a process in a pid namespace", || child().is_some());
    t.accept_processes();
    let child = child().expect("it");
    (running, child)
}

/// So many of all, evenly, and others with each `phase`.
fn part(all: &[Step], count: usize, phase: usize) -> Vec<Step> {
    let stride = all.len().div_ceil(count).max(1);
    all.iter().skip(phase * 7 % stride).step_by(stride).copied().collect()
}

fn steps_of(t: &Trial, count: usize, place: Place) {
    let mut faults = Vec::new();
    each(t, place, |number, stage| {
        let all = stage.steps();
        let mut met = 0;
        let mut tried = 0;
        for (phase, action) in ["kill", "kill-other", "hold", "stop", "delete"].iter().enumerate() {
            for step in part(&all, count, number * 3 + phase) {
                tried += 1;
                met += usize::from(noting(stage, &mut faults, action, step, tried % 7 == 0));
            }
        }
        assert!(met * 2 > tried, "{:?}: only {met} of {tried} steps came again", stage.act.line);
    });
    assert!(faults.is_empty(), "{faults:#?}");
}

/// As [`at`]; what went wrong is noted, and its remains swept away, so that one run of
/// all steps tells of all faults.
fn noting(
    stage: &Stage<'_>,
    faults: &mut Vec<String>,
    action: &str,
    step: Step,
    again: bool,
) -> bool {
    let tried = catch_unwind(AssertUnwindSafe(|| at(stage, action, step, again)));
    tried.unwrap_or_else(|_| {
        faults.push(format!("{:?}: {action} at {step:?}", stage.act.line));
        assert!(faults.len() < 20, "{faults:#?}");
        stage.sweep();
        false
    })
}

/// Whether the step was reached: what each process does may depend on who is first.
fn at(stage: &Stage<'_>, action: &str, step: Step, again: bool) -> bool {
    let t = stage.t;
    stage.before();
    let line = stage.line();
    let what = format!("{:?}: {action} at {step:?}", stage.act.line);
    eprintln!("{what}");
    let out = match action {
        "delete" => meanwhile(stage, "hold", step),
        // The runtime itself: nobody else is killed then.
        "stop" if step.role == 0 => meanwhile(stage, "stop", step),
        action => follow(t, action, step, &line).run(),
    };
    let met = reached(t).is_some();
    if action == "hold" {
        assert_eq!(out.code, 0, "{what}: {out:?}");
    }
    stage.after(&what, &out, again);
    met
}

/// The container is deleted while a process of the command is held, or stopped until then.
fn meanwhile(stage: &Stage<'_>, action: &str, step: Step) -> Output {
    let t = stage.t;
    let running = follow(t, action, step, &stage.line()).spawn();
    wait_until("the step, or the end", || reached(t).is_some() || !running.alive());
    // It may be too early for there to be something, and an error then.
    let deleted = t.rt(&["delete", "--force", &stage.bundle.id]).run();
    if action == "stop" && running.alive() {
        let told = deleted.code == 0 || deleted.err.contains("is stopped");
        assert!(told, "{:?}: {step:?}: {deleted:?}", stage.act.line);
        let pid = reached(t).expect("the pid of the stopped process");
        kill(Pid::from_raw(pid), Signal::SIGCONT).expect("continue it");
    }
    running.wait()
}

/// A first process is stopped, from its birth on, and the runtime that waits for it is killed:
/// `delete --force` ends it.
fn stopped_on_its_way(t: &Trial, place: Place) {
    each(t, place, |number, stage| {
        if number == 0 {
            for nth in [1, 2, 3, 4, 5, 8, 30, 100] {
                let step = Step { role: 1, nth, call: 0 };
                assert!(at(stage, "stop", step, nth == 1), "there is no {step:?}");
            }
        }
    });
}

/// An `exec` is stopped while its process is inside: that one is dead, and taken in by nobody, and
/// the container could not end.
fn a_stopped_exec(t: &Trial) {
    t.only(&[Kind::Richrun], "goes on for ever");
    for verb in [&["stop", "-t", "0"][..], &["delete", "--force"]] {
        let c = t.idle();
        let file = t.dir.join("run").join(format!("pid{}", t.next()));
        let options = ["--pid-file", file.to_str().expect("utf-8 path")];
        let exec = c.exec_cmd(&options, &["sleep", "1000"]).spawn();
        wait_until("its process", || file.exists() || !exec.alive());
        exec.kill(libc::SIGSTOP);
        t.rt(verb).arg(&c.id).timeout(60).ok();
        assert_eq!(exec.wait().code, 137);
        c.remove();
    }
}

/// What a call may fail with: one after the other.
const ERRORS: [i32; 7] =
    [libc::ENOSPC, libc::ENOMEM, libc::EMFILE, libc::EINTR, libc::EPERM, libc::ENOSYS, libc::EIO];

fn failing(t: &Trial, count: usize, place: Place) {
    if !cfg!(target_arch = "x86_64") {
        t.skip("calls are made to fail on x86_64 only");
    }
    let mut faults = Vec::new();
    each(t, place, |number, stage| {
        let all = stage.steps();
        for (phase, error) in ERRORS.iter().enumerate() {
            let all: Vec<Step> =
                all.iter().copied().filter(|one| may_fail(one.call, *error)).collect();
            for step in part(&all, count, number * 5 + phase) {
                noting(stage, &mut faults, &format!("error-{error}"), step, step.nth % 7 == 0);
            }
        }
    });
    assert!(faults.is_empty(), "{faults:#?}");
}
