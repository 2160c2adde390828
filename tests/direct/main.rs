//! `richctl` and `rich-monitor` from outside: containers without an engine.
//!
//! The programs are those that cargo built with the profile `bundles` beside the runtime under
//! test, or `RICHCTL=/path/of/richctl`.

mod containers;
mod examples;
mod faults;
mod logs;
mod rootless;
mod setup;
mod storm;
mod streams;

use richrun_tests::Suite;

fn main() -> std::process::ExitCode {
    let mut suite = Suite::default();
    containers::register(suite.module("containers"));
    examples::register(suite.module("examples"));
    logs::register(suite.module("logs"));
    faults::register(suite.module("faults"));
    rootless::register(suite.module("rootless"));
    streams::register(suite.module("streams"));
    storm::register(suite.module("storm"));
    suite.main()
}
