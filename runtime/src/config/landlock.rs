//! Landlock rules for a payload, in words: of an annotation, or of the command line.
//!
//! A rule set can only take rights away, so an image may ask for one. Sets of several origins
//! hold one on top of the other.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What may be done below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read files, list directories.
    Ro,
    /// That, and execute files.
    Exec,
    /// Read, write, make, rename and remove; nothing is executed.
    Rw,
}

/// One set of rules; what it does not speak of stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Landlock {
    /// Absolute paths in the container, and what may be done there. With one of them, nothing
    /// else is open elsewhere.
    pub paths: Vec<(Access, String)>,
    /// The TCP ports that may be bound; `None`: every one.
    pub bind: Option<Vec<u16>>,
    /// The TCP ports that may be connected to; `None`: every one.
    pub connect: Option<Vec<u16>>,
    /// No signal leaves the payload's domain.
    pub scope_signal: bool,
    /// No abstract unix socket outside of the payload's domain is connected to.
    pub scope_sockets: bool,
    /// What the kernel does not have is left out, and warned of.
    pub best_effort: bool,
}

impl Landlock {
    /// Reads the text of an annotation: rules with blanks between them; `whose` names it.
    ///
    /// # Errors
    /// The word that is no rule.
    pub fn of_text(text: &str, whose: &str) -> Result<Landlock> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Landlock::of_words(&words, whose)
    }

    /// Reads one rule a word; `whose` names where they stand.
    ///
    /// # Errors
    /// The word that is no rule.
    pub fn of_words(words: &[String], whose: &str) -> Result<Landlock> {
        let mut all = Landlock::default();
        for word in words {
            all.add(word).ok_or_else(|| {
                Error::config(format!(
                    "{whose}: {word:?} is none of ro=/PATH, exec=/PATH, rw=/PATH, bind=PORT, \
                     connect=PORT, bind=none, connect=none, scope=signal, \
                     scope=abstract-unix-socket, required, best-effort"
                ))
            })?;
        }
        let rules = Landlock { best_effort: false, ..all.clone() };
        match rules == Landlock::default() {
            true => Err(Error::config(format!("{whose}: no rules"))),
            false => Ok(all),
        }
    }

    fn add(&mut self, word: &str) -> Option<()> {
        let ports = |ports: &mut Option<Vec<u16>>, value: &str| {
            let ports = ports.get_or_insert_default();
            match value {
                "none" => Some(()),
                port => port.parse().ok().map(|port| ports.push(port)),
            }
        };
        match word.split_once('=').unwrap_or((word, "")) {
            ("required", "") => self.best_effort = false,
            ("best-effort", "") => self.best_effort = true,
            ("bind", value) => ports(&mut self.bind, value)?,
            ("connect", value) => ports(&mut self.connect, value)?,
            ("scope", "signal") => self.scope_signal = true,
            ("scope", "abstract-unix-socket") => self.scope_sockets = true,
            (access, path) if path.starts_with('/') && !path.contains('\0') => {
                let access = match access {
                    "ro" => Access::Ro,
                    "exec" => Access::Exec,
                    "rw" => Access::Rw,
                    _ => return None,
                };
                self.paths.push((access, path.to_owned()));
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_rules() {
        let all = Landlock::of_text(
            "ro=/ exec=/a\n\trw=/tmp bind=80 bind=8080 connect=none scope=signal best-effort",
            "x",
        )
        .unwrap();
        let path = |access, path: &str| (access, path.to_owned());
        assert_eq!(
            all,
            Landlock {
                paths: vec![
                    path(Access::Ro, "/"),
                    path(Access::Exec, "/a"),
                    path(Access::Rw, "/tmp")
                ],
                bind: Some(vec![80, 8080]),
                connect: Some(vec![]),
                scope_signal: true,
                scope_sockets: false,
                best_effort: true,
            }
        );
    }

    #[test]
    fn other_words_are_named() {
        for word in
            ["ro=usr", "wr=/x", "bind=66000", "bind=", "scope=all", "ro", "", "required=1", "rw="]
        {
            let error = Landlock::of_words(&[word.to_owned()], "--landlock").unwrap_err();
            assert!(error.to_string().starts_with(&format!("--landlock: {word:?} is none of ro=")));
        }
        for text in ["", "best-effort", " \n"] {
            let error = Landlock::of_text(text, "x").unwrap_err().to_string();
            assert!(error.ends_with("no rules"), "{error}");
        }
    }
}
