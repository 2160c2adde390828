//! What is printed of pods: status, list, logs, health.

use std::io::{IsTerminal, Write};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::{dirs, place};
use crate::cli::Global;
use crate::error::{At, Error, Kind, Result};
use crate::pod::setup::{self, PodDirs};
use crate::pod::status::{ContainerStatus, PodStatus};
use crate::pod::{client, serve, tail};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// `pod status`
#[derive(Debug, Clone, Args)]
pub(super) struct StatusArgs {
    /// The pod
    name: String,
    /// Print each change until the pod is over
    #[arg(short, long)]
    watch: bool,
    /// The form; JSON with --watch is a line a change
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// `pod list`
#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The names only
    #[arg(short, long)]
    quiet: bool,
    /// The form
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// `pod logs`
#[derive(Debug, Clone, Args)]
pub(super) struct LogsArgs {
    /// The pod
    name: String,
    /// Of this container only
    #[arg(short, long)]
    container: Option<String>,
    /// Go on as they grow, until the pod is over
    #[arg(short, long)]
    follow: bool,
    /// The last N lines of each
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
}

/// `pod health`
#[derive(Debug, Clone, Args)]
pub(super) struct HealthArgs {
    /// The pods [default: all of the namespace]
    names: Vec<String>,
    /// Serve it over HTTP until ended: / is a page, /healthy the one bit, /pods JSON, /metrics
    /// for Prometheus. Nobody has to log in: choose an address that only those reach who may
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH", conflicts_with = "names")]
    listen: Option<String>,
    /// Of all namespaces
    #[arg(long)]
    all_namespaces: bool,
}

/// Prints a pod's status.
pub(super) fn status(global: &Global, args: &StatusArgs) -> Result<u8> {
    let dirs = dirs(global, &args.name)?;
    if !args.watch {
        print(&client::status(&dirs)?, args.format)?;
        return Ok(0);
    }
    let clear = std::io::stdout().is_terminal() && args.format == Format::Table;
    client::follow(&dirs, |status| {
        if clear {
            print!("\x1b[H\x1b[2J");
        }
        print(status, args.format).is_err()
    })?;
    Ok(0)
}

fn print(status: &PodStatus, format: Format) -> Result<()> {
    let text = match format {
        Format::Json => serde_json::to_string(status).at("write", "JSON")? + "\n",
        Format::Table => shown(status),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).at("write", "the status")
}

fn shown(status: &PodStatus) -> String {
    let word = |yes: bool, no: &str, word: &str| if yes { word.to_owned() } else { no.to_owned() };
    let mut head = format!(
        "{}/{}: {}, {}, {}",
        status.namespace,
        status.name,
        status.phase.name(),
        word(status.healthy, "not healthy", "healthy"),
        word(status.ready, "not ready", "ready"),
    );
    if !status.reason.is_empty() {
        head += &format!(" ({})", status.reason);
    }
    if let Some(code) = status.exit_status {
        head += &format!(", exit status {code}");
    }
    let mut table =
        table(&["CONTAINER", "ROLE", "STATE", "READY", "RESTARTS", "SINCE", "EXIT", "PROBES"]);
    for one in &status.containers {
        table.add_row(vec![
            one.name.clone(),
            one.role.clone(),
            state(one),
            word(one.ready, "no", "yes"),
            one.restarts.to_string(),
            since(one.since),
            one.exit_status.map_or(String::new(), |code| code.to_string()),
            probes(one),
        ]);
    }
    format!("{head}\n{table}\n")
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads.to_vec());
    table
}

fn state(one: &ContainerStatus) -> String {
    match one.reason.is_empty() {
        true => one.state.name().to_owned(),
        false => format!("{} ({})", one.state.name(), one.reason),
    }
}

