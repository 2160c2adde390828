//! The state directory: one directory a container below `--root`.
//!
//! `<root>/<id>/` holds `state.json` (written by rename), `config.json` (the
//! configuration as it was at `create`: later changes of the bundle have no
//! effect, runtime.md "create"), and while the container waits for `start` the
//! two FIFOs of the start gate. The directory itself is the lock: `flock` on
//! its descriptor ([`lock`]). `mkdir` decides who wins a race for an id.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Status;
use super::lock::{self, Copies, Holder};
use super::process::{ProcessId, own_pid_namespace};
use crate::cgroup::CgroupRecord;
use crate::cgroup::rdt::RdtRecord;
use crate::config::extras::Extras;
use crate::config::rich::RichConfig;
use crate::error::{Error, Kind, Result, Step};

/// The FIFO through which `start` releases the init process. The container is
/// "created" as long as it is there and somebody reads from it.
pub const EXEC_FIFO: &str = "exec.fifo";
/// The FIFO through which the init process answers `start`: an error text, or
/// nothing when the payload was executed.
pub const RESULT_FIFO: &str = "result.fifo";

/// How a container's directory is opened.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const STATE: &str = "state.json";
const STATE_NEW: &str = ".state.json.new";
const CONFIG: &str = "config.json";
const CONFIG_NEW: &str = ".config.json.new";

/// Everything that later commands must know about a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the specification that the bundle asked for.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// Creation time, RFC 3339 in UTC with nanoseconds.
    pub created: String,
    /// The user who created it.
    pub owner: u32,
    /// The annotations of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The init process; absent while `create` has not got that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessId>,
    /// Its control groups; absent where none could be made (rootless).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupRecord>,
    /// Its class of cache and memory bandwidth, and what of it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdt: Option<RdtRecord>,
    /// Set once `create` has finished: what is killed before is "creating".
    #[serde(default)]
    pub ready: bool,
    /// The place of the poststop hook that is to run next, written before each
    /// begins, so that each runs once; absent where none is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poststop_next: Option<usize>,
    /// What it was resolved to, if it is a rich container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rich: Option<RichConfig>,
    /// What else it asked for.
    #[serde(default, skip_serializing_if = "Extras::is_empty")]
    pub extras: Extras,
    /// What its first process gets in the place of TERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<i32>,
    /// Where its first process leads a pid namespace that was made for it, the one in which that
    /// process is counted (its number in nsfs): seen from there, all of the container's processes
    /// end with the first one (pid_namespaces(7)), and who is in its groups then is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_whole_in: Option<u64>,
}

impl State {
    /// Whether none of its processes can be left: the first one is dead, and all the others
    /// ended with it.
    pub fn none_left(&self) -> bool {
        self.ready
            && self.init.is_some_and(|init| !init.is_alive())
            && self.ends_whole_in.is_some_and(|counted| own_pid_namespace() == Some(counted))
    }
}

/// The directory below which all containers of this user live.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// One container's directory, opened and locked: as long as this lives, no
/// other command of the runtime changes the container.
#[derive(Debug)]
pub struct Entry {
    root: PathBuf,
    id: String,
    dir: OwnedFd,
}

