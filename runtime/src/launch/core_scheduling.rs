//! A container's own cookie for core scheduling.

use rustix::io::Errno;

use super::unless_best_effort;
use crate::config::extras::Strength;
use crate::error::{Error, Result};
use crate::sys::sched_core;

/// Makes the first process the first of a new cookie, if that is asked for: whatever it starts
/// has it too.
pub fn begin(asked: Option<Strength>) -> Result<()> {
    settle(asked, sched_core::create)
}

/// Gives a process that enters the cookie of the first one.
pub fn share(asked: Option<Strength>, init: i32) -> Result<()> {
    settle(asked, || sched_core::share_from(init))
}

fn settle(
    asked: Option<Strength>,
    act: impl FnOnce() -> std::result::Result<(), Errno>,
) -> Result<()> {
    let Some(strength) = asked else { return Ok(()) };
    let step = "io.richrun.core-scheduling: prctl PR_SCHED_CORE";
    let Err(errno) = act() else { return Ok(()) };
    let step = match errno {
        Errno::INVAL => format!("{step}: this kernel has none (CONFIG_SCHED_CORE)"),
        Errno::NODEV => format!("{step}: the cores here run one thread each (no SMT)"),
        _ => step.to_owned(),
    };
    unless_best_effort(strength, Error::os(step, errno))
}
