//! The programs of the demo's containers, in one static file that goes by
//! several names, so that the demo needs neither an image nor busybox:
//!
//! - `payload`: the main process. It leaves an orphan behind, waits for TERM,
//!   and exits 7 while a helper of its still has something to finish.
//! - `ps`, `true`: for machines without busybox.
//! - `median`: on the host: runs a command twenty times, prints the median time.

mod median;
mod payload;
mod ps;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let called = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    let done = match called {
        "true" => Ok(0),
        "ps" => ps::print(),
        "payload" => payload::main(words.get(1).map(String::as_str)),
        _ => match words.get(1).map(String::as_str) {
            Some("median") => median::print(&words[2..]),
            _ => Err("usage: demo-payload median COMMAND [ARGUMENT...]".into()),
        },
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{called}: {error}");
            ExitCode::FAILURE
        }
    }
}
