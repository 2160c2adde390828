//! The runtime under test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Which program answers: expectations differ for the peers in a few named places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project's runtime.
    Richrun,
    /// opencontainers/runc.
    Runc,
    /// containers/crun.
    Crun,
}

/// A runtime's executable and what it calls itself.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Absolute path of the executable.
    pub path: PathBuf,
    /// What the first line of `--version` names.
    pub kind: Kind,
}

impl Runtime {
    /// The runtime chosen by `RICHRUN=/path`; by default the one that cargo
    /// built beside this test binary, the release build if there is one.
    pub fn under_test() -> Result<Runtime, String> {
        if let Some(path) = std::env::var_os("RICHRUN") {
            return Runtime::at(Path::new(&path));
        }
        let here = std::env::current_exe().map_err(|e| e.to_string())?;
        // target/<triple>/<profile>/deps/blackbox-<hash>
        let profiles = here.ancestors().nth(3).ok_or("test binary outside a target directory")?;
        for profile in ["release", "debug"] {
            let candidate = profiles.join(profile).join("richrun");
            if candidate.exists() {
                return Runtime::at(&candidate);
            }
        }
        Err(format!("no richrun below {}: build it, or set RICHRUN=/path", profiles.display()))
    }

    /// A runtime by its path.
    pub fn at(path: &Path) -> Result<Runtime, String> {
        let path = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
        let output = Command::new(&path)
            .arg("--version")
            .output()
            .map_err(|e| format!("{} --version: {e}", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let kind = match text.split_whitespace().next() {
            Some("runc") => Kind::Runc,
            Some("crun") => Kind::Crun,
            _ => Kind::Richrun,
        };
        Ok(Runtime { path, kind })
    }

    /// A peer by its name in `PATH`, or by the variable `RUNC` or `CRUN`.
    pub fn peer(name: &str) -> Option<Runtime> {
        if let Some(path) = std::env::var_os(name.to_uppercase()) {
            return Runtime::at(Path::new(&path)).ok();
        }
        let path = std::env::var("PATH").unwrap_or_default();
        ["/usr/sbin", "/usr/bin", "/sbin"]
            .into_iter()
            .chain(path.split(':'))
            .map(|dir| Path::new(dir).join(name))
            .find(|candidate| candidate.exists())
            .and_then(|path| Runtime::at(&path).ok())
    }
}
