//! `exec` in two steps: `--prepare` leaves a process in the container that has only to execute
//! its program, `--start` lets it.
//!
//! The process waits at a gate of its own in the container's directory, as a created container's
//! first process does at its own. It is in the container's groups and pid namespace: what ends
//! these ends it, and `delete` takes the gate away with the directory.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;

use super::exec::check;
use crate::cli::{ExecArgs, Global};
use crate::error::{Error, Kind, Result, Step};
use crate::launch::gate::{Gate, Reached};
use crate::life::{ProcessId, Store};

/// A gate that is made before there is a process, and then named after it.
#[derive(Debug)]
pub struct Waiting {
    dir: OwnedFd,
    names: [String; 2],
    gate: Gate,
}

/// The FIFOs of a gate, by what is told apart by it.
fn names(of: &str) -> [String; 2] {
    [format!("exec-{of}.fifo"), format!("exec-{of}.result")]
}

impl Waiting {
    /// Makes a gate in the container's directory.
    ///
    /// # Errors
    /// There is no such container; no FIFO can be made.
    pub fn make(store: &Store, id: &str) -> Result<Waiting> {
        let dir = store.directory(id)?;
        let names = names(&format!("new-{}", std::process::id()));
        // Of a dead runtime that had our number.
        remove(&dir, &names);
        match Gate::make(dir.as_fd(), [&names[0], &names[1]]) {
            Ok(gate) => Ok(Waiting { dir, names, gate }),
            Err(error) => {
                remove(&dir, &names);
                Err(error)
            }
        }
    }

    /// The gate, for the process.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Names it after the process that waits there, in the place of a dead one's.
    ///
    /// # Errors
    /// The container is gone.
    pub fn settle(mut self, pid: i32) -> Result<()> {
        let last = names(&pid.to_string());
        for (from, to) in self.names.iter().zip(&last) {
            renameat(&self.dir, from, &self.dir, to).step(|| format!("rename {from} to {to}"))?;
        }
        self.names = [String::new(), String::new()];
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.names[0].is_empty() {
            remove(&self.dir, &self.names);
        }
    }
}

fn remove(dir: &OwnedFd, names: &[String; 2]) {
    for name in names {
        let _gone = unlinkat(dir, name, AtFlags::empty());
    }
}

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
