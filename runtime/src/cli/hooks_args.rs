//! The options of `hooks` and its own commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use rich_hooks::Phase;

use super::args::Format;

/// `hooks`
#[derive(Debug, Clone, Args)]
pub struct HooksArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: HooksVerb,
}

/// A command of `hooks`; their pages are in [`super::pages`].
#[derive(Debug, Clone, Subcommand)]
pub enum HooksVerb {
    /// Run the hooks of a phase by hand
    Run(HooksRunArgs),
    /// Show which hooks a bundle's container would have, and why
    List(HooksListArgs),
    /// Say what is wrong with files of hooks
    Check(HooksCheckArgs),
}

/// `hooks run`
#[derive(Debug, Clone, Args)]
pub struct HooksRunArgs {
    /// The phase, as config.json names it
    #[arg(long, value_name = "PHASE",
          value_parser = PossibleValuesParser::new(Phase::ALL.map(Phase::name)))]
    pub phase: String,
    /// The state document for the hooks' standard input; - is our own standard input
    /// [default: one that is made up for the phase and the bundle]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// The bundle: the hooks' working directory, and where config.json is
    /// [default: the state's bundle, or the current directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Take the hooks from FILE: a config.json, the value of its `hooks`, or a definition of hooks.d;
    /// what the container is stays as --bundle says
    #[arg(long, value_name = "FILE")]
    pub hooks: Option<PathBuf>,
    /// Add the hooks that this directory defines for the bundle (hooks.d);
    /// may be repeated [default: hooks_dirs of /etc/richrun/config.toml]
    #[arg(long, value_name = "DIR", conflicts_with = "hooks")]
    pub hooks_dir: Vec<PathBuf>,
    /// The longest that all hooks together may take
    #[arg(long, value_name = "SECONDS", value_parser = super::values::seconds)]
    pub timeout: Option<Duration>,
}

/// `hooks list`
#[derive(Debug, Clone, Args)]
pub struct HooksListArgs {
    /// The bundle: a directory with config.json [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Look into this directory of definitions (hooks.d);
    /// may be repeated [default: hooks_dirs of /etc/richrun/config.toml]
    #[arg(long, value_name = "DIR")]
    pub hooks_dir: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
}

/// `hooks check`
#[derive(Debug, Clone, Args)]
pub struct HooksCheckArgs {
    /// Check every definition in this directory (hooks.d); may be repeated
    #[arg(long, value_name = "DIR")]
    pub hooks_dir: Vec<PathBuf>,
    /// A config.json, the value of its `hooks`, or a definition of hooks.d
    /// [default: config.json here, and hooks_dirs of /etc/richrun/config.toml]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}
