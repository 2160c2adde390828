//! Where the bytes of an image lie: a directory or a tar file, in OCI's layout or in
//! Docker's. Documents are read whole and held to the digests that name them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;

use super::archive::Archive;
use super::config::ImageConfig;
use super::digest::{Digest, Verified};
use super::limits::Limits;
use crate::error::{Error, Kind, Result};

/// An image found, not yet unpacked.
pub struct Found {
    /// The digest of its configuration: its id.
    pub id: Digest,
    /// The configuration as it stands.
    pub document: Vec<u8>,
    /// The configuration.
    pub config: ImageConfig,
    /// The lowest first.
    pub layers: Vec<Layer>,
    /// Where they lie.
    pub files: Files,
}

/// One layer as stored.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The digest of its uncompressed tar stream.
    pub diff: Digest,
    /// The digest of the bytes as stored, where a manifest says it.
    pub stored: Option<Digest>,
    /// Relative to the layout.
    pub path: PathBuf,
}

/// A place with files.
pub enum Files {
    /// A directory.
    Directory(PathBuf),
    /// A tar file.
    Archive(Archive),
}

impl Files {
    /// Opens a file in it, and says how long it is.
    ///
    /// # Errors
    /// There is none; it is no regular file.
    pub fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + '_>, u64)> {
        match self {
            Files::Archive(archive) => archive.open_boxed(path),
            Files::Directory(directory) => {
                // Not to wait for the other end of a pipe.
                let mut options = OpenOptions::new();
                let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
                let file = options.read(true).custom_flags(nonblock).open(directory.join(path))?;
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Err(io::Error::other("it is no regular file"));
                }
                Ok((Box::new(file), metadata.len()))
            }
        }
    }

    fn document(&self, path: &Path, limits: &Limits) -> Result<Vec<u8>> {
        let read = || {
            let mut bytes = Vec::new();
            self.open(path)?.0.take(limits.document + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > limits.document {
                return Err(io::Error::other(format!("longer than {} bytes", limits.document)));
            }
            Ok(bytes)
        };
        read().map_err(|error: io::Error| {
            Error::new(Kind::Refused, format!("image: read {}: {error}", path.display()))
        })
    }

    /// A document that its digest names.
    fn blob(&self, digest: &Digest, limits: &Limits) -> Result<Vec<u8>> {
        let path = blob_path(digest);
        let bytes = self.document(&path, limits)?;
        Verified::new(&bytes[..], digest, limits.document).finish().map_err(|error| {
            Error::new(Kind::Refused, format!("image: read {}: {error}", path.display()))
        })?;
        Ok(bytes)
    }
}

fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs").join(digest.algorithm()).join(digest.hex())
}

fn parsed<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Kind::Refused, format!("image: {what} is malformed: {error}")))
}

/// The names that an index may have for one of its images.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// Finds the image called `tag` in an OCI layout.
///
/// # Errors
/// A malformed document, another digest; no such image, or several and no tag.
pub fn oci(files: Files, tag: Option<&str>, limits: &Limits) -> Result<Found> {
    let index: ImageIndex =
        parsed("index.json", &files.document(Path::new("index.json"), limits)?)?;
    let mut descriptor = named(&index, tag)?.clone();
    let mut depth = 0;
    while matches!(descriptor.media_type(), MediaType::ImageIndex | MediaType::Other(_))
        && depth < 3
        && is_index(descriptor.media_type())
    {
        let inner = files.blob(&digest(&descriptor)?, limits)?;
        descriptor = for_this_machine(&parsed::<ImageIndex>("an index", &inner)?)?.clone();
        depth += 1;
    }
    let manifest = files.blob(&digest(&descriptor)?, limits)?;
    let manifest: ImageManifest = parsed("the manifest", &manifest)?;
    let id = digest(manifest.config())?;
    let document = files.blob(&id, limits)?;
    let config = checked(parsed("the configuration", &document)?, manifest.layers().len(), limits)?;
    let mut layers = Vec::new();
    for (descriptor, diff) in manifest.layers().iter().zip(&config.rootfs.diff_ids) {
        let stored = digest(descriptor)?;
        layers.push(Layer {
            diff: Digest::parse(diff)?,
            path: blob_path(&stored),
            stored: Some(stored),
        });
    }
    Ok(Found { id, document, config, layers, files })
}

fn digest(descriptor: &Descriptor) -> Result<Digest> {
    Digest::parse(descriptor.digest().as_ref())
}

fn is_index(kind: &MediaType) -> bool {
    matches!(kind, MediaType::ImageIndex)
        || kind.to_string() == "application/vnd.docker.distribution.manifest.list.v2+json"
}

fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    let annotations = descriptor.annotations().as_ref();
    NAMES.iter().filter_map(move |name| annotations?.get(*name)).map(String::as_str)
}

