//! Monitors are started, and started anew where one was killed.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Connection, Containers};
use crate::error::{At, Error, Kind, Result};
use crate::monitor;
use crate::monitor::protocol;
use crate::runtime::program;
use crate::store::{Dirs, Life, Phase, Record};

/// A container that was started.
pub struct Started {
    /// Its first process.
    pub pid: i32,
    /// The connection to its monitor: the streams, where they were asked for.
    pub monitor: Connection,
}

impl Containers {
    /// Starts a container; with `attach` its streams come over the connection.
    ///
    /// # Errors
    /// One that runs; what the runtime says.
    pub fn start(&self, record: &Record, attach: bool) -> Result<Started> {
        let dirs = self.store.dirs(record);
        if matches!(dirs.life()?.phase, Phase::Running | Phase::Restarting) {
            self.look(record)?;
        }
        // The monitor of a run that has just ended is still writing its last word.
        if !matches!(dirs.life()?.phase, Phase::Running | Phase::Restarting) {
            until_unheld(&dirs);
        }
        let more: &[&str] = if attach { &["--attach"] } else { &[] };
        begin(&dirs, more).map_err(|error| Error {
            message: format!("start container {}: {}", record.name, error.message),
            ..error
        })
    }

    /// How a container is. One that has lost its monitor gets another, and the user is told.
    ///
    /// # Errors
    /// Files that are not what a monitor writes.
    pub fn look(&self, record: &Record) -> Result<Life> {
        look(&self.store.dirs(record), &record.name)
    }

    /// A connection to a container's monitor.
    ///
    /// # Errors
    /// None there.
    pub fn connect(&self, record: &Record) -> Result<Connection> {
        Connection::open(&self.store.dirs(record))
    }
}

/// Waits until the last monitor has gone.
pub fn until_unheld(dirs: &Dirs) {
    let until = Instant::now() + Duration::from_secs(10);
    while monitor::is_held(dirs) && Instant::now() < until {
        sleep(Duration::from_millis(2));
    }
}

/// How the container of this name is, with another monitor where it had lost its own.
///
/// # Errors
/// Files that are not what a monitor writes.
pub fn look(dirs: &Dirs, name: &str) -> Result<Life> {
    let life = dirs.life()?;
    if !matches!(life.phase, Phase::Running | Phase::Restarting) || monitor::is_held(dirs) {
        return Ok(life);
    }
    // It may have ended between the two looks.
    let life = dirs.life()?;
    if !matches!(life.phase, Phase::Running | Phase::Restarting) {
        return Ok(life);
    }
    eprintln!("richctl: container {name} had lost its monitor: a new one takes over");
    match begin(dirs, &["--take-over"]) {
        Ok(_) => {}
        // Somebody else was faster.
        Err(_) if monitor::is_held(dirs) => {}
        Err(error) => return Err(error),
    }
    dirs.life()
}

/// Starts a monitor and waits for its word.
///
/// # Errors
/// What it says, or the runtime.
pub fn begin(dirs: &Dirs, more: &[&str]) -> Result<Started> {
    std::fs::create_dir_all(&dirs.run).at("make", dirs.run.display())?;
    let (ours, theirs) = UnixStream::pair().at("make", "a connection")?;
    let path = program("rich-monitor".into())?;
    let mut command = Command::new(&path);
    command.arg("--data").arg(&dirs.data).arg("--run").arg(&dirs.run).args(more);
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().at("run", path.display())?;
    drop(command);
    // What stays is not this one.
    child.wait().at("wait for", path.display())?;
    let mut monitor = Connection::of(ours);
    match monitor.receive()? {
        Some(frame) if frame.kind == protocol::Kind::Ready => {
            let pid = String::from_utf8_lossy(&frame.data).parse().unwrap_or_default();
            Ok(Started { pid, monitor })
        }
        Some(frame) => Err(Error::new(Kind::Program, String::from_utf8_lossy(&frame.data))),
        None => Err(Error::new(Kind::Program, "rich-monitor ended without a word")),
    }
}
