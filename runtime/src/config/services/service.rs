//! One service as the file describes it.

use std::path::Path;

use rich_init::services::wire;
use rich_init::signals;

use super::accounts::Accounts;
use super::fields::{Field, Fields};
use super::node::Value;
use super::probes::{self, Probe};
use crate::error::Result;

/// A service, checked by itself; names of others are looked up later ([`super::graph`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The file and line where it stands.
    pub place: (String, usize),
    /// The command; none: the payload of config.json.
    pub command: Option<Vec<String>>,
    /// Runs to its end, then counts as up.
    pub oneshot: bool,
    /// Its failure ends the container.
    pub essential: bool,
    /// One of `wire::START_*`.
    pub start: u32,
    /// What must be up before; none: not said.
    pub needs: Option<Vec<Named>>,
    /// What is started before but may fail.
    pub wants: Vec<Named>,
    /// What goes first, if it is started.
    pub after: Vec<Named>,
    /// One of `wire::RESTART_*`.
    pub restart: u32,
    /// Milliseconds: before the first restart, at most, until failures are forgotten.
    pub restart_times: [Option<u32>; 3],
    /// Restarts in a row before it is given up; 0: never.
    pub tries: u32,
    /// Expected exit statuses.
    pub success: Vec<u8>,
    /// One of `wire::READY_*`, and the descriptor's number.
    pub ready: (u32, u32),
    /// Milliseconds; none: forever.
    pub start_timeout: Option<u32>,
    /// The signal that asks it to end.
    pub stop_signal: u8,
    /// Milliseconds; none: forever.
    pub stop_timeout: Option<u32>,
    /// Runs after each end; a one-shot's undoes it.
    pub finish: Vec<String>,
    /// Milliseconds; none: forever.
    pub finish_timeout: Option<u32>,
    /// Reloads it.
    pub reload: Vec<String>,
    /// A signal in the place of a reload command; 0 for none.
    pub reload_signal: u8,
    /// User, group and groups; none: rich-init's own.
    pub user: Option<(u32, u32, Vec<u32>)>,
    /// Variables that replace the container's.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Resource, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// One of `wire::LOG_*`.
    pub log: u32,
    /// The file, where it is one.
    pub log_path: Option<String>,
    /// Bytes that are kept.
    pub log_size: u32,
    /// For showing.
    pub ports: String,
    /// Those of them that have names.
    pub named_ports: Vec<(String, u16)>,
    /// Absolute paths.
    pub watch: Vec<String>,
    /// Milliseconds.
    pub watch_delay: u32,
    /// Startup, liveness, readiness.
    pub probes: [Option<Probe>; wire::PROBES],
}

/// The name of another service, and where it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// How an error about it begins.
    pub at: String,
}

/// Words of `start`.
const STARTS: &[(&str, u32)] =
    &[("auto", wire::START_AUTO), ("needed", wire::START_NEEDED), ("manual", wire::START_MANUAL)];
/// Words of `restart`.
const RESTARTS: &[(&str, u32)] = &[
    ("never", wire::RESTART_NEVER),
    ("on-failure", wire::RESTART_ON_FAILURE),
    ("always", wire::RESTART_ALWAYS),
];
/// Words of `type`.
const TYPES: &[(&str, u32)] = &[("service", 0), ("oneshot", wire::FLAG_ONESHOT)];

/// The kinds of limits, by the specification's name without `RLIMIT_`, in lower case; the
/// number is the kernel's (asm-generic/resource.h).
const LIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// Milliseconds that the time limits have unless told otherwise.
const START_TIMEOUT: u32 = 60_000;
const STOP_TIMEOUT: u32 = 10_000;

