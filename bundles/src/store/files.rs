//! Files that are whole or not there.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{At, Error, Result};

/// Writes a file of that text: readers see the one before or this one.
///
/// # Errors
/// The file system's.
pub fn write_atomically(path: &Path, text: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.at("write", path.display())
}

/// Writes a value as JSON, atomically.
///
/// # Errors
/// The file system's.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).at("write", path.display())?;
    write_atomically(path, &text)
}

/// Reads a value; `None` where there is no file.
///
/// # Errors
/// The file system's; a file that does not hold such a value.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::system(format!("read {}: {error}", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path.display()),
    }
}
