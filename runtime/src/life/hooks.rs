//! Running a container's hooks: what a phase means is a row of the hooks crate;
//! this gives it the state document, directory and environment.

use std::path::Path;

use oci_spec::runtime::Hooks;
use rich_hooks::{Cause, HookError, Options, OutputLine, Phase, Took, run_phase};

use super::State;
use super::document::hook_state;
use crate::log;
use crate::sys::interrupt;

/// Takes a line for the debug log: what a hook has printed, and which hook.
pub type Tell<'a> = &'a dyn Fn(String);

/// Whether anything stands at one of these phases.
pub fn any(hooks: &Hooks, phases: &[Phase]) -> bool {
    phases.iter().any(|phase| !phase.of(hooks).is_empty())
}

/// Runs the hooks of `phase` in the bundle (if it is still there), the
/// container's init being process `pid` (0: there is none any more). What they
/// print is debug log.
///
/// # Errors
/// Hooks failed, in runc's words.
pub fn run(phase: Phase, hooks: &Hooks, state: &State, pid: i32) -> Result<(), HookError> {
    run_from(phase, hooks, state, pid, 0, None)
}

/// As [`run`], from the hook at place `first` on; `begin` is told of each before it begins.
///
/// # Errors
/// Hooks failed, in runc's words.
pub fn run_from(
    phase: Phase,
    hooks: &Hooks,
    state: &State,
    pid: i32,
    first: usize,
    begin: Option<&dyn Fn(usize)>,
) -> Result<(), HookError> {
    // An engine may have taken the bundle away before the end.
    let cwd = Some(state.bundle.as_path()).filter(|bundle| bundle.is_dir());
    let tell = |line: String| log::debug(|| line);
    run_in(phase, hooks, state, pid, Place { cwd, env: None, tell: Some(&tell), first, begin })
}

/// What hooks of the container's own process have in another way.
#[derive(Clone, Copy, Default)]
pub struct Place<'a> {
    /// Their directory; the caller's where none is given.
    pub cwd: Option<&'a Path>,
    /// The container's environment, for those that inherit it.
    pub env: Option<&'a [String]>,
    /// Where to say what they print; nowhere, if nobody wants to know.
    pub tell: Option<Tell<'a>>,
    /// The first hook to run ([`Options::first`]).
    pub first: usize,
    /// Who is told of each before it begins ([`Options::begin`]).
    pub begin: Option<&'a dyn Fn(usize)>,
}

/// As [`run`], elsewhere.
///
/// # Errors
/// Hooks failed, in runc's words.
pub fn run_in(
    phase: Phase,
    hooks: &Hooks,
    state: &State,
    pid: i32,
    place: Place<'_>,
) -> Result<(), HookError> {
    let list = phase.of(hooks);
    if list.is_empty() {
        return Ok(());
    }
    log::debug(|| format!("{phase} hooks: {}", list.len().saturating_sub(place.first)));
    let document = hook_state(state, phase.row().status, pid);
    let sink = |line: OutputLine<'_>| {
        if let Some(tell) = place.tell {
            tell(said(&line));
        }
    };
    let Place { cwd, env: container_env, first, begin, .. } = place;
    let sink: Option<&dyn Fn(OutputLine<'_>)> = Some(&sink);
    let interrupt = interrupt::requests();
    let took = |took: Took<'_>| {
        if let Some(tell) = place.tell {
            tell(spent(took));
        }
    };
    // Nobody looks at a clock for a log that is not written.
    let took: Option<&dyn Fn(Took<'_>)> = if log::debugging() { Some(&took) } else { None };
    let options =
        Options { cwd, container_env, sink, phase_timeout: None, interrupt, first, begin, took };
    run_phase(phase, list, &document, &options).inspect_err(|error| {
        if error.failures().iter().any(|failure| failure.cause == Cause::Interrupted) {
            // The error tells what was interrupted.
            drop(interrupt::obey());
        }
    })
}

/// How long a hook took, in milliseconds.
pub fn spent(took: Took<'_>) -> String {
    let Took { phase, index, path, time } = took;
    let milliseconds = time.as_secs_f64() * 1000.0;
    format!("{phase} hook #{index} {}: took {milliseconds:.1} ms", path.display())
}

/// A line of a hook's output, and whose.
pub fn said(line: &OutputLine<'_>) -> String {
    format!("{} hook #{} {}: {}", line.phase, line.index, line.hook, line.text)
}