impl Store {
    /// The store below `root` (`--root`). The directory is made when the first
    /// container is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Store { root: root.into() }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reserves `id`: makes its directory and locks it.
    ///
    /// # Errors
    /// An invalid id, or one that exists already.
    pub fn create(&self, id: &str) -> Result<Entry> {
        check_id(id)?;
        let path = self.root.join(id);
        match fs::mkdir(&path, Mode::from_raw_mode(0o711)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(Error::new(
                    Kind::WrongState,
                    format!("container with given ID already exists: {id}"),
                ));
            }
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(&self.root).step(|| self.no_root("mkdir"))?;
                fs::chmod(&self.root, Mode::from_raw_mode(0o711))
                    .step(|| format!("chmod {}", self.root.display()))?;
                return self.create(id);
            }
            Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
                return Err(Error::os(self.no_root("write to"), errno));
            }
            Err(errno) => return Err(Error::os(format!("mkdir {}", path.display()), errno)),
        }
        match self.entry(id) {
            // Between mkdir and flock a `delete --force` took it away again.
            Err(error) if error.kind() == Kind::NotFound => self.create(id),
            entry => entry,
        }
    }

    /// The step that failed, and the ways to another directory.
    fn no_root(&self, step: &str) -> String {
        let root = self.root.display();
        format!("{step} {root} (state is kept there: --root or XDG_RUNTIME_DIR names another)")
    }

    /// Opens and locks an existing container.
    ///
    /// # Errors
    /// [`Kind::NotFound`] ("container does not exist"); [`Kind::WrongState`]
    /// where another command keeps it locked, which the error names.
    pub fn entry(&self, id: &str) -> Result<Entry> {
        self.entry_with(id, Copies::Left)
    }

    /// The same for a `delete --force`: what a dead command has left behind and still has the
    /// lock is killed.
    ///
    /// # Errors
    /// As [`Store::entry`].
    pub fn entry_by_force(&self, id: &str) -> Result<Entry> {
        self.entry_with(id, Copies::Killed)
    }

    fn entry_with(&self, id: &str, copies: Copies) -> Result<Entry> {
        match self.open(id, copies)? {
            (entry, None) => Ok(entry),
            (_, Some(holder)) => Err(holder.waits_for_us(id)),
        }
    }

    /// Opens and locks, or finds that a command holds the lock that waits for
    /// this process: a hook's.
    fn open(&self, id: &str, copies: Copies) -> Result<(Entry, Option<Holder>)> {
        let path = self.root.join(id);
        loop {
            let dir = self.directory(id)?;
            let holder = lock::take(&dir, id, copies)?;
            // While we waited, the container may have been deleted, and another
            // of that id been made: the lock would be one on nothing.
            if is_at(&dir, &path).step(|| format!("stat {}", path.display()))? {
                let entry = Entry { root: self.root.clone(), id: id.to_owned(), dir };
                return Ok((entry, holder));
            }
        }
    }

    /// Opens, locks and reads a container.
    pub fn load(&self, id: &str) -> Result<(Entry, State)> {
        let entry = self.entry(id)?;
        let state = entry.read_state()?;
        Ok((entry, state))
    }

    /// As [`Store::load`]; but a hook of the command that holds the lock may
    /// have the container too, since that command does nothing to it before
    /// its hook has ended. For `pause` and `resume`.
    pub fn load_also_from_a_hook(&self, id: &str) -> Result<(Entry, State)> {
        let (entry, _) = self.open(id, Copies::Left)?;
        let state = entry.read_state()?;
        Ok((entry, state))
    }

    /// Reads a container's state without taking its lock: state.json is
    /// replaced whole, so a reader sees one version or the other. For `state`,
    /// `list` and `ps`, which must not wait for a `create` under way.
    pub fn peek(&self, id: &str) -> Result<(State, Status)> {
        check_id(id)?;
        let dir = self.root.join(id);
        match std::fs::read(dir.join(STATE)) {
            Ok(bytes) => {
                let state = parse_state(&bytes, id)?;
                let status = status_of(&state, || is_held(fs::CWD, &dir.join(EXEC_FIFO)));
                Ok((state, status))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(unknown(id)),
            Err(error) => Err(error).step(|| format!("read {}", dir.join(STATE).display())),
        }
    }

    /// A container's directory without its lock, for what may come while others have it.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn directory(&self, id: &str) -> Result<OwnedFd> {
        check_id(id)?;
        let path = self.root.join(id);
        match fs::open(&path, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Err(unknown(id)),
            opened => opened.step(|| format!("open {}", path.display())),
        }
    }

    /// A container's configuration as it was at `create`, without its lock.
    pub fn read_config(&self, id: &str) -> Result<Vec<u8>> {
        check_id(id)?;
        let path = self.root.join(id).join(CONFIG);
        std::fs::read(&path).step(|| format!("read {}", path.display()))
    }

    /// The ids of all containers, sorted. Directories without a state (a
    /// creation that is under way or was cut off) are included.
    pub fn ids(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).step(|| format!("read {}", self.root.display())),
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let is_dir = entry.file_type().ok()?.is_dir();
                let name = entry.file_name().into_string().ok()?;
                (is_dir && check_id(&name).is_ok()).then_some(name)
            })
            .collect();
        ids.sort();
        Ok(ids)
    }
}

