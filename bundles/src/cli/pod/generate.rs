//! `pod generate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::place;
use super::run::{name_of, text};
use crate::cli::Global;
use crate::error::{At, Error, Result};
use crate::pod::{generate, read};
use crate::runtime::Program;

/// `pod generate`
#[derive(Debug, Clone, Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    kind: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// A unit of systemd; readiness comes from the probes
    Systemd(SystemdArgs),
    /// A quadlet: podman runs the pod, on richrun
    Quadlet(QuadletArgs),
}

#[derive(Debug, Clone, Args)]
struct SystemdArgs {
    /// The pods' file
    file: PathBuf,
    /// For a user's manager, not the system's
    #[arg(long)]
    user: bool,
    /// More options of `pod run`, after --
    #[arg(last = true)]
    options: Vec<String>,
}

#[derive(Debug, Clone, Args)]
struct QuadletArgs {
    /// The pods' file
    file: PathBuf,
}

/// Prints a unit.
pub(super) fn run(global: &Global, args: &GenerateArgs) -> Result<u8> {
    let file = match &args.kind {
        What::Systemd(args) => &args.file,
        What::Quadlet(args) => &args.file,
    };
    let shown = file.display().to_string();
    let read = read::pods(&shown, &text(file)?, &name_of(file)).map_err(Error::usage)?;
    for warning in &read.warnings {
        eprintln!("richctl: warning: {warning}");
    }
    let file = std::path::absolute(file).at("find", file.display())?;
    let unit = match &args.kind {
        What::Systemd(args) => {
            let own = std::env::current_exe().at("find", "this program")?;
            generate::systemd(&own, &file, &read.pods, &args.options, args.user)?
        }
        What::Quadlet(_) => {
            let runtime = Program::find(global.runtime.as_deref(), &place(global)?)?;
            generate::quadlet(&runtime.path, &file, &read.pods)?
        }
    };
    print!("{unit}");
    Ok(0)
}
