//! One error type: a line that says the step, the object, the cause and a way out.

use std::fmt::{self, Display};

/// What kind of failure it is, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense as it stands.
    Usage,
    /// There is no such container, pod, image, file.
    NotFound,
    /// The name is taken.
    Exists,
    /// What was asked does not fit the state that it is in.
    State,
    /// The OCI runtime, or another program, failed.
    Program,
    /// Foreign data (an image, a manifest) that is not accepted.
    Refused,
    /// The operating system failed.
    System,
}

/// A failure.
#[derive(Debug, Clone)]
pub struct Error {
    /// Its kind.
    pub kind: Kind,
    /// One line.
    pub message: String,
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Display) -> Error {
        Error { kind, message: message.to_string() }
    }

    /// Of [`Kind::Usage`].
    pub fn usage(message: impl Display) -> Error {
        Error::new(Kind::Usage, message)
    }

    /// Of [`Kind::System`].
    pub fn system(message: impl Display) -> Error {
        Error::new(Kind::System, message)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Adds step and object to a failure of the system.
pub trait At<T> {
    /// `step: object: cause`.
    fn at(self, step: &str, object: impl Display) -> Result<T>;
}

impl<T, E: Display> At<T> for std::result::Result<T, E> {
    fn at(self, step: &str, object: impl Display) -> Result<T> {
        self.map_err(|cause| Error::system(format!("{step} {object}: {}", plain(&cause))))
    }
}

/// The cause without Rust's "(os error N)".
fn plain(cause: &impl Display) -> String {
    let text = cause.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_step_object_and_cause() {
        let failed: std::io::Result<()> = Err(std::io::Error::from_raw_os_error(2));
        let said = failed.at("read", "/x").expect_err("fails").to_string();
        assert_eq!(said, "read /x: No such file or directory");
    }
}
