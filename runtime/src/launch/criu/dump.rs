//! Writing a container: `checkpoint`.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Criu, Notice, Start, check, given, with_reason};
use crate::cgroup::{Cgroup, layout};
use crate::config::rich::RichConfig;
use crate::error::{Error, Result, Step};
use crate::launch::{host_path, notify_relay};
use crate::life::services::SOCKET;
use crate::life::{Entry, ProcessId, State, record};
use crate::log;
use crate::plan::Plan;
use crate::plan::cgroup::layout::Membership;
use crate::plan::criu::externals::{self, Mounted};
use crate::plan::criu::image::{FILES, changed};
use crate::plan::criu::{Act, CgroupMode, DUMP_LOG, Feature, OWN, Options, Request, STREAMS};
use crate::plan::namespaces::proc_name;
use crate::sys::process;

/// The flag of a listening socket in `/proc/net/unix` (`__SO_ACCEPTCON`).
const LISTENS: &str = "00010000";

/// What CRIU does not know of a container, beside the images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Own {
    /// What it was resolved to, if it is a rich container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rich: Option<RichConfig>,
    /// Its PID 1's control socket, as CRIU names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// The file for its PID 1's word on the end, by CRIU's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// It has a socket for its readiness.
    pub notifies: bool,
}

/// A container that is to be written.
pub struct Dump<'a> {
    /// Its directory, locked.
    pub entry: &'a Entry,
    /// Its state.
    pub state: &'a State,
    /// Its first process.
    pub init: ProcessId,
    /// What it was made by.
    pub plan: &'a Plan,
    /// What is asked for.
    pub options: &'a Options,
    /// Only its memory, and it runs on.
    pub pre: bool,
    /// Where it is written to.
    pub images: OwnedFd,
    /// Where the log goes, if elsewhere.
    pub work: Option<OwnedFd>,
    /// Who is told when memory can be fetched.
    pub status: Option<OwnedFd>,
    /// What else configures CRIU.
    pub config: Option<String>,
}

