//! `exec` in two steps: `--prepare` leaves a process in the container that has only to execute
//! its program, `--start` lets it.
//!
//! The process waits at a gate of its own in the container's directory, as a created container's
//! first process does at its own. It is in the container's groups and pid namespace: what ends
//! these ends it, and `delete` takes the gate away with the directory.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::exec::check;
use super::exec_gate::{names, remove};
use crate::cli::{ExecArgs, Global};
use crate::error::{Error, Kind, Result};
use crate::launch::gate::Reached;
use crate::life::{ProcessId, Store};

/// `exec --start PID ID`: returns when the program is executed.
///
/// # Errors
/// Nobody of that number waits; the program cannot be executed.
pub fn start(global: &Global, args: &ExecArgs) -> Result<u8> {
    let store = Store::new(global.root());
    let (_, status) = store.peek(&args.id)?;
    // A frozen one would not answer.
    check(status, args.ignore_paused)?;
    let pid = args.start.unwrap_or_default();
    let names = names(&pid.to_string());
    let dir = store.directory(&args.id)?;
    let nobody = || {
        let words = format!("no prepared process {pid} waits in container {}", args.id);
        Error::new(Kind::WrongState, words)
    };
    let pidfd = match ProcessId::of(pid).and_then(|process| process.pidfd()) {
        Err(error) if error.kind() == Kind::NoSuchProcess => {
            remove(&dir, &names);
            return Err(nobody());
        }
        pidfd => pidfd?,
    };
    let reached = match Reached::new(dir.as_fd(), [&names[0], &names[1]]) {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Err(nobody()),
        // Nothing has happened: it waits as before.
        Err(error) if error.kind() != Kind::WrongState => return Err(error),
        reached => reached,
    };
    let opened = reached.and_then(|gate| gate.open(pidfd.as_fd()));
    remove(&dir, &names);
    match opened {
        Err(error) if error.kind() == Kind::WrongState => Err(nobody()),
        opened => opened.map(|()| 0),
    }
}