impl Service {
    /// The payload of config.json as a service that no file mentions.
    pub fn payload(name: &str) -> Service {
        Service {
            name: name.to_owned(),
            place: ("config.json".to_owned(), 1),
            command: None,
            oneshot: false,
            essential: false,
            start: wire::START_AUTO,
            needs: None,
            wants: Vec::new(),
            after: Vec::new(),
            restart: wire::RESTART_NEVER,
            restart_times: [Some(1000), Some(60_000), Some(10_000)],
            tries: 5,
            success: vec![0],
            ready: (wire::READY_STARTED, 0),
            start_timeout: Some(START_TIMEOUT),
            stop_signal: signals::TERM,
            // The engine's patience is the limit, as without services.
            stop_timeout: None,
            finish: Vec::new(),
            finish_timeout: Some(5000),
            reload: Vec::new(),
            reload_signal: 0,
            user: None,
            env: Vec::new(),
            cwd: None,
            umask: None,
            limits: Vec::new(),
            log: wire::LOG_INHERIT,
            log_path: None,
            log_size: 64 * 1024,
            ports: String::new(),
            named_ports: Vec::new(),
            watch: Vec::new(),
            watch_delay: 1000,
            probes: [const { None }; wire::PROBES],
        }
    }

    /// Reads one service. `payload`: it may do without a command.
    ///
    /// # Errors
    /// File, line, field and what is wrong.
    pub fn read(
        name: &str,
        field: &Field<'_>,
        payload: bool,
        accounts: &Accounts,
    ) -> Result<Service> {
        check_name(name, field)?;
        let mut fields = field.table()?;
        let mut service = Service::payload(name);
        service.place = (field.file.to_owned(), field.node.line);
        service.command = fields.read("command", Field::command)?;
        if service.command.is_none() && !payload {
            return Err(field.error("command: missing"));
        }
        if service.command.is_some() && !payload {
            service.restart = wire::RESTART_ON_FAILURE;
            service.stop_timeout = Some(STOP_TIMEOUT);
        }
        service.read_order(&mut fields)?;
        service.read_life(&mut fields)?;
        service.read_surroundings(&mut fields, accounts)?;
        service.read_output(&mut fields)?;
        for (slot, name) in service.probes.iter_mut().zip(probes::NAMES) {
            let given =
                fields.read(name, |field| probes::read(field, name, &service.named_ports))?;
            // As the container of a pod has it.
            let other = fields.take(&format!("{name}Probe"));
            *slot = match (given, other) {
                (Some(_), Some(other)) => {
                    return Err(other.error(format!("stands beside {name}: they are the same")));
                }
                (None, Some(other)) => Some(probes::read(&other, name, &service.named_ports)?),
                (given, None) => given,
            };
        }
        let startup = service.probes[0].as_ref().map_or(0, Probe::patience);
        service.start_timeout = fields
            .read("start-timeout", Field::span)?
            .unwrap_or(Some(startup.saturating_mul(1000).saturating_add(START_TIMEOUT)));
        service.settle_readiness(field)?;
        fields.end()?;
        Ok(service)
    }

    fn read_order(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        self.oneshot = fields.read("type", |field| field.word(TYPES))?.unwrap_or(0) != 0;
        self.essential = fields.read("essential", Field::truth)?.unwrap_or(false);
        self.start = fields.read("start", |field| field.word(STARTS))?.unwrap_or(self.start);
        self.needs = fields.read("needs", names)?;
        self.wants = fields.read("wants", names)?.unwrap_or_default();
        self.after = fields.read("after", names)?.unwrap_or_default();
        Ok(())
    }

