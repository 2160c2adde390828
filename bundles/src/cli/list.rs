//! `list`.

use clap::Args;
use serde_json::{Value, json};

use super::output::{Style, ago, print_documents, print_table, span, style};
use super::{Global, runtimes};
use crate::error::{Error, Result};
use crate::pod::listed;
use crate::store::{CONDITIONS, Filter, Found, Phase, Record};

/// `list`
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Those of richrun alone, of engines and of other runtimes too (read only)
    #[arg(long)]
    pub all_runtimes: bool,
    /// Those that run
    #[arg(long)]
    pub running: bool,
    /// A condition; may be repeated: name=, id=, label=K[=V], status=, source=, pod=
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// table, json (a document a line), or a template like '{{.Name}} {{.Status}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
    /// The ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Prints the containers that there are, those of pods as POD/CONTAINER.
pub(super) fn run(global: &Global, args: &ListArgs) -> Result<u8> {
    let containers = global.containers()?;
    let style = style(&args.format)?;
    if args.all_runtimes {
        let mut rows = runtimes::found(&containers.store.place);
        rows.sort_by(|a, b| (&a.owner, &a.id).cmp(&(&b.owner, &b.id)));
        return runtimes::print(&rows, &style);
    }
    let mut conditions = Vec::new();
    for word in &args.filter {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if !CONDITIONS.contains(&key) {
            let known = CONDITIONS.join(", ");
            return Err(Error::usage(format!("--filter {word}: the keys are {known}")));
        }
        conditions.push((key.to_owned(), value.to_owned()));
    }
    if args.running {
        conditions.push(("status".to_owned(), "running".to_owned()));
    }
    let namespace = (!args.all_namespaces).then(|| containers.namespace.clone());
    let filter = Filter { namespace, conditions };
    let mut found = containers.list(&filter)?;
    let of_pods = listed::containers(&containers.store.place, filter.namespace.as_deref());
    found.extend(of_pods.into_iter().filter(|one| filter.lets_through(one)));
    found.sort_by(|a, b| (a.record.created, &a.record.id).cmp(&(b.record.created, &b.record.id)));
    if args.quiet {
        for one in &found {
            println!("{}", one.record.id);
        }
        return Ok(0);
    }
    if !matches!(style, Style::Table) {
        let documents: Vec<Value> = found.iter().map(document).collect();
        print_documents(&style, &documents)?;
        return Ok(0);
    }
    let mut heading = vec!["ID", "NAME", "SOURCE", "COMMAND", "CREATED", "STATUS"];
    if args.all_namespaces {
        heading.insert(0, "NAMESPACE");
    }
    let rows: Vec<Vec<String>> = found.iter().map(|one| row(one, args.all_namespaces)).collect();
    print_table(&heading, &rows);
    Ok(0)
}

fn row(found: &Found, namespace: bool) -> Vec<String> {
    let record = &found.record;
    let mut row = vec![
        short(record),
        record.name.clone(),
        record.source.clone(),
        shown(&record.command),
        ago(record.created),
        status(found),
    ];
    if namespace {
        row.insert(0, record.namespace.clone());
    }
    row
}

/// The id, as far as it is needed; that of a pod's container is made of names.
fn short(record: &Record) -> String {
    let length = if record.pod.is_some() { record.id.len() } else { 12.min(record.id.len()) };
    record.id[..length].to_owned()
}

/// A command in one line, without what would change the terminal.
fn shown(command: &[String]) -> String {
    let clean =
        |word: &String| word.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    command.iter().map(clean).collect::<Vec<String>>().join(" ")
}

fn status(found: &Found) -> String {
    let life = &found.life;
    let exit = life.exit.as_ref();
    match life.phase {
        Phase::Running => {
            let since =
                life.started.map(|time| jiff::Timestamp::now().as_second() - time.as_second());
            format!("running for {}", span(since.unwrap_or(0).max(0) as u64))
        }
        Phase::Exited | Phase::Restarting => {
            let code = exit.and_then(|exit| exit.code);
            let code = code.map_or("unknown".to_owned(), |code| code.to_string());
            let memory = exit.filter(|exit| exit.oom_kills > 0).map(|exit| {
                let names = exit.oom_killed.iter().map(|one| one.name.as_str());
                match &names.collect::<Vec<_>>()[..] {
                    [] => ", out of memory".to_owned(),
                    names => format!(", out of memory: {}", names.join(", ")),
                }
            });
            let memory = memory.unwrap_or_default();
            let when = exit.map(|exit| ago(exit.finished)).unwrap_or_default();
            format!("{} ({code}{memory}) {when}", life.phase.name())
        }
        Phase::Failed => {
            format!("failed: {}", life.error.as_deref().unwrap_or("it could not be started"))
        }
        Phase::Created => "created".to_owned(),
    }
}

/// A container for JSON lines and templates.
fn document(found: &Found) -> Value {
    let Found { record, life } = found;
    let exit = life.exit.as_ref();
    json!({
        "Id": record.id,
        "Name": record.name,
        "Namespace": record.namespace,
        "Source": record.source,
        "Command": record.command,
        "Created": record.created,
        "Labels": record.labels,
        "Pod": record.pod,
        "Status": life.phase.name(),
        "Pid": life.pid,
        "Started": life.started,
        "Finished": exit.map(|exit| exit.finished),
        "ExitCode": exit.and_then(|exit| exit.code),
        "OomKills": exit.map_or(0, |exit| exit.oom_kills),
        "Restarts": life.restarts,
    })
}
