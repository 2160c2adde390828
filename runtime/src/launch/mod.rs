//! Launching a container: the runtime's side of the sequence.
//!
//! [`launch`] tells it; the child's side is `child::First`, what they say to
//! each other is drawn in [`sync`].

// Nothing of the container's is reached by a path: see `host_path`.
#![deny(clippy::disallowed_methods)]

pub mod added;
mod bind;
pub mod boot;
mod callers_mounts;
mod child;
mod confine;
pub mod console;
pub mod container_files;
mod container_hooks;
mod copy_up;
mod core_scheduling;
pub mod criu;
mod devices;
pub mod exec;
pub mod foreground;
pub mod gate;
mod host_path;
mod identity;
mod idmap;
mod image_file;
mod intermediate;
mod interpreter;
mod join;
mod landlock;
mod last;
mod listener;
mod maps;
mod net_devices;
mod no_pivot;
pub mod notify_relay;
mod notify_senders;
mod notify_words;
pub mod own_image;
mod payload;
mod pid_proc;
mod profile;
mod restrict;
mod rich;
mod rootfs;
mod script_output;
mod scripts;
pub mod services;
mod streams;
pub mod sync;
pub mod terminal_relay;
mod trees;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rich_hooks::Phase;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use crate::cgroup::Cgroup;
use crate::config::extras::Strength;
use crate::error::{Error, Result, Step};
use crate::life::{Entry, ProcessId, State, hooks, record};
use crate::plan::cgroup::Mode;
use crate::plan::{Host, Plan, facts};
use crate::sys::{process, signals};
use child::First;
use gate::Gate;
use intermediate::Spawned;
use join::Joins;
use sync::{News, RuntimeEnd, Word};
use trees::Trees;

/// What is to be launched.
#[derive(Debug)]
pub struct Order<'a> {
    /// Everything that will be done.
    pub plan: &'a Plan,
    /// Facts about the host.
    pub host: &'a Host,
    /// The container's directory, locked.
    pub entry: &'a Entry,
    /// The container's state as far as it is known; it is on disk.
    pub state: &'a State,
    /// The configuration's text, to be kept as it is now.
    pub config: &'a [u8],
    /// Where the terminal's master end goes.
    pub console: Option<OwnedFd>,
    /// Where the payload waits for `start`; `run` has none.
    pub gate: Option<Gate>,
    /// The runtime does not stay, and will not see how the container ends.
    pub parent_leaves: bool,
}

/// A container that is set up: its first process waits for a word.
#[derive(Debug)]
pub struct Launched {
    /// The process in the runtime's pid namespace.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: OwnedFd,
    /// The conversation with it.
    pub channel: RuntimeEnd,
}

/// Sets the container up, up to the point where its payload could be executed, and
/// records that: its state is on disk then.
///
/// # Errors
/// What failed, on either side. The first process is dead then; what is on
/// disk and in the control groups is the caller's to undo.
pub fn launch(order: &Order<'_>, cgroup: &mut Cgroup) -> Result<(Launched, ProcessId)> {
    let plan = order.plan;
    if crate::log::debugging() {
        facts::of_launch(plan).iter().for_each(|fact| crate::log::debug(|| fact));
    }
    let image = plan.rich.as_ref().map(|_| rich::image(plan.services.is_some())).transpose()?;
    let inherited = plan
        .services
        .as_ref()
        .map(|services| services::Inherited::make(order.entry, services, makes_socket(order)))
        .transpose()?;
    let records = order.parent_leaves && inherited.is_none() && rich::may_record(plan);
    let record = records.then(|| record::for_init(order.entry)).transpose()?;
    let namespaces = join::open(&plan.namespaces)?;
    if plan.cgroup.mode != Mode::V2 {
        cgroup.apply_devices(&plan.cgroup)?;
    }
    let joins = Joins { groups: cgroup.join_files()?, namespaces, last: None };
    if order.host.uid == 0 && !plan.namespaces.has(Kind::User) {
        // The child is born untraceable: there is no moment in which a process
        // of a joined pid namespace could take its descriptors (CVE-2016-9962).
        process::forbid_tracing().step(|| "become untraceable")?;
    }
    let not_ours = vec![order.entry.dir().as_raw_fd()];
    let Spawned { pid, pidfd, channel } =
        intermediate::spawn(&plan.namespaces, joins, cgroup, |channel, joins| First {
            order,
            channel,
            joins,
            image,
            inherited,
            record,
            not_ours,
        })?;
    crate::log::debug(|| format!("first process: {pid}"));
    let mut launched = Launched { pid, pidfd, channel };
    match set_up(order, cgroup, &mut launched) {
        Ok(init) => Ok((launched, init)),
        Err(error) => Err(launched.end(error)),
    }
}

