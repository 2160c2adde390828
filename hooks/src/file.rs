//! A file with hooks, whatever its form, and what is wrong with it.

use std::path::Path;

use oci_spec::runtime::{Hook, Hooks};
use rustix::fs::{Access, access};
use serde_json::{Map, Value};

use crate::command::check_hook;
use crate::error::errno_text;
use crate::hooks_d::{Definition, Stage};
use crate::phase::Phase;

/// The fields of a hook (runtime-spec, config.md, "POSIX-platform Hooks").
const FIELDS: [&str; 4] = ["path", "args", "env", "timeout"];

/// What a file with hooks holds.
#[derive(Debug, Clone)]
pub enum HookFile {
    /// A configuration's `hooks`, alone or within the whole `config.json`.
    Hooks(Hooks),
    /// A definition of a hooks.d directory.
    Definition(Box<Definition>),
}

impl HookFile {
    /// Reads `text`; `file` names it. A document with `ociVersion` or `hooks` is a `config.json`, one with
    /// `hook` or `stages` a definition, any other is `hooks` itself.
    ///
    /// # Errors
    /// All that is wrong, a line each, starting with the field.
    pub fn parse(file: &Path, text: &[u8]) -> Result<Self, Vec<String>> {
        let one = |what: String| vec![what];
        let document: Value = serde_json::from_slice(text).map_err(|e| one(e.to_string()))?;
        let Value::Object(fields) = &document else { return Err(one("is not an object".into())) };
        let has = |names: [&str; 2]| names.iter().any(|name| fields.contains_key(*name));
        if has(["hook", "stages"]) {
            let definition = Definition::parse(file, text).map_err(one)?;
            return Ok(HookFile::Definition(Box::new(definition)));
        }
        let hooks =
            if has(["ociVersion", "hooks"]) { fields.get("hooks") } else { Some(&document) };
        let Some(hooks) = hooks else { return Ok(HookFile::Hooks(Hooks::default())) };
        let problems = check_hooks(hooks);
        if !problems.is_empty() {
            return Err(problems);
        }
        serde_json::from_value(hooks.clone()).map(HookFile::Hooks).map_err(|e| one(e.to_string()))
    }

    /// The hooks that it names. A definition's conditions are not asked: it stands at all its stages.
    pub fn into_hooks(self) -> Hooks {
        let definition = match self {
            HookFile::Hooks(hooks) => return hooks,
            HookFile::Definition(definition) => definition,
        };
        let mut hooks = Hooks::default();
        for stage in &definition.stages {
            if let Stage::Phase(phase) = stage {
                phase.of_mut(&mut hooks).push(definition.hook.clone());
            }
        }
        hooks
    }
}

/// All that is wrong with a configuration's `hooks`: what the specification forbids, and names that nobody
/// would read (`preStart`). Each line starts with the field (`hooks.prestart[0].path: ...`).
pub fn check_hooks(hooks: &Value) -> Vec<String> {
    let hooks = match hooks {
        Value::Null => return Vec::new(),
        Value::Object(hooks) => hooks,
        _ => return vec!["hooks: must be an object".into()],
    };
    let mut problems = Vec::new();
    for (name, list) in hooks {
        let place = format!("hooks.{name}");
        match (Phase::by_name(name), list) {
            (None, _) => problems.push(format!("{place}: is not known")),
            (Some(_), Value::Null) => {}
            (Some(_), Value::Array(list)) => {
                for (at, hook) in list.iter().enumerate() {
                    let wrong = check_one(hook);
                    problems.extend(wrong.into_iter().map(|what| match what.starts_with(':') {
                        true => format!("{place}[{at}]{what}"),
                        false => format!("{place}[{at}].{what}"),
                    }));
                }
            }
            (Some(_), _) => problems.push(format!("{place}: must be an array")),
        }
    }
    problems
}

/// What is wrong with one hook: from its field on, or from `: ` on where it is the hook itself.
fn check_one(hook: &Value) -> Vec<String> {
    let Value::Object(fields) = hook else { return vec![": must be an object".into()] };
    let mut problems: Vec<String> = unknown(fields).collect();
    match serde_json::from_value::<Hook>(hook.clone()) {
        Ok(hook) => problems.extend(check_hook(&hook).err()),
        Err(error) => problems.push(format!(": {error}")),
    }
    problems
}

