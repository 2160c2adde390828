//! The one error type of the runtime.
//!
//! An error is one line: the step that failed, the object it failed on, and
//! the cause. The cause of a failed system call is the kernel's own word, in
//! lower case ("no such file or directory"), because engines match on the
//! words that Go prints for an errno (podman, moby and containerd all do).

use std::fmt;

use rustix::io::Errno;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure it is: decides the exit status and what callers may
/// do about it (for example `delete --force` accepts [`Kind::NotFound`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// `config.json`, `process.json` or another input document is wrong.
    Config,
    /// No container of that id.
    NotFound,
    /// The container's status does not allow the command.
    WrongState,
    /// The process to be signalled is gone.
    NoSuchProcess,
    /// A system call, the host or its set-up refused.
    System,
}

/// One failure: step, object, cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    errno: Option<Errno>,
}

impl Error {
    /// A failure that no system call reported.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), errno: None }
    }

    /// An invalid input document; `message` starts with the field's path
    /// (`process.cwd: must be absolute`).
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// A failure of the host without an errno.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Kind::System, message)
    }

    /// A failed system call: `step` names what was being done and to what
    /// (`mount proc on /proc`), the errno is appended as its cause.
    pub fn os(step: impl Into<String>, errno: impl Into<Errno>) -> Self {
        Error { kind: Kind::System, message: step.into(), errno: Some(errno.into()) }
    }

    /// The same error with the outer step in front: `outer: inner`.
    pub fn within(mut self, step: impl fmt::Display) -> Self {
        self.message = format!("{step}: {}", self.message);
        self
    }

    /// The same error as another sort of failure.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Another error in its place where it is that a process has ended.
    pub fn if_gone(self, instead: impl FnOnce() -> Error) -> Self {
        if self.kind == Kind::NoSuchProcess { instead() } else { self }
    }

    /// Step and object, without the errno's words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The sort of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The errno of the failed system call, if one failed.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "{}: {}", self.message, errno_text(errno)),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<rich_hooks::HookError> for Error {
    fn from(error: rich_hooks::HookError) -> Self {
        Error::system(error.to_string())
    }
}

/// The kernel's word for `errno` as Go spells it (lower case), which engines
/// match on.
pub fn errno_text(errno: Errno) -> String {
    let io = std::io::Error::from_raw_os_error(errno.raw_os_error());
    let text = io.to_string();
    // std prints "No such file or directory (os error 2)".
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Turns a failed call into an [`Error`] naming the step.
pub trait Step<T> {
    /// Names the step lazily, only when it failed.
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Step<T> for std::result::Result<T, Errno> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::os(step(), errno))
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(code) => Error::os(step(), Errno::from_raw_os_error(code)),
            None => Error::system(format!("{}: {error}", step().into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_os_error_reads_as_engines_match_it() {
        let error = Error::os("open /x", Errno::NOENT).within("container init");
        assert_eq!(error.to_string(), "container init: open /x: no such file or directory");
        assert_eq!(errno_text(Errno::PERM), "operation not permitted");
        assert_eq!(errno_text(Errno::ACCESS), "permission denied");
    }
}
