//! `kill`: a signal to a container.

use crate::cli::{Global, KillArgs};
use crate::error::Result;
use crate::life::{Store, signal};

/// Sends the signal. The container's lock is not taken: a hook of a command
/// that holds it may want to end the container.
pub fn run(global: &Global, args: &KillArgs) -> Result<u8> {
    let (state, status) = Store::new(global.root()).peek(&args.id)?;
    let number = signal::number(&args.signal)?;
    signal::kill(&state, status, number, args.all)?;
    Ok(0)
}
