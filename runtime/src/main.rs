//! The `richrun` command: argv to command, nothing else.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use richrun::cli::{self, Asked, Verb};
use richrun::{commands, log};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (global, asked) = cli::parse(&words);
    log::init(&global);
    let verb = match asked {
        Ok(Asked::Run(verb)) => verb,
        Ok(Asked::Print(text)) => return print(&text),
        Err(refusal) => {
            log::fatal(&refusal.error);
            return ExitCode::from(refusal.status);
        }
    };
    match commands::run(&global, &verb) {
        Ok(status) => {
            log::flush();
            ExitCode::from(status)
        }
        Err(error) => {
            log::fatal(&error);
            ExitCode::from(if matches!(*verb, Verb::Exec(_)) { 255 } else { 1 })
        }
    }
}

/// Prints help or the version; a closed pipe (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            log::fatal(format!("write standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}
