//! `state`: a container's state as JSON.

use super::output::{indented, print};
use crate::cli::{Global, StateArgs};
use crate::error::Result;
use crate::life::Store;
use crate::life::document::state_document;

/// Prints the state document. Nothing goes to standard error: callers parse
/// both streams together.
pub fn run(global: &Global, args: &StateArgs) -> Result<u8> {
    let (state, status) = Store::new(global.root()).peek(&args.id)?;
    print(&indented(&state_document(&state, status), "  ")?)?;
    Ok(0)
}
