//! `rm`.

use clap::Args;

use super::Global;
use crate::error::{Kind, Result};
use crate::store::Filter;

/// `rm`
#[derive(Debug, Clone, Args)]
pub struct RmArgs {
    /// Kill those that run; those that are not there are no error
    #[arg(short, long)]
    pub force: bool,
    /// All of the namespace; without --force those that do not run
    #[arg(short, long)]
    pub all: bool,
    /// The containers: names, ids, or the beginnings of ids
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    pub containers: Vec<String>,
}

/// Forgets containers.
pub(super) fn run(global: &Global, args: &RmArgs) -> Result<u8> {
    let containers = global.containers()?;
    for word in &args.containers {
        let record = match containers.find(word) {
            Err(error) if args.force && error.kind == Kind::NotFound => continue,
            found => found?,
        };
        containers.remove(&record, args.force)?;
        println!("{word}");
    }
    if args.all {
        let filter = Filter { namespace: Some(containers.namespace.clone()), ..Filter::default() };
        for found in containers.list(&filter)? {
            if args.force || containers.running(&found.record).is_err() {
                containers.remove(&found.record, args.force)?;
                println!("{}", found.record.name);
            }
        }
    }
    Ok(0)
}
