//! Services: where their files are found, and what PID 1 gets of them.
//!
//! The control socket is a file of the container's state directory on the host; PID 1
//! inherits it listening, and nothing of it is in the container.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, Process};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use super::container_files::Files;
use super::own_image::sealed_image;
use super::{host_path, image_file, interpreter};
use crate::config::Config;
use crate::config::services::{Accounts, Format, Runner, Services, Source};
use crate::error::{Error, Result, Step};
use crate::life::Entry;
use crate::life::services::SOCKET;

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
    control: Control,
}

/// The control socket.
#[derive(Debug)]
enum Control {
    /// It is there.
    Listens(OwnedFd),
    /// The first process makes it, in this directory, when it is in its network namespace: CRIU
    /// finds a socket in the namespace in which it was made.
    MadeIn(OwnedFd),
}

impl Inherited {
    /// Makes both; `inside`: the first process can make the socket, and is to.
    pub fn make(entry: &Entry, plan: &[u8], inside: bool) -> Result<Inherited> {
        let plan = sealed_image(c"rich-services", plan)?;
        rustix::fs::seek(&plan, rustix::fs::SeekFrom::Start(0))
            .step(|| "services: rewind the plan")?;
        let control = match inside {
            false => Control::Listens(control_socket(entry.dir())?),
            true => {
                // Not a copy of the descriptor, with which the container would stay locked.
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let open = openat(entry.dir(), ".", flags, Mode::empty());
                Control::MadeIn(open.step(|| "services: open the state directory")?)
            }
        };
        Ok(Inherited { plan, control })
    }

    /// Child, in its network namespace: the socket listens.
    pub fn listen(&mut self) -> Result<()> {
        if let Control::MadeIn(directory) = &self.control {
            self.control = Control::Listens(control_socket(directory.as_fd())?);
        }
        Ok(())
    }

    /// The descriptors' numbers: plan, socket.
    pub fn numbers(&self) -> (i32, i32) {
        let (Control::Listens(control) | Control::MadeIn(control)) = &self.control;
        (self.plan.as_raw_fd(), control.as_raw_fd())
    }
}

/// Makes the listening socket in a state directory. It belongs to whoever runs the runtime, and to
/// nobody else.
#[expect(clippy::disallowed_methods, reason = "in the runtime's own directory")]
pub fn control_socket(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let step = || format!("services: make {SOCKET} in the state directory");
    // A path through the directory's descriptor is short enough for any address.
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    let address = SocketAddrUnix::new(path.as_str()).step(step)?;
    let kind = SocketType::SEQPACKET;
    let control = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).step(step)?;
    bind(&control, &address).step(step)?;
    chmodat(directory, SOCKET, Mode::from_raw_mode(0o600), AtFlags::empty()).step(step)?;
    listen(&control, 128).step(step)?;
    Ok(control)
}

/// Where services may be described: `--services`, else config.json's annotation, else
/// the image.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// `--services`: a file of the host.
    pub file: Option<&'a Path>,
    /// The configuration, whose first process is PID 1.
    pub config: &'a Config,
}

/// Finds, reads and checks the services; `None` when nobody describes any. What may be
/// missing when they start is warned of.
///
/// # Errors
/// A file that cannot be read; file, line and field of what is wrong in it.
pub fn find(places: Places<'_>) -> Result<Option<Services>> {
    let Some(found) = gather(places)? else { return Ok(None) };
    let services = Services::read(&found.sources, &found.accounts)?;
    services.check_users(places.runner())?;
    if let Some(line) = found.lacking(&services, places) {
        crate::log::warn(line);
    }
    Ok(Some(services))
}

/// All that is wrong with the services, and what may be missing.
pub fn problems(places: Places<'_>) -> (Vec<Error>, Option<String>) {
    match gather(places) {
        Ok(None) => (Vec::new(), None),
        Ok(Some(found)) => match Services::read_all(&found.sources, &found.accounts) {
            Ok(services) => {
                let users = services.check_users(places.runner()).err();
                (users.into_iter().collect(), found.lacking(&services, places))
            }
            Err(errors) => (errors, None),
        },
        Err(error) => (vec![error], None),
    }
}

impl Places<'_> {
    fn process(&self) -> Option<&Process> {
        self.config.spec.process().as_ref()
    }

    /// What PID 1 may become.
    fn runner(&self) -> Runner {
        let sets = self.process().and_then(|process| process.capabilities().as_ref());
        // Without a word about them root has none.
        let has = |cap| {
            sets.is_some_and(|sets| sets.bounding().as_ref().is_some_and(|set| set.contains(&cap)))
        };
        Runner {
            uid: self.process().map_or(0, |process| process.user().uid()),
            lacks: [("CAP_SETUID", Capability::Setuid), ("CAP_SETGID", Capability::Setgid)]
                .into_iter()
                .find_map(|(name, cap)| (!has(cap)).then_some(name)),
        }
    }
}

/// What was found.
struct Found {
    sources: Vec<Source>,
    /// Who the image says that there is.
    accounts: Accounts,
    files: Files,
}

