//! What takes minutes (`make test-long`): the same thing ten thousand times,
//! two at a time; and something done at every single step of each command.

#[path = "../blackbox/hardening/steps.rs"]
mod steps;

use richrun_tests::bundle::sh;
use richrun_tests::suite::{V1, V2};
use richrun_tests::{Suite, Trial};
use serde_json::json;

/// How often a part of the ten thousand runs.
const PART: u32 = 2_500;
/// Seconds for a part.
const PATIENCE: u64 = 1500;

fn main() -> std::process::ExitCode {
    let mut suite = Suite::default();
    suite.module("long");
    for part in ["first", "second", "third", "fourth"] {
        suite.long(V2, &format!("runs_{part}_quarter"), PATIENCE, |t| runs(t, PART, &[]));
    }
    suite.long(V1, "runs_v1", PATIENCE, |t| runs(t, PART, &[]));
    suite.long(V2, "runs_rich", PATIENCE, |t| runs(t, PART, &["--rich"]));
    // All of them take hours; RICHRUN_STEPS is how many of each command.
    let part = std::env::var("RICHRUN_STEPS").ok().and_then(|number| number.parse().ok());
    steps::register(&mut suite, part.unwrap_or(usize::MAX), 12 * PATIENCE);
    suite.main()
}

/// None hangs (each run has its own time limit), and every exit code is right.
fn runs(t: &Trial, count: u32, options: &[&str]) {
    let plain = t.bundle(|c| c["process"]["args"] = json!(["/bin/true"]));
    let coded = t.bundle(|c| sh(c, "exit 7"));
    let killed = t.bundle(|c| sh(c, "kill -9 $$; sleep 100"));
    for number in 0..count {
        let (bundle, code) = match number % 10 {
            3 => (&coded, 7),
            // PID 1 may not kill itself.
            6 if !options.is_empty() => (&killed, 137),
            _ => (&plain, 0),
        };
        let id = t.name(&format!("run{number}"));
        let mut words = vec!["run", "--bundle", bundle.path()];
        words.extend(options);
        words.push(&id);
        let out = t.rt(&words).run();
        assert_eq!(out.code, code, "run {number}: {out:?}");
    }
}
