//! `pause`: freezes a container.

use crate::cli::{Global, PauseArgs};
use crate::error::{Error, Kind, Result};
use crate::life::{Store, signal};

/// Freezes the container's cgroup.
pub fn run(global: &Global, args: &PauseArgs) -> Result<u8> {
    let (entry, state) = Store::new(global.root()).load_also_from_a_hook(&args.id)?;
    if !entry.status(&state).can_pause() {
        return Err(Error::new(Kind::WrongState, "container not running"));
    }
    match signal::cgroup(&state)? {
        Some(cgroup) => cgroup.freeze().map(|()| 0),
        None => Err(Error::system(format!("pause {}: the container has no cgroup", args.id))),
    }
}
