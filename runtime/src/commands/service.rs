//! `service`, `health`: a container's services from outside.

use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use rich_init::services::control::{self, Op};
use rich_init::services::wire;
use rustix::io::Errno;
use serde::Serialize;

use super::output::{indented, line, print};
use crate::cli::{Format, Global, HealthArgs, ServiceAction, ServiceArgs};
use crate::error::{Error, Kind, Result, Step};
use crate::life::services::{Answer, Control, Log, Told};
use crate::life::{Status, Store};

/// The words for phases, by number.
const PHASES: [&str; 10] = [
    "stopped",
    "waiting",
    "starting",
    "running",
    "stopping",
    "killed",
    "finishing",
    "restarting",
    "done",
    "failed",
];
/// The words for the reasons of a phase, by number.
const REASONS: [&str; 7] =
    ["", "ended", "start-timeout", "probe-failed", "dependency-failed", "not-executed", "changed"];
/// The words for ways to start, by number.
const STARTS: [&str; 3] = ["auto", "needed", "manual"];
/// The words for the health of the whole, by number.
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "stopping"];

fn word(words: &'static [&'static str], number: u8) -> &'static str {
    words.get(usize::from(number)).unwrap_or(&"unknown")
}

/// The health of the whole, in one word.
pub fn health_word(number: u8) -> &'static str {
    word(&HEALTH, number)
}

/// A service in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    name: String,
    state: &'static str,
    ready: bool,
    main: bool,
    essential: bool,
    oneshot: bool,
    start: &'static str,
    /// In the container's pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    restarts: u32,
    /// The last exit status, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    /// Milliseconds in this state.
    since: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    ports: String,
}

impl From<Told> for Document {
    fn from(told: Told) -> Document {
        let flag = |flag: u8| told.flags & flag != 0;
        Document {
            state: word(&PHASES, told.phase),
            ready: flag(control::READY),
            main: flag(control::MAIN),
            essential: flag(control::ESSENTIAL),
            oneshot: flag(control::ONESHOT),
            start: word(&STARTS, told.start),
            pid: (told.pid != 0).then_some(told.pid),
            restarts: told.restarts,
            status: (told.reason != 0).then_some(told.status),
            reason: word(&REASONS, told.reason),
            since: told.age,
            name: told.name,
            ports: told.ports,
        }
    }
}

/// `service ACTION ID [NAME...]`
pub fn run(global: &Global, args: &ServiceArgs) -> Result<u8> {
    let missing = |what: &str| Err(Error::new(Kind::Usage, format!("service: {what}")));
    let named = !args.names.is_empty();
    let op = match args.action {
        ServiceAction::List | ServiceAction::Status => return list(global, args),
        ServiceAction::Wait => return wait(global, args),
        ServiceAction::Logs if args.names.len() == 1 => return logs(global, args),
        ServiceAction::Logs => return missing("logs needs the name of one service"),
        ServiceAction::Signal => return signal(global, args),
        ServiceAction::Start => Op::Start,
        ServiceAction::Stop => Op::Stop,
        ServiceAction::Restart => Op::Restart,
        ServiceAction::Reload => Op::Reload,
    };
    if !named {
        return missing("the name of a service is missing");
    }
    connect(global, &args.id)?.command(op, 0, &args.names)?;
    Ok(0)
}

fn connect(global: &Global, id: &str) -> Result<Control> {
    Control::connect(&Store::new(global.root()), id)
}

/// Starts what a command needs, and waits until it is ready.
pub fn need(store: &Store, id: &str, names: &[String]) -> Result<()> {
    Control::connect(store, id)?.command(Op::Start, 0, names)
}

fn signal(global: &Global, args: &ServiceArgs) -> Result<u8> {
    let Some((signal, names)) = args.names.split_last().filter(|(_, names)| !names.is_empty())
    else {
        return Err(Error::new(Kind::Usage, "service: signal needs NAME... SIGNAL"));
    };
    let unknown = || Error::new(Kind::Usage, format!("service: unknown signal {signal:?}"));
    let number = rich_init::signals::parse(signal.as_bytes()).ok_or_else(unknown)?;
    connect(global, &args.id)?.command(Op::Signal, number, names)?;
    Ok(0)
}

