//! `stop`.

use clap::Args;

use super::Global;
use crate::error::Result;

/// `stop`
#[derive(Debug, Clone, Args)]
pub struct StopArgs {
    /// Seconds until they are killed [default: the container's, else 10]
    #[arg(short, long, value_name = "S")]
    pub time: Option<u32>,
    /// The signal [default: the container's]
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// The containers: names, ids, or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Asks containers to end; kills those that do not.
pub(super) fn run(global: &Global, args: &StopArgs) -> Result<u8> {
    let containers = global.containers()?;
    for word in &args.containers {
        containers.stop(&containers.find(word)?, args.signal.as_deref(), args.time)?;
        println!("{word}");
    }
    Ok(0)
}
