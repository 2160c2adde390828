//! A service of an environment under `rich-monitor`, as a container of `richctl run` is: its log
//! is rotated, its end is recorded, and it is started anew as its template says.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::container::{Connection, begin, look, until_unheld};
use crate::error::{At, Result};
use crate::monitor::protocol::Request;
use crate::store::{Dirs, Life, Phase, Record, write_json};

/// How often who follows a log looks for more.
const LOOK: Duration = Duration::from_millis(100);

/// One start of a service.
pub struct Supervised {
    name: String,
    dirs: Dirs,
}

impl Supervised {
    /// That in the container's directory `container`; `run` does not outlive the machine's run.
    pub fn of(name: &str, container: &Path, run: PathBuf) -> Supervised {
        Supervised { name: name.to_owned(), dirs: Dirs { data: container.join("monitor"), run } }
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn begin(&self, record: &Record) -> Result<()> {
        std::fs::create_dir_all(&self.dirs.data).at("make", self.dirs.data.display())?;
        write_json(&self.dirs.data.join("record.json"), record)?;
        begin(&self.dirs, &[]).map(drop)
    }

    /// How it is; one that has lost its monitor gets another.
    ///
    /// # Errors
    /// Files that no monitor writes.
    pub fn life(&self) -> Result<Life> {
        look(&self.dirs, &self.name)
    }

    /// Whether it runs, or will be started anew.
    ///
    /// # Errors
    /// As [`Supervised::life`].
    pub fn is_running(&self) -> Result<bool> {
        Ok(matches!(self.life()?.phase, Phase::Running | Phase::Restarting))
    }

    /// Asks it to end, waits, and kills it when its time is over.
    ///
    /// # Errors
    /// What its monitor says.
    pub fn stop(&self) -> Result<()> {
        if self.is_running()? {
            let asked = Connection::open(&self.dirs);
            match asked.and_then(|mut monitor| monitor.ask(&Request::Stop(None, None))) {
                // It has ended meanwhile, and so has its monitor.
                Err(_) if !self.is_running()? => {}
                asked => drop(asked?),
            }
        }
        until_unheld(&self.dirs);
        let _ = std::fs::remove_dir_all(&self.dirs.run);
        Ok(())
    }
}

/// Prints a log, and with `follow` what is written to it, in the next file where it is rotated.
///
/// # Errors
/// It cannot be read.
pub fn print(path: &Path, follow: bool) -> Result<()> {
    let open = || match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.at("read", path.display()).map(Some),
    };
    let Some(mut file) = open()? else { return Ok(()) };
    let mut out = io::stdout().lock();
    loop {
        // Before the copy: what is written between the two is in this file.
        let moved = is_another(path, &file);
        if io::copy(&mut file, &mut out).and_then(|_| out.flush()).is_err() || !follow {
            return Ok(());
        }
        if moved && let Some(next) = open()? {
            file = next;
            continue;
        }
        // Whoever truncates the log begins anew.
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if file.stream_position().unwrap_or(0) > length {
            let _ = file.rewind();
        }
        std::thread::sleep(LOOK);
    }
}

fn is_another(path: &Path, file: &File) -> bool {
    let (Ok(now), Ok(open)) = (path.metadata(), file.metadata()) else { return false };
    (now.dev(), now.ino()) != (open.dev(), open.ino())
}