fn probes(one: &ContainerStatus) -> String {
    let each = one.probes.iter().map(|probe| match probe.passed {
        None => format!("{} -", probe.probe),
        Some(true) => format!("{} ok", probe.probe),
        Some(false) => format!("{} failed {} ({})", probe.probe, probe.in_a_row, probe.message),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A time as people say it.
fn since(seconds: i64) -> String {
    if seconds == 0 {
        return String::new();
    }
    let past = (Timestamp::now().as_second() - seconds).max(0);
    match past {
        0..120 => format!("{past} s"),
        120..7200 => format!("{} min", past / 60),
        7200..172_800 => format!("{} h", past / 3600),
        _ => format!("{} days", past / 86400),
    }
}

/// The pods of a namespace, or of all, and how they are.
fn known(global: &Global, all: bool) -> Result<Vec<(PodDirs, PodStatus)>> {
    let place = place(global)?;
    let names = setup::all(&place).into_iter();
    let names = names.filter(|(namespace, _)| all || *namespace == global.namespace);
    let mut known = Vec::new();
    for (namespace, name) in names {
        let dirs = PodDirs::of(&place, &namespace, &name);
        match client::status(&dirs) {
            Ok(status) => known.push((dirs, status)),
            // It may just have been removed, or not have begun.
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => eprintln!("richctl: pod {name}: {error}"),
        }
    }
    Ok(known)
}

/// Prints the pods.
pub(super) fn list(global: &Global, args: &ListArgs) -> Result<u8> {
    let pods = known(global, args.all_namespaces)?;
    if args.quiet {
        pods.iter().for_each(|(_, pod)| println!("{}", pod.name));
        return Ok(0);
    }
    if args.format == Format::Json {
        let pods: Vec<&PodStatus> = pods.iter().map(|(_, pod)| pod).collect();
        println!("{}", serde_json::to_string(&pods).at("write", "JSON")?);
        return Ok(0);
    }
    let mut table = table(&["NAMESPACE", "NAME", "PHASE", "HEALTHY", "READY", "RESTARTS", "SINCE"]);
    for (_, pod) in &pods {
        let lasting = pod.containers.iter().filter(|one| one.role != "init");
        let ready = lasting.clone().filter(|one| one.ready).count();
        let restarts: u32 = pod.containers.iter().map(|one| one.restarts).sum();
        table.add_row(vec![
            pod.namespace.clone(),
            pod.name.clone(),
            pod.phase.name().to_owned(),
            if pod.healthy { "yes" } else { "no" }.to_owned(),
            format!("{ready}/{}", lasting.count()),
            restarts.to_string(),
            since(pod.since),
        ]);
    }
    println!("{table}");
    Ok(0)
}

/// Prints logs.
pub(super) fn logs(global: &Global, args: &LogsArgs) -> Result<u8> {
    let dirs = dirs(global, &args.name)?;
    let setup = dirs.read_setup()?;
    let mut logs = tail::logs_of(&setup);
    if let Some(wanted) = &args.container {
        logs.retain(|(name, _)| name == wanted);
        if logs.is_empty() {
            let what = format!("pod {} has no container {wanted}", args.name);
            return Err(Error::new(Kind::NotFound, what));
        }
    }
    let prefix = logs.len() > 1;
    let mut tails = tail::Tails::new(logs, prefix, args.tail);
    loop {
        let over = !args.follow || client::status(&dirs)?.over;
        if !tails.print(over) || over {
            return Ok(0);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Says whether pods are healthy.
pub(super) fn health(global: &Global, args: &HealthArgs) -> Result<u8> {
    if let Some(address) = &args.listen {
        serve::checked(address)?;
        let namespace = (!args.all_namespaces).then(|| global.namespace.clone());
        let shown = serve::Shown { place: place(global)?, namespace };
        return serve::serve(address, shown, |at| println!("{at}")).map(|()| 0);
    }
    let mut pods: Vec<PodStatus> =
        known(global, args.all_namespaces)?.into_iter().map(|(_, pod)| pod).collect();
    for name in &args.names {
        if !pods.iter().any(|pod| pod.name == *name) {
            return Err(Error::new(Kind::NotFound, format!("no pod is named {name}")));
        }
    }
    if !args.names.is_empty() {
        pods.retain(|pod| args.names.contains(&pod.name));
    }
    for pod in &pods {
        println!("{}: {}", pod.name, if pod.healthy { "healthy" } else { "not healthy" });
    }
    Ok(u8::from(!pods.iter().all(|pod| pod.healthy)))
}