impl Dump<'_> {
    /// Writes it. Without `leave_running`, or where CRIU was cut off, its processes are dead then.
    ///
    /// # Errors
    /// What cannot be written, in CRIU's words where it says so.
    pub fn write(mut self) -> Result<()> {
        externals::check(self.plan)?;
        if self.pre {
            check(Feature::MemTrack)?;
        }
        if self.options.lazy_pages {
            check(Feature::LazyPages)?;
        }
        let mounts = externals::mounted(&self.read("mountinfo")?);
        let (streams, mut external) = self.streams(&mounts)?;
        let act = if self.pre { Act::PreDump } else { Act::Dump };
        if act == Act::Dump {
            external.extend(externals::dumped(self.plan, &mounts));
            self.save(STREAMS, &streams)?;
            let own = self.own(&mounts);
            external.extend(own.record.clone());
            self.save(OWN, &own)?;
        }
        external.extend(externals::namespaces(&self.plan.namespaces.joined, |kind| {
            self.namespace(kind)
        })?);
        let groups = self.state.cgroup.as_ref();
        let freezer = groups.and_then(|groups| {
            let v1 = groups.v1.iter().find(|place| place.has("freezer"));
            v1.or(groups.unified.as_ref()).map(|place| place.directory())
        });
        let options = Options { cgroups: self.cgroups()?, ..self.options.clone() };
        let (directories, images, work) = given(&self.images, self.work.as_ref())?;
        let request = Request {
            act,
            options: &options,
            images,
            work,
            root: self.state.rootfs.display().to_string(),
            pid: Some(self.init.pid),
            freezer,
            external,
            inherited: Vec::new(),
            joined: Vec::new(),
            groups: Vec::new(),
            config: self.config.clone(),
        };
        let request = request.encoded();
        // The number has been its own until now; CRIU takes no descriptor.
        self.init.pidfd()?;
        let none = Cgroup::none();
        let streams = self.options.shell_job;
        let start = Start { cgroup: &none, root: None, passed: &[], directories, streams };
        let mut status = self.status.take();
        let done = Criu::start(start)?.ask(act, &request, &mut |notice: Notice<'_>| {
            if let Some(fd) = status.take_if(|_| notice.script == "status-ready") {
                rustix::io::write(&fd, &[0]).map(drop).step(|| "--status-fd")?;
            }
            Ok(())
        });
        let log = self.work.as_ref().unwrap_or(&self.images);
        done.map_err(|error| with_reason(error, log.as_fd(), DUMP_LOG))?;
        if act == Act::Dump { self.change_files() } else { Ok(()) }
    }

    /// Makes of CRIU's list of open files what a restore needs.
    fn change_files(&self) -> Result<()> {
        let step = || format!("change {FILES} of the images");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.images, FILES, flags, Mode::empty()).step(step)?;
        let mut files = Vec::new();
        std::fs::File::from(file).read_to_end(&mut files).step(step)?;
        match changed(&files) {
            Ok(new) if new == files => Ok(()),
            Ok(new) => self.replace(FILES, &new),
            // What restores from it will say so, if it cannot.
            Err(_) => {
                log::warn(format!("{}: it is in a form that is not known", step()));
                Ok(())
            }
        }
    }

    /// How control groups are written. In a hierarchy in which the container has no group of its own
    /// CRIU would write all that is in the group where it happens to be, and a restore make that anew.
    fn cgroups(&self) -> Result<CgroupMode> {
        let groups = self.state.cgroup.as_ref();
        let own = |member: &Membership| {
            groups.is_some_and(|groups| match member.controllers.is_empty() {
                true => groups.unified.is_some(),
                false => groups.v1.iter().any(|place| place.controllers == member.controllers),
            })
        };
        if layout::memberships_of(self.init.pid)?.iter().all(own) {
            return Ok(self.options.cgroups);
        }
        let what =
            "control groups are not written: in some hierarchy the container has none of its own";
        if ![CgroupMode::Default, CgroupMode::Ignore].contains(&self.options.cgroups) {
            log::warn(format!("--manage-cgroups-mode: {what}"));
        }
        Ok(CgroupMode::Ignore)
    }

    /// A file of its first process's directory.
    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.init.pid);
        host_path::read_text(&path).step(|| format!("read {path}"))
    }

    /// What its standard streams are, and the keys of those that are files outside of it. The peers
    /// record it at `create`; here nothing is recorded that most containers never need.
    fn streams(&self, mounts: &[Mounted]) -> Result<(Vec<String>, Vec<String>)> {
        let (mut names, mut keys) = (Vec::new(), Vec::new());
        for fd in 0..3 {
            let path = format!("/proc/{}/fd/{fd}", self.init.pid);
            let name = match host_path::link(&path) {
                Ok(name) => name.to_string_lossy().into_owned(),
                // Closed; the others keep their places.
                Err(_) => String::new(),
            };
            let name = match self.outside(fd, &name, mounts) {
                Some(key) => {
                    keys.push(key.clone());
                    key
                }
                None => name,
            };
            names.push(name);
        }
        keys.dedup();
        Ok((names, keys))
    }

    /// CRIU's key of an open file that lies on none of the container's mounts.
    fn outside(&self, fd: i32, name: &str, mounts: &[Mounted]) -> Option<String> {
        if !name.starts_with('/') {
            return None;
        }
        let info = self.read(&format!("fdinfo/{fd}")).ok()?;
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
        let mount: u32 = mount.trim().parse().ok()?;
        if mounts.iter().any(|mounted| mounted.id == mount) {
            return None;
        }
        let path = format!("/proc/{}/fd/{fd}", self.init.pid);
        let stat = host_path::stat(path.as_str()).ok()?;
        // A terminal is what the options say of it.
        let terminal = (136..=143).contains(&rustix::fs::major(stat.st_rdev));
        (!terminal).then(|| format!("file[{mount:x}:{:x}]", stat.st_ino))
    }

    /// The number of its namespace of a kind.
    fn namespace(&self, kind: Kind) -> Result<u64> {
        let path = format!("/proc/{}/ns/{}", self.init.pid, proc_name(kind));
        host_path::stat(path.as_str()).map(|stat| stat.st_ino).step(|| format!("stat {path}"))
    }

    fn own(&self, mounts: &[Mounted]) -> Own {
        Own {
            rich: self.state.rich.clone(),
            control: self.state.rich.as_ref().and_then(|_| self.control()),
            record: self.state.rich.as_ref().and_then(|_| self.record(mounts)),
            notifies: notify_relay::has_directory(&self.entry.path()),
        }
    }

    /// The socket on which PID 1 listens for `service`.
    fn control(&self) -> Option<String> {
        fstat_of(self.entry)?;
        // That of a restored one was made in the runtime's network namespace.
        let path = format!("/proc/{}/net/unix", self.init.pid);
        let mut sockets = host_path::read_text(path).unwrap_or_default();
        sockets.push_str(&host_path::read_text("/proc/net/unix").unwrap_or_default());
        let own = sockets.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (flags, inode, path) = (fields.get(3)?, fields.get(6)?, fields.get(7)?);
            let control = *flags == LISTENS && path.ends_with(&format!("/{SOCKET}"));
            control.then(|| format!("socket:[{inode}]"))
        });
        let own: Vec<String> = own.collect();
        (3..64).find_map(|fd| {
            let link = host_path::link(format!("/proc/{}/fd/{fd}", self.init.pid)).ok()?;
            let link = link.to_string_lossy().into_owned();
            own.contains(&link).then_some(link)
        })
    }

    /// The file in which PID 1 leaves how its payload ended.
    fn record(&self, mounts: &[Mounted]) -> Option<String> {
        let made = record::made_for_init(self.entry)?;
        (3..64).find_map(|fd| {
            let path = format!("/proc/{}/fd/{fd}", self.init.pid);
            let stat = host_path::stat(path.as_str()).ok()?;
            let name = host_path::link(&path).ok()?;
            ((stat.st_dev, stat.st_ino) == (made.st_dev, made.st_ino))
                .then(|| self.outside(fd, &name.to_string_lossy(), mounts))?
        })
    }

    /// Writes a document beside the images.
    fn save(&self, name: &str, document: &impl Serialize) -> Result<()> {
        let encode = |error| Error::system(format!("write {name} beside the images: {error}"));
        self.replace(name, &serde_json::to_vec(document).map_err(encode)?)
    }

    /// Puts a file among the images, in the place of another of that name.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let step = || format!("write {name} beside the images");
        let new = format!(".{name}.new");
        // Others may write to the directory: what they have put there is not opened.
        match unlinkat(&self.images, new.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::os(step(), errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = openat(&self.images, new.as_str(), flags, mode).step(step)?;
        std::fs::File::from(file).write_all(bytes).step(step)?;
        renameat(&self.images, new.as_str(), &self.images, name).step(step)
    }
}

