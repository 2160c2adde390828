//! `rename`.

use clap::Args;

use super::Global;
use crate::error::Result;

/// `rename`
#[derive(Debug, Clone, Args)]
pub struct RenameArgs {
    /// The container: a name, an id, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// Its new name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Gives a container another name.
pub(super) fn run(global: &Global, args: &RenameArgs) -> Result<u8> {
    let containers = global.containers()?;
    let mut record = containers.find(&args.container)?;
    containers.rename(&mut record, &args.name)?;
    Ok(0)
}
