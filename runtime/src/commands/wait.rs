//! `wait`: the end of a container that is not one's child.

use super::output::print;
use crate::cli::{Global, WaitArgs};
use crate::error::Result;
use crate::life::Store;
use crate::life::end::wait_for_status;

/// Waits for the end of the container's first process and prints its exit status as a shell has
/// it, or `unknown` where nobody can know.
pub fn run(global: &Global, args: &WaitArgs) -> Result<u8> {
    let (state, _) = Store::new(global.root()).peek(&args.id)?;
    let end = match state.init {
        Some(init) => wait_for_status(init)?,
        None => None,
    };
    let word = end.map_or("unknown".to_owned(), |end| end.to_string());
    print(&format!("{word}\n"))?;
    Ok(0)
}
