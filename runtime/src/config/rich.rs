//! Asking for a rich container: the five ways, and the one answer they give.
//!
//! Each way fills a [`Request`]; a field that it leaves open is taken from the
//! next. From the strongest to the weakest: command line, annotations, the
//! process's environment, the configuration file, the program's own name.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Which init a rich container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RichMode {
    /// The built-in init in front of the payload.
    DumbInit,
    /// The image's systemd, the payload beside it as a unit.
    Systemd,
    /// The image's `/sbin/init`, whatever it is, the payload beside it.
    SbinInit,
}

/// The modes by the names that `--rich-mode` takes, the first being the
/// default; `auto` has none of its own (`settle`).
pub const MODES: &[(&str, Option<RichMode>)] = &[
    ("dumb-init", Some(RichMode::DumbInit)),
    ("init", Some(RichMode::DumbInit)),
    ("systemd", Some(RichMode::Systemd)),
    ("sbin-init", Some(RichMode::SbinInit)),
    ("auto", None),
];

/// How long an init script may take unless told otherwise, in seconds.
pub const INIT_TIMEOUT: u64 = 60;

/// A rich container as it was asked for and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RichConfig {
    /// Which init.
    pub mode: RichMode,
    /// What runs in the container before its payload, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<InitScript>,
    /// How long each of them may take, in seconds; 0: for ever.
    pub init_timeout: u64,
    /// Whether the environment is kept in `/etc/profile.d` for later logins.
    pub environment_file: bool,
    /// What `kill` sends in the place of TERM; `None`: what the mode needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// Something that runs in the container before its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InitScript {
    /// A file of the container's root, with its arguments.
    File(Vec<String>),
    /// A command line for the container's shell.
    Command(String),
}

impl InitScript {
    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            InitScript::File(words) => {
                format!("initscript {}", words.first().map_or("", String::as_str))
            }
            InitScript::Command(line) => {
                let first = line.lines().next().unwrap_or_default();
                let short: String = first.chars().take(40).collect();
                let more = if short.len() < line.len() { "..." } else { "" };
                format!("initcmd {:?}", format!("{short}{more}"))
            }
        }
    }

    /// The words that are executed.
    pub fn words(&self) -> Vec<String> {
        match self {
            InitScript::File(words) => words.clone(),
            InitScript::Command(line) => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        }
    }
}

/// Where a request comes from; the order is the precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `--rich` and its kin.
    CommandLine,
    /// `io.richrun.*`.
    Annotations,
    /// `rich_mode` and `rich_mode_launch_manner`, as Pouch's daemon sets them.
    Environment,
    /// `/etc/richrun/config.toml`.
    File,
    /// The program was started as `richrun-rich`.
    Name,
}

/// What one of the ways says; what it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// Whether the container is rich at all.
    pub rich: Option<bool>,
    /// Which init, by a name of [`MODES`].
    pub mode: Option<String>,
    /// A script in the container's root, with arguments, as a shell would split them.
    pub initscript: Option<String>,
    /// A command line for the container's shell.
    pub initcmd: Option<String>,
    /// Seconds that each of the two may take; 0: for ever.
    pub init_timeout: Option<u64>,
    /// Whether to write `/etc/profile.d/richrun.sh`.
    pub environment_file: Option<bool>,
    /// What `kill` sends in the place of TERM; `TERM`: itself.
    pub stop_signal: Option<String>,
    /// Whether services are described for this container (docs/services.md).
    #[serde(skip)]
    pub services: bool,
}

/// What comes before the name of every annotation.
pub const ANNOTATION: &str = "io.richrun.";

impl Request {
    /// Reads the annotations of a container; the names of those below
    /// [`ANNOTATION`] that mean nothing come back too.
    ///
    /// # Errors
    /// A value that is none.
    pub fn of_annotations(all: &HashMap<String, String>) -> Result<(Request, Vec<String>)> {
        let mut request = Request::default();
        let mut unknown = Vec::new();
        for (full, value) in all {
            let Some(name) = full.strip_prefix(ANNOTATION) else { continue };
            let text = || Some(value.clone());
            match name {
                "rich" => request.rich = Some(truth(full, value)?),
                "mode" => request.mode = text(),
                "initscript" => request.initscript = text(),
                "initcmd" => request.initcmd = text(),
                "init-timeout" => request.init_timeout = Some(seconds(full, value)?),
                "environment-file" => request.environment_file = Some(truth(full, value)?),
                "stop-signal" => request.stop_signal = text(),
                // Read where the root file system can be looked into.
                "services" => request.services = true,
                _ => unknown.push(full.clone()),
            }
        }
        unknown.sort();
        Ok((request, unknown))
    }

