//! What can be run: SOURCE on the command line, as a prepared root file system.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::error::{At, Error, Kind, Result};
use crate::store::{Place, Undo};

/// A SOURCE as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory with config.json.
    Bundle(PathBuf),
    /// A directory that is a root file system.
    Rootfs(PathBuf),
    /// `oci:DIR[:TAG]`: a directory in the OCI image layout.
    Oci {
        /// The directory.
        dir: PathBuf,
        /// Which image of it.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: the same in a tar file.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// Which image of it.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:REF]`: what `docker save` writes.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// Which image of it.
        tag: Option<String>,
    },
    /// `containers-storage:IMAGE`: an image of podman's.
    ContainersStorage(String),
    /// `docker://REF`: an image of a registry.
    Docker(String),
}

impl SourceKind {
    /// Reads a SOURCE.
    ///
    /// # Errors
    /// What is neither a directory nor begins with a known word.
    pub fn parse(word: &str) -> Result<SourceKind> {
        let tagged = |rest: &str| match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !path.is_empty() => {
                (PathBuf::from(path), Some(tag.to_owned()))
            }
            _ => (PathBuf::from(rest), None),
        };
        if let Some(rest) = word.strip_prefix("docker://") {
            return Ok(SourceKind::Docker(rest.to_owned()));
        }
        match word.split_once(':') {
            Some(("oci", rest)) => {
                let (dir, tag) = tagged(rest);
                return Ok(SourceKind::Oci { dir, tag });
            }
            Some(("oci-archive", rest)) => {
                let (file, tag) = tagged(rest);
                return Ok(SourceKind::OciArchive { file, tag });
            }
            Some(("docker-archive", rest)) => {
                // A reference has a colon of its own: the file ends at the first.
                let (file, tag) = match rest.split_once(':') {
                    Some((file, tag)) => (file.into(), Some(tag.to_owned())),
                    None => (rest.into(), None),
                };
                return Ok(SourceKind::DockerArchive { file, tag });
            }
            Some(("containers-storage", image)) => {
                return Ok(SourceKind::ContainersStorage(image.to_owned()));
            }
            _ => {}
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
                "source {word}: no such directory (a bundle, a root file system, oci:DIR, oci-archive:FILE, \
                 docker-archive:FILE, containers-storage:IMAGE or docker://REF)"
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
    /// What `rm` undoes, last first.
    pub undo: Vec<Undo>,
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
        let oci = |dir: &str, tag: Option<&str>| SourceKind::Oci {
            dir: dir.into(),
            tag: tag.map(str::to_owned),
        };
        assert_eq!(parse("oci:/a/b"), oci("/a/b", None));
        assert_eq!(parse("oci:/a/b:latest"), oci("/a/b", Some("latest")));
        assert_eq!(parse("oci:/a:b/c"), oci("/a:b/c", None));
        assert_eq!(parse("docker://x/y:1"), SourceKind::Docker("x/y:1".into()));
        assert_eq!(parse("/tmp"), SourceKind::Rootfs("/tmp".into()));
        assert_eq!(
            parse("docker-archive:/f.tar:r/x:1"),
            SourceKind::DockerArchive { file: "/f.tar".into(), tag: Some("r/x:1".into()) }
        );
        let said = SourceKind::parse("/no/such").expect_err("refused");
        assert_eq!(said.kind, Kind::NotFound);
    }
}
