//! `create`.

use clap::Args;

use super::Global;
use super::run_options::ContainerArgs;
use crate::error::Result;

/// `create`
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// The container.
    #[command(flatten)]
    pub container: ContainerArgs,
}

/// Makes a container and prints its id.
pub(super) fn run(global: &Global, args: &CreateArgs) -> Result<u8> {
    let record = global.containers()?.create(&args.container.request()?)?;
    println!("{}", record.id);
    Ok(0)
}
