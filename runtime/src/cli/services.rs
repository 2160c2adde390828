//! Options and arguments of the commands about services.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args::Format;

/// What `service` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceAction {
    /// Print the services and how they are.
    List,
    /// Start services and what they need, wait until they are ready.
    Start,
    /// Stop services and those that need them.
    Stop,
    /// End services and start them again.
    Restart,
    /// Run their reload commands, and wait for their end.
    Reload,
    /// Send a signal: NAME... SIGNAL.
    Signal,
    /// Print the end of a log.
    Logs,
    /// Print like `list`; exit status 3 where one of them is not ready.
    Status,
    /// Wait until services are ready, or one has failed.
    Wait,
}

/// `service`
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// How `list` and `status` print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
    /// `logs`: the last N lines only
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// `logs`: go on with what is written, until the container ends
    #[arg(long)]
    pub follow: bool,
    /// `wait`: no longer than this (500ms, 5s, 1m30s)
    #[arg(long, value_name = "TIME", value_parser = super::values::duration)]
    pub timeout: Option<Duration>,
    /// What to do
    #[arg(value_name = "ACTION", value_enum)]
    pub action: ServiceAction,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
    /// The services
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// `health`
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// How to print: one word (`table`), or JSON with all services
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `events`
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// How often to tell what the container uses (500ms, 5s, 1m30s)
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = super::values::duration)]
    pub interval: Duration,
    /// Tell what it uses once, now
    #[arg(long)]
    pub stats: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}
