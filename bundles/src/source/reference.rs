//! What a caller names an image by.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `oci:DIR[:TAG]`: a directory in the OCI image layout.
    Oci {
        /// The directory with `index.json`.
        dir: PathBuf,
        /// The name in the index; the only image in it where there is none.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: such a directory in a tar file.
    OciArchive {
        /// The tar file, compressed or not.
        file: PathBuf,
        /// As above.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:TAG]`: what `docker save` writes.
    DockerArchive {
        /// The tar file, compressed or not.
        file: PathBuf,
        /// One of the file's `RepoTags`.
        tag: Option<String>,
    },
    /// `containers-storage:IMAGE`: an image of podman's store.
    Podman(String),
    /// `docker://REF`: an image of a registry, by skopeo.
    Registry(String),
}

/// The forms, for help texts and errors.
pub const FORMS: &str = "oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], \
    containers-storage:IMAGE, docker://REF";

impl Reference {
    /// Reads one of `FORMS`; `None` where the text has none of their prefixes, and
    /// so is a path.
    ///
    /// # Errors
    /// A form that lacks its path or its name.
    pub fn parse(text: &str) -> Result<Option<Reference>> {
        Self::parse_with(text, Path::exists)
    }

    /// The same with the question whether a path exists left to the caller:
    /// a path may have colons.
    fn parse_with(text: &str, exists: impl Fn(&Path) -> bool) -> Result<Option<Reference>> {
        if let Some(name) = text.strip_prefix("docker://") {
            return Ok(Some(Reference::Registry(named(text, name)?)));
        }
        let Some((kind, rest)) = text.split_once(':') else { return Ok(None) };
        let reference = match kind {
            "oci" => {
                let (dir, tag) = path_and_tag(text, rest, exists)?;
                Reference::Oci { dir, tag }
            }
            "oci-archive" => {
                let (file, tag) = path_and_tag(text, rest, exists)?;
                Reference::OciArchive { file, tag }
            }
            "docker-archive" => {
                let (file, tag) = path_and_tag(text, rest, exists)?;
                Reference::DockerArchive { file, tag }
            }
            "containers-storage" => Reference::Podman(named(text, rest)?),
            _ => return Ok(None),
        };
        Ok(Some(reference))
    }
}

/// An image's name, which becomes an argument of another program.
fn named(whole: &str, name: &str) -> Result<String> {
    if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) {
        return Err(Error::usage(format!("image {whole}: there is no image name; use {FORMS}")));
    }
    Ok(name.to_owned())
}

/// Splits `PATH[:TAG]`. What exists as a whole is a path; otherwise the tag begins at
/// the first colon behind which no directory follows, since a tag may have colons
/// (`registry:5000/name:tag`) and rarely a path has.
fn path_and_tag(
    whole: &str,
    rest: &str,
    exists: impl Fn(&Path) -> bool,
) -> Result<(PathBuf, Option<String>)> {
    if rest.is_empty() || rest.starts_with(':') {
        return Err(Error::usage(format!("image {whole}: there is no path; use {FORMS}")));
    }
    if exists(Path::new(rest)) {
        return Ok((PathBuf::from(rest), None));
    }
    let splits = rest.match_indices(':').map(|(at, _)| (&rest[..at], &rest[at + 1..]));
    let found = splits.clone().find(|(path, _)| exists(Path::new(path)));
    match found.or_else(|| splits.clone().next()) {
        Some((_, "")) => {
            Err(Error::usage(format!("image {whole}: nothing follows the last colon")))
        }
        Some((path, tag)) => Ok((PathBuf::from(path), Some(tag.to_owned()))),
        None => Ok((PathBuf::from(rest), None)),
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, path, tag) = match self {
            Reference::Oci { dir, tag } => ("oci", dir, tag),
            Reference::OciArchive { file, tag } => ("oci-archive", file, tag),
            Reference::DockerArchive { file, tag } => ("docker-archive", file, tag),
            Reference::Podman(name) => return write!(f, "containers-storage:{name}"),
            Reference::Registry(name) => return write!(f, "docker://{name}"),
        };
        write!(f, "{kind}:{}", path.display())?;
        tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, there: &[&str]) -> Option<Reference> {
        Reference::parse_with(text, |path| there.iter().any(|one| Path::new(one) == path)).unwrap()
    }

    #[test]
    fn forms() {
        let oci = |dir: &str, tag: Option<&str>| {
            Some(Reference::Oci { dir: dir.into(), tag: tag.map(str::to_owned) })
        };
        assert_eq!(parse("oci:/a", &[]), oci("/a", None));
        assert_eq!(parse("oci:/a:t", &[]), oci("/a", Some("t")));
        assert_eq!(parse("oci:/a:t", &["/a:t"]), oci("/a:t", None));
        assert_eq!(parse("oci:/a:b:t", &["/a:b"]), oci("/a:b", Some("t")));
        assert_eq!(parse("oci:/a:reg:5000/n:t", &["/a"]), oci("/a", Some("reg:5000/n:t")));
        assert_eq!(parse("docker://busybox", &[]), Some(Reference::Registry("busybox".to_owned())));
        assert_eq!(
            parse("containers-storage:localhost/x:1", &[]),
            Some(Reference::Podman("localhost/x:1".to_owned()))
        );
        assert_eq!(parse("/a/directory", &[]), None);
        assert_eq!(parse("c:/x", &[]), None);
    }

    #[test]
    fn refused() {
        for text in ["oci:", "oci::t", "oci:/a:", "docker://", "docker://-x", "containers-storage:"]
        {
            assert!(Reference::parse_with(text, |_| false).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_as_written() {
        for text in ["oci:/a:t", "oci-archive:f", "docker-archive:f:n:1", "docker://a/b:c"] {
            assert_eq!(parse(text, &[]).unwrap().to_string(), text);
        }
    }
}
