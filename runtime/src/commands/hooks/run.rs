//! `hooks run`: the hooks of a phase, as the runtime would run them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hooks, Spec};
use rich_hooks::{HookFile, Options, OutputLine, Phase, Stream, Took, run_phase};
use serde_json::{Value, json};

use crate::cli::{HooksRunArgs, SPEC_VERSION};
use crate::config::file::Settings;
use crate::config::hooks::directories;
use crate::config::{Config, MAX_DOCUMENT, read_bounded};
use crate::error::{Error, Kind, Result, Step};
use crate::life::hooks::{said, spent};
use crate::log;

/// Runs them; what they print is shown, each line with its hook's name.
pub fn run(args: &HooksRunArgs) -> Result<u8> {
    let phase = Phase::by_name(&args.phase)
        .ok_or_else(|| Error::new(Kind::Usage, format!("--phase: {}: is not known", args.phase)))?;
    let state = args.state.as_deref().map(read_state).transpose()?;
    let bundle = bundle(args, state.as_ref().map(|(_, document)| document));
    let (hooks, spec) = hooks(args, &bundle)?;
    let bundle = std::fs::canonicalize(&bundle).step(|| format!("bundle {}", bundle.display()))?;
    let document = match state {
        Some((bytes, _)) => bytes,
        None => made_up(phase, &bundle, spec.as_ref()),
    };
    let process = spec.as_ref().and_then(|spec| spec.process().as_ref());
    let env = process.and_then(|process| process.env().as_deref());
    let took = |took: Took<'_>| log::debug(|| spent(took));
    let options = Options {
        took: Some(&took),
        cwd: Some(&bundle),
        container_env: env,
        sink: Some(&show),
        phase_timeout: args.timeout,
        ..Options::default()
    };
    let list = phase.of(&hooks);
    log::debug(|| {
        format!("{} {phase} hooks, state {}", list.len(), String::from_utf8_lossy(&document))
    });
    run_phase(phase, list, &document, &options)?;
    Ok(0)
}

/// Where the hooks run: what was asked for, or what the state says.
fn bundle(args: &HooksRunArgs, state: Option<&Value>) -> PathBuf {
    let said = state.and_then(|state| state["bundle"].as_str()).map(PathBuf::from);
    args.bundle.clone().or(said).unwrap_or_else(|| ".".into())
}

/// The hooks, and the configuration where it was read.
fn hooks(args: &HooksRunArgs, bundle: &Path) -> Result<(Hooks, Option<Spec>)> {
    if let Some(file) = &args.hooks {
        let text = read_bounded(file)?;
        let found = HookFile::parse(file, &text).map_err(|problems| {
            Error::config(format!("{}: {}", file.display(), problems.join("; ")))
        })?;
        // A bundle that was named says what the container is, if it has a configuration.
        let named = args.bundle.as_ref().filter(|bundle| bundle.join("config.json").exists());
        let config = named.map(|bundle| Config::load(bundle)).transpose()?;
        return Ok((found.into_hooks(), config.map(|config| config.spec)));
    }
    let mut config = Config::load(bundle)?;
    let settings = Settings::load()?;
    config.add_hooks(directories(&args.hooks_dir, &settings))?;
    let hooks = config.spec.hooks().clone().unwrap_or_default();
    Ok((hooks, Some(config.spec)))
}

/// The state document as it was given: its bytes, and what they say.
fn read_state(file: &Path) -> Result<(Vec<u8>, Value)> {
    let bytes = match file.as_os_str() == "-" {
        false => read_bounded(file)?,
        true => {
            let mut bytes = Vec::new();
            let stdin = std::io::stdin().lock();
            stdin.take(MAX_DOCUMENT).read_to_end(&mut bytes).step(|| "read standard input")?;
            bytes
        }
    };
    let wrong = |what: String| Error::config(format!("--state {}: {what}", file.display()));
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(document) if document.is_object() => Ok((bytes, document)),
        Ok(_) => Err(wrong("is not an object".into())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// A state for hooks of a container that there is not: called as its bundle is,
/// in the phase's status, without a process.
fn made_up(phase: Phase, bundle: &Path, spec: Option<&Spec>) -> Vec<u8> {
    let name = bundle.file_name().unwrap_or_default().to_string_lossy();
    let mut document = json!({
        "ociVersion": spec.map_or(SPEC_VERSION, |spec| spec.version().as_str()),
        "id": name,
        "status": phase.row().status,
        "bundle": bundle.display().to_string(),
    });
    if let Some(annotations) = spec.and_then(|spec| spec.annotations().as_ref()) {
        document["annotations"] = json!(annotations);
    }
    document.to_string().into_bytes()
}

/// Shows a line on the stream that the hook wrote it to.
fn show(line: OutputLine<'_>) {
    let text = said(&line) + "\n";
    // Nobody reads any more: the hooks run all the same.
    let _closed = match line.stream {
        Stream::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
        Stream::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_made_up_of_what_is_known() {
        let spec = r#"{"ociVersion":"1.1.0","annotations":{"k":"v"}}"#;
        let spec: Spec = serde_json::from_str(spec).unwrap();
        let made = made_up(Phase::Poststop, Path::new("/some/box"), Some(&spec));
        let state: oci_spec::runtime::State = serde_json::from_slice(&made).unwrap();
        assert_eq!(state.id(), "box");
        assert_eq!(state.version(), "1.1.0");
        assert_eq!(state.status().to_string(), "stopped");
        assert_eq!(state.annotations().as_ref().unwrap()["k"], "v");
        let made = made_up(Phase::Prestart, Path::new("/"), None);
        let state: Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(state["ociVersion"], SPEC_VERSION);
        assert_eq!(state.get("pid"), None);
    }
}