    fn read_life(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        if self.oneshot {
            self.restart = wire::RESTART_NEVER;
        }
        self.restart =
            fields.read("restart", |field| field.word(RESTARTS))?.unwrap_or(self.restart);
        let times = ["restart-delay", "restart-max-delay", "restart-reset"];
        for (slot, name) in self.restart_times.iter_mut().zip(times) {
            *slot = fields.read(name, Field::span)?.unwrap_or(*slot);
        }
        let tries = fields.read("restart-tries", |field| field.number(0, 1_000_000))?;
        self.tries = tries.map_or(self.tries, |number| number as u32);
        let statuses = |field: &Field<'_>| {
            let list = field.list()?;
            list.iter().map(|item| item.number(0, 255).map(|number| number as u8)).collect()
        };
        self.success = fields.read("success", statuses)?.unwrap_or_else(|| vec![0]);
        self.ready = fields.read("ready", ready)?.unwrap_or(self.ready);
        self.stop_signal = fields.read("stop-signal", Field::signal)?.unwrap_or(self.stop_signal);
        self.stop_timeout = fields.read("stop-timeout", Field::span)?.unwrap_or(self.stop_timeout);
        self.finish = fields.read("finish", Field::command)?.unwrap_or_default();
        self.finish_timeout =
            fields.read("finish-timeout", Field::span)?.unwrap_or(self.finish_timeout);
        self.reload = fields.read("reload", Field::command)?.unwrap_or_default();
        let signal = fields.take("reload-signal");
        if let Some(signal) = &signal {
            self.reload_signal = signal.signal()?;
            if !self.reload.is_empty() {
                return Err(signal.error("stands beside a reload command: only one of them can be"));
            }
        }
        Ok(())
    }

    fn read_surroundings(&mut self, fields: &mut Fields<'_>, accounts: &Accounts) -> Result<()> {
        let mut home = None;
        self.user = fields.read("user", |field| {
            let text = match &field.node.value {
                Value::Number(number) => number.to_string(),
                _ => field.text()?.to_owned(),
            };
            let user = accounts.user(&text).map_err(|error| field.error(error))?;
            home = user.home;
            Ok((user.uid, user.gid, user.groups))
        })?;
        if let Some(groups) = fields.take("groups") {
            let Some(user) = &mut self.user else {
                return Err(groups.error("needs a user"));
            };
            let one = |item: &Field<'_>| match &item.node.value {
                Value::Number(_) => Ok(item.number(0, i64::from(u32::MAX) - 1)? as u32),
                _ => accounts.group(item.text()?).map_err(|error| item.error(error)),
            };
            user.2 = groups.list()?.iter().map(one).collect::<Result<_>>()?;
        }
        self.env = fields.read("env", environment)?.unwrap_or_default();
        if let Some(home) =
            home.filter(|_| !self.env.iter().any(|entry| entry.starts_with("HOME=")))
        {
            self.env.push(format!("HOME={home}"));
        }
        self.cwd = fields.read("cwd", absolute)?;
        self.umask = fields.read("umask", |field| {
            let mask = u32::from_str_radix(field.text()?, 8).ok().filter(|mask| *mask <= 0o777);
            mask.ok_or_else(|| field.error("not a mask: octal digits in quotes, such as \"022\""))
        })?;
        self.limits = fields.read("limits", limits)?.unwrap_or_default();
        Ok(())
    }

    fn read_output(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        (self.log, self.log_path) = fields.read("log", log)?.unwrap_or((self.log, None));
        let size = fields.read("log-size", |field| field.number(1, 1024))?;
        self.log_size = size.map_or(self.log_size, |kib| kib as u32 * 1024);
        (self.ports, self.named_ports) = fields.read("ports", ports)?.unwrap_or_default();
        self.watch = fields
            .read("watch", |field| field.list()?.iter().map(absolute).collect())?
            .unwrap_or_default();
        let delay = fields.read("watch-delay", Field::span)?.flatten();
        self.watch_delay = delay.unwrap_or(self.watch_delay);
        Ok(())
    }

    /// A readiness (or else startup) probe says when it is ready, unless something else does.
    fn settle_readiness(&mut self, field: &Field<'_>) -> Result<()> {
        let [startup, liveness, readiness] = &self.probes;
        if self.oneshot {
            if startup.is_some() || liveness.is_some() || readiness.is_some() {
                return Err(
                    field.error("a one-shot has no probes: it is ready when it has succeeded")
                );
            }
            if self.ready.0 != wire::READY_STARTED {
                return Err(field.error("ready: a one-shot is ready when it has succeeded"));
            }
            if self.restart == wire::RESTART_ALWAYS {
                return Err(
                    field.error("restart: a one-shot is not restarted when it has succeeded")
                );
            }
        } else if self.ready.0 == wire::READY_STARTED && (startup.is_some() || readiness.is_some())
        {
            self.ready.0 = wire::READY_PROBE;
        }
        Ok(())
    }
}

fn check_name(name: &str, field: &Field<'_>) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match !name.is_empty() && name.len() <= 48 && name.bytes().all(good) && !name.starts_with('.') {
        true => Ok(()),
        false => Err(field.error("a name is made of up to 48 letters, digits and _ . -")),
    }
}

fn names(field: &Field<'_>) -> Result<Vec<Named>> {
    let one = |item: &Field<'_>| {
        let at = format!("{}: line {}: {}", item.file, item.node.line, field.path);
        Ok(Named { name: item.text()?.to_owned(), at })
    };
    field.list()?.iter().map(one).collect()
}