/// Whether the first process makes the services' control socket itself: in a network namespace of its
/// own, while it has root's rights over the state directory and the host's `/proc`.
fn makes_socket(order: &Order<'_>) -> bool {
    let namespaces = &order.plan.namespaces;
    order.host.uid == 0
        && namespaces.has(Kind::Network)
        && !namespaces.has(Kind::User)
        && !namespaces.joins(Kind::Mount)
}

/// The runtime's part while the child sets itself up.
fn set_up(order: &Order<'_>, cgroup: &mut Cgroup, launched: &mut Launched) -> Result<ProcessId> {
    let plan = order.plan;
    // Its number stays its own until we reap it.
    let mut init = ProcessId::of(launched.pid)?;
    let mut state = State { init: Some(init), ..order.state.clone() };
    let hooked = hooks::any(&plan.hooks, &child::HOOKED);
    let last = |state: &State| State { ready: true, ..state.clone() };
    // Whatever stops us, the first process is known from here on.
    if hooked {
        // On disk before any hook runs, also of those that follow inside: a hook may ask
        // for it, and may be all that is left of a `create` that was killed.
        order.entry.save(&state)?;
    } else {
        // Written now, so that nothing but a rename stands between Ready and Start.
        order.entry.prepare(&last(&state))?;
    }
    if plan.cgroup.scope.is_some() && cgroup.pids()?.contains(&launched.pid) {
        cgroup.release_scope()?;
    }
    allow_for(plan, launched.pid)?;
    if let Some(class) = &order.state.rdt {
        class.join(launched.pid)?;
    }
    if plan.namespaces.has_new(Kind::User) {
        maps::write(launched.pid, &plan.namespaces, order.host)?;
        launched.channel.tell(Word::Mapped)?;
    }
    // While the child mounts.
    if plan.cgroup.mode == Mode::V2 {
        cgroup.apply_devices(&plan.cgroup)?;
    }
    cgroup.apply_limits(&plan.cgroup)?;
    // No hook has run yet, which might ask for it, or whose like `delete` will run.
    order.entry.save_config(order.config)?;
    if hooked {
        order.entry.prepare(&last(&state))?;
    }
    let mut trees = Trees::new(plan, order.host, launched.pid);
    loop {
        let news = launched.channel.listen()?;
        if !matches!(news, News::Warning(_) | News::Printed(_) | News::Said(_)) {
            // It has joined its groups before anything else.
            cgroup.release_scope()?;
        }
        match news {
            News::Wanted(wanted) => trees.answer(launched.channel.as_fd(), wanted)?,
            News::Mounted => {
                // The namespaces are there, the root is not pivoted. Hooks find the
                // devices in their place.
                if !plan.net_devices.is_empty() {
                    net_devices::give(launched.pid, &plan.net_devices)?;
                }
                for phase in [Phase::Prestart, Phase::CreateRuntime] {
                    hooks::run(phase, &plan.hooks, &state, init.pid)?;
                }
                if last::early(&plan.namespaces) {
                    container_hooks::run(order, cgroup, launched, &state)?;
                }
                launched.channel.tell(Word::HooksDone)?;
            }
            News::Inside(pid) => {
                launched.follow(pid)?;
                crate::log::debug(|| {
                    format!("first process: {pid}, in the namespace that is joined")
                });
                allow_for(plan, pid)?;
                init = ProcessId::of(pid)?;
                state.init = Some(init);
                order.entry.prepare(&last(&state))?;
                launched.channel.tell(Word::Known)?;
            }
            News::Listening(fd) => {
                listener::hand_over(order, launched, fd)?;
                launched.channel.tell(Word::Listened)?;
            }
            News::StreamsKept => {
                let mapped = plan.namespaces.has(Kind::User);
                streams::give_from_outside(launched, mapped, plan.payload().user.uid)?;
            }
            News::Warning(text) => crate::log::warn(text),
            News::Printed(line) => crate::log::printed(line),
            News::Said(line) => crate::log::debug(|| line),
            News::Ready => {
                if let Some(strength) = plan.delegate_cgroup {
                    let done = cgroup.delegate(&plan.cgroup);
                    done.or_else(|error| unless_best_effort(strength, error))?;
                }
                crate::log::debug(|| "set up: the payload can be executed");
                return order.entry.replace().map(|()| init);
            }
            News::Failed(error) => return Err(error),
            News::Closed | News::Born(_) => return Err(launched.death(plan)),
        }
    }
}

