//! What runs inside containers where busybox is not enough. Static, so that it
//! needs nothing of the root file system.

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    richrun_tests::inside::main(&words)
}
