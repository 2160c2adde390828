//! What a container asks for beyond the specification, rich or not: by annotations
//! `io.richrun.NAME`, or on the command line. None of it gives a payload more than config.json
//! does, so an image may ask too.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::landlock::Landlock;
use crate::error::{Error, Result};

/// The names, behind `io.richrun.`.
pub const NAMES: [&str; 4] = ["core-dumps", "core-scheduling", "delegate-cgroup", "landlock"];

/// What becomes of a container that cannot have what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// There is none.
    Required,
    /// It goes without, and that is warned of.
    BestEffort,
}

impl Strength {
    /// Reads the value of `name`; `None`: it is not asked for.
    ///
    /// # Errors
    /// Another word.
    pub fn of(name: &str, value: &str) -> Result<Option<Strength>> {
        match value {
            "true" | "required" => Ok(Some(Strength::Required)),
            "best-effort" => Ok(Some(Strength::BestEffort)),
            "false" => Ok(None),
            _ => Err(Error::config(format!(
                "{name}: {value:?} is none of true, required, best-effort, false"
            ))),
        }
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Extras {
    /// The payload stands in a group below the container's, which has its controllers enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate_cgroup: Option<Strength>,
    /// No other container's threads run beside its own on a core (prctl(2), `PR_SCHED_CORE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_scheduling: Option<Strength>,
    /// Nothing of its memory is written anywhere when it crashes.
    pub no_core_dumps: bool,
    /// What it may not do any more; each set holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub landlock: Vec<Landlock>,
}

/// What the command line says of it.
#[derive(Debug, Clone, Default)]
pub struct Given<'a> {
    /// `--landlock`, one rule each.
    pub landlock: &'a [String],
    /// `--delegate-cgroup`
    pub delegate_cgroup: Option<&'a str>,
}

impl Extras {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Extras::default()
    }

    /// Reads both; what the command line says of the same thing counts, and of Landlock both.
    ///
    /// # Errors
    /// A value that is none.
    pub fn new(annotations: Option<&HashMap<String, String>>, given: Given<'_>) -> Result<Extras> {
        let mut extras = Extras::default();
        if !given.landlock.is_empty() {
            extras.landlock.push(Landlock::of_words(given.landlock, "--landlock")?);
        }
        if let Some(annotations) = annotations.filter(|all| !all.is_empty()) {
            extras.add(annotations)?;
        }
        if let Some(word) = given.delegate_cgroup {
            extras.delegate_cgroup = Strength::of("--delegate-cgroup", word)?;
        }
        Ok(extras)
    }

    fn add(&mut self, annotations: &HashMap<String, String>) -> Result<()> {
        let value = |name: &str| {
            let name = format!("io.richrun.{name}");
            annotations.get(&name).map(|value| (format!("annotations: {name}"), value.as_str()))
        };
        let strength = |name: &str| match value(name) {
            Some((name, value)) => Strength::of(&name, value),
            None => Ok(None),
        };
        self.core_scheduling = strength("core-scheduling")?;
        self.delegate_cgroup = strength("delegate-cgroup")?;
        self.no_core_dumps = match value("core-dumps") {
            None | Some((_, "true")) => false,
            Some((_, "false")) => true,
            Some((name, value)) => {
                let words = format!("{name}: {value:?} is neither true nor false");
                return Err(Error::config(words));
            }
        };
        if let Some((name, value)) = value("landlock") {
            self.landlock.push(Landlock::of_text(value, &name)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(&str, &str)], given: Given<'_>) -> Result<Extras> {
        let rows = rows.iter().map(|(name, value)| (format!("io.richrun.{name}"), (*value).into()));
        Extras::new(Some(&rows.collect()), given)
    }

    #[test]
    fn nothing_is_asked_for_without_a_word() {
        assert!(of(&[("rich", "true")], Given::default()).unwrap().is_empty());
        assert!(Extras::new(None, Given::default()).unwrap().is_empty());
    }

    #[test]
    fn the_command_line_overrules_but_lifts_no_restriction() {
        let words = ["bind=none".to_owned()];
        let given = Given { landlock: &words, delegate_cgroup: Some("false") };
        let rows = [("landlock", "ro=/"), ("delegate-cgroup", "true"), ("core-dumps", "false")];
        let both = of(&rows, given).unwrap();
        assert_eq!((both.landlock.len(), both.delegate_cgroup), (2, None));
        assert!(both.no_core_dumps);
    }

    #[test]
    fn words_that_are_none_are_named() {
        for (name, value) in [
            ("core-scheduling", "yes"),
            ("delegate-cgroup", ""),
            ("core-dumps", "0"),
            ("landlock", "all"),
        ] {
            let error = of(&[(name, value)], Given::default()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("annotations: io.richrun.{name}: ")), "{error}");
        }
    }
}
