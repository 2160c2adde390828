//! `exec`.

use clap::Args;

use super::Global;
use crate::error::{Error, Kind, Result};
use crate::pod::listed;
use crate::runtime::{Exec, Streams};

/// How a process is run beside a payload.
#[derive(Debug, Clone, Args)]
pub struct ExecOptions {
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// With a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// A variable; may be repeated
    #[arg(short, long, value_name = "K=V")]
    pub env: Vec<String>,
    /// Who: UID[:GID]
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// The directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
}

impl ExecOptions {
    /// The process, and its streams.
    pub(super) fn process(&self, command: &[String]) -> (Exec, Streams) {
        let exec = Exec {
            id: String::new(),
            args: command.to_vec(),
            env: self.env.clone(),
            cwd: self.workdir.clone(),
            user: self.user.clone(),
            tty: self.tty,
        };
        let mut streams = Streams::inherit();
        if !self.interactive && !self.tty {
            streams.input = std::process::Stdio::null();
        }
        (exec, streams)
    }
}

/// `exec`
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// How.
    #[command(flatten)]
    pub options: ExecOptions,
    /// The container: a name, an id, or the beginning of an id; POD/CONTAINER for one of a pod
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// The command
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub command: Vec<String>,
}

/// Runs another process in a container.
pub(super) fn run(global: &Global, args: &ExecArgs) -> Result<u8> {
    let containers = global.containers()?;
    let (exec, streams) = args.options.process(&args.command);
    let status = match containers.find(&args.container) {
        Ok(record) => containers.exec(&record, &exec, streams)?,
        Err(none) if none.kind == Kind::NotFound => {
            let place = &containers.store.place;
            match listed::find(place, &containers.namespace, &args.container) {
                Ok((setup, container)) => listed::exec(&setup, &container, &exec, streams)?,
                Err(error) if args.container.contains('/') => return Err(error),
                Err(_) => return Err(none),
            }
        }
        Err(error) => return Err(error),
    };
    exit(status)
}

/// The exit status as this program can have it.
pub(super) fn exit(status: i32) -> Result<u8> {
    u8::try_from(status).map_err(|_| Error::system(format!("exec: odd exit status {status}")))
}