impl Entry {
    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The container's directory, for making and opening files in it.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The directory's path, for messages and for what must outlive us.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.id)
    }

    /// Reads `state.json`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none: a creation was cut off.
    pub fn read_state(&self) -> Result<State> {
        match self.read(STATE) {
            Ok(bytes) => parse_state(&bytes, &self.id),
            Err(error) if error.errno() == Some(Errno::NOENT) => Err(unknown(&self.id)),
            Err(error) => Err(error),
        }
    }

    /// The first process of a `create` that was cut off, where the state does not name it yet:
    /// that of the next state ([`Entry::prepare`]), if it was written whole.
    pub fn next_init(&self) -> Option<ProcessId> {
        let bytes = self.read(STATE_NEW).ok()?;
        parse_state(&bytes, &self.id).ok().and_then(|state| state.init)
    }

    /// Replaces `state.json`: a temporary file, then rename, so that a reader
    /// or a crash of the runtime sees one version or the other. Nothing is
    /// synced: after a crash of the machine there is no container left.
    pub fn save(&self, state: &State) -> Result<()> {
        self.prepare(state)?;
        self.replace()
    }

    /// The first half of [`Entry::save`]: writes what [`Entry::replace`] will make the
    /// state, where that is known before it is true.
    pub fn prepare(&self, state: &State) -> Result<()> {
        let bytes = serde_json::to_vec(state)
            .map_err(|error| Error::system(format!("encode state.json: {error}")))?;
        self.write_file(STATE_NEW, &bytes)
    }

    /// The second half: what was prepared last is the state.
    pub fn replace(&self) -> Result<()> {
        renameat(&self.dir, STATE_NEW, &self.dir, STATE)
            .step(|| format!("rename {}/{STATE_NEW} to {STATE}", self.path().display()))
    }

    /// Writes what [`Entry::replace_config`] will make the kept configuration.
    pub fn prepare_config(&self, bytes: &[u8]) -> Result<()> {
        self.write_file(CONFIG_NEW, bytes)
    }

    /// Makes the prepared configuration the kept one: a reader sees one or the other.
    pub fn replace_config(&self) -> Result<()> {
        renameat(&self.dir, CONFIG_NEW, &self.dir, CONFIG)
            .step(|| format!("rename {}/{CONFIG_NEW} to {CONFIG}", self.path().display()))
    }

    /// Keeps the configuration as it was at `create`.
    pub fn save_config(&self, bytes: &[u8]) -> Result<()> {
        self.write_file(CONFIG, bytes)
    }

    /// The configuration as it was at `create`.
    pub fn read_config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG)
    }

    /// The container's status as it is now.
    pub fn status(&self, state: &State) -> Status {
        status_of(state, || is_held(self.dir(), Path::new(EXEC_FIFO)))
    }

    /// Removes the container's directory and all in it. Repeatable.
    pub fn remove(&self) -> Result<()> {
        for name in [STATE, STATE_NEW, CONFIG, CONFIG_NEW, EXEC_FIFO, RESULT_FIFO] {
            match unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(Error::os(
                        format!("remove {}/{name}", self.path().display()),
                        errno,
                    ));
                }
            }
        }
        match fs::rmdir(self.path()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // Something else was left in it: take that too.
            Err(Errno::NOTEMPTY | Errno::EXIST) => std::fs::remove_dir_all(self.path())
                .step(|| format!("remove {}", self.path().display())),
            Err(errno) => Err(Error::os(format!("rmdir {}", self.path().display()), errno)),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let open = || openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let file = open().step(|| format!("open {}/{name}", self.path().display()))?;
        let mut bytes = Vec::new();
        use std::io::Read;
        std::fs::File::from(file)
            .read_to_end(&mut bytes)
            .step(|| format!("read {}/{name}", self.path().display()))?;
        Ok(bytes)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        use std::io::Write;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let step = || format!("write {}/{name}", self.path().display());
        let file = openat(&self.dir, name, flags, Mode::from_raw_mode(0o600)).step(step)?;
        let mut file = std::fs::File::from(file);
        file.write_all(bytes).step(step)
    }
}

fn unknown(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("container does not exist: {id}"))
}

/// Whether the directory is still what `path` names.
fn is_at(dir: &OwnedFd, path: &Path) -> std::result::Result<bool, Errno> {
    let held = fs::fstat(dir)?;
    match fs::statat(fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether a process waits at the start gate: the FIFO is there and has a
/// reader (fifo(7): without one, it cannot be opened for writing alone). The
/// payload's execve closes it, whether or not `start` lived to remove it.
fn is_held(at: BorrowedFd<'_>, gate: &Path) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, gate, flags, Mode::empty()) {
        Ok(_) => true,
        Err(Errno::NXIO | Errno::NOENT) => false,
        // Another user's: it is there, and more cannot be known.
        Err(_) => true,
    }
}

fn parse_state(bytes: &[u8], id: &str) -> Result<State> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::system(format!("state of container {id}: {error}")))
}

/// Derives the status: the init process decides, then the freezer, then the
/// start gate.
fn status_of(state: &State, gate: impl FnOnce() -> bool) -> Status {
    let alive = state.init.is_some_and(|init| init.is_alive());
    match (state.ready, alive) {
        (false, true) => Status::Creating,
        (false, false) => Status::Stopped,
        (true, false) => Status::Stopped,
        (true, true) if state.cgroup.as_ref().is_some_and(CgroupRecord::is_frozen) => {
            Status::Paused
        }
        (true, true) if gate() => Status::Created,
        (true, true) => Status::Running,
    }
}

/// Refuses ids that are empty, too long for a file name, or not made of
/// letters, digits and `_+-.` (runc's rule).
pub fn check_id(id: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() || id.len() > 255 || id == "." || id == ".." || !id.bytes().all(good) {
        return Err(Error::new(
            Kind::Usage,
            format!("invalid container ID format: {id:?} (1 to 255 letters, digits and _ + - .)"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
