//! `check`: all that is wrong with a bundle, at once, before anything is made.

use std::path::Path;

use serde_json::Value;

use super::hooks;
use super::output::print;
use crate::cli::{CheckArgs, Global};
use crate::config::rich::Request;
use crate::config::{self, Config, unknown, validate};
use crate::error::{Error, Result};
use crate::host;
use crate::launch::container_files::root_of;
use crate::launch::services::{self, Places};
use crate::plan::problems::{doubts, problems};

/// A line for each finding: where, how bad, what.
#[derive(Debug, Default)]
struct Findings {
    lines: Vec<String>,
    errors: usize,
}

impl Findings {
    fn error(&mut self, file: &Path, what: impl std::fmt::Display) {
        let (file, what) = (file.display().to_string(), what.to_string());
        // Some errors name their file themselves.
        let what = what.strip_prefix(&format!("{file}: ")).unwrap_or(&what);
        // Two checks may look at one field; the lines of services are no fields.
        let (field, _) = what.split_once(": ").unwrap_or((what, ""));
        let known = format!("{file}: error: {field}: ");
        if field.starts_with("line ") || !self.lines.iter().any(|line| line.starts_with(&known)) {
            self.lines.push(format!("{file}: error: {what}"));
            self.errors += 1;
        }
    }

    fn warning(&mut self, file: &Path, what: impl std::fmt::Display) {
        self.lines.push(format!("{}: warning: {what}", file.display()));
    }
}

/// Prints the findings; with an error among them, the exit status is 1.
pub fn run(global: &Global, args: &CheckArgs) -> Result<u8> {
    let services = args.file.as_deref().filter(|file| holds_services(file));
    let other = args.file.as_deref().filter(|_| services.is_none());
    // A configuration stands in its bundle.
    let beside = other.and_then(Path::parent).map(Path::to_owned);
    let bundle = args.bundle.clone().or(beside).unwrap_or_default();
    let file = other.map_or_else(|| bundle.join("config.json"), Path::to_owned);
    let mut findings = Findings::default();
    look(global, &bundle, &file, services, &mut findings);
    if findings.lines.is_empty() {
        findings.lines.push(format!("{}: good", services.unwrap_or(&file).display()));
    }
    print(&findings.lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    match findings.errors {
        0 => Ok(0),
        1 => Err(Error::config("check: 1 error")),
        errors => Err(Error::config(format!("check: {errors} errors"))),
    }
}

/// Whether a file describes services: by its name's end, or by what it begins with.
fn holds_services(file: &Path) -> bool {
    let by_name =
        file.extension().is_some_and(|end| end == "toml" || end == "yaml" || end == "yml");
    let document = || serde_json::from_slice::<Value>(&config::read_bounded(file).ok()?).ok();
    by_name
        || document().is_some_and(|document| {
            document.get("ociVersion").is_none() && document.get("service").is_some()
        })
}

fn look(
    global: &Global,
    bundle: &Path,
    file: &Path,
    services: Option<&Path>,
    findings: &mut Findings,
) {
    let read = config::read_bounded(file).and_then(|bytes| {
        let bundle =
            std::path::absolute(Path::new(".").join(bundle)).unwrap_or_else(|_| bundle.to_owned());
        Config::unchecked(bundle, file, bytes)
    });
    let config = match read {
        Ok(config) => config,
        Err(error) => return findings.error(file, error),
    };
    config.warnings.iter().for_each(|what| findings.warning(file, what));
    if let Ok(document) = serde_json::from_slice::<Value>(&config.bytes) {
        unknown::fields(&document, &config.spec).iter().for_each(|what| findings.error(file, what));
    }
    let (errors, warnings) = validate::all(&config.spec);
    errors.iter().for_each(|what| findings.error(file, what));
    warnings.iter().for_each(|what| findings.warning(file, what));
    match host::probe(global) {
        Ok(host) => problems(&config, &host).iter().for_each(|what| findings.error(file, what)),
        Err(error) => findings.error(file, error),
    }
    doubts(&config.spec).iter().for_each(|what| findings.warning(file, what));
    hooks::problems_of(file, &config.bytes).iter().for_each(|what| findings.error(file, what));
    annotations(file, &config, findings);
    image(file, &config, services, findings);
}

/// How the container asks to be rich.
fn annotations(file: &Path, config: &Config, findings: &mut Findings) {
    let Some(annotations) = config.spec.annotations() else { return };
    match Request::of_annotations(annotations) {
        Ok((_, unknown)) => unknown.iter().for_each(|name| {
            findings.error(file, format!("annotations: unknown annotation {name}"));
        }),
        Err(error) => findings.error(file, error),
    }
}

/// What is there of the root file system, and the services against it.
fn image(file: &Path, config: &Config, of_host: Option<&Path>, findings: &mut Findings) {
    let root = root_of(config);
    if !root.is_dir() {
        return findings.error(file, format!("root.path: {}: no such directory", root.display()));
    }
    let (errors, lacking) = services::problems(Places { file: of_host, config });
    let place = of_host.unwrap_or(file);
    errors.iter().for_each(|error| findings.error(place, error));
    lacking.iter().for_each(|line| findings.warning(place, line));
}
