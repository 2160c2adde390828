//! The options of `mounts` and its own commands: crun's.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `mounts`
#[derive(Debug, Clone, Args)]
pub struct MountsArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: MountsVerb,
}

/// A command of `mounts`; their pages are in [`super::pages`].
#[derive(Debug, Clone, Subcommand)]
pub enum MountsVerb {
    /// Mount in a running container
    Add(MountsOfArgs),
    /// Unmount in a running container
    Remove(MountsOfArgs),
}

/// `mounts add` and `mounts remove`
#[derive(Debug, Clone, Args)]
pub struct MountsOfArgs {
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
    /// A JSON array of mounts as in config.json; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
