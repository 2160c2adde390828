//! Why a hook failed, in runc's words.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::phase::{OnFailure, Phase};

/// One or more hooks of a phase failed: exactly one where a failure stops the
/// container, and one or more after [`Phase::Poststop`], which goes on.
///
/// Prints as `error running createRuntime hook #0: ...`, which engines match;
/// several are joined by `; `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookError {
    failures: Vec<Failure>,
}

impl HookError {
    /// `None` when nothing failed.
    pub(crate) fn of(failures: Vec<Failure>) -> Option<Self> {
        if failures.is_empty() { None } else { Some(HookError { failures }) }
    }

    /// What failed, in the order in which it ran: a line of the log each.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Whether this only has to be logged (poststop) and the container's way goes on.
    pub fn is_warning(&self) -> bool {
        self.failures.iter().all(|failure| failure.phase.row().on_failure == OnFailure::Warn)
    }
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failure) in self.failures.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for HookError {}

/// One hook that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The phase it ran in.
    pub phase: Phase,
    /// Its place in the phase's list, from 0.
    pub index: usize,
    /// Its program.
    pub path: PathBuf,
    /// Why it failed.
    pub cause: Cause,
    /// The last bytes that it wrote to its standard output, escaped to one line.
    pub stdout: String,
    /// The last bytes that it wrote to its standard error, escaped to one line.
    pub stderr: String,
}

/// Why a hook failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its definition is not allowed by the specification; the text starts with the field.
    Invalid(String),
    /// A system call failed before the hook ran: the step and its object, and the errno.
    Start {
        /// For example `fork/exec /usr/bin/hook`.
        step: String,
        /// The number.
        errno: i32,
    },
    /// It exited with a status other than 0.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core file.
        core: bool,
    },
    /// It took longer than it may, and was killed with all that it had started.
    TimedOut {
        /// The limit.
        limit: Duration,
        /// Whether the limit is the whole phase's, not the hook's own.
        of_phase: bool,
        /// Whether something that it had started could not be killed.
        survivors: bool,
    },
    /// The caller's wait was interrupted, and the hook was killed.
    Interrupted,
    /// Its subreaper was killed from outside, so how the hook ended is not known.
    Unknown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error running {} hook #{}: ", self.phase, self.index)?;
        match &self.cause {
            Cause::Invalid(what) => return f.write_str(what),
            Cause::Start { step, errno } => return write!(f, "{step}: {}", errno_text(*errno)),
            Cause::Exited(status) => write!(f, "exit status {status}")?,
            Cause::Signaled { signal, core } => {
                let core = if *core { " (core dumped)" } else { "" };
                write!(f, "signal: {}{core}", signal_text(*signal))?;
            }
            Cause::TimedOut { limit, of_phase, survivors } => {
                let whose = if *of_phase { "its phase's" } else { "specified" };
                let seconds = limit.as_secs_f64();
                write!(f, "hook ran past {whose} timeout of {seconds:.1}s")?;
                if *survivors {
                    f.write_str(" and left processes that could not be killed")?;
                }
            }
            Cause::Interrupted => f.write_str("interrupted")?,
            Cause::Unknown => f.write_str("its end is not known")?,
        }
        let path = self.path.display();
        // Behind runc's words, which are matched as a whole.
        write!(f, ", stdout: {}, stderr: {}; program: {path}", self.stdout, self.stderr)
    }
}

/// The kernel's word for `errno` as Go spells it, in lower case.
pub(crate) fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A signal as Go's `syscall` spells it: words for 1 to 15, numbers beyond.
fn signal_text(signal: i32) -> String {
    const WORDS: [&str; 15] = [
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
    ];
    let word = usize::try_from(signal - 1).ok().and_then(|at| WORDS.get(at));
    word.map_or_else(|| format!("signal {signal}"), |word| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(phase: Phase, cause: Cause) -> Failure {
        let (stdout, stderr) = ("out".to_owned(), String::new());
        Failure { phase, index: 1, path: "/h".into(), cause, stdout, stderr }
    }

    #[test]
    fn messages_are_runcs() {
        let limit = Duration::from_secs(1);
        for (cause, text) in [
            (Cause::Invalid("path: is empty".into()), "path: is empty"),
            (
                Cause::Start { step: "fork/exec /h".into(), errno: libc::ENOENT },
                "fork/exec /h: no such file or directory",
            ),
            (Cause::Exited(3), "exit status 3, stdout: out, stderr: ; program: /h"),
            (
                Cause::Signaled { signal: 11, core: true },
                "signal: segmentation fault (core dumped), stdout: out, stderr: ; program: /h",
            ),
            (
                Cause::Signaled { signal: 34, core: false },
                "signal: signal 34, stdout: out, stderr: ; program: /h",
            ),
            (
                Cause::TimedOut { limit, of_phase: false, survivors: false },
                "hook ran past specified timeout of 1.0s, stdout: out, stderr: ; program: /h",
            ),
        ] {
            let text = format!("error running startContainer hook #1: {text}");
            assert_eq!(failure(Phase::StartContainer, cause).to_string(), text);
        }
    }

    #[test]
    fn several_failures_stay_on_one_line_and_only_poststop_warns() {
        let both = vec![
            failure(Phase::Poststop, Cause::Exited(1)),
            failure(Phase::Poststop, Cause::Unknown),
        ];
        let error = HookError::of(both).unwrap();
        assert!(error.is_warning());
        assert_eq!(error.to_string().matches("error running poststop hook #1: ").count(), 2);
        assert!(!error.to_string().contains('\n'));
        let stop = HookError::of(vec![failure(Phase::Poststart, Cause::Exited(1))]).unwrap();
        assert!(!stop.is_warning());
        assert_eq!(HookError::of(Vec::new()), None);
    }
}
