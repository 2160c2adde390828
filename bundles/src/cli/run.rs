//! `run`.

use clap::Args;

use super::Global;
use super::foreground::{Foreground, show};
use super::run_options::ContainerArgs;
use crate::error::Result;

/// `run`
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Exit status: the command's; 125 when the container could not be run.")]
pub struct RunArgs {
    /// In the background; prints the id
    #[arg(short, long)]
    pub detach: bool,
    /// The keys that leave the container alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    /// The container.
    #[command(flatten)]
    pub container: ContainerArgs,
}

/// Makes a container and runs it.
pub(super) fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    let containers = global.containers()?;
    let request = args.container.request()?;
    if args.detach {
        let record = containers.run(&request)?;
        println!("{}", record.id);
        return Ok(0);
    }
    let foreground = Foreground::new(request.terminal, request.interactive, &args.detach_keys)?;
    let record = containers.create(&request)?;
    let started = match containers.start(&record, true) {
        Ok(started) => started,
        Err(error) => {
            let _ = containers.remove(&record, true);
            return Err(error);
        }
    };
    show(foreground, started.monitor, &containers, &record)
}
