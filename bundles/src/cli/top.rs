//! `top`.

use clap::Args;

use super::Global;
use super::output::print_table;
use crate::error::Result;
use crate::runtime::{Program, Runtime};

/// `top`
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// The container: a name, an id, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Lists a container's processes.
pub(super) fn run(global: &Global, args: &TopArgs) -> Result<u8> {
    let containers = global.containers()?;
    let record = containers.find(&args.container)?;
    containers.running(&record)?;
    let mut rows = Vec::new();
    for pid in Program::of(&record).processes(&record.id)? {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
        // It may have ended meanwhile.
        let Ok(status) = read("status") else { continue };
        let row = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()).unwrap_or("-").to_owned()
        };
        let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let inside = inside.and_then(|line| line.split_whitespace().last()).unwrap_or("-");
        let words = read("cmdline").unwrap_or_default();
        let words = words.trim_end_matches('\0').replace('\0', " ");
        let words = if words.is_empty() { format!("[{}]", row("Name:")) } else { words };
        let words = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        rows.push(vec![
            pid.to_string(),
            inside.to_owned(),
            row("PPid:"),
            row("Uid:"),
            row("State:"),
            words,
        ]);
    }
    print_table(&["PID", "INSIDE", "PARENT", "UID", "STATE", "COMMAND"], &rows);
    Ok(0)
}