fn named<'a>(index: &'a ImageIndex, tag: Option<&str>) -> Result<&'a Descriptor> {
    let all = index.manifests();
    let known = || {
        let known: Vec<&str> = all.iter().flat_map(names).collect();
        if known.is_empty() { "no image in it has a name".to_owned() } else { known.join(", ") }
    };
    match (tag, &all[..]) {
        (_, []) => Err(Error::new(Kind::Refused, "image: there is no image in index.json")),
        (None, [one]) => Ok(one),
        (None, _)
            if all.iter().all(|one| one.platform().is_some() && names(one).next().is_none()) =>
        {
            for_this_machine(index)
        }
        (None, _) => Err(Error::new(
            Kind::Refused,
            format!(
                "image: there are {} images; append one's name after a colon: {}",
                all.len(),
                known()
            ),
        )),
        (Some(tag), _) => {
            all.iter().find(|one| names(one).any(|name| name == tag)).ok_or_else(|| {
                Error::new(
                    Kind::Refused,
                    format!("image: there is no image {tag}; there are: {}", known()),
                )
            })
        }
    }
}

/// Go's name of this machine's architecture.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn for_this_machine(index: &ImageIndex) -> Result<&Descriptor> {
    let fits = |descriptor: &&Descriptor| {
        descriptor.platform().as_ref().is_some_and(|platform| {
            platform.os().to_string() == "linux"
                && platform.architecture().to_string() == architecture()
        })
    };
    index.manifests().iter().find(fits).ok_or_else(|| {
        let wanted = architecture();
        Error::new(Kind::Refused, format!("image: it is for other machines than linux/{wanted}"))
    })
}

fn checked(config: ImageConfig, layers: usize, limits: &Limits) -> Result<ImageConfig> {
    let diffs = config.rootfs.diff_ids.len();
    if diffs != layers {
        return Err(Error::new(
            Kind::Refused,
            format!("image: its configuration has {diffs} layers and its manifest {layers}"),
        ));
    }
    if layers > limits.layers {
        let most = limits.layers;
        return Err(Error::new(
            Kind::Refused,
            format!("image: it has {layers} layers; {most} are the limit"),
        ));
    }
    if !matches!(config.os.as_str(), "linux" | "") {
        return Err(Error::new(
            Kind::Refused,
            format!("image: it is for {}, not for linux", config.os),
        ));
    }
    Ok(config)
}

/// One image in Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Finds the image called `tag` in what `docker save` has written.
///
/// # Errors
/// As [`oci`].
pub fn docker(files: Files, tag: Option<&str>, limits: &Limits) -> Result<Found> {
    let all: Vec<Saved> =
        parsed("manifest.json", &files.document(Path::new("manifest.json"), limits)?)?;
    let tags = |one: &Saved| one.repo_tags.clone().unwrap_or_default();
    let is = |one: &Saved, tag: &str| {
        tags(one).iter().any(|known| known == tag || *known == format!("{tag}:latest"))
    };
    let saved = match (tag, &all[..]) {
        (None, [one]) => one,
        (None, []) => {
            return Err(Error::new(Kind::Refused, "image: there is no image in manifest.json"));
        }
        (tag, _) => tag.and_then(|tag| all.iter().find(|one| is(one, tag))).ok_or_else(|| {
            let known: Vec<String> = all.iter().flat_map(tags).collect();
            Error::new(
                Kind::Refused,
                format!("image: append one of its names after a colon: {}", known.join(", ")),
            )
        })?,
    };
    let document = files.document(Path::new(&saved.config), limits)?;
    let id = Digest::of(&document);
    let config = checked(parsed("the configuration", &document)?, saved.layers.len(), limits)?;
    let mut layers = Vec::new();
    for (path, diff) in saved.layers.iter().zip(&config.rootfs.diff_ids) {
        layers.push(Layer { diff: Digest::parse(diff)?, stored: None, path: path.into() });
    }
    Ok(Found { id, document, config, layers, files })
}

/// Opens a directory as a layout.
///
/// # Errors
/// There is no such directory.
pub fn directory(path: &Path) -> Result<Files> {
    if !path.is_dir() {
        return Err(Error::new(
            Kind::Refused,
            format!("image: {} is no directory", path.display()),
        ));
    }
    Ok(Files::Directory(path.to_owned()))
}

/// Opens a tar file as a layout; a compressed one is unpacked into `scratch` first.
///
/// # Errors
/// It cannot be read, or is no tar file.
pub fn archive(path: &Path, scratch: &Path, limits: &Limits) -> Result<Files> {
    let open = || Archive::open(File::open(path)?, scratch, limits);
    let archive = open().map_err(|error| {
        Error::new(Kind::Refused, format!("image: read {}: {error}", path.display()))
    })?;
    Ok(Files::Archive(archive))
}
