//! One hooks.d file: schema 1.0.0, read as Go's `encoding/json` would.

use std::path::Path;

use oci_spec::runtime::Hook;
use serde_json::{Map, Value};

use super::pattern::Pattern;
use super::when::When;
use crate::command::check_hook;
use crate::phase::Phase;

/// The only version there is of this schema.
const VERSION: &str = "1.0.0";

/// A point at which a definition wants its hook to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// One of the specification's.
    Phase(Phase),
    /// podman's `precreate`, which changes the configuration before any runtime sees it: not ours to run.
    Precreate,
}

/// One hook, when it applies, and the points at which it runs.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The file's name: definitions merge and sort by it.
    pub name: String,
    /// Where it was read.
    pub file: std::path::PathBuf,
    /// What to run.
    pub hook: Hook,
    /// For which containers.
    pub when: When,
    /// At which points.
    pub stages: Vec<Stage>,
    /// An addition to the schema, which engines ignore: definitions run in ascending order of it, those
    /// below 0 before the configuration's own hooks. 0 if absent.
    pub priority: i64,
}

impl Definition {
    /// `file` names it, `text` is what it holds. An error is what is wrong, starting with the field.
    pub fn parse(file: &Path, text: &[u8]) -> Result<Self, String> {
        // Bytes that are not UTF-8 are replaced.
        let text = String::from_utf8_lossy(text);
        let document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let Value::Object(document) = document else { return Err("is not an object".into()) };
        match string(&document, "version")? {
            Some(version) if version == VERSION => {}
            version => {
                let version = version.unwrap_or_default();
                return Err(format!("version: {version:?}: only {VERSION:?} is known"));
            }
        }
        let hook = hook(&object(&document, "hook")?.unwrap_or_default())?;
        let when = when(&object(&document, "when")?.unwrap_or_default())?;
        let Some(names) = strings(&document, "stages")? else {
            return Err("stages: is missing".into());
        };
        let stages = names.iter().map(|name| stage(name)).collect::<Result<_, _>>()?;
        let priority = integer(&document, "priority")?.unwrap_or(0);
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Definition { name, file: file.to_owned(), hook, when, stages, priority })
    }
}

fn hook(object: &Map<String, Value>) -> Result<Hook, String> {
    let mut hook = Hook::default();
    hook.set_path(string(object, "path")?.unwrap_or_default().into());
    // The engines pass an empty list on as none at all, also of `env`.
    let list = |key| Ok::<_, String>(strings(object, key)?.filter(|list| !list.is_empty()));
    hook.set_args(list("args")?);
    hook.set_env(list("env")?);
    hook.set_timeout(integer(object, "timeout")?);
    if hook.path().as_os_str().is_empty() {
        return Err("hook.path: is missing".into());
    }
    check_hook(&hook).map_err(|what| format!("hook.{what}"))?;
    Ok(hook)
}

fn when(object: &Map<String, Value>) -> Result<When, String> {
    let pattern = |text: &str, place: String| {
        Pattern::new(text).map_err(|what| format!("when.{place}: {text:?}: {what}"))
    };
    let mut when = When {
        always: boolean(object, "always")?,
        has_bind_mounts: boolean(object, "hasBindMounts")?,
        ..When::default()
    };
    for (key, value) in self::object(object, "annotations")?.unwrap_or_default() {
        let value = text(&value).ok_or(format!("when.annotations[{key:?}]: must be a string"))?;
        let place = || "annotations".to_owned();
        when.annotations.push((pattern(&key, place())?, pattern(&value, place())?));
    }
    for (at, command) in strings(object, "commands")?.iter().flatten().enumerate() {
        when.commands.push(pattern(command, format!("commands[{at}]"))?);
    }
    Ok(when)
}

fn stage(name: &str) -> Result<Stage, String> {
    match Phase::by_name(name) {
        Some(phase) => Ok(Stage::Phase(phase)),
        None if name == "precreate" => Ok(Stage::Precreate),
        None => Err(format!("stages: {name:?}: is not known")),
    }
}

/// The value of a key, whose case does not matter, as in Go; null is as good as absent.
fn field<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let same = || object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, v)| v);
    object.get(key).or_else(same).filter(|value| !value.is_null())
}

fn object(from: &Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, String> {
    match field(from, key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(_) => Err(format!("{key}: must be an object")),
    }
}

fn string(from: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match field(from, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key}: must be a string")),
    }
}

fn boolean(from: &Map<String, Value>, key: &str) -> Result<Option<bool>, String> {
    match field(from, key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(format!("{key}: must be true or false")),
    }
}

fn integer(from: &Map<String, Value>, key: &str) -> Result<Option<i64>, String> {
    match field(from, key) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(value) => Ok(Some(value)),
            None => Err(format!("{key}: must be an integer")),
        },
    }
}