/// `started`, `notify` or `fd:N`.
fn ready(field: &Field<'_>) -> Result<(u32, u32)> {
    let text = field.text()?;
    match text.strip_prefix("fd:").map(|digits| digits.parse::<u32>()) {
        Some(Ok(number @ 3..1024)) => Ok((wire::READY_FD, number)),
        Some(_) => Err(field.error("the descriptor must be between 3 and 1023")),
        None => match text {
            "started" => Ok((wire::READY_STARTED, 0)),
            "notify" => Ok((wire::READY_NOTIFY, 0)),
            _ => Err(field.error(format!("{text:?} is not one of started, notify, fd:N"))),
        },
    }
}

fn environment(field: &Field<'_>) -> Result<Vec<String>> {
    let one = |(name, value): (&str, Field<'_>)| {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(value.error("not the name of a variable"));
        }
        let text = match &value.node.value {
            Value::Number(number) => number.to_string(),
            _ => value.text()?.to_owned(),
        };
        Ok(format!("{name}={text}"))
    };
    field.table()?.rest().into_iter().map(one).collect()
}

fn absolute(field: &Field<'_>) -> Result<String> {
    let text = field.text()?;
    match Path::new(text).is_absolute() && text.len() < 4000 {
        true => Ok(text.to_owned()),
        false => Err(field.error(format!("{text:?} is not an absolute path"))),
    }
}

/// A number, `unlimited`, or `SOFT:HARD`.
fn limits(field: &Field<'_>) -> Result<Vec<(u32, u64, u64)>> {
    let one = |(name, value): (&str, Field<'_>)| {
        let number = LIMITS.iter().position(|known| *known == name);
        let number = number.ok_or_else(|| value.error("no such limit"))? as u32;
        let text = match &value.node.value {
            Value::Number(number) => number.to_string(),
            _ => value.text()?.to_owned(),
        };
        let (soft, hard) = text.split_once(':').unwrap_or((&text, &text));
        let read = |text: &str| match text {
            "unlimited" => Ok(u64::MAX),
            digits => digits
                .parse()
                .map_err(|_| value.error("not a limit: a number, unlimited, or SOFT:HARD")),
        };
        let (soft, hard) = (read(soft)?, read(hard)?);
        if soft > hard {
            return Err(value.error("the soft limit is above the hard one"));
        }
        Ok((number, soft, hard))
    };
    field.table()?.rest().into_iter().map(one).collect()
}

fn log(field: &Field<'_>) -> Result<(u32, Option<String>)> {
    Ok(match field.text()? {
        "inherit" => (wire::LOG_INHERIT, None),
        "null" => (wire::LOG_NULL, None),
        "keep" => (wire::LOG_KEEP, None),
        path if path.starts_with('/') => (wire::LOG_FILE, Some(absolute(field)?)),
        other => {
            let what = format!("{other:?} is not one of inherit, null, keep, or an absolute path");
            return Err(field.error(what));
        }
    })
}

/// A list of numbers and texts, or a table of names and numbers; `web: 8000, ...`, and the
/// table.
fn ports(field: &Field<'_>) -> Result<(String, Vec<(String, u16)>)> {
    let mut named = Vec::new();
    let port = |field: &Field<'_>| field.number(1, 65535);
    let list: Vec<String> = match &field.node.value {
        Value::Table(_) => {
            let rows = field.table()?.rest();
            let one = |(name, value): (&str, Field<'_>)| {
                let number = port(&value)?;
                named.push((name.to_owned(), number as u16));
                Ok(format!("{name}: {number}"))
            };
            rows.into_iter().map(one).collect::<Result<_>>()?
        }
        _ => {
            let one = |item: &Field<'_>| match &item.node.value {
                Value::Text(_) => item.text().map(str::to_owned),
                _ => port(item).map(|number| number.to_string()),
            };
            field.list()?.iter().map(one).collect::<Result<_>>()?
        }
    };
    let text = list.join(", ");
    match text.len() <= 200 && !text.contains(char::is_control) {
        true => Ok((text, named)),
        false => Err(field.error("too long, or with control characters")),
    }
}
