//! The gate of a process that `exec --prepare` leaves waiting.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, renameat, unlinkat};

use crate::error::{Result, Step};
use crate::launch::gate::Gate;
use crate::life::Store;

/// A gate that is made before there is a process, and then named after it.
#[derive(Debug)]
pub struct Waiting {
    dir: OwnedFd,
    names: [String; 2],
    gate: Gate,
}

/// The FIFOs of a gate, by what is told apart by it.
pub fn names(of: &str) -> [String; 2] {
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

/// Takes a gate away.
pub fn remove(dir: &OwnedFd, names: &[String; 2]) {
    for name in names {
        let _gone = unlinkat(dir, name, AtFlags::empty());
    }
}