/// A string within an array or a map, where null is the empty one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        value => value.as_str().map(str::to_owned),
    }
}

fn strings(from: &Map<String, Value>, key: &str) -> Result<Option<Vec<String>>, String> {
    let error = || format!("{key}: must be an array of strings");
    match field(from, key) {
        None => Ok(None),
        Some(Value::Array(items)) => {
            items.iter().map(text).collect::<Option<Vec<_>>>().map(Some).ok_or_else(error)
        }
        Some(_) => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Definition, String> {
        Definition::parse("/d/10-x.json".as_ref(), text.as_bytes())
    }

    const GOOD: &str = r#"{"version":"1.0.0","hook":{"path":"/bin/x"},"when":{"always":true},"stages":["prestart"]}"#;

    #[test]
    fn a_whole_definition() {
        let definition = parse(
            r#"{"version":"1.0.0","unknown":1,"priority":-3,
                "Hook":{"path":"/bin/x","args":["x","y"],"env":["A=b"],"timeout":4},
                "when":{"HASBINDMOUNTS":true},"stages":["precreate","poststop"]}"#,
        )
        .unwrap();
        assert_eq!(definition.name, "10-x.json");
        assert_eq!(definition.hook.args().as_deref(), Some(&["x".to_owned(), "y".to_owned()][..]));
        assert_eq!(definition.hook.timeout(), Some(4));
        assert_eq!(definition.stages, [Stage::Precreate, Stage::Phase(Phase::Poststop)]);
        assert_eq!(definition.priority, -3);
        assert_eq!(definition.when.has_bind_mounts, Some(true));
    }

    #[test]
    fn null_and_emptiness_are_as_in_go() {
        let path = r#""path":"/bin/x""#;
        let read = |more: &str| parse(&GOOD.replace(path, &format!("{path},{more}"))).unwrap().hook;
        let nulls = read(r#""args":["a",null],"env":[null]"#);
        assert_eq!(nulls.args().as_deref(), Some(&["a".to_owned(), String::new()][..]));
        assert_eq!(nulls.env().as_deref(), Some(&[String::new()][..]));
        let empty = read(r#""args":[],"env":[]"#);
        assert_eq!((empty.args(), empty.env()), (&None, &None));
        for when in [r#"{"annotations":{"a":null}}"#, r#"{"commands":[null]}"#] {
            parse(&GOOD.replace(r#"{"always":true}"#, when)).unwrap();
        }
        let bytes = GOOD.replace("/bin/x", "/bin/~").replace('~', "\u{1}").into_bytes();
        let bytes: Vec<u8> = bytes.into_iter().map(|b| if b == 1 { 0xff } else { b }).collect();
        let definition = Definition::parse("/d/10-x.json".as_ref(), &bytes).unwrap();
        assert_eq!(definition.hook.path().to_str(), Some("/bin/\u{fffd}"));
    }

    #[test]
    fn what_is_wrong_is_named_by_field() {
        for (from, to, message) in [
            ("1.0.0", "2.0.0", r#"version: "2.0.0": only "1.0.0" is known"#),
            (r#""version":"1.0.0","#, "", r#"version: "": only "1.0.0" is known"#),
            (r#""path":"/bin/x""#, "", "hook.path: is missing"),
            (r#""/bin/x""#, r#""bin/x""#, "hook.path: bin/x: must be absolute"),
            (r#""/bin/x""#, r#""/x","timeout":0"#, "hook.timeout: 0: must be greater than zero"),
            (r#""/bin/x""#, r#""/x","args":"a""#, "args: must be an array of strings"),
            (r#""always":true"#, r#""always":"yes""#, "always: must be true or false"),
            (
                r#""always":true"#,
                r#""commands":["ok","(?=a)"]"#,
                r#"when.commands[1]: "(?=a)": invalid or unsupported Perl syntax"#,
            ),
            (
                r#""always":true"#,
                r#""annotations":{"a":"["}"#,
                r#"when.annotations: "[": missing closing ]"#,
            ),
            (r#","stages":["prestart"]"#, "", "stages: is missing"),
            (r#"["prestart"]"#, "null", "stages: is missing"),
            (r#"["prestart"]"#, r#"["preStart"]"#, r#"stages: "preStart": is not known"#),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            assert_eq!(parse(&text).err().as_deref(), Some(message), "{text}");
        }
        assert_eq!(parse("[]").err().as_deref(), Some("is not an object"));
        assert!(parse("{").err().unwrap().contains("line 1 column"));
        assert!(parse(&format!("{GOOD}{GOOD}")).is_err());
    }
}
