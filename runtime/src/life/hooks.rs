//! Running a container's hooks: what a phase means is a row of the hooks crate;
//! this gives it the state document, directory and environment.

use std::path::Path;

use oci_spec::runtime::Hooks;
use rich_hooks::{HookError, Options, OutputLine, Phase, run_phase};

use super::State;
use super::document::hook_state;
use crate::log;

/// Whether anything stands at one of these phases.
pub fn any(hooks: &Hooks, phases: &[Phase]) -> bool {
    phases.iter().any(|phase| !phase.of(hooks).is_empty())
}

/// Runs the hooks of `phase` in directory `cwd`, the container's init being
/// process `pid` (0: there is none any more). What they print is debug log.
///
/// # Errors
/// Hooks failed, in runc's words.
pub fn run(
    phase: Phase,
    hooks: &Hooks,
    state: &State,
    pid: i32,
    cwd: Option<&Path>,
    container_env: Option<&[String]>,
) -> Result<(), HookError> {
    let list = phase.of(hooks);
    if list.is_empty() {
        return Ok(());
    }
    let document = hook_state(state, phase.row().status, pid);
    let sink = |line: OutputLine<'_>| {
        log::debug(|| format!("{} hook #{} {}: {}", line.phase, line.index, line.hook, line.text));
    };
    let options = Options { cwd, container_env, sink: Some(&sink), ..Options::default() };
    run_phase(phase, list, &document, &options)
}
