//! `wait`.

use clap::Args;

use super::Global;
use crate::error::Result;

/// `wait`
#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// The containers: names, ids, or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Waits for the end of containers and prints their exit codes.
pub(super) fn run(global: &Global, args: &WaitArgs) -> Result<u8> {
    let containers = global.containers()?;
    for word in &args.containers {
        let exit = containers.wait(&containers.find(word)?)?;
        println!("{}", exit.code.map_or("unknown".to_owned(), |code| code.to_string()));
    }
    Ok(0)
}
