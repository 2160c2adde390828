//! Reading and validating `config.json`: pure but for reading the file.

pub mod annotations;
pub mod extras;
pub mod file;
mod finding;
pub mod hooks;
pub mod landlock;
mod lenient;
mod locate;
pub mod namespaces;
pub mod nearest;
mod net_devices;
pub mod properties;
pub mod rdt;
mod resources;
pub mod rich;
pub mod services;
pub mod trust;
pub mod unknown;
pub mod validate;

pub use resources::check_resources;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, Result, Step};

/// No configuration that an engine writes comes near this size (bytes).
pub const MAX_DOCUMENT: u64 = 16 << 20;

/// A bundle's configuration as it was read.
#[derive(Debug)]
pub struct Config {
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// The document.
    pub spec: Spec,
    /// Its bytes, to be kept for later commands.
    pub bytes: Vec<u8>,
    /// What is tolerated and should be told.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and validates `bundle/config.json`.
    ///
    /// # Errors
    /// Line and column of a syntax error; the field and cause of a wrong one.
    pub fn load(bundle: &Path) -> Result<Config> {
        let bundle =
            std::fs::canonicalize(bundle).step(|| format!("bundle {}", bundle.display()))?;
        let path = bundle.join("config.json");
        let opened = open_regular(&path).and_then(|file| read_open(file, &path));
        let bytes = match opened {
            Err(error) if error.errno() == Some(rustix::io::Errno::NOENT) => {
                return Err(Error::config(format!(
                    "JSON specification file {} not found: no such file or directory",
                    path.display()
                )));
            }
            other => other?,
        };
        Config::of_bytes(bundle, bytes)
    }

    /// The configuration of the bundle whose `config.json` holds `bytes`, checked.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn of_bytes(bundle: PathBuf, bytes: Vec<u8>) -> Result<Config> {
        let mut warnings = Vec::new();
        let mut spec: Spec = parse(&bytes, &bundle.join("config.json"), &mut warnings)?;
        rdt::read_older_fields(&mut spec, &bytes);
        validate::validate(&spec, &mut warnings)?;
        if namespaces::drop_inherited(&mut spec)? {
            // What it is counts, and not how it is named.
            validate::validate(&spec, &mut Vec::new())?;
        }
        Ok(Config { bundle, spec, bytes, warnings })
    }

    /// What `file` holds, read but not checked.
    ///
    /// # Errors
    /// Line and column of a syntax error, the field of what is of another kind.
    pub fn unchecked(bundle: PathBuf, file: &Path, bytes: Vec<u8>) -> Result<Config> {
        let mut warnings = Vec::new();
        let mut spec = parse(&bytes, file, &mut warnings)?;
        rdt::read_older_fields(&mut spec, &bytes);
        Ok(Config { bundle, spec, bytes, warnings })
    }

    /// The configuration kept at `create`: valid then, so not checked again.
    pub fn from_saved(bundle: &Path, bytes: Vec<u8>) -> Result<Config> {
        let mut warnings = Vec::new();
        let spec = parse(&bytes, Path::new("config.json"), &mut warnings)?;
        Ok(Config { bundle: bundle.to_owned(), spec, bytes, warnings: Vec::new() })
    }
}

/// Reads the process document of `exec --process`.
pub fn load_process(path: &Path, warnings: &mut Vec<String>) -> Result<Process> {
    // Any file: `<(...)` of a shell is a pipe.
    process_of_bytes(&read_bounded(path)?, path, warnings)
}

/// The process document that holds `bytes`, checked; `path` names it.
///
/// # Errors
/// Line and column of a syntax error; the field and cause of a wrong one.
pub fn process_of_bytes(bytes: &[u8], path: &Path, warnings: &mut Vec<String>) -> Result<Process> {
    let process: Process = parse(bytes, path, warnings)?;
    validate::validate_process(&process, warnings)?;
    Ok(process)
}

/// Opens a regular file, and nothing else: a FIFO would have us wait for a
/// writer, a device might do anything.
fn open_regular(path: &Path) -> Result<std::fs::File> {
    let step = || format!("open {}", path.display());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).step(step)?;
    let stat = rustix::fs::fstat(&file).step(step)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(std::fs::File::from(file)),
        FileType::Directory => Err(Error::os(step(), Errno::ISDIR)),
        _ => Err(Error::config(format!("{}: not a regular file", step()))),
    }
}

/// Reads a document that is not longer than [`MAX_DOCUMENT`].
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).step(|| format!("open {}", path.display()))?;
    read_open(file, path)
}

fn read_open(file: std::fs::File, path: &Path) -> Result<Vec<u8>> {
    let step = || format!("open {}", path.display());
    let size = file.metadata().step(step)?.len();
    let mut bytes = Vec::with_capacity(size.min(MAX_DOCUMENT) as usize + 1);
    file.take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .step(|| format!("read {}", path.display()))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::config(format!(
            "{}: larger than {} MiB",
            path.display(),
            MAX_DOCUMENT >> 20
        )));
    }
    Ok(bytes)
}

