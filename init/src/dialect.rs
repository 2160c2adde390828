//! Whose command line the program was started with.

/// Whose command line and rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// rich-init's own.
    Rich,
    /// tini 0.19, Docker's `docker-init`.
    Tini,
    /// dumb-init 1.2.
    DumbInit,
    /// catatonit 0.1, podman's `podman-init` and `/dev/init`.
    Catatonit,
}

impl Dialect {
    /// By the name that the program was started under.
    pub fn of(argv0: &[u8]) -> Dialect {
        match argv0.rsplit(|byte| *byte == b'/').next().unwrap_or_default() {
            b"tini" | b"tini-static" | b"docker-init" => Dialect::Tini,
            b"dumb-init" => Dialect::DumbInit,
            b"catatonit" | b"podman-init" | b"init" => Dialect::Catatonit,
            _ => Dialect::Rich,
        }
    }

    /// How messages begin.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Rich => "rich-init",
            Dialect::Tini => "tini",
            Dialect::DumbInit => "dumb-init",
            Dialect::Catatonit => "catatonit",
        }
    }
}
