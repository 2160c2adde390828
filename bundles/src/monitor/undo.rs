//! What a source left behind is undone.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount};

use super::log::numbered;
use crate::error::{At, Error, Kind, Result};
use crate::store::{Dirs, Place, Record, Store, Undo};

/// Undoes it, the last first. Everything is tried.
///
/// # Errors
/// The first failure.
pub fn undo(steps: &[Undo]) -> Result<()> {
    let mut first = Ok(());
    for step in steps.iter().rev() {
        let done = one(step);
        if first.is_ok() {
            first = done;
        }
    }
    first
}

fn one(step: &Undo) -> Result<()> {
    match step {
        Undo::Unmount(path) => match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Not mounted, or not there any more.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
            done => done.at("unmount", path.display()),
        },
        Undo::Remove(path) => match fs::remove_dir_all(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.at("remove", path.display()),
        },
        Undo::Run(words) => {
            let Some((program, args)) = words.split_first() else { return Ok(()) };
            let mut command = Command::new(program);
            let output = command.args(args).stdin(Stdio::null()).output().at("run", program)?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().lines().last().unwrap_or("it failed").to_owned();
            Err(Error::new(Kind::Program, format!("{program}: {said}")))
        }
    }
}

/// Forgets a container that has ended: what its source left, its log where that is in the usual
/// place, its records, its name.
///
/// # Errors
/// The first failure of [`undo`]: then the record stays, to be tried again.
pub fn forget(dirs: &Dirs, record: &Record) -> Result<()> {
    undo(&record.undo)?;
    dirs.tell(record, "remove", None);
    let top = |dir: &Path| dir.ancestors().nth(3).unwrap_or(Path::new("/")).to_owned();
    let store = Store::new(Place { run: top(&dirs.run), data: top(&dirs.data) });
    if record.log.path.starts_with(store.place.logs()) {
        let _ = fs::remove_file(&record.log.path);
        for number in 1..record.log.max_files {
            let _ = fs::remove_file(numbered(&record.log.path, number));
        }
    }
    store.remove(record)
}