impl Found {
    /// A line that names what services execute and is nowhere, nor its interpreter: it may
    /// come to be before they start, so that this is no error.
    fn lacking(&self, services: &Services, places: Places<'_>) -> Option<String> {
        let own = places.process().and_then(|process| process.env().clone()).unwrap_or_default();
        let mut lacking = Vec::new();
        for (field, words, env) in services.commands() {
            let path = |list: &[String]| {
                let value = list.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
                value.map(str::to_owned)
            };
            let search = path(env).or_else(|| path(&own)).unwrap_or_default();
            if let Some(what) = self.lacks(words, &search) {
                lacking.push(format!("{field}: {what}"));
            }
        }
        let more = lacking.len().saturating_sub(MOST_LACKING);
        lacking.truncate(MOST_LACKING);
        if more > 0 {
            lacking.push(format!("and {more} more"));
        }
        let all = lacking.join("; ");
        (!all.is_empty()).then(|| format!("services: not in the container: {all}"))
    }

    /// What is missing to execute these words, as far as that can be said.
    fn lacks(&self, words: &[String], search: &str) -> Option<String> {
        let name = words.first()?;
        let program = match (name.starts_with('/'), name.contains('/')) {
            (true, _) => Some(PathBuf::from(name)).filter(|path| self.files.has_program(path)),
            // The working directory's; or nobody knows where it is looked for.
            (false, in_directory) if in_directory || search.is_empty() => return None,
            _ => search
                .split(':')
                .map(|directory| Path::new(directory).join(name))
                .find(|path| path.is_absolute() && self.files.has_program(path)),
        };
        let Some(program) = program else { return Some(format!("{name:?}")) };
        let found = self.files.open(&program, OFlags::PATH).ok()?;
        let interpreter = interpreter::of(found.as_fd())?;
        let there = !interpreter.is_absolute() || self.files.has_program(&interpreter);
        (!there).then(|| format!("{interpreter:?}, the interpreter of {name:?}"))
    }
}

/// How many of what is lacking a line names.
const MOST_LACKING: usize = 5;

fn gather(places: Places<'_>) -> Result<Option<Found>> {
    let files = Files::of(places.config)?;
    let annotations = places.config.spec.annotations().as_ref();
    let annotation = annotations.and_then(|all| all.get(ANNOTATION));
    let sources = match (places.file, annotation) {
        (Some(path), _) => vec![of_host(path)?],
        (None, Some(text)) if text.starts_with('/') => vec![of_image(&files, Path::new(text))?],
        (None, Some(text)) => vec![Source::of_text(ANNOTATION, text.clone())],
        (None, None) => of_directory(&files)?,
    };
    if sources.is_empty() {
        return Ok(None);
    }
    let text = |path: &str| read_inside(&files, Path::new(path)).unwrap_or_default();
    let accounts = Accounts::new(text("/etc/passwd"), text("/etc/group"));
    Ok(Some(Found { sources, accounts, files }))
}

fn of_host(path: &Path) -> Result<Source> {
    let step = || format!("--services: open {}", path.display());
    let file = host_path::open(path, OFlags::PATH).step(step)?;
    let read = image_file::read_found(file.as_fd(), MAX_DOCUMENT + 1).and_then(text_of);
    let text = read.step(|| format!("--services: read {}", path.display()))?;
    Ok(source(&path.to_string_lossy(), text))
}

fn of_image(files: &Files, path: &Path) -> Result<Source> {
    let text = read_inside(files, path)
        .step(|| format!("services: read {} in the container's root", path.display()))?;
    Ok(source(&path.to_string_lossy(), text))
}

/// By its name's end, or else by its content.
fn source(name: &str, text: String) -> Source {
    match Format::of_name(name) {
        Some(format) => Source { name: name.to_owned(), text, format },
        None => Source::of_text(name, text),
    }
}

/// The image's own services, in the order of the files' names.
fn of_directory(files: &Files) -> Result<Vec<Source>> {
    let step = || format!("services: read {IMAGE_DIRECTORY} in the container's root");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let place = Path::new(IMAGE_DIRECTORY);
    let mut names = files.mounted_in(place);
    match files.open(place, flags) {
        Err(Errno::NOENT | Errno::NOTDIR) => {}
        opened => names.extend(entries(&opened.step(step)?)?),
    }
    names.retain(|name| Format::of_name(name).is_some());
    names.sort();
    names.dedup();
    if names.len() > MAX_DOCUMENTS {
        return Err(too_many(&format!(
            "{} documents, at most {MAX_DOCUMENTS} are read",
            names.len()
        )));
    }
    let mut left = MAX_TOGETHER;
    let mut sources = Vec::with_capacity(names.len());
    for name in &names {
        let source = of_image(files, &place.join(name))?;
        left = left.checked_sub(source.text.len() as u64).ok_or_else(|| {
            too_many(&format!("documents of more than {} MiB together", MAX_TOGETHER >> 20))
        })?;
        sources.push(source);
    }
    Ok(sources)
}

/// The names in a directory that may be hostile.
fn entries(directory: &OwnedFd) -> Result<Vec<String>> {
    let step = || format!("services: read {IMAGE_DIRECTORY} in the container's root");
    let mut names = Vec::new();
    for (count, entry) in Dir::read_from(directory).step(step)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(too_many(&format!("more than {MAX_ENTRIES} entries")));
        }
        names.push(entry.step(step)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn too_many(what: &str) -> Error {
    Error::config(format!("services: {IMAGE_DIRECTORY} in the container's root: {what}"))
}

/// A document of a root that may be hostile.
fn read_inside(files: &Files, path: &Path) -> rustix::io::Result<String> {
    text_of(files.read(path, MAX_DOCUMENT + 1)?)
}

fn text_of(bytes: Vec<u8>) -> rustix::io::Result<String> {
    match bytes.len() as u64 <= MAX_DOCUMENT {
        true => String::from_utf8(bytes).map_err(|_| Errno::ILSEQ),
        false => Err(Errno::FBIG),
    }
}
