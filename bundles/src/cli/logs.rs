//! `logs`.

use clap::Args;

use super::Global;
use super::output::time;
use crate::container::{LogFilter, Logs};
use crate::error::Result;

/// `logs`
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Wait for more while the container runs
    #[arg(short, long)]
    pub follow: bool,
    /// The last N lines
    #[arg(short = 'n', long, visible_alias = "tail", value_name = "N")]
    pub lines: Option<usize>,
    /// Not before: a time, or so long ago (10m)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Not after
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// With the time of each line
    #[arg(short, long)]
    pub timestamps: bool,
    /// The container: a name, an id, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Prints a container's output.
pub(super) fn run(global: &Global, args: &LogsArgs) -> Result<u8> {
    let containers = global.containers()?;
    let record = containers.find(&args.container)?;
    // A lost monitor is replaced: what it left unread is in the log then.
    containers.look(&record)?;
    let filter = LogFilter {
        last: args.lines,
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
        follow: args.follow,
        times: args.timestamps,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut errors = std::io::stderr();
    Logs::new(&containers, &record, filter)?.print(&mut out, &mut errors)?;
    Ok(0)
}
