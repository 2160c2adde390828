//! The hosts whose engines are tried where systemd is in charge: Debian releases.

use std::path::{Path, PathBuf};

/// A Debian with engines, which machines boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Debian's stable release.
    Trixie,
    /// The release to come, whose archive moves: the newest engines that there are.
    Forky,
}

impl Host {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Trixie, Self::Forky];

    /// Debian's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Forky => "forky",
        }
    }

    /// Those that `SYSTEMD_HOSTS` names: the stable one without it.
    pub fn wanted() -> Vec<Self> {
        let asked = std::env::var("SYSTEMD_HOSTS").unwrap_or_else(|_| Self::Trixie.name().into());
        let is_asked = |host: &Self| asked.split_whitespace().any(|name| name == host.name());
        Self::ALL.into_iter().filter(is_asked).collect()
    }

    /// What `integration/peers.sh` calls its root file system.
    fn part(self) -> &'static str {
        match self {
            Self::Trixie => "host",
            Self::Forky => "host-forky",
        }
    }

    /// That root file system.
    ///
    /// # Errors
    /// It is not there: what makes it, and why that came to nothing if it has been tried.
    pub fn root(self) -> Result<PathBuf, String> {
        let roots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/rootfs");
        let root = roots.join(self.part());
        match root.canonicalize() {
            Ok(root) if root.join("usr/bin/podman").exists() => Ok(root),
            _ => {
                let part = self.part();
                let why = std::fs::read_to_string(roots.join(format!("{part}.failed")));
                let why = why.map(|why| format!(" ({})", why.trim())).unwrap_or_default();
                Err(format!("no {} with engines: integration/peers.sh {part}{why}", self.name()))
            }
        }
    }
}
