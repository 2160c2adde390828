//! `kill`.

use clap::Args;

use super::Global;
use crate::error::Result;

/// `kill`
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: String,
    /// The containers: names, ids, or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Sends a signal to containers.
pub(super) fn run(global: &Global, args: &KillArgs) -> Result<u8> {
    let containers = global.containers()?;
    for word in &args.containers {
        containers.kill(&containers.find(word)?, &args.signal)?;
        println!("{word}");
    }
    Ok(0)
}
