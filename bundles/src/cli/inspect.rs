//! `inspect`.

use clap::Args;
use serde_json::{Value, json};

use super::Global;
use super::template::Template;
use crate::error::{At, Result};
use crate::store::Found;

/// `inspect`
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// Only this: '{{.State.Pid}}', '{{json .Config}}'
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// The containers: names, ids, or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Prints all that is known of containers.
pub(super) fn run(global: &Global, args: &InspectArgs) -> Result<u8> {
    let containers = global.containers()?;
    let mut all = Vec::new();
    for word in &args.containers {
        let record = containers.find(word)?;
        let life = containers.look(&record)?;
        all.push(document(&Found { record, life }));
    }
    if let Some(text) = &args.format {
        let template = Template::parse(text)?;
        for one in &all {
            println!("{}", template.fill(one)?);
        }
        return Ok(0);
    }
    println!("{}", serde_json::to_string_pretty(&all).at("write", "JSON")?);
    Ok(0)
}

/// A container as a document: its record, its state, and its configuration.
pub(super) fn document(found: &Found) -> Value {
    let Found { record, life } = found;
    let exit = life.exit.as_ref();
    let config: Value = std::fs::read(record.bundle.join("config.json"))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    json!({
        "Id": record.id,
        "Name": record.name,
        "Namespace": record.namespace,
        "Created": record.created,
        "Source": record.source,
        "Command": record.command,
        "Labels": record.labels,
        "Pod": record.pod,
        "Runtime": record.runtime,
        "Restart": record.restart,
        "Network": record.network,
        "Ports": record.ports,
        "Log": record.log,
        "State": {
            "Status": life.phase.name(),
            "Pid": life.pid,
            "Monitor": life.monitor,
            "Started": life.started,
            "Finished": exit.map(|exit| exit.finished),
            "ExitCode": exit.and_then(|exit| exit.code),
            "Signal": exit.and_then(|exit| exit.signal),
            "OomKills": exit.map(|exit| exit.oom_kills),
            "OomKilled": exit.map(|exit| &exit.oom_killed),
            "Restarts": life.restarts,
            "LogLost": life.log_lost,
            "Error": life.error,
            "Cgroup": life.cgroup,
        },
        "Config": config,
    })
}
