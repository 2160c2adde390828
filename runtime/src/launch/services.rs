//! Services: where their files are found, and what PID 1 gets of them.
//!
//! The control socket is a file of the container's state directory on the host; PID 1
//! inherits it listening, and nothing of it is in the container.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use super::own_image::sealed_image;
use super::{host_path, image_file};
use crate::config::services::{Accounts, Format, Services, Source};
use crate::error::{Error, Result, Step};
use crate::life::Entry;
use crate::life::services::SOCKET;
use crate::sys::inroot;

/// The annotation that names a file in the container's root, or holds the document itself.
pub const ANNOTATION: &str = "io.richrun.services";
/// Where the image may bring services along.
const IMAGE_DIRECTORY: &str = "/etc/richrun/services.d";
/// The largest document, in bytes.
const MAX_DOCUMENT: u64 = 1 << 20;
/// The largest the image's documents may be together, in bytes.
const MAX_TOGETHER: u64 = 2 << 20;
/// The most entries that are looked at in the image's directory.
const MAX_ENTRIES: usize = 4096;
/// The most documents in it: more than there can be services.
const MAX_DOCUMENTS: usize = 256;

/// What PID 1 inherits.
#[derive(Debug)]
pub struct Inherited {
    /// The plan, in memory that nobody can write to.
    pub plan: OwnedFd,
    /// The listening socket.
    pub control: OwnedFd,
}

impl Inherited {
    /// Makes both. The socket belongs to whoever runs the runtime, and to nobody else.
    #[expect(clippy::disallowed_methods, reason = "in the runtime's own directory")]
    pub fn make(entry: &Entry, plan: &[u8]) -> Result<Inherited> {
        let plan = sealed_image(c"rich-services", plan)?;
        rustix::fs::seek(&plan, rustix::fs::SeekFrom::Start(0))
            .step(|| "services: rewind the plan")?;
        let step = || format!("services: make {}/{SOCKET}", entry.path().display());
        // A path through the directory's descriptor is short enough for any address.
        let path = format!("/proc/self/fd/{}/{SOCKET}", entry.dir().as_raw_fd());
        let address = SocketAddrUnix::new(path.as_str()).step(step)?;
        let kind = SocketType::SEQPACKET;
        let control =
            socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).step(step)?;
        bind(&control, &address).step(step)?;
        chmodat(entry.dir(), SOCKET, Mode::from_raw_mode(0o600), AtFlags::empty()).step(step)?;
        listen(&control, 128).step(step)?;
        Ok(Inherited { plan, control })
    }

    /// The descriptors' numbers: plan, socket.
    pub fn numbers(&self) -> (i32, i32) {
        (self.plan.as_raw_fd(), self.control.as_raw_fd())
    }
}

/// Where services may be described, from the strongest to the weakest.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// `--services`: a file of the host.
    pub file: Option<&'a Path>,
    /// The annotations of config.json.
    pub annotations: Option<&'a HashMap<String, String>>,
    /// The root file system.
    pub root: &'a Path,
    /// The user as whom PID 1 runs.
    pub user: u32,
}

/// Finds, reads and checks the services; `None` when nobody describes any.
///
/// # Errors
/// A file that cannot be read; file, line and field of what is wrong in it.
pub fn find(places: Places<'_>) -> Result<Option<Services>> {
    let Some((sources, accounts)) = gather(places)? else { return Ok(None) };
    let services = Services::read(&sources, &accounts)?;
    services.check_users(places.user)?;
    Ok(Some(services))
}

/// All that is wrong with the services.
pub fn problems(places: Places<'_>) -> Vec<Error> {
    match gather(places) {
        Ok(None) => Vec::new(),
        Ok(Some((sources, accounts))) => match Services::read_all(&sources, &accounts) {
            Ok(services) => services.check_users(places.user).err().into_iter().collect(),
            Err(errors) => errors,
        },
        Err(error) => vec![error],
    }
}

