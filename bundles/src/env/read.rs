//! Templates read: QPOD's JSON, the same in TOML, and `devcontainer.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jsonc_parser::ParseOptions;
use serde::Deserialize;
use serde_json::Value;

use super::template::{Mount, MountTable, Port, Template, shell};
use crate::error::{Error, Kind, Result};

/// Where a work tree has its template, the first that is there.
pub const PLACES: [&str; 7] = [
    ".qpod/template.json",
    ".qpod.json",
    "qpod.json",
    "qpod.toml",
    ".qpod/template.toml",
    ".devcontainer/devcontainer.json",
    ".devcontainer.json",
];

/// Bytes of a template.
const LIMIT: u64 = 1 << 20;

/// A template and what was said about it.
#[derive(Debug)]
pub struct ReadTemplate {
    /// The template, checked.
    pub template: Template,
    /// Where it was.
    pub path: PathBuf,
    /// What it has and is not done.
    pub warnings: Vec<String>,
}

fn bad(text: impl std::fmt::Display) -> Error {
    Error::new(Kind::Refused, text)
}

/// Finds and reads the template of the work tree `top`; `given`: the one to take.
///
/// # Errors
/// There is none; it is malformed.
pub fn template_of(top: &Path, given: Option<&Path>) -> Result<ReadTemplate> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => PLACES.iter().map(|place| top.join(place)).find(|path| path.is_file()).ok_or_else(
            || {
                Error::new(
                    Kind::NotFound,
                    format!(
                        "env: {} has no template; write {} (docs: richctl env --help), or name one \
                     with --template or RICHCTL_ENV_TEMPLATE",
                        top.display(),
                        PLACES[0]
                    ),
                )
            },
        )?,
    };
    let within = |error: Error| Error::new(error.kind, format!("{}: {error}", path.display()));
    let text = read(&path)?;
    let is = |end: &str| path.to_string_lossy().ends_with(end);
    let (template, warnings) = if is("devcontainer.json") {
        devcontainer(&text, top).map_err(within)?
    } else if is(".toml") {
        (toml(&text).map_err(within)?, Vec::new())
    } else {
        (json(&text).map_err(within)?, Vec::new())
    };
    template.check().map_err(within)?;
    Ok(ReadTemplate { template, path, warnings })
}

fn read(path: &Path) -> Result<String> {
    let wrong = |error: std::io::Error| bad(format!("env: read {}: {error}", path.display()));
    let metadata = fs::metadata(path).map_err(wrong)?;
    if !metadata.is_file() || metadata.len() > LIMIT {
        return Err(bad(format!("env: {} is no template: no file of up to 1 MiB", path.display())));
    }
    fs::read_to_string(path).map_err(wrong)
}

/// JSON with comments and trailing commas.
///
/// # Errors
/// It is malformed, with line and column.
pub fn relaxed(text: &str) -> Result<Value> {
    let options = ParseOptions::default();
    let value = jsonc_parser::parse_to_serde_value(text, &options);
    value.map_err(|error| bad(format!("{error}"))).map(Option::unwrap_or_default)
}

/// A template in QPOD's JSON.
///
/// # Errors
/// It is malformed, or has a field that is not known.
pub fn json(text: &str) -> Result<Template> {
    let value = relaxed(text)?;
    if !value.is_object() {
        return Err(bad("template: it is no JSON object"));
    }
    Template::deserialize(value).map_err(|error| bad(format!("template: {error}")))
}

/// A template in TOML.
///
/// # Errors
/// As [`json`].
pub fn toml(text: &str) -> Result<Template> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        bad(format!("template: line {line}: {}", error.message()))
    })
}

/// The fields of `devcontainer.json` that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DevContainer {
    name: Option<String>,
    image: Option<String>,
    #[serde(default)]
    mounts: Vec<DevMount>,
    #[serde(default)]
    container_env: BTreeMap<String, String>,
    #[serde(default)]
    remote_env: BTreeMap<String, Option<String>>,
    remote_user: Option<String>,
    container_user: Option<String>,
    post_create_command: Option<Value>,
    #[serde(default)]
    forward_ports: Vec<Value>,
    workspace_folder: Option<String>,
    #[serde(default)]
    run_args: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum DevMount {
    Text(String),
    Table(MountTable),
}

/// Fields that say something to an editor, and nothing about the container.
const EDITORS: [&str; 9] = [
    "$schema",
    "customizations",
    "extensions",
    "settings",
    "portsAttributes",
    "otherPortsAttributes",
    "shutdownAction",
    "userEnvProbe",
    "hostRequirements",
];

