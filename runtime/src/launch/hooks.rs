//! Running a container's hooks: the phase's rows are in the hooks crate, this
//! gives them their state document, directory and environment.

use std::path::Path;

use oci_spec::runtime::Hooks;
use rich_hooks::{Options, OutputLine, Phase, run_phase};

use crate::error::{Error, Result};
use crate::life::State;

/// Whether anything stands at one of these phases.
pub fn any(hooks: &Hooks, phases: &[Phase]) -> bool {
    phases.iter().any(|phase| !phase.of(hooks).is_empty())
}

/// Runs the hooks of `phase` with the container's init being process `pid`.
///
/// # Errors
/// A hook failed (in runc's words).
pub fn run(
    phase: Phase,
    hooks: &Hooks,
    state: &State,
    pid: i32,
    cwd: &Path,
    container_env: Option<&[String]>,
) -> Result<()> {
    let list = phase.of(hooks);
    if list.is_empty() {
        return Ok(());
    }
    let document = state_of(state, phase.row().status, pid);
    let sink = |line: OutputLine<'_>| crate::log::debug(|| line.to_string());
    let options = Options {
        cwd: Some(cwd),
        container_env,
        sink: Some(&sink),
        ..Options::default()
    };
    run_phase(phase, list, &document, &options).map_err(|error| Error::system(error.to_string()))
}

/// The state as runtime.md "State" has it, on the hook's standard input.
fn state_of(state: &State, status: &str, pid: i32) -> Vec<u8> {
    let mut document = serde_json::json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "status": status,
        "bundle": state.bundle,
        "annotations": state.annotations,
    });
    if pid != 0 {
        document["pid"] = pid.into();
    }
    document.to_string().into_bytes()
}