/// What becomes of the failure of something that was asked for so strongly.
fn unless_best_effort(strength: Strength, error: Error) -> Result<()> {
    match strength {
        Strength::Required => Err(error),
        Strength::BestEffort => {
            crate::log::warn(error);
            Ok(())
        }
    }
}

/// What the host has to do for process `pid` to become the payload: limits that rise, and the
/// score by which the kernel chooses where memory lacks.
fn allow_for(plan: &Plan, pid: i32) -> Result<()> {
    identity::raise_limits(pid, &plan.process.rlimits)?;
    if let Some(payload) = plan.boot.as_ref().and_then(|boot| boot.payload.as_ref()) {
        // The init gives them to it, and can give only what it has.
        identity::raise_limits(pid, &payload.rlimits)?;
    }
    if let Some(score) = plan.process.oom_score_adj {
        let path = format!("/proc/{pid}/oom_score_adj");
        host_path::write_proc(&path, &score.to_string())
            .step(|| format!("process.oomScoreAdj: write {score} to {path}"))?;
    }
    Ok(())
}

impl Launched {
    /// The process that is `pid` has taken over from the one that was cloned first, which ends.
    fn follow(&mut self, pid: i32) -> Result<()> {
        let before = std::mem::replace(&mut self.pidfd, intermediate::pidfd_of(pid)?);
        self.pid = pid;
        intermediate::see_the_end_of(&before)
    }

    /// Lets the payload go, and waits until it is executed.
    ///
    /// # Errors
    /// It could not be; the process is dead then.
    pub fn start(&self) -> Result<()> {
        let started = self.channel.tell(Word::Start).and_then(|()| self.follow_start());
        started.map_err(|error| self.end(error))
    }

    fn follow_start(&self) -> Result<()> {
        loop {
            match self.channel.listen()? {
                News::Said(line) => crate::log::debug(|| line),
                News::Printed(line) => crate::log::printed(line),
                News::Failed(error) => return Err(error),
                // It is executed; or it was killed meanwhile, and how is its exit status.
                _ => return Ok(()),
            }
        }
    }

    /// Why the process died before it was set up: a signal ended it, since it
    /// reports every error of its own. The kernel's is KILL where memory lacks.
    fn death(&self, plan: &Plan) -> Error {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let wait = || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        let status = rustix::io::retry_on_intr(wait).ok().flatten();
        let signal = status.and_then(|status| status.terminating_signal());
        let what = "the container's first process died during its set-up";
        let limit = plan.cgroup.knobs.rows.iter().find(|row| row.controller == "memory");
        Error::system(match (signal, limit) {
            (Some(libc::SIGKILL), Some(row)) => {
                format!("{}: {what}: killed; is {} too low?", row.field, row.value)
            }
            (Some(signal), _) => format!("{what}: ended by signal {signal}"),
            (None, _) => what.to_owned(),
        })
    }

    /// Kills and reaps the process. Returns `error`, the reason.
    pub fn end(&self, error: Error) -> Error {
        match signals::send(self.pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => crate::log::warn(Error::os(format!("kill {}", self.pid), errno)),
        }
        if let Err(errno) = reap(&self.pidfd) {
            crate::log::warn(Error::os(format!("wait for {}", self.pid), errno));
        }
        error
    }
}

/// Waits for the end of a child of this process; one that is not ours is only
/// awaited by whoever is its parent.
pub(crate) fn reap(pidfd: &OwnedFd) -> std::result::Result<(), Errno> {
    let wait = || rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    match rustix::io::retry_on_intr(wait) {
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno),
    }
}
