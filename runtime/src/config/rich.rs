//! Asking for a rich container: the ways, and the one answer they give.
//!
//! Each way fills a [`Request`]; a field that it leaves open is taken from the
//! next. From the strongest to the weakest: command line, annotations, the
//! process's environment, the runtime's, the configuration file, the program's own
//! name. How much of it is granted depends on who asks ([`super::trust`]).

mod engines;
mod mode;
mod request;
pub mod words;

use serde::{Deserialize, Serialize};

use super::trust::{Origin, Right, Rights, Trust};
use crate::error::{Error, Kind, Result};
pub use engines::{holds_a_pod, without_engines_init};
pub use mode::{MODES, RichMode, init_named, mode_named};
pub use request::{ANNOTATION, Request, for_the_runtime};
use words::{is_line, split_words};

/// How long an init script may take unless told otherwise, in seconds.
pub const INIT_TIMEOUT: u64 = 60;

/// A rich container as it was asked for and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RichConfig {
    /// Which init.
    pub mode: RichMode,
    /// Whose word it is that the init is this one: of all who had a say, his who is trusted least.
    #[serde(default)]
    pub asked_by: Origin,
    /// What the init may have beyond what the payload has.
    #[serde(default)]
    pub granted: Rights,
    /// What runs in the container before its payload, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Script>,
    /// How long each of them may take, in seconds; 0: for ever.
    pub init_timeout: u64,
    /// Whether the environment is kept in `/etc/profile.d` for later logins.
    pub environment_file: bool,
    /// What `kill` sends in the place of TERM; `None`: what the mode needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// An init script and who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// What runs.
    #[serde(flatten)]
    pub what: InitScript,
    /// As the container's root with its whole bounding set; or else as the payload.
    #[serde(default)]
    pub as_root: bool,
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

impl RichConfig {
    /// Resolves all requests for a container with the command line `args`, whose process has
    /// the user id `uid`.
    ///
    /// # Errors
    /// In Pouch's words: a mode or a script without rich mode, or a mode that
    /// is not known; a script that is not a command line.
    pub fn resolve(
        mut requests: Vec<(Origin, Request)>,
        args: &[String],
        uid: u32,
    ) -> Result<Option<RichConfig>> {
        requests.sort_by_key(|(origin, _)| *origin);
        let asked = Asked(&requests);
        let usage = |text: String| Err(Error::new(Kind::Usage, text));
        let rich_by = match (asked.first(|request| request.rich), asked.meant()) {
            (Some((true, origin)), _) => origin,
            (None, Some(name)) => {
                return usage(format!("must first enable rich mode, then specify {name}"));
            }
            (Some((false, _)), _) | (None, None) => return Ok(None),
        };
        let trust = asked.trust();
        let (mode, had_a_say) = asked.mode(rich_by, args)?;
        if asked.services() && mode != RichMode::DumbInit {
            return usage(
                "services need rich mode dumb-init: another init runs its own".to_owned(),
            );
        }
        let as_root = |by: Origin| uid == 0 || trust.rights(&[rich_by, by]).has(Right::Root);
        let file = asked.first(|request| request.environment_file);
        let (wanted, file_by) = file.unwrap_or((true, rich_by));
        Ok(Some(RichConfig {
            mode,
            asked_by: trust.weakest(&had_a_say),
            granted: trust.rights(&had_a_say),
            scripts: asked.scripts(&trust, rich_by)?,
            init_timeout: asked.first(|r| r.init_timeout).map_or(INIT_TIMEOUT, |row| row.0),
            // Root writes it; whoever is not root could not.
            environment_file: wanted && as_root(file_by),
            stop_signal: asked.first(|request| request.stop_signal.clone()).map(|row| row.0),
        }))
    }
}

/// All requests, the strongest first.
struct Asked<'a>(&'a [(Origin, Request)]);

impl Asked<'_> {
    /// What the strongest says who says anything, and who that is.
    fn first<T>(&self, field: impl Fn(&Request) -> Option<T>) -> Option<(T, Origin)> {
        self.0.iter().find_map(|(origin, request)| field(request).map(|value| (value, *origin)))
    }

    /// What is asked for this very container and makes sense in a rich one only: a file's
    /// defaults are for whoever asks.
    fn meant(&self) -> Option<&'static str> {
        let meant = || self.0.iter().filter(|row| row.0 < Origin::File).map(|row| &row.1);
        let named = |request: &Request| {
            let names = [
                (request.initscript.is_some(), "an initscript"),
                (request.initcmd.is_some(), "an initcmd"),
                (request.services, "services"),
            ];
            names.into_iter().find(|row| row.0).map(|row| row.1)
        };
        let mode = meant().any(|request| request.mode.is_some());
        mode.then_some("a rich mode type").or_else(|| meant().find_map(named))
    }

    fn services(&self) -> bool {
        self.0.iter().any(|row| row.1.services)
    }

    /// The administrator's own word.
    fn trust(&self) -> Trust {
        let file = self.0.iter().find(|row| row.0 == Origin::File);
        file.map(|row| row.1.trust.clone()).unwrap_or_default()
    }

    /// The mode, and all who had a say in it.
    fn mode(&self, rich_by: Origin, args: &[String]) -> Result<(RichMode, Vec<Origin>)> {
        let said = self.first(|request| request.mode.clone());
        let (name, by) = said.unwrap_or_else(|| (MODES[0].0.to_owned(), rich_by));
        let named = mode_named(&name).map_err(|what| Error::new(Kind::Usage, what))?;
        Ok(match (named, init_named(args)) {
            (Some(mode), _) => (mode, vec![rich_by, by]),
            (None, None) => (RichMode::DumbInit, vec![rich_by, by]),
            // Whoever asks on the command line knows what he runs.
            (None, Some(mode)) if by == Origin::CommandLine => (mode, vec![rich_by, by]),
            (None, Some(mode)) => (mode, vec![rich_by, by, Origin::Command]),
        })
    }

    fn scripts(&self, trust: &Trust, rich_by: Origin) -> Result<Vec<Script>> {
        let usage = |text: String| Error::new(Kind::Usage, text);
        let script = |what: InitScript, by: Origin| Script {
            what,
            as_root: trust.rights(&[rich_by, by]).has(Right::Root),
        };
        let mut scripts = Vec::new();
        if let Some((text, by)) = self.first(|request| request.initscript.clone()) {
            let words = split_words(&text).map_err(|why| usage(format!("initscript: {why}")))?;
            scripts.push(script(InitScript::File(words), by));
        }
        if let Some((line, by)) = self.first(|request| request.initcmd.clone()) {
            if !is_line(&line) {
                return Err(usage("initcmd: no command".to_owned()));
            }
            scripts.push(script(InitScript::Command(line), by));
        }
        Ok(scripts)
    }
}

#[cfg(test)]
mod tests;
