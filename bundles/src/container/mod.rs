//! What can be done with containers, as library calls.
//!
//! ```no_run
//! # fn main() -> rich_bundles::Result<()> {
//! use rich_bundles::container::{Containers, Request};
//!
//! let containers = Containers::open(None, "tenant", None)?;
//! let request = Request { source: "/bundles/web".into(), ..Request::default() };
//! let record = containers.run(&request)?;
//! println!("{}", containers.wait(&record)?.code.unwrap_or(-1));
//! containers.remove(&record, false)?;
//! # Ok(()) }
//! ```

mod ask;
mod events;
mod growing;
mod logs;
mod make;
mod prepare;
mod request;
mod stats;
mod supervise;

pub use ask::{Answer, Connection};
pub use events::{EventFilter, events};
pub use logs::{LogFilter, Logs};
pub use prepare::prepare;
pub use request::{LogRequest, Request};
pub use stats::{Stats, stats};
pub use supervise::{Started, begin, look, until_unheld};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::monitor;
use crate::runtime::{Exec, Program, Runtime, Streams};
use crate::store::{Exit, Filter, Found, Life, Phase, Place, Record, Store};

/// How long a monitor may take to answer when it begins or ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// The containers of one tenant.
#[derive(Debug, Clone)]
pub struct Containers {
    /// The records.
    pub store: Store,
    /// The tenant.
    pub namespace: String,
    /// The OCI runtime for new containers.
    pub runtime: Option<PathBuf>,
}

impl Containers {
    /// The containers below `root`, or at the user's usual place.
    ///
    /// # Errors
    /// As [`Place::find`]; a namespace that is no name.
    pub fn open(
        root: Option<&Path>,
        namespace: &str,
        runtime: Option<&Path>,
    ) -> Result<Containers> {
        request::check_name("namespace", namespace)?;
        Ok(Containers {
            store: Store::new(Place::find(root)?),
            namespace: namespace.to_owned(),
            runtime: runtime.map(Path::to_owned),
        })
    }

    /// Makes a container and starts it in the background.
    ///
    /// # Errors
    /// What is wrong with the request, or what failed; nothing is left then.
    pub fn run(&self, request: &Request) -> Result<Record> {
        let record = self.create(request)?;
        match self.start(&record, false) {
            Ok(_) => Ok(record),
            Err(error) => {
                let _ = self.remove(&record, true);
                Err(error)
            }
        }
    }

    /// The container of that name, id or beginning of an id.
    ///
    /// # Errors
    /// As [`Store::find`].
    pub fn find(&self, word: &str) -> Result<Record> {
        self.store.find(&self.namespace, word)
    }