/// A `devcontainer.json` as a template, and what of it is not done.
///
/// # Errors
/// It is malformed, or has no image.
pub fn devcontainer(text: &str, top: &Path) -> Result<(Template, Vec<String>)> {
    let wrong = |error: serde_json::Error| bad(format!("devcontainer.json: {error}"));
    let dev = DevContainer::deserialize(relaxed(text)?).map_err(wrong)?;
    let workspace = dev.workspace_folder.as_deref().map(|folder| expand(folder, top, folder));
    let inside = workspace.clone().unwrap_or_else(|| top.display().to_string());
    let expand = |text: &str| expand(text, top, &inside);
    let image = dev.image.ok_or_else(|| {
        bad("devcontainer.json: it has no image; nothing is built here: build one, and name it")
    })?;
    let mut environment = dev.container_env;
    environment.extend(dev.remote_env.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let environment = environment.into_iter().map(|(name, value)| (name, expand(&value))).collect();
    let mut mounts = Vec::new();
    for mount in dev.mounts {
        mounts.push(Mount::Table(match mount {
            DevMount::Text(text) => dev_mount(&expand(&text))?,
            DevMount::Table(table) => MountTable {
                source: table.source.as_deref().map(expand),
                target: table.target.as_deref().map(expand),
                ..table
            },
        }));
    }
    let ports = dev.forward_ports.iter().map(dev_port).collect::<Result<_>>()?;
    let template = Template {
        name: dev.name.unwrap_or_default(),
        image: Some(expand(&image)),
        mounts,
        environment,
        ports,
        user: dev.remote_user.or(dev.container_user),
        post_create: dev
            .post_create_command
            .map_or_else(|| Ok(Vec::new()), |value| commands(&value))?,
        workspace: workspace.map(PathBuf::from),
        default_run_args: dev.run_args.iter().map(|text| expand(text)).collect(),
        all: true,
        ..Template::default()
    };
    let ignored = dev.rest.into_keys().filter(|key| !EDITORS.contains(&key.as_str()));
    let warnings =
        ignored.map(|key| format!("devcontainer.json: {key} is not done here")).collect();
    Ok((template, warnings))
}

/// `source=A,target=B,type=bind,readonly`.
fn dev_mount(text: &str) -> Result<MountTable> {
    let mut table = MountTable::default();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "source" | "src" => table.source = Some(value.to_owned()),
            "target" | "destination" | "dst" => table.target = Some(value.to_owned()),
            "type" => table.kind = Some(value.to_owned()),
            "readonly" | "ro" => table.read_only = value != "false",
            "consistency" => {}
            other => {
                return Err(bad(format!("devcontainer.json: mount {text}: {other} is not known")));
            }
        }
    }
    Ok(table)
}

fn dev_port(value: &Value) -> Result<Port> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    // `db:5432` names another container of compose's.
    number.filter(|port| *port > 0).map(Port::Number).ok_or_else(|| {
        bad(format!("devcontainer.json: forwardPorts: {value} is no port of this container"))
    })
}

/// A command as a line, as words, or several by name.
fn commands(value: &Value) -> Result<Vec<Vec<String>>> {
    let wrong =
        || bad("devcontainer.json: postCreateCommand is neither text, words, nor a table of them");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(line) => Ok(vec![shell(line)]),
        Value::Array(words) => {
            let word = |word: &Value| word.as_str().map(str::to_owned).ok_or_else(wrong);
            Ok(vec![words.iter().map(word).collect::<Result<_>>()?])
        }
        Value::Object(named) => {
            let all: Vec<_> = named.values().map(commands).collect::<Result<_>>()?;
            Ok(all.into_iter().flatten().collect())
        }
        _ => Err(wrong()),
    }
}

/// `${localWorkspaceFolder}` and the like.
fn expand(text: &str, top: &Path, inside: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let Some(length) = rest[at..].find('}') else { break };
        result.push_str(&rest[..at]);
        let name = &rest[at + 2..at + length];
        match variable(name, top, inside) {
            Some(value) => result.push_str(&value),
            None => result.push_str(&rest[at..=at + length]),
        }
        rest = &rest[at + length + 1..];
    }
    result + rest
}

fn variable(name: &str, top: &Path, inside: &str) -> Option<String> {
    let base = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some(match name {
        "localWorkspaceFolder" => top.display().to_string(),
        "localWorkspaceFolderBasename" => base(top),
        "containerWorkspaceFolder" => inside.to_owned(),
        "containerWorkspaceFolderBasename" => base(Path::new(inside)),
        _ => {
            let (kind, rest) = name.split_once(':')?;
            if kind != "localEnv" && kind != "env" {
                return None;
            }
            let (variable, default) = rest.split_once(':').unwrap_or((rest, ""));
            std::env::var(variable).unwrap_or_else(|_| default.to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_commas() {
        let text = "{ // a comment\n \"image\": \"x\", /* another */ \"binaries\": [{\"name\": \"a\",},],\n}";
        assert_eq!(json(text).unwrap().binaries[0].name, "a");
        assert!(json("{\"image\": }").is_err());
        assert!(json("[]").is_err());
        assert!(json("").is_err());
    }

    #[test]
    fn devcontainers() {
        let text = r#"{
            // For all of us
            "name": "Rust",
            "image": "mcr.microsoft.com/devcontainers/rust:1",
            "mounts": ["source=${localWorkspaceFolder}/cache,target=/cache,type=bind",
                       {"source": "/a", "target": "/b", "type": "bind"},],
            "containerEnv": {"DIR": "${containerWorkspaceFolder}/x", "OLD": "${localEnv:NOT_SET:y}"},
            "remoteUser": "vscode",
            "postCreateCommand": {"one": "make deps", "two": ["touch", "/x"]},
            "forwardPorts": [8000, 3000],
            "workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}",
            "customizations": {"vscode": {}},
            "features": {"a": {}},
        }"#;
        let (template, warnings) = devcontainer(text, Path::new("/src/shop")).unwrap();
        template.check().unwrap();
        assert_eq!(template.environment["DIR"], "/workspaces/shop/x");
        assert_eq!(template.environment["OLD"], "y");
        assert_eq!(template.mounts[0].bind().unwrap().source.as_deref(), Some("/src/shop/cache"));
        assert_eq!(template.user.as_deref(), Some("vscode"));
        assert_eq!(template.post_create, [shell("make deps"), vec!["touch".into(), "/x".into()]]);
        assert_eq!(template.published().unwrap().len(), 2);
        assert_eq!(template.workspace.as_deref(), Some(Path::new("/workspaces/shop")));
        assert_eq!(warnings, ["devcontainer.json: features is not done here"]);
        assert!(
            devcontainer(r#"{"build": {"dockerfile": "Dockerfile"}}"#, Path::new("/")).is_err()
        );
    }
}
