//! Black-box tests of the runtime under test, one module a behaviour.
//!
//! `RICHRUN=/path` chooses the runtime; see `richrun_tests::runtime`.

mod lifecycle;

use richrun_tests::Suite;

fn main() -> std::process::ExitCode {
    let mut suite = Suite::default();
    lifecycle::register(suite.module("lifecycle"));
    suite.main()
}
