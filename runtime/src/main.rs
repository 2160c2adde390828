//! The `richrun` command: argv to command, nothing else.
#![no_main]

#[path = "sys/entry.rs"]
mod sys;

use std::ffi::OsString;
use std::io::Write;

use richrun::cli::{self, Asked, Verb};
use richrun::{commands, log};

/// Runs the command line; returns the exit status.
fn run() -> u8 {
    let status = command();
    // std's own start would do that; a reader that has gone has what it wanted.
    let _ = std::io::stdout().flush();
    status
}

fn command() -> u8 {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (global, asked) = cli::parse(&words);
    let verb = match (asked, log::init(&global)) {
        (Ok(Asked::Print(text)), _) => return print(&text),
        (Ok(Asked::Run(verb)), Ok(())) => verb,
        (Ok(Asked::Run(_)), Err(error)) => {
            log::fatal(&error);
            return 1;
        }
        (Err(refusal), log) => {
            let _told = log.map_err(log::warn);
            log::fatal(&refusal.error);
            return refusal.status;
        }
    };
    match commands::run(&global, &verb) {
        Ok(status) => {
            log::flush();
            status
        }
        Err(error) => {
            log::fatal(&error);
            if matches!(*verb, Verb::Exec(_)) { 255 } else { 1 }
        }
    }
}

/// Prints help or the version; a closed pipe (`| head`) is no failure.
fn print(text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            log::fatal(format!("write standard output: {error}"));
            1
        }
    }
}
