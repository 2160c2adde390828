//! `attach`.

use clap::Args;

use super::Global;
use super::foreground::{Foreground, show};
use crate::error::Result;
use crate::monitor::protocol::{self, Request};

/// `attach`
#[derive(Debug, Clone, Args)]
pub struct AttachArgs {
    /// The keys that leave the container alone
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    /// Only look
    #[arg(long)]
    pub no_stdin: bool,
    /// The container: a name, an id, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Connects to a container's streams.
pub(super) fn run(global: &Global, args: &AttachArgs) -> Result<u8> {
    let containers = global.containers()?;
    let record = containers.find(&args.container)?;
    containers.running(&record)?;
    let input = record.interactive && !args.no_stdin;
    let foreground = Foreground::new(record.terminal && !args.no_stdin, input, &args.detach_keys)?;
    let mut monitor = containers.connect(&record)?;
    let request = Request::Attach { hold: false };
    monitor.send(protocol::Kind::Request, request.text().as_bytes())?;
    show(foreground, monitor, &containers, &record)
}