/// Parses a document. Capabilities that this program does not know only warn
/// (an engine may be newer than we are): they are taken out and the rest is
/// parsed again. So are the scheduler's flags that the config model spells
/// otherwise than the specification, what runc's reader takes ([`lenient`]), and a process
/// without a user.
fn parse<T: DeserializeOwned>(bytes: &[u8], path: &Path, warnings: &mut Vec<String>) -> Result<T> {
    let first = match serde_json::from_slice(bytes) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    let wrong = |words: String| Error::config(format!("parse {}: {words}", path.display()));
    let report = || wrong(locate::describe(bytes, &first));
    let (mut value, mut oddities) = lenient::read(bytes).ok_or_else(report)?;
    if first.to_string().starts_with("duplicate field") {
        oddities.push(format!("{}: the last counts", locate::describe(bytes, &first)));
    }
    let unknown = drop_unknown_capabilities(&mut value);
    let respelled = respell_scheduler_flags(&mut value);
    let completed = complete_user(&mut value);
    if unknown.is_empty() && !respelled && !completed && oddities.is_empty() {
        return Err(report());
    }
    warnings.extend(oddities.iter().map(|odd| format!("{}: {odd}", path.display())));
    warnings.extend(unknown.iter().map(|name| format!("ignoring unknown capability {name}")));
    // A value knows no places: its text does, though not the file's lines.
    let text = serde_json::to_vec(&value).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| wrong(locate::describe_altered(&text, &error)))
}

fn drop_unknown_capabilities(value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut told = HashSet::new();
    let pointers = ["/process/capabilities", "/capabilities"];
    let Some(pointer) = pointers.iter().find(|pointer| value.pointer(pointer).is_some()) else {
        return unknown;
    };
    let Some(sets) = value.pointer_mut(pointer).and_then(Value::as_object_mut) else {
        return unknown;
    };
    for set in sets.values_mut().filter_map(Value::as_array_mut) {
        set.retain(|name| {
            let known = serde_json::from_value::<oci_spec::runtime::Capability>(name.clone());
            if known.is_err() {
                let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                if told.insert(name.clone()) {
                    unknown.push(name);
                }
            }
            known.is_ok()
        });
    }
    unknown
}

/// A process without a user is root, as with runc; whether it had none.
fn complete_user(value: &mut Value) -> bool {
    let process = match value.get("process").is_some() {
        true => value.get_mut("process"),
        // The document of `exec --process`.
        false => value.get("cwd").is_some().then_some(value),
    };
    let Some(process) = process.and_then(Value::as_object_mut) else { return false };
    let missing = process.get("user").is_none_or(Value::is_null);
    if missing {
        process.insert("user".to_owned(), json!({"uid": 0, "gid": 0}));
    }
    missing
}

/// The specification's words for scheduler flags, and oci-spec's.
const SCHEDULER_FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Puts the config model's words in the place of the specification's; whether
/// there were any.
fn respell_scheduler_flags(value: &mut Value) -> bool {
    let pointers = ["/process/scheduler/flags", "/scheduler/flags"];
    let Some(pointer) = pointers.iter().find(|pointer| value.pointer(pointer).is_some()) else {
        return false;
    };
    let flags = value.pointer_mut(pointer).and_then(Value::as_array_mut);
    let mut respelled = false;
    for flag in flags.into_iter().flatten() {
        let row = SCHEDULER_FLAGS.iter().find(|(ours, _)| flag.as_str() == Some(*ours));
        if let Some((_, theirs)) = row {
            *flag = Value::from(*theirs);
            respelled = true;
        }
    }
    respelled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> (Result<Spec>, Vec<String>) {
        let mut warnings = Vec::new();
        (parse(text.as_bytes(), Path::new("config.json"), &mut warnings), warnings)
    }

    #[test]
    fn a_syntax_error_names_line_and_column() {
        let error = spec("{\n  \"ociVersion\": oops }").0.unwrap_err().to_string();
        assert_eq!(error, "parse config.json: expected value at line 2 column 17");
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        for start in ["[", "{\"ociVersion\":\"1.0.0\",\"x\":[", "{\"linux\":{\"x\":{\"a\":"] {
            let text = format!("{start}{}", "[".repeat(1_000_000));
            let error = spec(&text).0.unwrap_err().to_string();
            assert!(error.contains(" at line 1 column "), "{error}");
        }
    }

    #[test]
    fn an_unknown_capability_only_warns() {
        let text = r#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":0,"gid":0},
            "capabilities":{"bounding":["CAP_KILL","CAP_FLY"],"effective":["CAP_FLY"]}}}"#;
        let (spec, warnings) = spec(text);
        let spec = spec.unwrap();
        let capabilities = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
        assert_eq!(warnings, ["ignoring unknown capability CAP_FLY"]);
    }

    #[test]
    fn ids_that_do_not_fit_are_refused() {
        for uid in ["-1", "4294967296", "\"1:2\"", "1.5"] {
            let text = format!(
                r#"{{"ociVersion":"1.0.0","process":{{"cwd":"/","user":{{"uid":{uid},"gid":0}}}}}}"#
            );
            assert!(spec(&text).0.is_err(), "{uid}");
        }
    }
}
