//! `list`.

use clap::Args;

use super::Global;
use crate::error::Result;

/// `list`
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Of all namespaces
    #[arg(long)]
    pub all_namespaces: bool,
    /// The ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Prints the containers that there are.
pub(super) fn run(global: &Global, args: &ListArgs) -> Result<u8> {
    let store = global.store()?;
    let namespace = (!args.all_namespaces).then_some(global.namespace.as_str());
    for record in store.records(namespace)? {
        println!("{}", if args.quiet { &record.id } else { &record.name });
    }
    Ok(0)
}
