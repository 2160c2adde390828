//! Taking a container away: repeatable, and complete however it was left.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rich_hooks::Phase;
use rustix::io::Errno;

use super::end::ends_within;
use super::hooks;
use super::members::wake_parents;
use super::signal::{KILL, cgroup};
use super::{Entry, State, Status};
use crate::cgroup::rdt::RdtRecord;
use crate::cgroup::{Cgroup, CgroupRecord, Leftovers};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::sys::signals;

/// How long a killed process may take to die: one in an uninterruptible sleep
/// does not before it wakes.
const DEATH_BOUND: Duration = Duration::from_secs(10);
/// How long it may before a stopped command is looked for that does not take in its own.
const PARENTS_BOUND: Duration = Duration::from_millis(300);
/// How long the end of a container that was killed just now may take, for `delete` to see it.
const SETTLING_BOUND: Duration = Duration::from_millis(300);
/// How long a process of a `create` that was cut off may outlive it.
const ORPHAN_BOUND: Duration = Duration::from_secs(1);

/// Removes a container and all that was made for it: ends its processes,
/// removes its control groups, runs its poststop hooks (once, and only when its
/// first process is gone), and last removes its directory.
///
/// Every step is tried whatever became of those before it. The directory stays
/// if one failed, so that deletion can be repeated; a failed hook only warns.
///
/// # Errors
/// Every failure, in one line.
pub fn destroy(entry: &Entry, state: &State) -> Result<()> {
    let ended = end_init(state);
    let stopped = ended.is_ok();
    // Last, so that no process of the container is counted among a class's others.
    let steps = [ended, remove_cgroups(state), remove_class(state)];
    let mut failures: Vec<Error> = steps.into_iter().filter_map(Result::err).collect();
    if stopped {
        run_poststop(entry, state);
    }
    if failures.is_empty() {
        log::debug(|| format!("remove the state of {}", state.id));
        failures.extend(entry.remove().err());
    }
    in_one(failures)
}

/// Removes a container whose state cannot be read: whoever is in its groups, these, its class of
/// cache and memory bandwidth, and its directory.
///
/// # Errors
/// What is left.
pub fn end_unreadable(
    entry: &Entry,
    groups: Option<&CgroupRecord>,
    class: Option<&RdtRecord>,
) -> Result<()> {
    if let Some(groups) = groups {
        let cgroup = Cgroup::open(groups)?;
        cgroup.thaw_to_die()?;
        if !cgroup.is_none() && !cgroup.remove_empty() {
            cgroup.remove(Leftovers::Kill)?;
        }
        stop_scope(groups, false);
    }
    class.map_or(Ok(()), RdtRecord::remove)?;
    entry.remove()
}

/// Several failures as one, in one line.
fn in_one(mut failures: Vec<Error>) -> Result<()> {
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let lines: Vec<String> = failures.iter().map(Error::to_string).collect();
            Err(Error::system(lines.join("; ")))
        }
    }
}

/// Kills the first process and waits until it is gone. With it goes its pid
/// namespace; what a container without one leaves is in its control groups.
///
/// # Errors
/// It lives on, after 10 seconds.
pub fn end_init(state: &State) -> Result<()> {
    let Some(init) = state.init else { return Ok(()) };
    let pidfd = match init.pidfd() {
        Err(error) if error.kind() == Kind::NoSuchProcess => return Ok(()),
        pidfd => pidfd?,
    };
    match signals::send(pidfd.as_fd(), KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(Error::os(format!("kill {}", init.pid), errno)),
    }
    // A frozen process may or may not die (v2, v1): see whether it does.
    let thawed =
        cgroup(state).and_then(|cgroup| cgroup.as_ref().map_or(Ok(()), Cgroup::thaw_to_die));
    let mut ended = ends_within(&pidfd, Some(PARENTS_BOUND));
    if ended == Ok(false) {
        wake_parents(init.pid);
        ended = ends_within(&pidfd, Some(DEATH_BOUND));
    }
    match ended {
        Ok(true) => {
            log::debug(|| format!("process {} has ended", init.pid));
            Ok(())
        }
        Ok(false) => thawed.and(Err(Error::system(format!(
            "container init {} is still running {} s after KILL",
            init.pid,
            DEATH_BOUND.as_secs()
        )))),
        Err(errno) => Err(Error::os(format!("wait for {}", init.pid), errno)),
    }
}

/// Waits until a container's first process, which is to end, is dead.
///
/// # Errors
/// It is not, after 10 seconds.
pub fn await_end(pidfd: impl AsFd) -> Result<()> {
    match ends_within(pidfd, Some(DEATH_BOUND)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::system("the container's first process does not end")),
        Err(errno) => Err(Error::os("wait for the container's first process", errno)),
    }
}

