//! What one of the ways of asking says.

use std::collections::HashMap;

use serde::Deserialize;

use super::mode::mode_named;
use super::words::{is_line, split_words};
use crate::config::extras;
use crate::config::nearest::did_you_mean;
use crate::config::trust::Trust;
use crate::error::{Error, Result};

/// What one of the ways says; what it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// Whether the container is rich at all.
    pub rich: Option<bool>,
    /// Which init, by a name of `MODES`.
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
    /// Who else may ask for more than the payload has: the administrator's file alone says.
    pub trust: Trust,
}

/// What comes before the name of every annotation.
pub const ANNOTATION: &str = "io.richrun.";

/// The names of the annotations.
const ANNOTATIONS: [&str; 8] = [
    "rich",
    "mode",
    "initscript",
    "initcmd",
    "init-timeout",
    "environment-file",
    "stop-signal",
    "services",
];

/// Pouch's variables: whether a container is rich, and by which init.
const VARIABLES: [&str; 2] = ["rich_mode", "rich_mode_launch_manner"];

impl Request {
    /// Reads the annotations of a container; what to say of those below
    /// [`ANNOTATION`] that mean nothing comes back too.
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
                // Not about rich containers.
                other if extras::NAMES.contains(&other) => {}
                other => {
                    let known = ANNOTATIONS.into_iter().chain(extras::NAMES);
                    let meant = did_you_mean(other, known);
                    let meant = meant.replace("mean ", &format!("mean {ANNOTATION}"));
                    unknown.push(format!("{full}{meant}"));
                }
            }
        }
        unknown.sort();
        Ok((request, unknown))
    }

    /// Reads Pouch's two variables where they are meant for the runtime and for nobody else.
    ///
    /// # Errors
    /// `rich_mode` is neither true nor false.
    pub fn of_runtime(rich: Option<&str>, mode: Option<&str>) -> Result<Request> {
        let given = |value: Option<&str>| value.filter(|text| !text.is_empty()).map(str::to_owned);
        let rich = given(rich).map(|value| truth(VARIABLES[0], &value)).transpose()?;
        Ok(Request { rich, mode: given(mode), ..Request::default() })
    }

    /// Reads them among a process's variables, where Pouch's daemon puts them. What the
    /// process itself means by such a name ([`for_the_runtime`]) asks for nothing.
    pub fn of_process(env: &[String]) -> Request {
        let [rich, mode] = pouchs(env);
        let rich = rich.and_then(|value| truth(VARIABLES[0], value).ok());
        let mode = mode.filter(|name| !name.is_empty()).map(str::to_owned);
        Request { rich, mode, ..Request::default() }
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
}

/// What Pouch's daemon says among a process's variables; the last value of a name counts.
///
/// `rich_mode` is the daemon's where it is true or false, and the manner where the container
/// is rich by it or names a mode: a program may mean something else by such names.
fn pouchs(env: &[String]) -> [Option<&str>; 2] {
    let value =
        |name: &str| env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    let [rich, mode] = VARIABLES.map(value);
    if rich.is_some_and(|value| !value.is_empty() && truth(VARIABLES[0], value).is_err()) {
        return [None, None];
    }
    let is_mode = |name: &&str| name.is_empty() || mode_named(name).is_ok();
    let mode = mode.filter(|name| rich.is_some_and(|rich| !rich.is_empty()) || is_mode(name));
    [rich, mode]
}

/// The variables of a process that are for the runtime, and not for the process.
pub fn for_the_runtime(env: &[String]) -> impl Iterator<Item = &'static str> {
    let said = pouchs(env).map(|value| value.is_some());
    VARIABLES.into_iter().zip(said).filter(|row| row.1).map(|row| row.0)
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
