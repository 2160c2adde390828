//! The two directories of one container.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{read_json, write_json};
use super::record::{Life, Record};
use crate::error::{At, Error, Kind, Result};

/// Of events so many bytes are kept twice.
const EVENTS_SIZE: u64 = 4 << 20;

/// The two directories of one container.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// What lasts.
    pub data: PathBuf,
    /// What does not outlive the machine's run.
    pub run: PathBuf,
}

/// Something that happened to a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: jiff::Timestamp,
    /// What: `create`, `start`, `exit`, `restart`, `rename`, `take-over`, `remove`.
    pub event: String,
    /// The tenant.
    pub namespace: String,
    /// The container's name then.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The exit code, with `exit`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<i32>,
}

impl Dirs {
    /// The record.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; the file system's.
    pub fn record(&self) -> Result<Record> {
        let path = self.data.join("record.json");
        let gone = || Error::new(Kind::NotFound, format!("{}: no container", path.display()));
        read_json(&path)?.ok_or_else(gone)
    }

    /// How the container is.
    ///
    /// # Errors
    /// A file that is not what the monitor writes.
    pub fn life(&self) -> Result<Life> {
        // Here it is where the disk was full.
        if let Some(life) = read_json(&self.run.join("life.json"))? {
            return Ok(life);
        }
        Ok(read_json(&self.data.join("life.json"))?.unwrap_or_default())
    }

    /// Writes how the container is: on a full disk, to what does not outlive the machine's run.
    ///
    /// # Errors
    /// Neither can be written.
    pub fn save_life(&self, life: &Life) -> Result<()> {
        let aside = self.run.join("life.json");
        if write_json(&self.data.join("life.json"), life).is_err() {
            return write_json(&aside, life);
        }
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).at("remove", aside.display())
            }
            _ => Ok(()),
        }
    }

    /// The file of events of all containers: `DATA/events.jsonl`.
    pub fn events(&self) -> PathBuf {
        let top = self.data.ancestors().nth(3).unwrap_or(Path::new("/"));
        top.join("events.jsonl")
    }

    /// Says that something happened. A full disk is no reason for anything else to fail.
    pub fn tell(&self, record: &Record, event: &str, code: Option<i32>) {
        let event = Event {
            time: jiff::Timestamp::now(),
            event: event.to_owned(),
            namespace: record.namespace.clone(),
            name: record.name.clone(),
            id: record.id.clone(),
            code,
        };
        let path = self.events();
        if fs::metadata(&path).is_ok_and(|file| file.len() > EVENTS_SIZE) {
            let _ = fs::rename(&path, path.with_extension("jsonl.1"));
        }
        let Ok(mut line) = serde_json::to_vec(&event) else { return };
        line.push(b'\n');
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(&line));
    }
}