/// Waits a moment for the end of a running container, which somebody may have killed just now;
/// its status then.
pub fn settled(entry: &Entry, state: &State) -> Status {
    let status = entry.status(state);
    let running = state.init.filter(|_| status == Status::Running);
    let Some(init) = running else { return status };
    // On a busy machine a killed process may not get to its end for a while.
    let bound = if init.is_ending() { DEATH_BOUND } else { SETTLING_BOUND };
    match init.pidfd() {
        Ok(pidfd) if ends_within(&pidfd, Some(bound)) == Ok(true) => Status::Stopped,
        Err(error) if error.kind() == Kind::NoSuchProcess => Status::Stopped,
        _ => status,
    }
}

fn remove_cgroups(state: &State) -> Result<()> {
    let gone = remove_groups(state)?;
    if let Some(groups) = state.cgroup.as_ref().filter(|_| gone) {
        stop_scope(groups, state.init.is_some());
    }
    Ok(())
}

/// Takes the scope away, where it is known to be this container's. Its processes and groups are
/// gone, so that systemd would take it away by itself, too: what hinders us only warns.
fn stop_scope(groups: &CgroupRecord, known: bool) {
    if let Some(scope) = groups.scope.as_ref().filter(|scope| scope.started || known)
        && let Err(error) = scope.stop()
    {
        log::warn(error);
    }
}

fn remove_class(state: &State) -> Result<()> {
    state.rdt.as_ref().map_or(Ok(()), RdtRecord::remove)
}

/// Whether they are gone; others may be in them.
fn remove_groups(state: &State) -> Result<bool> {
    let Some(cgroup) = cgroup(state)? else { return Ok(true) };
    // `create` was cut off before it had a process that we know of, perhaps before it saw that
    // the group is somebody else's. Or all that were the container's have ended, and another
    // container has the group now, or systemd's unit of that name.
    let unknown = state.init.is_none();
    let others = || -> Result<bool> {
        if empties(&cgroup)? {
            return Ok(false);
        }
        let pids = cgroup.pids()?;
        log::warn(format!("cgroup of {}: left alone, others run in it: {pids:?}", state.id));
        Ok(true)
    };
    if unknown && others()? {
        return Ok(false);
    }
    log::debug(|| format!("remove the cgroups of {}", state.id));
    if cgroup.remove_empty() {
        return Ok(true);
    }
    if !unknown && state.none_left() && others()? {
        return Ok(false);
    }
    let own = std::process::id() as i32;
    let leftovers = match cgroup.pids()?.contains(&own) {
        true => Leftovers::Refuse,
        false => Leftovers::Kill,
    };
    cgroup.remove(leftovers).map(|()| true)
}

/// Whether nobody is in the group, or soon nobody any more: the processes of a
/// `create` end when it has.
fn empties(cgroup: &Cgroup) -> Result<bool> {
    let end = Instant::now() + ORPHAN_BOUND;
    let mut pause = Duration::from_millis(1);
    while !cgroup.pids()?.is_empty() {
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(true)
}

/// Runs the poststop hooks that have not begun before. Nothing here stops the
/// deletion (runtime-spec, runtime.md "Lifecycle", step 12).
fn run_poststop(entry: &Entry, state: &State) {
    // What the caller holds may be older than what is on disk.
    let saved = || entry.read_state().map_or(state.poststop_next, |saved| saved.poststop_next);
    let Some(first) = state.poststop_next.and_then(|_| saved()) else { return };
    let bytes = match entry.read_config() {
        Ok(bytes) => bytes,
        // `create` had not come far enough to have hooks.
        Err(error) if error.errno() == Some(Errno::NOENT) => return,
        Err(error) => return log::warn(error.within("poststop hooks")),
    };
    let config = match Config::from_saved(&state.bundle, bytes) {
        Ok(config) => config,
        Err(error) => return log::warn(error.within("poststop hooks")),
    };
    let Some(all) = config.spec.hooks().as_ref() else { return };
    let count = Phase::Poststop.of(all).len();
    let begin = |at: usize| {
        let next = Some(at + 1).filter(|next| *next < count);
        if let Err(error) = entry.save(&State { poststop_next: next, ..state.clone() }) {
            log::warn(error.within("poststop hooks"));
        }
    };
    if let Err(error) = hooks::run_from(Phase::Poststop, all, state, 0, first, Some(&begin)) {
        error.failures().iter().for_each(log::warn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_in_one_line() {
        assert_eq!(in_one(Vec::new()), Ok(()));
        let busy = || Error::os("remove cgroup /x", Errno::BUSY);
        assert_eq!(in_one(vec![busy()]), Err(busy()));
        let both = in_one(vec![Error::system("init lives"), busy()]).unwrap_err();
        assert_eq!(both.to_string(), "init lives; remove cgroup /x: device or resource busy");
    }
}