    /// The containers that a filter lets through, the oldest first; what had lost its monitor has
    /// one again.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for record in self.store.records(filter.namespace.as_deref())? {
            let life = self.look(&record)?;
            let one = Found { record, life };
            if filter.lets_through(&one) {
                found.push(one);
            }
        }
        Ok(found)
    }

    /// Waits for the end of a container; one that has ended says how at once.
    ///
    /// # Errors
    /// One that has never run; its monitor's failures.
    pub fn wait(&self, record: &Record) -> Result<Exit> {
        loop {
            let life = self.look(record)?;
            match life.phase {
                Phase::Exited | Phase::Failed => {
                    let failed = life.error.unwrap_or_else(|| "it could not be started".to_owned());
                    return life.exit.ok_or_else(|| Error::new(Kind::State, failed));
                }
                Phase::Created if !monitor::is_held(&self.store.dirs(record)) => {
                    return Err(Error::new(
                        Kind::State,
                        format!("container {} does not run: 'richctl start {0}'", record.name),
                    ));
                }
                _ => {}
            }
            // Nothing, when it has ended between the two looks or its monitor was killed.
            match self.connect(record).and_then(|mut monitor| monitor.wait()) {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
    }

    /// Asks a container to end and waits until it has; after `seconds` it is killed.
    ///
    /// # Errors
    /// Its monitor's failures. One that does not run is no error.
    pub fn stop(&self, record: &Record, signal: Option<&str>, seconds: Option<u32>) -> Result<()> {
        let request = monitor::protocol::Request::Stop(signal.map(str::to_owned), seconds);
        // Without a word the monitor was killed: the next one is asked.
        while let Some(mut monitor) = self.reach(record)? {
            if matches!(monitor.ask(&request)?, Answer::Exit(_)) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a signal to a container's first process.
    ///
    /// # Errors
    /// One that does not run; its monitor's failures.
    pub fn kill(&self, record: &Record, signal: &str) -> Result<()> {
        self.running(record)?;
        let request = monitor::protocol::Request::Kill(signal.to_owned());
        while let Some(mut monitor) = self.reach(record)? {
            if !matches!(monitor.ask(&request)?, Answer::Gone) {
                return Ok(());
            }
        }
        self.running(record).map(drop)
    }

    /// Stops a container and starts it anew; one that does not run is started.
    ///
    /// # Errors
    /// Its monitor's failures.
    pub fn restart(&self, record: &Record, seconds: Option<u32>) -> Result<()> {
        let request = monitor::protocol::Request::Restart(seconds);
        while let Some(mut monitor) = self.reach(record)? {
            if !matches!(monitor.ask(&request)?, Answer::Gone) {
                return Ok(());
            }
        }
        self.start(record, false).map(drop)
    }

    /// Forgets a container; with `force` one that runs is killed first.
    ///
    /// # Errors
    /// One that runs, without `force`; what could not be undone.
    pub fn remove(&self, record: &Record, force: bool) -> Result<()> {
        let dirs = self.store.dirs(record);
        if self.is_active(record)? {
            if !force {
                return Err(Error::new(
                    Kind::State,
                    format!("container {} runs: stop it first, or give --force", record.name),
                ));
            }
            self.stop(record, None, Some(0))?;
        }
        until_unheld(&dirs);
        // One with --rm has gone by itself.
        if !dirs.data.join("record.json").exists() {
            return Ok(());
        }
        Program::of(record).delete(&record.id, true)?;
        monitor::forget(&dirs, record)
    }

    /// Runs a process beside a container's payload: its exit status.
    ///
    /// # Errors
    /// One that does not run; what the runtime says.
    pub fn exec(&self, record: &Record, exec: &Exec, streams: Streams) -> Result<i32> {
        self.running(record)?;
        let exec = Exec { id: record.id.clone(), ..exec.clone() };
        Program::of(record).exec(&exec, streams)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// A name that is none, or taken.
    pub fn rename(&self, record: &mut Record, name: &str) -> Result<()> {
        request::check_name("name", name)?;
        self.store.rename(record, name)?;
        self.store.dirs(record).tell(record, "rename", None);
        Ok(())
    }

    /// How a container is, if it runs.
    ///
    /// # Errors
    /// [`Kind::State`] when it does not.
    pub fn running(&self, record: &Record) -> Result<Life> {
        let life = self.look(record)?;
        if life.phase == Phase::Running {
            return Ok(life);
        }
        Err(Error::new(Kind::State, format!("container {} does not run", record.name)))
    }

    /// The monitor of a container that runs; nothing where it has ended, also just now.
    fn reach(&self, record: &Record) -> Result<Option<Connection>> {
        let until = Instant::now() + PATIENCE;
        while self.is_active(record)? {
            match self.connect(record) {
                Ok(monitor) => return Ok(Some(monitor)),
                Err(error) if Instant::now() >= until => return Err(error),
                // Its socket goes before the last word is written, or is not there yet.
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        Ok(None)
    }

    fn is_active(&self, record: &Record) -> Result<bool> {
        Ok(matches!(self.look(record)?.phase, Phase::Running | Phase::Restarting))
    }
}