/// The descriptor of `--status-fd`, which was open when the runtime was started. Nothing keeps the
/// caller's end open besides.
///
/// # Errors
/// It is not open, or cannot be written to.
pub fn status_fd(number: i32) -> Result<OwnedFd> {
    let step = || format!("invalid --status-fd argument {number}");
    let info = host_path::read_text(format!("/proc/self/fdinfo/{number}")).step(step)?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    if number < 3 || flags & (libc::O_ACCMODE as u32) == libc::O_RDONLY as u32 {
        return Err(Error::system(format!("{}: not writable", step())));
    }
    let path = format!("/proc/self/fd/{number}");
    let open = host_path::open(path.as_str(), OFlags::WRONLY).step(step)?;
    process::close_inherited(number);
    Ok(open)
}

/// Whether the container has a control socket at all.
fn fstat_of(entry: &Entry) -> Option<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(entry.dir(), SOCKET, flags, Mode::empty()).and_then(fstat).ok().map(drop)
}

/// Reads a document that lies beside the images; `None` where there is none.
///
/// # Errors
/// It cannot be read.
pub(super) fn beside<T: for<'a> Deserialize<'a>>(
    images: &OwnedFd,
    name: &str,
) -> Result<Option<T>> {
    const MOST: usize = 1 << 20;
    let step = || format!("read {name} beside the images");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(images, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => file.step(step)?,
    };
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(MOST as u64).read_to_end(&mut bytes).step(step)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::system(format!("{}: {error}", step())))
}