    /// Reads Pouch's two variables.
    ///
    /// # Errors
    /// `rich_mode` is neither true nor false.
    pub fn of_environment(rich: Option<&str>, mode: Option<&str>) -> Result<Request> {
        let given = |value: Option<&str>| value.filter(|text| !text.is_empty()).map(str::to_owned);
        let rich = given(rich).map(|value| truth("rich_mode", &value)).transpose()?;
        Ok(Request { rich, mode: given(mode), ..Request::default() })
    }

    /// Whether everything that it says can be followed: a field and what is
    /// wrong there.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> std::result::Result<(), String> {
        if let Some(name) = &self.mode {
            mode_named(name).map_err(|what| format!("mode: {what}"))?;
        }
        if let Some(text) = &self.initscript {
            split_words(text).map_err(|why| format!("initscript: {why}"))?;
        }
        match &self.initcmd {
            Some(line) if !is_line(line) => Err("initcmd: no command".to_owned()),
            _ => Ok(()),
        }
    }

    /// What this request, being the stronger one, leaves open is taken from `other`.
    fn or(self, other: Request) -> Request {
        Request {
            rich: self.rich.or(other.rich),
            mode: self.mode.or(other.mode),
            initscript: self.initscript.or(other.initscript),
            initcmd: self.initcmd.or(other.initcmd),
            init_timeout: self.init_timeout.or(other.init_timeout),
            environment_file: self.environment_file.or(other.environment_file),
            stop_signal: self.stop_signal.or(other.stop_signal),
            services: self.services || other.services,
        }
    }
}

/// Go's spellings of a boolean.
fn truth(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" | "True" | "TRUE" | "t" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "f" | "0" => Ok(false),
        _ => Err(Error::config(format!("{name}: {value:?} is neither true nor false"))),
    }
}

fn seconds(name: &str, value: &str) -> Result<u64> {
    let digits = value.strip_suffix('s').unwrap_or(value);
    digits.parse().map_err(|_| Error::config(format!("{name}: {value:?} is no number of seconds")))
}

impl RichConfig {
    /// Resolves all requests for a container with the command line `args`.
    ///
    /// # Errors
    /// In Pouch's words: a mode or a script without rich mode, or a mode that
    /// is not known; a script that is not a command line.
    pub fn resolve(
        mut requests: Vec<(Origin, Request)>,
        args: &[String],
    ) -> Result<Option<RichConfig>> {
        requests.sort_by_key(|(origin, _)| *origin);
        // A file's defaults are for whoever asks; the others mean this container.
        let meant: Vec<&Request> =
            requests.iter().filter(|row| row.0 < Origin::File).map(|row| &row.1).collect();
        let mode = meant.iter().any(|request| request.mode.is_some());
        let script = meant.iter().find_map(|request| {
            let names = [
                (request.initscript.is_some(), "an initscript"),
                (request.initcmd.is_some(), "an initcmd"),
                (request.services, "services"),
            ];
            names.into_iter().find(|row| row.0).map(|row| row.1)
        });
        let all = requests.into_iter().fold(Request::default(), |all, row| all.or(row.1));
        let usage = |text: String| Err(Error::new(Kind::Usage, text));
        match (all.rich, mode, script) {
            (Some(true), ..) => {}
            (None, true, _) => {
                return usage(
                    "must first enable rich mode, then specify a rich mode type".to_owned(),
                );
            }
            (None, false, Some(name)) => {
                return usage(format!("must first enable rich mode, then specify {name}"));
            }
            (Some(false), ..) | (None, false, None) => return Ok(None),
        }
        let name = all.mode.as_deref().unwrap_or(MODES[0].0);
        let named = mode_named(name).map_err(|what| Error::new(Kind::Usage, what))?;
        let mode = named.unwrap_or_else(|| settle(args));
        if all.services && mode != RichMode::DumbInit {
            return usage(
                "services need rich mode dumb-init: another init runs its own".to_owned(),
            );
        }
        let mut scripts = Vec::new();
        if let Some(text) = &all.initscript {
            let words = split_words(text)
                .map_err(|why| Error::new(Kind::Usage, format!("initscript: {why}")))?;
            scripts.push(InitScript::File(words));
        }
        if let Some(line) = all.initcmd {
            if !is_line(&line) {
                return usage("initcmd: no command".to_owned());
            }
            scripts.push(InitScript::Command(line));
        }
        Ok(Some(RichConfig {
            mode,
            scripts,
            init_timeout: all.init_timeout.unwrap_or(INIT_TIMEOUT),
            environment_file: all.environment_file.unwrap_or(true),
            stop_signal: all.stop_signal,
        }))
    }
}

