//! `stats`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::Global;
use super::output::{Style, print_documents, print_table, size, style};
use crate::container::{Containers, Stats, stats};
use crate::error::{At, Result};
use crate::store::{Filter, Found};

/// `stats`
#[derive(Debug, Clone, Args)]
pub struct StatsArgs {
    /// Once, instead of again and again
    #[arg(long)]
    pub no_stream: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub interval: f64,
    /// table, json (a document a line), or a template
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
    /// The containers [default: all that run]
    #[arg(value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Shows what containers use.
pub(super) fn run(global: &Global, args: &StatsArgs) -> Result<u8> {
    let containers = global.containers()?;
    let style = style(&args.format)?;
    let live = !args.no_stream && matches!(style, Style::Table) && std::io::stdout().is_terminal();
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    let mut last: Option<Instant> = None;
    loop {
        let now = look(&containers, args)?;
        let passed = last.map(|last| last.elapsed());
        last = Some(Instant::now());
        if live {
            print!("\x1b[H\x1b[2J");
        }
        if matches!(style, Style::Table) {
            table(&now, &before, passed);
        } else {
            let documents: std::result::Result<Vec<Value>, _> =
                now.iter().map(serde_json::to_value).collect();
            print_documents(&style, &documents.at("write", "JSON")?)?;
        }
        if args.no_stream {
            return Ok(0);
        }
        before = now.iter().filter_map(|one| Some((one.id.clone(), one.cpu_usec?))).collect();
        std::thread::sleep(Duration::from_secs_f64(args.interval.clamp(0.1, 3600.0)));
    }
}

fn look(containers: &Containers, args: &StatsArgs) -> Result<Vec<Stats>> {
    if args.containers.is_empty() {
        let filter = Filter {
            namespace: Some(containers.namespace.clone()),
            conditions: vec![("status".to_owned(), "running".to_owned())],
        };
        let found = containers.list(&filter)?;
        // One that ends meanwhile is left out, and so is one without a group.
        return Ok(found
            .iter()
            .filter_map(|Found { record, life }| stats(record, life).ok())
            .collect());
    }
    let one = |word: &String| {
        let record = containers.find(word)?;
        stats(&record, &containers.running(&record)?)
    };
    args.containers.iter().map(one).collect()
}

fn table(now: &[Stats], before: &BTreeMap<String, u64>, passed: Option<Duration>) {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let row = |one: &Stats| {
        let used =
            one.cpu_usec.zip(before.get(&one.id)).map(|(now, then)| now.saturating_sub(*then));
        let share = used.zip(passed).map(|(used, passed)| {
            format!("{:.1} %", used as f64 / passed.as_micros().max(1) as f64 * 100.0)
        });
        let seconds = one.cpu_usec.map(|time| format!("{:.1} s", time as f64 / 1e6));
        vec![
            one.name.clone(),
            or_dash(share),
            or_dash(seconds),
            or_dash(one.memory.map(size)),
            or_dash(one.memory_limit.map(size)),
            or_dash(one.pids.map(|count| count.to_string())),
            one.oom_kills.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = now.iter().map(row).collect();
    print_table(&["NAME", "CPU", "CPU TIME", "MEMORY", "LIMIT", "PIDS", "OOM KILLS"], &rows);
}
