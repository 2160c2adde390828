//! The engines with a command line like podman's.

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// podman, as the superuser.
    Podman,
    /// podman, as an ordinary user with subordinate ids.
    Rootless,
    /// Docker.
    Docker,
}

impl Kind {
    /// Its name in trial names, and of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Rootless => "rootless",
            Self::Docker => "docker",
        }
    }
}