/// The documents, and who the image says that there is.
fn gather(places: Places<'_>) -> Result<Option<(Vec<Source>, Accounts)>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = host_path::open(places.root, flags)
        .step(|| format!("root.path: open {}", places.root.display()))?;
    let annotation = places.annotations.and_then(|all| all.get(ANNOTATION));
    let sources = match (places.file, annotation) {
        (Some(path), _) => vec![of_host(path)?],
        (None, Some(text)) if text.starts_with('/') => {
            vec![of_image(root.as_fd(), Path::new(text))?]
        }
        (None, Some(text)) => vec![Source::of_text(ANNOTATION, text.clone())],
        (None, None) => of_directory(root.as_fd())?,
    };
    if sources.is_empty() {
        return Ok(None);
    }
    let text = |path: &str| read_inside(root.as_fd(), Path::new(path)).unwrap_or_default();
    let accounts = Accounts::new(text("/etc/passwd"), text("/etc/group"));
    Ok(Some((sources, accounts)))
}

fn of_host(path: &Path) -> Result<Source> {
    let step = || format!("--services: open {}", path.display());
    let file = host_path::open(path, OFlags::PATH).step(step)?;
    let read = image_file::read_found(file.as_fd(), MAX_DOCUMENT + 1).and_then(text_of);
    let text = read.step(|| format!("--services: read {}", path.display()))?;
    Ok(source(&path.to_string_lossy(), text))
}

fn of_image(root: BorrowedFd<'_>, path: &Path) -> Result<Source> {
    let text = read_inside(root, path)
        .step(|| format!("services: read {} in the container's root", path.display()))?;
    Ok(source(&path.to_string_lossy(), text))
}

/// By its name's end, or else by its content.
fn source(name: &str, text: String) -> Source {
    match name.rsplit_once('.') {
        Some((_, "toml")) => Source { name: name.to_owned(), text, format: Format::Toml },
        Some((_, "json")) => Source { name: name.to_owned(), text, format: Format::Json },
        _ => Source::of_text(name, text),
    }
}

/// The image's own services, in the order of the files' names.
fn of_directory(root: BorrowedFd<'_>) -> Result<Vec<Source>> {
    let step = || format!("services: read {IMAGE_DIRECTORY} in the container's root");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = match inroot::open(root, Path::new(IMAGE_DIRECTORY), flags) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        opened => opened.step(step)?,
    };
    let mut names = Vec::new();
    for (count, entry) in Dir::read_from(&directory).step(step)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(too_many(&format!("more than {MAX_ENTRIES} entries")));
        }
        let name = entry.step(step)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") || name.ends_with(".json") {
            names.push(name);
        }
    }
    if names.len() > MAX_DOCUMENTS {
        return Err(too_many(&format!(
            "{} documents, at most {MAX_DOCUMENTS} are read",
            names.len()
        )));
    }
    names.sort();
    let mut left = MAX_TOGETHER;
    let mut sources = Vec::with_capacity(names.len());
    for name in &names {
        let source = of_image(root, &Path::new(IMAGE_DIRECTORY).join(name))?;
        left = left.checked_sub(source.text.len() as u64).ok_or_else(|| {
            too_many(&format!("documents of more than {} MiB together", MAX_TOGETHER >> 20))
        })?;
        sources.push(source);
    }
    Ok(sources)
}

fn too_many(what: &str) -> Error {
    Error::config(format!("services: {IMAGE_DIRECTORY} in the container's root: {what}"))
}

/// A document of a root that may be hostile.
fn read_inside(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<String> {
    text_of(image_file::read(root, path, MAX_DOCUMENT + 1)?)
}

fn text_of(bytes: Vec<u8>) -> rustix::io::Result<String> {
    match bytes.len() as u64 <= MAX_DOCUMENT {
        true => String::from_utf8(bytes).map_err(|_| Errno::ILSEQ),
        false => Err(Errno::FBIG),
    }
}

/// The root file system's path, for [`Places`].
pub fn root_of(config: &crate::config::Config) -> PathBuf {
    let root = config.spec.root().as_ref();
    root.map_or_else(|| config.bundle.clone(), |root| config.bundle.join(root.path()))
}
