//! `state`: a container's state as JSON.

use super::output::{indented, print};
use crate::cli::{Global, StateArgs};
use crate::error::Result;
use crate::life::Store;
use crate::life::document::state_document;

/// Prints the state document. Nothing goes to standard error: callers parse
/// both streams together.
pub fn run(global: &Global, args: &StateArgs) -> Result<u8> {
    let store = Store::new(global.root());
    let (state, status) = store.peek(&args.id)?;
    print(&indented(&state_document(&store, &state, status), "  ")?)?;
    Ok(0)
}
