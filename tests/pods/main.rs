//! Pods by `richctl pod`: the pod controller's own example, Kubernetes manifests, probes,
//! restarts, what is served of them, and that nothing is left when they are gone.
//!
//! `RICHCTL=/path` chooses the program; by default the one beside the runtime under test.

mod page;
mod pods;
mod serve;

use richrun_tests::Suite;

fn main() -> std::process::ExitCode {
    let mut suite = Suite::default();
    pods::register(suite.module("pods"));
    serve::register(suite.module("serve"));
    page::register(suite.module("page"));
    suite.main()
}
