//! The same bundles under runc, crun and the runtime under test.

fn main() -> std::process::ExitCode {
    richrun_tests::Suite::default().main()
}
