//! richctl's command line: one file a verb.

mod list;
mod pod;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::Result;
use crate::store::{Place, Store};

/// Runs containers, pods and environments without an engine.
#[derive(Debug, Parser)]
#[command(name = "richctl", version, propagate_version = false)]
pub struct Line {
    /// What all commands have.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Keep everything below DIR [default: /run/richctl and /var/lib/richctl; for an ordinary
    /// user $XDG_RUNTIME_DIR/richctl and $XDG_DATA_HOME/richctl]
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The OCI runtime: a program with runc's command line [default: richrun beside richctl,
    /// else on the PATH]
    #[arg(long, global = true, value_name = "PROGRAM")]
    pub runtime: Option<PathBuf>,
    /// The tenant whose containers are meant
    #[arg(
        long,
        global = true,
        value_name = "NS",
        default_value = "default",
        env = "RICHCTL_NAMESPACE"
    )]
    pub namespace: String,
}

impl Global {
    /// The records.
    ///
    /// # Errors
    /// As [`Place::find`].
    pub fn store(&self) -> Result<Store> {
        Ok(Store::new(Place::find(self.root.as_deref())?))
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List containers
    #[command(visible_alias = "ps")]
    List(list::ListArgs),
    /// Run and look after pods: Kubernetes manifests, or the pod controller's JSON
    Pod(pod::PodArgs),
}

/// The whole command line, for manual pages and completions.
pub fn whole() -> clap::Command {
    Line::command()
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let line = Line::parse();
    let done = match &line.verb {
        Verb::List(args) => list::run(&line.global, args),
        Verb::Pod(args) => pod::run(&line.global, args),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("richctl: {error}");
            ExitCode::from(125)
        }
    }
}