/// The mode of that name; `None` for `auto`. Or, in Pouch's words, that there is none.
fn mode_named(name: &str) -> std::result::Result<Option<RichMode>, String> {
    let row = MODES.iter().find(|row| row.0 == name);
    row.map(|row| row.1).ok_or_else(|| format!("not supported rich mode: {name}"))
}

/// Whether a text is something for a shell to do.
fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains('\0')
}

/// The programs that are an init themselves: as the command of a container
/// they become PID 1 and no unit is made for them.
const INITS: &[(&str, RichMode)] = &[
    ("systemd", RichMode::Systemd),
    ("/lib/systemd/systemd", RichMode::Systemd),
    ("/usr/lib/systemd/systemd", RichMode::Systemd),
    ("/sbin/init", RichMode::SbinInit),
    ("/usr/sbin/init", RichMode::SbinInit),
    ("/bin/init", RichMode::SbinInit),
    ("init", RichMode::SbinInit),
];

/// Whether a container's command is an init itself, and which.
pub fn init_named(args: &[String]) -> Option<RichMode> {
    let name = args.first()?;
    INITS.iter().find(|row| row.0 == name).map(|row| row.1)
}

/// How Kubernetes' engines mark the container that only holds a pod's
/// namespaces: containerd's CRI plugin, CRI-O.
const POD_HOLDERS: [(&str, &str); 2] = [
    ("io.kubernetes.cri.container-type", "sandbox"),
    ("io.kubernetes.cri-o.ContainerType", "sandbox"),
];

/// Whether a container only holds a pod's namespaces. What is asked of a pod,
/// by its annotations or its RuntimeClass, is meant for the others: this one's
/// image has nothing but a program that waits.
pub fn holds_a_pod(annotations: &HashMap<String, String>) -> bool {
    POD_HOLDERS.iter().any(|(name, value)| annotations.get(*name).is_some_and(|is| is == value))
}

/// The inits that engines put before a payload when their `--init` asks for
/// one: podman's, that of podman before 4, Docker's.
const ENGINES_INITS: [&str; 3] = ["/run/podman-init", "/dev/init", "/sbin/docker-init"];

/// A command line without the init that an engine has put before it: a rich
/// container has one already, behind which another could reap nothing.
pub fn without_engines_init(args: &[String]) -> &[String] {
    match args {
        [init, dashes, payload @ ..]
            if ENGINES_INITS.contains(&init.as_str()) && dashes == "--" && !payload.is_empty() =>
        {
            payload
        }
        _ => args,
    }
}

/// What `auto` comes to: the init that the command names, else the built-in one.
fn settle(args: &[String]) -> RichMode {
    init_named(args).unwrap_or(RichMode::DumbInit)
}

/// Why a text is no list of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadWords {
    /// A quotation mark without its partner.
    OpenQuote,
    /// Nothing there.
    Empty,
    /// A NUL byte.
    Nul,
}

impl fmt::Display for BadWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadWords::OpenQuote => "a quotation mark is not closed",
            BadWords::Empty => "no file given",
            BadWords::Nul => "contains a NUL byte",
        })
    }
}

/// Splits a command line into words as a shell does: blanks, quotes of both
/// sorts, backslashes; nothing is expanded.
///
/// # Errors
/// A quotation mark that is not closed; no word at all.
pub fn split_words(text: &str) -> std::result::Result<Vec<String>, BadWords> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\0' => return Err(BadWords::Nul),
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(BadWords::OpenQuote)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(BadWords::OpenQuote)? {
                        '"' => break,
                        '\\' => match chars.next().ok_or(BadWords::OpenQuote)? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) { Err(BadWords::Empty) } else { Ok(words) }
}

#[cfg(test)]
mod tests;
