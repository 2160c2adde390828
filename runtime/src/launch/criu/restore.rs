//! Making a container of what was written: `restore`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rich_hooks::Phase;
use rustix::event::Timespec;
use rustix::fs::OFlags;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::Signal;

use super::dump::{Own, beside};
use super::{Criu, Notice, Start, given, with_reason};
use crate::cgroup::{Cgroup, layout};
use crate::error::{Error, Result, Step};
use crate::launch::join::{self, Open};
use crate::launch::services::control_socket;
use crate::launch::{console, host_path, rich};
use crate::life::{Entry, ProcessId, State, hooks, record};
use crate::log;
use crate::plan::Plan;
use crate::plan::criu::externals::{self, namespace_key};
use crate::plan::criu::image::PROGRAM;
use crate::plan::criu::{Act, Answer, JoinNs, OWN, Options, RESTORE_LOG, Request, STREAMS};
use crate::plan::namespaces::proc_name;
use crate::sys::interrupt;

/// How often, and with which pauses, it is looked whether what CRIU has left has ended: 2 s in all.
const ENDED: usize = 200;
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// A container that is to be made.
pub struct Restore<'a> {
    /// Its directory, locked.
    pub entry: &'a Entry,
    /// What it is made by.
    pub plan: &'a Plan,
    /// What is asked for.
    pub options: &'a Options,
    /// Where it is read from.
    pub images: &'a OwnedFd,
    /// Where the log goes, if elsewhere.
    pub work: Option<&'a OwnedFd>,
    /// What is known of it besides.
    pub own: &'a Own,
    /// Where the terminal's master end goes.
    pub console: Option<OwnedFd>,
    /// What else configures CRIU.
    pub config: Option<String>,
}

/// What is known of a container besides the images.
///
/// # Errors
/// It cannot be read.
pub fn own(images: &OwnedFd) -> Result<Own> {
    Ok(beside(images, OWN)?.unwrap_or_default())
}

/// What CRIU inherits, by its names.
#[derive(Default)]
struct Passed {
    all: Vec<(String, OwnedFd)>,
}

impl Passed {
    fn keys(&self) -> Vec<(String, i32)> {
        self.all.iter().map(|(key, fd)| (key.clone(), fd.as_raw_fd())).collect()
    }
}

impl Restore<'_> {
    /// Makes it: its first process is this one's child, and runs. `state` is what is known of it at
    /// each moment, and on disk.
    ///
    /// # Errors
    /// What failed, in CRIU's words where it says so. What is on disk, in the control groups, and
    /// the process that `state` may name, are the caller's to undo.
    pub fn make(self, cgroup: &mut Cgroup, state: &mut State) -> Result<(i32, OwnedFd)> {
        let plan = self.plan;
        externals::check(plan)?;
        cgroup.apply_devices(&plan.cgroup)?;
        cgroup.apply_limits(&plan.cgroup)?;
        let namespaces = join::open(&plan.namespaces)?;
        let passed = self.passed(&namespaces)?;
        let fds: Vec<BorrowedFd<'_>> = passed.all.iter().map(|(_, fd)| fd.as_fd()).collect();
        let (directories, images, work) = given(self.images, self.work)?;
        let criu = Criu::start(Start {
            cgroup,
            root: Some((&plan.root, &plan.mounts)),
            passed: &fds,
            directories,
            streams: self.options.shell_job,
        })?;
        let request = cgroup
            .release_scope()
            .and_then(|()| self.request(criu.pid(), (images, work), &passed, &namespaces));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Err(criu.give_up(error)),
        };
        let console = self.console.as_ref();
        let entry = self.entry;
        let mut pidfd = None;
        let done = criu.ask(Act::Restore, &request, &mut |notice: Notice<'_>| {
            notify(&notice, Told { plan, entry, console }, state)?;
            if let (None, Some(init)) = (&pidfd, state.init) {
                // It stands still yet. Later it may have ended before it is looked at.
                pidfd = Some(init.pidfd()?);
            }
            Ok(())
        });
        let place = self.work.unwrap_or(self.images);
        let answer = match done {
            Ok(answer) => answer,
            Err(error) => {
                end_helpers(cgroup).unwrap_or_else(log::warn);
                return Err(with_reason(error, place.as_fd(), RESTORE_LOG));
            }
        };
        match (answer, state.init, pidfd) {
            (Answer::Done(Some(pid)), Some(init), Some(pidfd)) if pid == init.pid => {
                Ok((pid, pidfd))
            }
            _ => Err(Error::system("criu: it does not say what it has restored")),
        }
    }

    /// Standard streams, namespaces of others, and the control socket.
    fn passed(&self, namespaces: &[Open]) -> Result<Passed> {
        let mut passed = Passed::default();
        let copy = |fd: BorrowedFd<'_>| {
            fcntl_dupfd_cloexec(fd, 3).step(|| "criu: copy a descriptor to pass it")
        };
        let names: Vec<String> = beside(self.images, STREAMS)?.unwrap_or_default();
        let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        for (name, stream) in names.into_iter().zip(own) {
            // The null device of outside may be the same for two of them.
            let new = !passed.all.iter().any(|(key, _)| *key == name);
            if new && ["pipe:[", "file[", "socket:["].iter().any(|form| name.starts_with(form)) {
                passed.all.push((name, copy(stream)?));
            }
        }
        for open in namespaces {
            if let Some(key) = namespace_key(open.kind) {
                passed.all.push((key.to_owned(), copy(open.as_fd())?));
            }
        }
        if self.own.rich.is_some() {
            let image = rich::image(self.own.control.is_some())?;
            passed.all.push((PROGRAM.to_owned(), image));
        }
        if let Some(name) = &self.own.record {
            // Only where a launch would let it have one.
            let file = match rich::may_record(self.plan) {
                true => record::for_init(self.entry)?,
                false => host_path::open("/dev/null", OFlags::WRONLY).step(|| "open /dev/null")?,
            };
            passed.all.push((name.clone(), file));
        }
        if let Some(name) = &self.own.control {
            let control = control_socket(self.entry.dir())?;
            passed.all.push((name.clone(), control));
        }
        Ok(passed)
    }

    fn request(
        &self,
        criu: i32,
        (images, work): (i32, Option<i32>),
        passed: &Passed,
        namespaces: &[Open],
    ) -> Result<Vec<u8>> {
        let plan = self.plan;
        let path = &plan.root.path;
        let root = host_path::canonical(path).step(|| format!("root.path: {}", path.display()))?;
        let host = host_path::read_text("/proc/self/mountinfo").step(|| "read mountinfo")?;
        let others = namespaces.iter().filter(|open| namespace_key(open.kind).is_none());
        let me = std::process::id();
        let joined = others.map(|open| JoinNs {
            kind: proc_name(open.kind),
            file: format!("/proc/{me}/fd/{}", open.as_fd().as_raw_fd()),
        });
        let request = Request {
            act: Act::Restore,
            options: self.options,
            images,
            work,
            root: root.display().to_string(),
            pid: None,
            freezer: None,
            external: externals::restored(plan, &externals::mounted(&host)),
            inherited: passed.keys(),
            joined: joined.collect(),
            groups: groups(criu)?,
            config: self.config.clone(),
        };
        Ok(request.encoded())
    }
}

