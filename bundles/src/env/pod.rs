//! An environment's pod: the container that holds its namespaces, and what is noted of it
//! and of the services, in a directory that does not outlive the machine's run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{At, Result};

/// A container that was started in the background.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// Its first process, as the host has it.
    pub pid: i32,
    /// When that was started, in the kernel's ticks: a process id is used again.
    pub ticks: u64,
}

impl Started {
    /// What the runtime has just started.
    ///
    /// # Errors
    /// The file has no process id.
    pub fn read(id: &str, pid_file: &Path) -> Result<Started> {
        let text = fs::read_to_string(pid_file).at("read", pid_file.display())?;
        let pid: i32 = text.trim().parse().at("read", pid_file.display())?;
        Ok(Started { id: id.to_owned(), pid, ticks: ticks(pid).unwrap_or(0) })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        ticks(self.pid) == Some(self.ticks)
    }
}

/// When a process was started; `None` where there is none, or it has ended.
fn ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may have spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// What is noted.
#[derive(Debug, Clone)]
pub struct Notes {
    dir: PathBuf,
}

impl Notes {
    /// Those in this directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: PathBuf) -> Result<Notes> {
        fs::create_dir_all(&dir).at("make", dir.display())?;
        Ok(Notes { dir })
    }

    /// Where they are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Holds off who else would start or stop something here, until it is dropped.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn lock(&self) -> Result<File> {
        let path = self.dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.at("open", path.display())?;
        flock(&file, FlockOperation::LockExclusive).at("lock", path.display())?;
        Ok(file)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// What was started under this name and still runs.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<Started> {
        self.started(name).filter(Started::is_running)
    }

    /// What was started under this name.
    #[must_use]
    pub fn started(&self, name: &str) -> Option<Started> {
        self.read(name)
    }

    /// What was noted under this name.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    /// Notes what was started.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&self, name: &str, started: &Started) -> Result<()> {
        self.write(name, started)
    }

    /// Notes anything.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, what: &impl Serialize) -> Result<()> {
        let (path, half) = (self.path(name), self.dir.join(format!("{name}.new")));
        let text = serde_json::to_vec(what).at("write", path.display())?;
        fs::write(&half, text).at("write", half.display())?;
        fs::rename(&half, &path).at("write", path.display())
    }

    /// Forgets a name.
    pub fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = i32::try_from(std::process::id()).unwrap();
        let ticks = ticks(own).unwrap();
        let started = |ticks| Started { id: String::new(), pid: own, ticks };
        assert!(started(ticks).is_running());
        assert!(!started(ticks + 1).is_running());
        assert!(super::ticks(-1).is_none());
    }
}
