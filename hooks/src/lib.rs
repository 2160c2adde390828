//! OCI hooks: the six phases as data, and their runner.
//!
//! A container's configuration may name programs that run at fixed points of
//! its life ([runtime-spec 1.3, config.md, "POSIX-platform
//! Hooks"](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#posix-platform-hooks)).
//! This crate knows those points ([`Phase`]: when, in which namespaces, with
//! whose environment, and what a failure means: one row each) and runs what
//! stands there ([`run_phase`]).
//!
//! Hooks are the types of the `oci-spec` crate. The caller is in the namespaces that the phase's row
//! names when it calls; a hook's program inherits them.
//!
//! ```
//! use std::cell::RefCell;
//! use std::time::Duration;
//!
//! use rich_hooks::{OnFailure, Options, OutputLine, Phase, run_phase};
//!
//! let hooks: oci_spec::runtime::Hooks = serde_json::from_str(
//!     r#"{"createRuntime": [
//!         {"path": "/bin/sh", "args": ["sh", "-c", "cat; echo; echo $COLOUR"], "env": ["COLOUR=red"]},
//!         {"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"], "timeout": 10}
//!     ]}"#,
//! )?;
//! let phase = Phase::CreateRuntime;
//! assert_eq!(phase.row().on_failure, OnFailure::StopContainer);
//!
//! let state = br#"{"ociVersion":"1.3.0","id":"web","status":"creating","pid":1,"bundle":"/tmp"}"#;
//! let printed = RefCell::new(Vec::new());
//! let sink = |line: OutputLine<'_>| {
//!     printed.borrow_mut().push(format!("#{} {}: {}", line.index, line.hook, line.text));
//! };
//! let options = Options {
//!     sink: Some(&sink),
//!     phase_timeout: Some(Duration::from_secs(30)),
//!     ..Options::default()
//! };
//! let error = run_phase(phase, phase.of(&hooks), state, &options).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "error running createRuntime hook #1: exit status 3, stdout: , stderr: no; program: /bin/sh"
//! );
//! let printed = printed.into_inner();
//! assert!(printed[0].starts_with(r##"#0 sh: {"ociVersion":"1.3.0""##));
//! assert_eq!(printed[1..], ["#0 sh: red", "#1 sh: no"]);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # What a hook gets
//!
//! - its path (absolute, never searched for) and exactly the arguments given; without any, its path alone;
//! - exactly the `env` given; a hook without `env` gets the environment that its phase's row
//!   names ([`Environment`]);
//! - the caller's working directory, or [`Options::cwd`];
//! - the state document on standard input, a sealed file in memory: reading little of it, or
//!   none, is no error, and its size does not matter;
//! - standard output and error that are captured: line by line to [`Options::sink`], and the
//!   last bytes of each in the error if the hook fails;
//! - no other descriptor, no blocked or ignored signal, and a process group of its own.
//!
//! # What a timeout does
//!
//! A hook with a deadline (its own `timeout`, or [`Options::phase_timeout`])
//! runs below a *subreaper*: a process between the caller and the hook that is a
//! child subreaper (`PR_SET_CHILD_SUBREAPER`, prctl(2)). Whatever the hook starts, in
//! whatever session or process group, by whatever number of forks, stays below
//! the subreaper, so a hook that overruns dies with all of it, and nothing
//! else can be hit: the caller's other children are no descendants of the subreaper. A hook that
//! ends in time leaves its daemons running, as with runc: the subreaper exits, and they go
//! to the next reaper above.
//!
//! # Files
//!
//! [`HookFile`] reads a file with hooks whatever its form, and says what is wrong with
//! it; [`hooks_d`] reads directories of definitions and merges what applies to a container
//! into its configuration.
//!
//! No threads are started; nothing polls on a timer.
//!
//! # Kernel
//!
//! Linux 5.4 (`CLONE_PIDFD`, `waitid(P_PIDFD)`); `close_range` (5.9) is
//! used where it exists.

mod command;
mod error;
mod file;
pub mod hooks_d;
mod output;
mod phase;
mod run;
mod sys;

pub use command::check_hook;
pub use error::{Cause, Failure, HookError};
pub use file::{HookFile, check_hooks, program_problem};
pub use output::{OutputLine, Stream};
pub use phase::{Environment, Namespaces, OnFailure, Phase, PhaseRow};
pub use run::{Options, Took, run_phase};
pub use sys::procfs;
