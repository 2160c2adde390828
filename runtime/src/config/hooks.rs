//! hooks.d: the hooks that directories define, merged into a configuration
//! before anything is made by it, so that every later command sees them.

use std::path::PathBuf;

use oci_spec::runtime::Spec;
use rich_hooks::hooks_d::{self, Facts, HooksD, Problem};
use serde_json::Value;

use super::Config;
use super::file::Settings;
use crate::error::{Error, Result};

/// The directories that count: those asked for, or else those of the
/// administrator's settings; lowest precedence first.
pub fn directories<'a>(asked: &'a [PathBuf], settings: &'a Settings) -> &'a [PathBuf] {
    if asked.is_empty() { &settings.hooks_dirs } else { asked }
}

/// Reads the directories.
///
/// # Errors
/// The first file that is wrong, as engines refuse to start a container then.
pub fn read(directories: &[PathBuf]) -> Result<HooksD> {
    let found = hooks_d::read(directories);
    match found.problems.first() {
        Some(problem) => Err(wrong(problem)),
        None => Ok(found),
    }
}

fn wrong(problem: &Problem) -> Error {
    Error::config(format!("hooks directory: {problem}"))
}

impl Config {
    /// Adds the hooks that these directories define for such a container, in
    /// the document as well as in its bytes. Without directories nothing is done.
    ///
    /// # Errors
    /// A definition that is wrong, or cannot be decided.
    pub fn add_hooks(&mut self, directories: &[PathBuf]) -> Result<()> {
        if directories.is_empty() {
            return Ok(());
        }
        let found = read(directories)?;
        if merge(&mut self.spec, &found)? {
            self.bytes = with_hooks(&self.bytes, &self.spec)?;
        }
        Ok(())
    }
}

/// Whether anything was added.
fn merge(spec: &mut Spec, found: &HooksD) -> Result<bool> {
    let mut hooks = spec.hooks().clone().unwrap_or_default();
    let facts = Facts::of(spec);
    let verdicts = hooks_d::inject(&found.definitions, &facts, &mut hooks);
    let verdicts = verdicts.map_err(|problem| wrong(&problem))?;
    let added = verdicts.iter().any(|verdict| verdict.applies);
    if added {
        spec.set_hooks(Some(hooks));
    }
    Ok(added)
}

/// The document of `bytes`, all else unchanged, with the hooks of `spec`.
fn with_hooks(bytes: &[u8], spec: &Spec) -> Result<Vec<u8>> {
    let failed = |error| Error::config(format!("config.json with hooks: {error}"));
    let mut document: Value = serde_json::from_slice(bytes).map_err(failed)?;
    document["hooks"] = serde_json::to_value(spec.hooks()).map_err(failed)?;
    serde_json::to_vec(&document).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rich_hooks::Phase;
    use rich_hooks::hooks_d::Definition;

    use super::*;

    fn definition(path: &str, when: &str) -> Definition {
        let text = format!(
            r#"{{"version":"1.0.0","hook":{{"path":"{path}"}},"when":{when},"stages":["poststop"]}}"#
        );
        Definition::parse(Path::new("/d/x.json"), text.as_bytes()).unwrap()
    }

    fn merged(definitions: Vec<Definition>) -> (bool, Value) {
        let bytes = br#"{"ociVersion":"1.2.0","annotations":{"a":"b"},"x-unknown":{"k":1},
            "hooks":{"poststop":[{"path":"/own","timeout":7}]}}"#;
        let mut spec: Spec = serde_json::from_slice(bytes).unwrap();
        let found = HooksD { definitions, ..HooksD::default() };
        let added = merge(&mut spec, &found).unwrap();
        let bytes = with_hooks(bytes, &spec).unwrap();
        let again: Spec = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(again.hooks(), spec.hooks());
        (added, serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn what_applies_is_in_the_document_and_its_bytes() {
        let always = definition("/always", r#"{"always":true}"#);
        let (added, document) = merged(vec![always, definition("/no", r#"{"always":false}"#)]);
        assert!(added);
        let hooks = &document["hooks"][Phase::Poststop.name()];
        assert_eq!(hooks[0], serde_json::json!({"path": "/own", "timeout": 7}));
        assert_eq!(hooks[1]["path"], "/always");
        assert_eq!(hooks.as_array().unwrap().len(), 2);
        assert_eq!(document["x-unknown"]["k"], 1, "the rest is as it was");
        assert_eq!(document["annotations"]["a"], "b");
    }

    #[test]
    fn nothing_applies_and_nothing_is_added() {
        assert!(!merged(vec![definition("/no", r#"{"annotations":{"^a$":"^c$"}}"#)]).0);
        assert!(!merged(Vec::new()).0);
    }

    #[test]
    fn without_directories_nothing_is_read() {
        let bytes = br#"{"ociVersion":"1.2.0"}"#.to_vec();
        let spec: Spec = serde_json::from_slice(&bytes).unwrap();
        let mut config =
            Config { bundle: "/b".into(), spec, bytes: bytes.clone(), warnings: Vec::new() };
        config.add_hooks(&[]).unwrap();
        assert_eq!(config.bytes, bytes);
    }
}