fn list(global: &Global, args: &ServiceArgs) -> Result<u8> {
    let mut all = connect(global, &args.id)?.list()?;
    unknown(&args.names, &all)?;
    all.retain(|told| args.names.is_empty() || args.names.contains(&told.name));
    let documents: Vec<Document> = all.into_iter().map(Document::from).collect();
    print(&match args.format {
        Format::Json => line(&documents)?,
        Format::Table => table(&documents),
    })?;
    let ready = documents.iter().all(|one| one.ready);
    Ok(if args.action == ServiceAction::Status && !ready { NOT_READY } else { 0 })
}

/// Refuses a name that no service has.
fn unknown(names: &[String], all: &[Told]) -> Result<()> {
    match names.iter().find(|name| all.iter().all(|told| told.name != **name)) {
        Some(name) => Err(Error::new(Kind::Usage, format!("no service is named {name:?}"))),
        None => Ok(()),
    }
}

/// What `status` of init scripts says of what does not run (LSB).
const NOT_READY: u8 = 3;

/// Waits until all that are named (or all that are to be up) are ready.
fn wait(global: &Global, args: &ServiceArgs) -> Result<u8> {
    let control = connect(global, &args.id)?;
    let end = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut all = control.list()?;
    unknown(&args.names, &all)?;
    control.ask(Op::Events, 0, &[], true)?;
    // Each is told of once more, one by one, and then each change: before, nothing is decided.
    let mut untold = all.len();
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if !control.says_something(left)? {
            let waiting = all.iter().filter(|told| wanted(told, args) && !is_ready(told));
            let names: Vec<&str> = waiting.map(|told| told.name.as_str()).collect();
            let words = format!("service: not ready in time: {}", names.join(", "));
            return Err(Error::system(words));
        }
        let told = match control.answer()? {
            Answer::Service(told) => told,
            other => return Err(control.failure(other)),
        };
        untold = untold.saturating_sub(1);
        if let Some(known) = all.iter_mut().find(|known| known.name == told.name) {
            *known = told;
        }
        if untold > 0 {
            continue;
        }
        let mut concerned = all.iter().filter(|told| wanted(told, args));
        if let Some(told) = concerned.clone().find(|told| word(&PHASES, told.phase) == "failed") {
            return Err(Error::system(format!("service {} has failed", told.name)));
        }
        if concerned.all(is_ready) {
            return Ok(0);
        }
    }
}

fn wanted(told: &Told, args: &ServiceArgs) -> bool {
    match args.names.is_empty() {
        true => told.flags & control::WANTED != 0,
        false => args.names.contains(&told.name),
    }
}

fn is_ready(told: &Told) -> bool {
    told.flags & control::READY != 0
}

/// A heading, a line a service.
fn table(documents: &[Document]) -> String {
    let head = ["NAME", "STATE", "READY", "PID", "RESTARTS", "SINCE", "PORTS", "REASON"];
    let rows = documents.iter().map(|one| {
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        [
            one.name.clone(),
            one.state.to_owned(),
            if one.ready { "yes" } else { "no" }.to_owned(),
            dash(one.pid.map(|pid| pid.to_string()).unwrap_or_default()),
            one.restarts.to_string(),
            span(one.since),
            dash(one.ports.clone()),
            match one.status {
                Some(status) => format!("{}, last status {status}", one.reason),
                None => "-".to_owned(),
            },
        ]
    });
    let rows: Vec<[String; 8]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(&row[7]);
        text.push('\n');
    }
    text
}

/// `3s`, `2m`, `5h`.
fn span(millis: u64) -> String {
    match millis / 1000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}

/// `health ID`: one word; exit status 0 when it is a good one.
pub fn health(global: &Global, args: &HealthArgs) -> Result<u8> {
    #[derive(Serialize)]
    struct Whole {
        health: &'static str,
        services: Vec<Document>,
    }
    let store = Store::new(global.root());
    let all = match Control::connect(&store, &args.id) {
        Ok(control) => control.list()?,
        Err(_) if no_services(&store, &args.id)? => Vec::new(),
        Err(error) => return Err(error),
    };
    let health = all.first().map_or("none", |told| health_word(told.health));
    print(&match args.format {
        Format::Json => {
            let services = all.into_iter().map(Document::from).collect();
            indented(&Whole { health, services }, "  ")? + "\n"
        }
        Format::Table => format!("{health}\n"),
    })?;
    Ok(u8::from(!matches!(health, "healthy" | "none")))
}

