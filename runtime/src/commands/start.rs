//! `start`: opens the gate of a created container.

use std::os::fd::AsFd;

use crate::cli::{Global, StartArgs};
use crate::config::{Config, validate};
use crate::error::{Error, Kind, Result};
use crate::launch::gate;
use crate::launch::notify_relay::{self, NotifySocket};
use crate::life::delete::{await_end, destroy};
use crate::life::{State, Status, Store, hooks};
use crate::log;
use rich_hooks::Phase;

/// Lets the payload of a created container go.
pub fn run(global: &Global, args: &StartArgs) -> Result<u8> {
    let (entry, state) = Store::new(global.root()).load(&args.id)?;
    let status = entry.status(&state);
    if !status.can_start() {
        return Err(refusal(status));
    }
    let init = state.init.ok_or_else(|| refusal(Status::Stopped))?;
    let pidfd = init.pidfd().map_err(|error| error.if_gone(|| refusal(Status::Stopped)))?;
    let config = Config::from_saved(&state.bundle, entry.read_config()?)?;
    validate::startable(&config.spec)?;
    let host = notify_relay::host_address();
    let notify = match &host {
        Some(host) => NotifySocket::open(&entry.path(), host, init.pid)?,
        None => None,
    };
    let opened = match gate::Reached::new(entry.dir(), gate::FIRST) {
        // Nothing has happened: the container is as it was, and can be started.
        Err(error) if error.kind() != Kind::WrongState => return Err(error),
        reached => reached.and_then(|gate| gate.open(pidfd.as_fd())),
    };
    gate::remove(&entry)?;
    if let Err(error) = opened {
        // It is on its way: who deletes the container next shall find it dead.
        await_end(&pidfd).unwrap_or_else(log::warn);
        return Err(error);
    }
    if let Err(error) = poststart(&config, &state, init.pid) {
        // runtime.md, "Lifecycle", step 9: the container is stopped and destroyed.
        destroy(&entry, &state).unwrap_or_else(log::warn);
        return Err(error);
    }
    // Readiness may take long: others may use the container meanwhile.
    drop(entry);
    if let Some(notify) = notify {
        notify.wait_until_ready(pidfd.as_fd(), init.pid)?;
    }
    Ok(0)
}

/// The hooks that follow the start.
fn poststart(config: &Config, state: &State, pid: i32) -> Result<()> {
    if let Some(all) = config.spec.hooks() {
        hooks::run(Phase::Poststart, all, state, pid)?;
    }
    Ok(())
}

fn refusal(status: Status) -> Error {
    let words = match status {
        Status::Stopped => "cannot start a container that has stopped".to_owned(),
        Status::Running => "cannot start an already running container".to_owned(),
        other => format!("cannot start a container in the {other} state"),
    };
    Error::new(Kind::WrongState, words)
}
