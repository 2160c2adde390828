//! The directories of a user's containers.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where one user's containers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What does not outlive the machine's run: sockets, streams, the runtime's state.
    pub run: PathBuf,
    /// What lasts: records, bundles, layers, logs.
    pub data: PathBuf,
}

impl Place {
    /// `--root DIR`: both below DIR; else `/run/richctl` and `/var/lib/richctl` for root,
    /// `$XDG_RUNTIME_DIR/richctl` and `$XDG_DATA_HOME/richctl` for an ordinary user.
    ///
    /// # Errors
    /// An ordinary user without a home.
    pub fn find(root: Option<&Path>) -> Result<Place> {
        if let Some(root) = root {
            let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
            return Ok(Place { run: root.join("run"), data: root.join("data") });
        }
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            return Ok(Place { run: "/run/richctl".into(), data: "/var/lib/richctl".into() });
        }
        let dir = |name: &str| env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let run = dir("XDG_RUNTIME_DIR")
            .unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", uid.as_raw())));
        let data = dir("XDG_DATA_HOME").or_else(|| Some(dir("HOME")?.join(".local/share")));
        let data = data.ok_or_else(|| {
            Error::usage(
                "no directory for containers: set HOME or XDG_DATA_HOME, or give --root DIR",
            )
        })?;
        Ok(Place { run: run.join("richctl"), data: data.join("richctl") })
    }

    /// Where the OCI runtime keeps its state (its `--root`).
    pub fn runtime_root(&self) -> PathBuf {
        self.run.join("runtime")
    }

    /// Where logs go without `--log-dir`.
    pub fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_holds_both() {
        let place = Place::find(Some(Path::new("/x"))).expect("a place");
        assert_eq!((place.run, place.data), ("/x/run".into(), "/x/data".into()));
    }
}
