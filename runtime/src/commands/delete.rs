//! `delete`: the end of a container.

use crate::cli::{DeleteArgs, Global};
use crate::error::{Error, Kind, Result};
use crate::life::Store;
use crate::life::delete::destroy;

/// Removes a stopped or created container, with `--force` any, and none too.
pub fn run(global: &Global, args: &DeleteArgs) -> Result<u8> {
    let entry = match Store::new(global.root()).entry(&args.id) {
        Err(error) if args.force && error.kind() == Kind::NotFound => return Ok(0),
        entry => entry?,
    };
    let state = match entry.read_state() {
        Err(error) if error.kind() == Kind::NotFound => {
            // A `create` that was cut off before it did anything.
            entry.remove()?;
            return if args.force { Ok(0) } else { Err(error) };
        }
        state => state?,
    };
    let status = entry.status(&state);
    if !args.force && !status.can_delete() {
        let words = format!("cannot delete container {} that is not stopped: {status}", args.id);
        return Err(Error::new(Kind::WrongState, words));
    }
    destroy(&entry, &state)?;
    Ok(0)
}
