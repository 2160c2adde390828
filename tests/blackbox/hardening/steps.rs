//! At every step of a command something happens to one of its processes: it is
//! killed, the other one is, it is held, it is deleted meanwhile, its call fails.
//! The steps are the system calls that the command makes, taken from a good run:
//! a new one cannot be forgotten. A part of them is tried here; all of them
//! where minutes do not count (`make test-long`).

use richrun_tests::bundle::{sh, user_namespace};
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::injection::{Step, follow, reached, steps};
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Bundle, Kind, Output, Suite, Trial};
use serde_json::json;

/// Trials of so many steps of each command, with each action.
pub fn register(suite: &mut Suite, part: usize, seconds: u64) {
    suite
        .long(ROOT, "steps", seconds, move |t| steps_of(t, part, false))
        .long(ONE, "steps_in_a_user_namespace", seconds, move |t| steps_of(t, part, true))
        .long(ROOT, "failing_calls", seconds, move |t| failing(t, part, false))
        .long(ONE, "failing_calls_in_a_user_namespace", seconds, move |t| failing(t, part, true));
}

/// A command, and what there must be before it.
struct Act {
    before: &'static [&'static [&'static str]],
    line: &'static [&'static str],
}

/// `ID` and `BUNDLE` are put in.
const ACTS: &[Act] = &[
    Act { before: &[], line: &["create", "-b", "BUNDLE", "ID"] },
    Act { before: &[], line: &["run", "-d", "-b", "BUNDLE", "ID"] },
    Act { before: &[], line: &["run", "-d", "--rich", "-b", "BUNDLE", "ID"] },
    Act { before: &[&["create", "-b", "BUNDLE", "ID"]], line: &["start", "ID"] },
    Act { before: &[&["run", "-d", "-b", "BUNDLE", "ID"]], line: &["exec", "ID", "true"] },
    Act { before: &[&["run", "-d", "-b", "BUNDLE", "ID"]], line: &["pause", "ID"] },
    Act {
        before: &[&["run", "-d", "-b", "BUNDLE", "ID"], &["pause", "ID"]],
        line: &["resume", "ID"],
    },
    Act { before: &[&["run", "-d", "-b", "BUNDLE", "ID"]], line: &["delete", "--force", "ID"] },
];

/// One command on one bundle.
struct Stage<'t> {
    t: &'t Trial,
    bundle: &'t Bundle,
    act: &'t Act,
}

impl Stage<'_> {
    fn words<'w>(&'w self, line: &[&'w str]) -> Vec<&'w str> {
        let put_in = |word: &&'w str| match *word {
            "BUNDLE" => self.bundle.path(),
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
        let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.t.finish()));
        assert!(left.is_ok(), "{what}: {out:?}: something is left");
        if again {
            self.t.detach(self.bundle).remove();
        }
    }
}

fn with_hooks(t: &Trial, user: bool) -> Bundle {
    t.bundle(|c| {
        sh(c, IDLE);
        for kind in ["createRuntime", "startContainer", "poststart", "poststop"] {
            c["hooks"][kind] = json!([{"path": "/bin/true"}]);
        }
        if user {
            user_namespace(c);
        }
    })
}

/// So many of all, evenly, and others with each `phase`.
fn part(all: &[Step], count: usize, phase: usize) -> Vec<Step> {
    let stride = all.len().div_ceil(count).max(1);
    all.iter().skip(phase * 7 % stride).step_by(stride).copied().collect()
}

fn steps_of(t: &Trial, count: usize, user: bool) {
    t.only(&[Kind::Richrun], "leaves something behind, or hangs");
    let bundle = with_hooks(t, user);
    for (number, act) in ACTS.iter().enumerate() {
        let stage = Stage { t, bundle: &bundle, act };
        let all = stage.steps();
        let mut met = 0;
        let mut tried = 0;
        for (phase, action) in ["kill", "kill-other", "hold", "delete"].iter().enumerate() {
            for step in part(&all, count, number * 3 + phase) {
                tried += 1;
                met += usize::from(at(&stage, action, step, tried % 7 == 0));
            }
        }
        assert!(met * 2 > tried, "{:?}: only {met} of {tried} steps came again", act.line);
    }
}

/// Whether the step was reached: what each process does may depend on who is first.
fn at(stage: &Stage<'_>, action: &str, step: Step, again: bool) -> bool {
    let t = stage.t;
    stage.before();
    let line = stage.line();
    let what = format!("{:?}: {action} at {step:?}", stage.act.line);
    eprintln!("{what}");
    let out = if action == "delete" {
        let running = follow(t, "hold", step, &line).spawn();
        wait_until("the step, or the end", || reached(t) || !running.alive());
        // It may be too early for there to be something, and an error then.
        t.rt(&["delete", "--force", &stage.bundle.id]).run();
        running.wait()
    } else {
        follow(t, action, step, &line).run()
    };
    let met = reached(t);
    if action == "hold" {
        assert_eq!(out.code, 0, "{what}: {out:?}");
    }
    stage.after(&what, &out, again);
    met
}

/// What a call may fail with: one after the other.
const ERRORS: [i32; 7] =
    [libc::ENOSPC, libc::ENOMEM, libc::EMFILE, libc::EINTR, libc::EPERM, libc::ENOSYS, libc::EIO];

/// Calls that do not return, and those of which the kernel never leaves out the
/// whole: a descriptor that stays open after `close` is a fault of another kind,
/// and there is always a clock.
const NEVER: [i64; 7] = [
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_munmap,
    libc::SYS_rt_sigreturn,
];

/// Whether the kernel's random numbers fail so; the standard library knows.
fn is_possible(step: Step, error: i32) -> bool {
    step.call != libc::SYS_getrandom || [libc::EINTR, libc::ENOSYS, libc::EPERM].contains(&error)
}

fn failing(t: &Trial, count: usize, user: bool) {
    t.only(&[Kind::Richrun], "leaves something behind, or hangs");
    if !cfg!(target_arch = "x86_64") {
        t.skip("calls are made to fail on x86_64 only");
    }
    let bundle = with_hooks(t, user);
    for (number, act) in ACTS.iter().enumerate() {
        let stage = Stage { t, bundle: &bundle, act };
        let mut all = stage.steps();
        all.retain(|step| !NEVER.contains(&step.call));
        for (phase, error) in ERRORS.iter().enumerate() {
            let all: Vec<Step> =
                all.iter().copied().filter(|one| is_possible(*one, *error)).collect();
            for step in part(&all, count, number * 5 + phase) {
                at(&stage, &format!("error-{error}"), step, step.nth % 7 == 0);
            }
        }
    }
}
