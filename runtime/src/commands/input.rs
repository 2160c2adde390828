//! What commands read from standard input.

use std::io::Read;

use crate::config::MAX_DOCUMENT;
use crate::error::{Error, Result, Step};

/// A document from standard input, within the bounds of one that is read from a file; `what`: for
/// the error.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn standard_input(what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let step = || "read standard input";
    std::io::stdin().take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).step(step)?;
    match bytes.len() as u64 > MAX_DOCUMENT {
        true => Err(Error::config(format!("{what}: standard input is too large"))),
        false => Ok(bytes),
    }
}
