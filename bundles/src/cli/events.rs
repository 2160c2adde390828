//! `events`.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::Global;
use super::output::{Style, style, time};
use crate::container::{EventFilter, events};
use crate::error::{At, Result};

/// `events`
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// Wait for more
    #[arg(short, long)]
    pub follow: bool,
    /// Not before: a time, or so long ago (10m)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// table, json (a document a line), or a template like '{{.Event}} {{.Name}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

/// Prints what happens to containers.
pub(super) fn run(global: &Global, args: &EventsArgs) -> Result<u8> {
    let containers = global.containers()?;
    let style = style(&args.format)?;
    let filter = EventFilter {
        namespace: (!args.all_namespaces).then(|| containers.namespace.clone()),
        since: args.since.as_deref().map(time).transpose()?,
        follow: args.follow,
    };
    let mut out = std::io::stdout();
    events(&containers.store.place, &filter, |event| {
        let code = event.code.map(|code| format!(" ({code})")).unwrap_or_default();
        let line = match &style {
            Style::Table => format!("{} {} {}{code}", event.time, event.event, event.name),
            other => {
                let document = json!({
                    "Time": event.time,
                    "Event": event.event,
                    "Namespace": event.namespace,
                    "Name": event.name,
                    "Id": event.id,
                    "ExitCode": event.code,
                });
                match other {
                    Style::Template(template) => template.fill(&document)?,
                    _ => document.to_string(),
                }
            }
        };
        writeln!(out, "{line}").and_then(|()| out.flush()).at("write", "events")?;
        Ok(true)
    })?;
    Ok(0)
}
