//! Where things are kept: directories, and the records of containers.
//!
//! A container has a directory of data that lasts (`DATA/containers/NS/ID`: its record, its
//! bundle, how it ended) and one that does not outlive the machine's run (`RUN/NS/ID`: sockets,
//! streams). `DATA/names/NS/NAME` is a link whose text is the id: making it is what takes a name.

mod dirs;
mod files;
mod find;
mod place;
mod record;

pub use dirs::{Dirs, Event};
pub use files::{read_json, write_atomically, write_json};
pub use find::{CONDITIONS, Filter, Found};
pub use place::Place;
pub use record::{
    Driver, Exit, Format, Life, LogOptions, Network, Phase, Port, Record, Restart, Undo, Victim,
};

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::error::{At, Error, Kind, Result};

/// The records of one place.
#[derive(Debug, Clone)]
pub struct Store {
    /// Its directories.
    pub place: Place,
}

impl Store {
    /// The store of a place; nothing is made yet.
    pub fn new(place: Place) -> Store {
        Store { place }
    }

    /// The directory of what lasts of a container.
    pub fn data_of(&self, namespace: &str, id: &str) -> PathBuf {
        self.place.data.join("containers").join(namespace).join(id)
    }

    /// The directory of what does not outlive the machine's run.
    pub fn run_of(&self, namespace: &str, id: &str) -> PathBuf {
        self.place.run.join("containers").join(namespace).join(id)
    }

    fn name_link(&self, namespace: &str, name: &str) -> PathBuf {
        self.place.data.join("names").join(namespace).join(name)
    }

    /// Takes the name and writes the record.
    ///
    /// # Errors
    /// [`Kind::Exists`] when the name is taken; the file system's.
    pub fn add(&self, record: &Record) -> Result<()> {
        let dir = self.data_of(&record.namespace, &record.id);
        fs::create_dir_all(&dir).at("make", dir.display())?;
        let run = self.run_of(&record.namespace, &record.id);
        fs::create_dir_all(&run).at("make", run.display())?;
        self.save(record)?;
        let taken = self.take_name(record);
        if taken.is_err() {
            let _ = fs::remove_dir_all(&dir);
            let _ = fs::remove_dir_all(&run);
        }
        taken
    }

    fn take_name(&self, record: &Record) -> Result<()> {
        let link = self.name_link(&record.namespace, &record.name);
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent).at("make", parent.display())?;
        }
        loop {
            match std::os::unix::fs::symlink(&record.id, &link) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).at("make", link.display()),
            }
            // A name whose container is gone was left by a program that was killed.
            let holder = fs::read_link(&link).at("read", link.display())?;
            let holder = holder.to_string_lossy().into_owned();
            if self.data_of(&record.namespace, &holder).join("record.json").exists() {
                let whose = format!(
                    "name {} is taken in namespace {} by container {}: choose another, or 'richctl rm {}'",
                    record.name, record.namespace, holder, record.name
                );
                return Err(Error::new(Kind::Exists, whose));
            }
            fs::remove_file(&link).at("remove", link.display())?;
        }
    }

    /// Writes the record anew.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, record: &Record) -> Result<()> {
        let dir = self.data_of(&record.namespace, &record.id);
        write_json(&dir.join("record.json"), record)
    }

    /// Gives the container another name.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub fn rename(&self, record: &mut Record, name: &str) -> Result<()> {
        let before = std::mem::replace(&mut record.name, name.to_owned());
        self.take_name(record)?;
        self.save(record)?;
        let link = self.name_link(&record.namespace, &before);
        fs::remove_file(&link).at("remove", link.display())
    }

    /// Forgets a container: its data, its name, its run directory.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self, record: &Record) -> Result<()> {
        let link = self.name_link(&record.namespace, &record.name);
        if fs::read_link(&link).is_ok_and(|id| id.as_os_str() == record.id.as_str()) {
            fs::remove_file(&link).at("remove", link.display())?;
        }
        for dir in [
            self.run_of(&record.namespace, &record.id),
            self.data_of(&record.namespace, &record.id),
        ] {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).at("remove", dir.display());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The two directories of a container.
    pub fn dirs(&self, record: &Record) -> Dirs {
        Dirs {
            data: self.data_of(&record.namespace, &record.id),
            run: self.run_of(&record.namespace, &record.id),
        }
    }
}
