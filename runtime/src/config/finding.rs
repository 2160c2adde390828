//! How a check says what it has found.

use crate::error::Error;

/// The error about a field.
pub(super) fn wrong(field: &str, cause: impl std::fmt::Display) -> Error {
    Error::config(format!("{field}: {cause}"))
}
