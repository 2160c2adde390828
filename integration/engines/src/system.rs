//! Images that boot: a Debian with an init of its own.

use std::path::{Path, PathBuf};

use crate::image::archive_of;

/// A third of such a Debian, which no scenario looks at.
const UNUSED: [&str; 4] = ["usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"];

/// An init, and the image that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// systemd.
    Systemd,
    /// SysV's init with sysv-rc.
    SysV,
    /// SysV's init with OpenRC.
    OpenRc,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Systemd, Self::SysV, Self::OpenRc];

    /// What `integration/peers.sh` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::SysV => "sysv",
            Self::OpenRc => "openrc",
        }
    }

    /// The image's name under every engine.
    pub fn image(self) -> &'static str {
        match self {
            Self::Systemd => "localhost/systemd:1",
            Self::SysV => "localhost/sysv:1",
            Self::OpenRc => "localhost/openrc:1",
        }
    }

    /// The one whose image this is.
    pub fn of_image(image: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|system| system.image() == image).ok_or_else(|| format!("{image} has no init"))
    }

    /// The rich mode that boots it.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::SysV | Self::OpenRc => "sbin-init",
        }
    }

    /// The name of its first process.
    pub fn first(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::SysV | Self::OpenRc => "init",
        }
    }

    /// The root file system that `integration/peers.sh` makes.
    pub fn root(self) -> Option<PathBuf> {
        let roots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/rootfs");
        let root = roots.join(self.name());
        root.join("usr/sbin/init").exists().then_some(root)
    }

    /// Why it cannot be tried here.
    pub fn lacks(self) -> Option<String> {
        let name = self.name();
        let reason = || format!("no root file system with {name}: integration/peers.sh {name}");
        self.root().is_none().then(reason)
    }

    /// Writes `DIR/NAME.tar`, its root file system, unless it is there, and returns its path.
    pub fn archive(self, dir: &Path) -> Result<PathBuf, String> {
        let archive = dir.join(format!("{}.tar", self.name()));
        if !archive.exists() {
            let root = self.root().ok_or_else(|| self.lacks().unwrap_or_default())?;
            archive_of(&root, &archive, &UNUSED)?;
        }
        Ok(archive)
    }
}
