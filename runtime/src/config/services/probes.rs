//! Probes as Kubernetes writes them: its fields, its defaults.

use std::net::IpAddr;

use rich_init::services::wire;

use super::fields::{Field, Fields};
use super::node::Value;
use crate::error::Result;

/// The probes' names, in the plan's order.
pub const NAMES: [&str; wire::PROBES] = ["startup", "liveness", "readiness"];

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A command that must succeed.
    Exec(Vec<String>),
    /// A connection that must come about.
    Tcp(IpAddr, u16),
    /// A request that must be answered with 200 to 399.
    Http(IpAddr, u16, String),
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What it does.
    pub action: Action,
    /// `initialDelaySeconds`, `periodSeconds`, `timeoutSeconds`.
    pub seconds: [u32; 3],
    /// `successThreshold`, `failureThreshold`.
    pub thresholds: [u32; 2],
    /// `terminationGracePeriodSeconds`; 0: the service's own.
    pub grace_seconds: u32,
}

/// The longest time and the largest threshold.
const MOST: i64 = 1_000_000;

impl Probe {
    /// The seconds after which it has failed if it never passes.
    pub fn patience(&self) -> u32 {
        let [delay, period, timeout] = self.seconds;
        period.max(timeout).saturating_mul(self.thresholds[1]).saturating_add(delay)
    }
}

/// Reads a probe; `ports` are the names of the service's ports. A 0 is as good as nothing, as
/// in Kubernetes.
///
/// # Errors
/// File, line, field and what is wrong.
pub fn read(field: &Field<'_>, name: &str, ports: &[(String, u16)]) -> Result<Probe> {
    let mut fields = field.table()?;
    let exec = fields.read("exec", exec)?;
    let tcp = fields.read("tcpSocket", |field| tcp(field, ports))?;
    let http = fields.read("httpGet", |field| http(field, ports))?;
    let mut actions = [exec, tcp, http].into_iter().flatten();
    let (Some(action), None) = (actions.next(), actions.next()) else {
        return Err(field.error("must have one of exec, httpGet and tcpSocket"));
    };
    let mut seconds = [0, 10, 1];
    let rows = ["initialDelaySeconds", "periodSeconds", "timeoutSeconds"];
    for (slot, name) in seconds.iter_mut().zip(rows) {
        *slot = number(&mut fields, name, MOST)?.unwrap_or(*slot);
    }
    let mut thresholds = [1, 3];
    let most = if name == "readiness" { MOST } else { 1 };
    let rows = [("successThreshold", most), ("failureThreshold", MOST)];
    for (slot, (name, most)) in thresholds.iter_mut().zip(rows) {
        *slot = number(&mut fields, name, most)?.unwrap_or(*slot);
    }
    let grace_seconds = match name {
        "readiness" => None,
        _ => number(&mut fields, "terminationGracePeriodSeconds", MOST)?,
    };
    fields.end()?;
    Ok(Probe { action, seconds, thresholds, grace_seconds: grace_seconds.unwrap_or(0) })
}

/// A number; None for 0.
fn number(fields: &mut Fields<'_>, name: &str, most: i64) -> Result<Option<u32>> {
    let given = fields.read(name, |field| field.number(0, most))?;
    Ok(given.map(|number| number as u32).filter(|number| *number > 0))
}

/// `exec: {command: [...]}`, or the command itself.
fn exec(field: &Field<'_>) -> Result<Action> {
    if !matches!(field.node.value, Value::Table(_)) {
        return field.command().map(Action::Exec);
    }
    let mut fields = field.table()?;
    let missing = || field.error("command: missing");
    let command = fields.read("command", Field::command)?.ok_or_else(missing)?;
    fields.end()?;
    Ok(Action::Exec(command))
}

fn tcp(field: &Field<'_>, ports: &[(String, u16)]) -> Result<Action> {
    let mut fields = field.table()?;
    let (host, port) = target(field, &mut fields, ports)?;
    fields.end()?;
    Ok(Action::Tcp(host, port))
}

/// Host and port. A host's name cannot be looked up: PID 1 has no resolver.
fn target(
    field: &Field<'_>,
    fields: &mut Fields<'_>,
    ports: &[(String, u16)],
) -> Result<(IpAddr, u16)> {
    let host = fields.read("host", |field| match field.text()? {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        text => text.parse().map_err(|_| field.error("must be an IP address or localhost")),
    })?;
    let missing = || field.error("port: missing");
    let port = |field: &Field<'_>| match &field.node.value {
        Value::Text(name) => {
            let known = ports.iter().find(|(known, _)| known == name);
            let unknown = || field.error(format!("{name:?} is not a name in the service's ports"));
            known.map(|(_, port)| *port).ok_or_else(unknown)
        }
        _ => field.number(1, 65535).map(|number| number as u16),
    };
    let port = fields.read("port", port)?.ok_or_else(missing)?;
    Ok((host.unwrap_or(IpAddr::from([127, 0, 0, 1])), port))
}

fn http(field: &Field<'_>, ports: &[(String, u16)]) -> Result<Action> {
    let mut fields = field.table()?;
    let (host, port) = target(field, &mut fields, ports)?;
    let path = fields.read("path", |field| header_text(field, field.text()?))?;
    let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    // A fragment is for whoever asks, and never sent.
    let path = fit_for_a_request(path.split('#').next().unwrap_or_default());
    fields.read("scheme", |field| match field.text()? {
        "HTTP" => Ok(()),
        "HTTPS" => Err(field.error("PID 1 speaks no TLS: use exec")),
        _ => Err(field.error("must be HTTP")),
    })?;
    let headers = fields.read("httpHeaders", |field| {
        field.list()?.iter().map(header).collect::<Result<Vec<_>>>()
    })?;
    fields.end()?;
    let mut headers = headers.unwrap_or_default();
    let mut add = |name: &str, value: String| {
        if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            headers.push((name.to_owned(), value));
        }
    };
    add("Host", std::net::SocketAddr::new(host, port).to_string());
    add("User-Agent", concat!("richrun/", env!("CARGO_PKG_VERSION")).to_owned());
    add("Accept", "*/*".to_owned());
    add("Connection", "close".to_owned());
    let slash = if path.starts_with('/') { "" } else { "/" };
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    Ok(Action::Http(host, port, format!("GET {slash}{path} HTTP/1.1\r\n{lines}\r\n")))
}

/// A path with blanks, and what is not ASCII, as `%20` and its like.
fn fit_for_a_request(path: &str) -> String {
    let fit = |byte: u8| match byte {
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(fit).collect()
}

fn header(field: &Field<'_>) -> Result<(String, String)> {
    let mut fields = field.table()?;
    let mut take = |name: &str| {
        let given = fields.read(name, |field| header_text(field, field.text()?))?;
        given.ok_or_else(|| field.error(format!("{name}: missing")))
    };
    let row = (take("name")?, take("value")?);
    fields.end()?;
    match row.0.contains([':', ' ']) || row.0.is_empty() {
        true => Err(field.error("not the name of a header")),
        false => Ok(row),
    }
}

/// What may stand in a request: nothing that ends a line.
fn header_text(field: &Field<'_>, text: &str) -> Result<String> {
    match text.contains(char::is_control) || text.len() > 1000 {
        true => Err(field.error("too long, or with control characters")),
        false => Ok(text.to_owned()),
    }
}
