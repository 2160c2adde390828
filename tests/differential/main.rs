//! The same bundles and seccomp profiles under runc, crun and the runtime
//! under test (`RICHRUN=/path` chooses it), with one expectation for all three.
//!
//! - [`seccomp`]: what the loaded filters answer, call by call;
//! - [`lifecycle`]: what containers, hooks, commands and errors look like;
//! - [`generated`]: configurations made from seeds.
//!
//! A trial's name ends in the runtime that it looks at: `seccomp::docker::crun`.
//! `RUNC=/path` and `CRUN=/path` choose the peers.

mod dice;
mod generated;
mod lifecycle;
mod seccomp;

use richrun_tests::{Suite, Trial};

fn main() -> std::process::ExitCode {
    let mut suite = Suite::default();
    seccomp::register(suite.module("seccomp"));
    lifecycle::register(suite.module("lifecycle"));
    generated::register(suite.module("generated"));
    suite.main()
}

/// Ends the trial as ignored if the runtime does not have a command yet.
fn needs(t: &Trial, verb: &str) {
    let out = t.rt(&[verb, "--help"]).run();
    let out = if out.code == 0 { t.rt(&[verb, "--bundle", "/none", "none"]).run() } else { out };
    if out.err.contains("unknown command") {
        t.skip(&format!("{}: unknown command '{verb}'", t.kind()));
    }
}
