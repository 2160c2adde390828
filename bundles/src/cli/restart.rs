//! `restart`.

use clap::Args;

use super::Global;
use crate::error::Result;

/// `restart`
#[derive(Debug, Clone, Args)]
pub struct RestartArgs {
    /// Seconds until they are killed [default: the container's, else 10]
    #[arg(short, long, value_name = "S")]
    pub time: Option<u32>,
    /// The containers: names, ids, or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Stops containers and starts them anew.
pub(super) fn run(global: &Global, args: &RestartArgs) -> Result<u8> {
    let containers = global.containers()?;
    for word in &args.containers {
        containers.restart(&containers.find(word)?, args.time)?;
        println!("{word}");
    }
    Ok(0)
}
