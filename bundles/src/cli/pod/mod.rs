//! `pod`: one file a group of verbs.

mod generate;
mod run;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Global;
use super::exec::{self, ExecOptions};
use crate::error::Result;
use crate::pod::setup::PodDirs;
use crate::pod::{client, listed};
use crate::store::Place;

/// `pod`
#[derive(Debug, Clone, Args)]
pub struct PodArgs {
    /// The command.
    #[command(subcommand)]
    verb: Verb,
}

impl PodArgs {
    /// Whether pods are to be run.
    pub(super) fn runs(&self) -> bool {
        matches!(self.verb, Verb::Run(_) | Verb::Exec(_))
    }
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Run the pods of a file: Kubernetes manifests in YAML or JSON, or the pod controller's JSON
    Run(run::RunArgs),
    /// Say how a pod is: containers, probes, restarts
    Status(show::StatusArgs),
    /// List pods
    #[command(visible_alias = "ps")]
    List(show::ListArgs),
    /// Print what a pod's containers have written
    Logs(show::LogsArgs),
    /// Run another process in a pod's container
    Exec(ExecArgs),
    /// Wait until a pod is over; its exit status is printed and returned
    Wait(NameArgs),
    /// End a pod: its hooks, TERM, and KILL after the grace period
    Stop(StopArgs),
    /// Remove pods that are over, with their volumes and logs; claims stay
    Rm(RmArgs),
    /// Say whether pods are healthy; exit status 1 if not
    Health(show::HealthArgs),
    /// Print a unit that runs the pods of a file at boot
    Generate(generate::GenerateArgs),
    /// Look after a pod (started by `pod run`)
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

/// A verb of one pod.
#[derive(Debug, Clone, Args)]
struct NameArgs {
    /// The pod
    name: String,
}

#[derive(Debug, Clone, Args)]
struct ExecArgs {
    /// How.
    #[command(flatten)]
    options: ExecOptions,
    /// The container [default: the pod's first one that is no init container]
    #[arg(short, long)]
    container: Option<String>,
    /// The pod
    name: String,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Debug, Clone, Args)]
struct StopArgs {
    /// The pod
    name: String,
    /// Seconds until KILL [default: the pod's terminationGracePeriodSeconds]
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u64>,
}

#[derive(Debug, Clone, Args)]
struct RmArgs {
    /// The pods
    #[arg(required = true)]
    names: Vec<String>,
    /// End them first, without grace
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Clone, Args)]
struct SuperviseArgs {
    setup: PathBuf,
}

/// Does what was asked.
pub(super) fn run(global: &Global, args: &PodArgs) -> Result<u8> {
    match &args.verb {
        Verb::Run(args) => run::run(global, args),
        Verb::Status(args) => show::status(global, args),
        Verb::List(args) => show::list(global, args),
        Verb::Logs(args) => show::logs(global, args),
        Verb::Health(args) => show::health(global, args),
        Verb::Generate(args) => generate::run(global, args),
        Verb::Exec(args) => {
            let setup = dirs(global, &args.name)?.read_setup()?;
            let container = listed::named(&setup, args.container.as_deref())?;
            let (process, streams) = args.options.process(&args.command);
            exec::exit(listed::exec(&setup, &container, &process, streams)?)
        }
        Verb::Wait(args) => {
            let status = client::follow(&dirs(global, &args.name)?, |_| false)?;
            let code = status.exit_status.unwrap_or(0);
            println!("{code}");
            Ok(exit(code))
        }
        Verb::Stop(args) => {
            client::stop(&dirs(global, &args.name)?, args.time)?;
            println!("{}", args.name);
            Ok(0)
        }
        Verb::Rm(args) => {
            for name in &args.names {
                client::remove(&dirs(global, name)?, args.force)?;
                println!("{name}");
            }
            Ok(0)
        }
        Verb::Supervise(args) => crate::pod::supervise::supervise(&args.setup).map(|()| 0),
    }
}

fn dirs(global: &Global, name: &str) -> Result<PodDirs> {
    Ok(PodDirs::of(&place(global)?, &global.namespace, name))
}

fn place(global: &Global) -> Result<Place> {
    Place::find(global.root.as_deref())
}

/// An exit status as this program can have it.
fn exit(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(255)
}
