//! `exec`.

use clap::Args;

use super::Global;
use crate::error::{Error, Result};
use crate::runtime::{Exec, Streams};

/// `exec`
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
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
    /// The container: a name, an id, or the beginning of an id
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
    let record = containers.find(&args.container)?;
    let exec = Exec {
        id: String::new(),
        args: args.command.clone(),
        env: args.env.clone(),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        tty: args.tty,
    };
    let mut streams = Streams::inherit();
    if !args.interactive && !args.tty {
        streams.input = std::process::Stdio::null();
    }
    let status = containers.exec(&record, &exec, streams)?;
    u8::try_from(status).map_err(|_| Error::system(format!("exec: odd exit status {status}")))
}