/// Ends what CRIU leaves behind when it fails: its own daemons, which it does not wait for, and what
/// it has restored by then. All of them are in the container's groups.
fn end_helpers(cgroup: &Cgroup) -> Result<()> {
    for _ in 0..ENDED {
        if cgroup.pids()?.is_empty() {
            return Ok(());
        }
        cgroup.kill(Signal::KILL)?;
        interrupt::pause(PAUSE)?;
    }
    Ok(())
}

/// Where CRIU stands: what it restores comes there.
fn groups(criu: i32) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for member in layout::memberships_of(criu)? {
        let names = match member.controllers.is_empty() {
            true => vec![String::new()],
            false => member.controllers,
        };
        all.extend(names.into_iter().map(|name| (name, member.path.clone())));
    }
    Ok(all)
}

/// Whom a notice concerns.
struct Told<'a> {
    plan: &'a Plan,
    entry: &'a Entry,
    console: Option<&'a OwnedFd>,
}

fn notify(notice: &Notice<'_>, told: Told<'_>, state: &mut State) -> Result<()> {
    match (notice.script, notice.pid) {
        ("setup-namespaces", Some(pid)) => {
            // Whatever stops us, the first process is known from here on.
            let init = known(pid, told.entry, state)?;
            for phase in [Phase::Prestart, Phase::CreateRuntime] {
                hooks::run(phase, &told.plan.hooks, state, init.pid)?;
            }
            Ok(())
        }
        ("post-restore", Some(pid)) => {
            known(pid, told.entry, state)?;
            if let Some(class) = &state.rdt {
                class.join(pid)?;
            }
            // It does not run yet: nobody is told of it too late.
            state.ready = true;
            told.entry.save(state)
        }
        ("orphan-pts-master", _) => match (notice.fds.first(), told.console) {
            (Some(master), Some(console)) => console::send_master(console.as_fd(), master.as_fd()),
            _ => Err(Error::config(
                "process.terminal: the images have a terminal, and the configuration has none",
            )),
        },
        _ => Ok(()),
    }
}

/// The first process is this one.
fn known(pid: i32, entry: &Entry, state: &mut State) -> Result<ProcessId> {
    let init = ProcessId::of(pid)?;
    if state.init != Some(init) {
        state.init = Some(init);
        entry.save(state)?;
    }
    Ok(init)
}