/// Whether it runs, and nobody in it knows of services.
fn no_services(store: &Store, id: &str) -> Result<bool> {
    let (_, status) = store.peek(id)?;
    let socket = store.root().join(id).join(crate::life::services::SOCKET);
    Ok(status == Status::Running && !socket.exists())
}

/// The log's end; with `--follow` also what comes.
fn logs(global: &Global, args: &ServiceArgs) -> Result<u8> {
    let name = &args.names[0];
    let control = connect(global, &args.id)?;
    let mut shown = 0;
    let mut first = true;
    loop {
        let log = match control.log(name) {
            // The container's end is the log's; silence is not.
            Err(error) if !first && is_the_end(&error) => return Ok(0),
            log => log?,
        };
        if let Some(log) = log {
            let (bytes, end) = read_log(log).step(|| format!("read the log of {name}"))?;
            // What has begun anew is shown from its beginning.
            let new = if end < shown { end } else { end - shown };
            let from = bytes.len().saturating_sub(usize::try_from(new).unwrap_or(usize::MAX));
            let from = if first { last_lines(&bytes, args.lines) } else { from };
            if !write_log(&bytes[from..])? {
                return Ok(0);
            }
            shown = end;
        }
        if !args.follow {
            return Ok(0);
        }
        first = false;
        std::thread::sleep(FOLLOWED);
    }
}

/// Whether it was the container's end that `error` is about.
fn is_the_end(error: &Error) -> bool {
    let closed = [Errno::PIPE, Errno::CONNRESET];
    error.kind() == Kind::WrongState || error.errno().is_some_and(|errno| closed.contains(&errno))
}

/// How often a log is looked at that is followed.
const FOLLOWED: Duration = Duration::from_millis(250);

/// Where the last `lines` begin.
fn last_lines(bytes: &[u8], lines: Option<usize>) -> usize {
    let Some(lines) = lines else { return 0 };
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut ends = whole.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match lines {
        0 => bytes.len(),
        lines => ends.nth(lines - 1).map_or(0, |(at, _)| at + 1),
    }
}

/// False when nobody reads any more.
fn write_log(bytes: &[u8]) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    let text = stdout.is_terminal().then(|| crate::shown::lines(bytes).into_bytes());
    let written = stdout.write_all(text.as_deref().unwrap_or(bytes));
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).step(|| "write standard output"),
    }
}

/// The largest part of a log that is shown: its end.
const SHOWN: u64 = 1 << 20;

/// The last bytes, and how many there have been in all.
fn read_log(log: Log) -> std::io::Result<(Vec<u8>, u64)> {
    let mut file = std::fs::File::from(log.file);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    if u32::from(log.kind) != wire::LOG_KEEP {
        file.seek(SeekFrom::Start(size.saturating_sub(SHOWN)))?;
        file.take(SHOWN.min(size)).read_to_end(&mut bytes)?;
        return Ok((bytes, size));
    }
    // The memory is written to round and round: the oldest byte is where the next one goes.
    file.rewind()?;
    file.take(SHOWN.min(log.kept)).read_to_end(&mut bytes)?;
    if log.kept > 0 && log.written > log.kept && bytes.len() as u64 == log.kept {
        bytes.rotate_left((log.written % log.kept) as usize);
    }
    Ok((bytes, log.written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log() {
        let of = |text: &str, lines| text[last_lines(text.as_bytes(), lines)..].to_owned();
        assert_eq!(of("a\nb\nc\n", None), "a\nb\nc\n");
        assert_eq!(of("a\nb\nc\n", Some(2)), "b\nc\n");
        assert_eq!(of("a\nb\nc", Some(1)), "c");
        assert_eq!(of("a\nb\n", Some(9)), "a\nb\n");
        assert_eq!(of("a\nb\n", Some(0)), "");
        assert_eq!(of("", Some(1)), "");
    }
}
