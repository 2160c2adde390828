//! `start`.

use clap::Args;

use super::Global;
use crate::error::{Error, Kind, Result};
use crate::store::{Filter, Phase, Restart};

/// `start`
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// All of the namespace that are to run always, or unless they were stopped: after a boot
    #[arg(short, long)]
    pub all: bool,
    /// The containers: names, ids, or the beginnings of ids
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    pub containers: Vec<String>,
}

/// Starts containers that do not run.
pub(super) fn run(global: &Global, args: &StartArgs) -> Result<u8> {
    let containers = global.containers()?;
    for word in &args.containers {
        let record = containers.find(word)?;
        if containers.running(&record).is_ok() {
            return Err(Error::new(Kind::State, format!("container {word} runs already")));
        }
        containers.start(&record, false)?;
        println!("{word}");
    }
    if args.all {
        let filter = Filter { namespace: Some(containers.namespace.clone()), ..Filter::default() };
        for found in containers.list(&filter)? {
            let wanted = match found.record.restart {
                Restart::Always => true,
                Restart::UnlessStopped => !found.life.stopped,
                _ => false,
            };
            if wanted && matches!(found.life.phase, Phase::Exited | Phase::Created | Phase::Failed)
            {
                containers.start(&found.record, false)?;
                println!("{}", found.record.name);
            }
        }
    }
    Ok(0)
}
