//! `resume`: lets a paused container go on.

use crate::cli::{Global, ResumeArgs};
use crate::error::{Error, Kind, Result};
use crate::life::{Store, signal};

/// Thaws the container's cgroup.
pub fn run(global: &Global, args: &ResumeArgs) -> Result<u8> {
    let (entry, state) = Store::new(global.root()).load_also_from_a_hook(&args.id)?;
    if !entry.status(&state).can_resume() {
        return Err(Error::new(Kind::WrongState, "container not paused"));
    }
    // Paused: so there is a cgroup.
    signal::cgroup(&state)?.map_or(Ok(()), |cgroup| cgroup.thaw())?;
    Ok(0)
}
