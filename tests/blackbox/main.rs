//! Black-box tests of the runtime under test, one module a behaviour.
//!
//! `RICHRUN=/path` chooses the runtime; see `richrun_tests::runtime`.

mod exec;
mod lifecycle;
mod listing;
mod process;
mod signals;

use richrun_tests::Suite;

fn main() -> std::process::ExitCode {
    let mut suite = Suite::default();
    lifecycle::register(suite.module("lifecycle"));
    exec::register(suite.module("exec"));
    listing::register(suite.module("listing"));
    process::register(suite.module("process"));
    signals::register(suite.module("signals"));
    suite.main()
}