fn unknown(fields: &Map<String, Value>) -> impl Iterator<Item = String> {
    let names = fields.keys().filter(|name| !FIELDS.contains(&name.as_str()));
    names.map(|name| format!("{name}: is not known"))
}

/// Why a hook's program cannot be executed by this process, as far as can be seen without doing so:
/// `path: /x: no such file or directory`.
pub fn program_problem(hook: &Hook) -> Option<String> {
    let path = hook.path();
    let what = match std::fs::metadata(path) {
        Ok(data) if !data.is_file() => "is not a regular file".to_owned(),
        Ok(_) => errno_text(access(path, Access::EXEC_OK).err()?.raw_os_error()),
        Err(error) => errno_text(error.raw_os_error().unwrap_or(libc::ENOENT)),
    };
    Some(format!("path: {}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HookFile, Vec<String>> {
        HookFile::parse("/d/x.json".as_ref(), text.as_bytes())
    }

    fn paths(text: &str, phase: Phase) -> Vec<String> {
        let hooks = parse(text).unwrap().into_hooks();
        phase.of(&hooks).iter().map(|hook| hook.path().display().to_string()).collect()
    }

    #[test]
    fn three_forms_are_told_apart() {
        let hooks = r#"{"poststop":[{"path":"/a"},{"path":"/b"}]}"#;
        assert_eq!(paths(hooks, Phase::Poststop), ["/a", "/b"]);
        let config = format!(r#"{{"ociVersion":"1.2.0","hooks":{hooks}}}"#);
        assert_eq!(paths(&config, Phase::Poststop), ["/a", "/b"]);
        assert!(paths(r#"{"ociVersion":"1.2.0"}"#, Phase::Poststop).is_empty());
        let definition = r#"{"version":"1.0.0","hook":{"path":"/d"},"when":{},
            "stages":["prestart","poststop"]}"#;
        assert_eq!(paths(definition, Phase::Poststop), ["/d"]);
        assert_eq!(paths(definition, Phase::Prestart), ["/d"]);
        assert!(paths(definition, Phase::Poststart).is_empty());
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let text = r#"{"hooks":{"preStart":[],"poststart":{},"poststop":[
            {"path":"x"},{"path":"/x","argv":["x"],"timeout":0},7,{"args":[]},{"path":"/good"}]}}"#;
        let mut problems = parse(text).unwrap_err();
        problems.sort();
        let wanted = [
            "hooks.poststart: must be an array",
            "hooks.poststop[0].path: x: must be absolute",
            "hooks.poststop[1].argv: is not known",
            "hooks.poststop[1].timeout: 0: must be greater than zero",
            "hooks.poststop[2]: must be an object",
            "hooks.poststop[3]: missing field `path`",
            "hooks.preStart: is not known",
        ];
        assert_eq!(problems, wanted);
        assert_eq!(parse("[]").unwrap_err(), ["is not an object"]);
        assert_eq!(parse(r#"{"hooks":[]}"#).unwrap_err(), ["hooks: must be an object"]);
        assert_eq!(parse(r#"{"hook":{"path":"/x"}}"#).unwrap_err().len(), 1);
        assert!(parse("{").unwrap_err()[0].contains("line 1 column"));
    }

    #[test]
    fn a_program_that_cannot_run_is_named() {
        let problem = |path: &str| {
            let hook: Hook = serde_json::from_value(serde_json::json!({"path": path})).unwrap();
            program_problem(&hook)
        };
        assert_eq!(problem("/bin/sh"), None);
        let missing = "path: /nonexistent/x: no such file or directory";
        assert_eq!(problem("/nonexistent/x").as_deref(), Some(missing));
        assert_eq!(problem("/usr").as_deref(), Some("path: /usr: is not a regular file"));
        let denied = problem("/etc/passwd").unwrap();
        assert_eq!(denied, "path: /etc/passwd: permission denied");
    }
}
