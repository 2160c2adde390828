//! What can be run: SOURCE on the command line, as a prepared root file system.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

mod reference;

use oci_spec::runtime::{Mount, Spec};

pub use self::reference::Reference;
use crate::error::{At, Error, Kind, Result};
use crate::store::{Place, Undo};

/// A SOURCE as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory with config.json.
    Bundle(PathBuf),
    /// A directory that is a root file system.
    Rootfs(PathBuf),
    /// An image, wherever it lies.
    Image(Reference),
}

impl SourceKind {
    /// Reads a SOURCE.
    ///
    /// # Errors
    /// What is neither a directory nor begins with a known word.
    pub fn parse(word: &str) -> Result<SourceKind> {
        if let Some(image) = Reference::parse(word)? {
            return Ok(SourceKind::Image(image));
        }
        let dir = std::path::absolute(word).at("find", word)?;
        if dir.join("config.json").is_file() {
            return Ok(SourceKind::Bundle(dir));
        }
        if dir.is_dir() {
            return Ok(SourceKind::Rootfs(dir));
        }
        Err(Error::new(
            Kind::NotFound,
            format!(
                "source {word}: no such directory (a bundle, a root file system, {})",
                reference::FORMS
            ),
        ))
    }
}

/// What the image says of how it is run; the command line goes before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The words before the command.
    pub entrypoint: Vec<String>,
    /// The command where none is given.
    pub command: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// The directory.
    pub cwd: Option<String>,
    /// `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What asks it to end.
    pub stop_signal: Option<String>,
    /// Directories that are volumes.
    pub volumes: Vec<String>,
    /// `80/tcp`: ports that it listens at.
    pub ports: Vec<String>,
}

/// A root file system that is ready to be run.
#[derive(Debug, Clone, Default)]
pub struct PreparedRoot {
    /// The directory.
    pub root: PathBuf,
    /// Whether nobody may write to it.
    pub readonly: bool,
    /// A bundle's own configuration, on which the options are laid.
    pub base: Option<Spec>,
    /// What the image says.
    pub config: ImageConfig,
    /// What is mounted before all else: an image's layers, on `/`.
    pub mounts: Vec<Mount>,
    /// Directories with an image's files, the topmost first: where its accounts are.
    pub layers: Vec<PathBuf>,
    /// What `rm` undoes, last first.
    pub undo: Vec<Undo>,
}

impl PreparedRoot {
    /// Directories with its files, the topmost first.
    pub fn files(&self) -> Vec<&Path> {
        match self.layers.is_empty() {
            true => vec![&self.root],
            false => self.layers.iter().map(PathBuf::as_path).collect(),
        }
    }
}

/// What a source may use while it prepares.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// The user's directories.
    pub place: Place,
    /// A directory of the container's own, that is there already and goes with it.
    pub dir: PathBuf,
}

/// Something that can be prepared.
pub trait Source {
    /// Makes the root file system ready.
    ///
    /// # Errors
    /// What is missing or not accepted, with what to do.
    fn prepare(&self, shop: &Workshop) -> Result<PreparedRoot>;
}

/// A bundle.
#[derive(Debug, Clone)]
pub struct Bundle(pub PathBuf);

impl Source for Bundle {
    fn prepare(&self, _: &Workshop) -> Result<PreparedRoot> {
        let path = self.0.join("config.json");
        let text = fs::read(&path).at("read", path.display())?;
        let base: Spec = serde_json::from_slice(&text).at("read", path.display())?;
        let root = base.root().as_ref().ok_or_else(|| {
            Error::usage(format!("{}: it has no root: say which in root.path", path.display()))
        })?;
        Ok(PreparedRoot {
            root: self.0.join(root.path()),
            readonly: root.readonly().unwrap_or(false),
            base: Some(base),
            ..PreparedRoot::default()
        })
    }
}

/// A directory that is a root file system; what runs in it writes to it.
#[derive(Debug, Clone)]
pub struct Rootfs(pub PathBuf);

impl Source for Rootfs {
    fn prepare(&self, _: &Workshop) -> Result<PreparedRoot> {
        let root = Path::canonicalize(&self.0).at("find", self.0.display())?;
        Ok(PreparedRoot { root, ..PreparedRoot::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read() {
        let parse = |word: &str| SourceKind::parse(word).expect("a source");
        assert_eq!(parse("/tmp"), SourceKind::Rootfs("/tmp".into()));
        let image = SourceKind::Image(Reference::Registry("x/y:1".into()));
        assert_eq!(parse("docker://x/y:1"), image);
        let said = SourceKind::parse("/no/such").expect_err("refused");
        assert_eq!(said.kind, Kind::NotFound);
    }
}
