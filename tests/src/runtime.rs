//! The runtime under test.

use std::fmt;
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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Richrun => "richrun",
            Kind::Runc => "runc",
            Kind::Crun => "crun",
        })
    }
}

/// A runtime's executable and what it calls itself.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Absolute path of the executable.
    pub path: PathBuf,
    /// What the first line of `--version` names.
    pub kind: Kind,
    /// The major and minor version that follow.
    pub version: (u32, u32),
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
        let version = text.split_whitespace().nth(2).unwrap_or_default();
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Ok(Runtime { path, kind, version })
    }

    /// Whether it can work in the v2 view without `CAP_SYS_RESOURCE`: crun
    /// before 1.9 insists on raising a limit.
    pub fn works_in_v2(&self) -> bool {
        self.kind != Kind::Crun || self.version >= (1, 9)
    }

    /// A peer: the variable `RUNC` or `CRUN` names it; else what
    /// `integration/peers.sh` unpacked; else what the system has.
    pub fn peer(name: &str) -> Option<Runtime> {
        if let Some(path) = std::env::var_os(name.to_uppercase()) {
            return Runtime::at(Path::new(&path)).ok();
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/peers/bin");
        let known = ["/usr/sbin", "/usr/bin", "/sbin"].into_iter().chain(path.split(':'));
        std::iter::once(unpacked.as_path())
            .chain(known.map(Path::new))
            .map(|dir| dir.join(name))
            .find(|candidate| candidate.exists())
            .and_then(|path| Runtime::at(&path).ok())
    }
}
