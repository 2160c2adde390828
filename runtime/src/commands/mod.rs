//! One file a subcommand: load, check, act, save.
//!
//! Every command is `run(&Global, &its arguments) -> Result<u8>`; the number
//! is the exit status.

use crate::cli::{Global, Verb};
use crate::error::{Error, Kind, Result};

/// Runs the command that was asked for; returns the exit status.
pub fn run(global: &Global, verb: &Verb) -> Result<u8> {
    let _ = global;
    Err(Error::new(Kind::Usage, format!("unknown command '{}'", verb.name())))
}
