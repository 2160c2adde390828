//! The probe's commands, run inside containers.

use std::process::ExitCode;

/// Runs one command of the probe.
pub fn main(words: &[String]) -> ExitCode {
    match words.first().map(String::as_str) {
        Some("name") => println!("probe"),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}
