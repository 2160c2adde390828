//! Another process in a running container: `exec`.
//!
//! A process in between, outside of the container's pid namespace, joins
//! all there is to join and lets go of all that is the host's; only then is the one that becomes
//! the program cloned, and nobody inside ever sees a process with anything of the host's
//! (descriptors, root, directory, command line, environment).

use std::convert::Infallible;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::event::{PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::child::{MEMORY_POLICY, hear_of_the_end, join_groups};
use super::gate::Gate;
use super::host_path;
use super::intermediate::{Late, attach_self, tell_and_end};
use super::payload::Payload;
use super::sync::{ChildEnd, Conversation, News, Word};
use super::{
    Launched, confine, console, core_scheduling, identity, intermediate, join, listener, streams,
};
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind as Sort, Result, Step};
use crate::life::{ProcessId, State, signal};
use crate::log;
use crate::plan::exec::ExecPlan;
use crate::plan::facts;
use crate::plan::namespaces::proc_name;
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::{interrupt, process};

/// How long the end of a container's first process may take when it has begun.
const ENDING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// What is to be run, and where.
#[derive(Debug)]
pub struct ExecOrder<'a> {
    /// The process.
    pub plan: &'a ExecPlan,
    /// The container.
    pub state: &'a State,
    /// Its init in our pid namespace.
    pub init: ProcessId,
    /// A pidfd of its init, checked to be it.
    pub pidfd: BorrowedFd<'a>,
    /// Where the terminal's master end goes.
    pub console: Option<OwnedFd>,
    /// The runtime is an ordinary user's.
    pub ordinary: bool,
    /// Where the process waits for `exec --start`; others have none.
    pub gate: Option<&'a Gate>,
}

/// The child's side.
struct Entrant<'a> {
    order: &'a ExecOrder<'a>,
    groups: Vec<OwnedFd>,
    /// How it gets into the unified group, where nobody can be born in it.
    late: Late,
    cgroup: &'a Cgroup,
    kinds: Vec<Kind>,
}

/// Brings a process into the container, up to the point where its program
/// could be executed.
///
/// # Errors
/// What failed, on either side; the process is dead then.
pub fn enter(order: &ExecOrder<'_>, cgroup: &Cgroup) -> Result<Launched> {
    go_in(order, cgroup).map_err(|error| meeting_the_end(order.init, order.pidfd, error))
}

/// What to say of `error`, which came up while a process entered the container of `init`.
pub fn meeting_the_end(init: ProcessId, pidfd: BorrowedFd<'_>, error: Error) -> Error {
    match interrupt::status() {
        None if ends(init, pidfd, &error) => signal::not_running(),
        None if init.has_lost_its_first_thread() => Error::new(
            Sort::WrongState,
            "cannot exec in the container: the first thread of its init has ended, and with it the way into its namespaces",
        ),
        _ => error,
    }
}

/// Whether it was the container's own end that `error` is about: a process that is ending has
/// lost this or that already and is not dead yet. One whose end has not begun had lost nothing.
fn ends(init: ProcessId, pidfd: BorrowedFd<'_>, error: &Error) -> bool {
    let lost = [
        Errno::SRCH,
        Errno::NOENT,
        Errno::NOMEM,
        Errno::INVAL,
        Errno::NODEV,
        Errno::PERM,
        // Who enters is killed with the others, and does not answer any more.
        Errno::PIPE,
        Errno::CONNRESET,
    ];
    let bound = match error.errno().is_none_or(|errno| lost.contains(&errno)) {
        true if init.is_ending() => ENDING,
        _ => Timespec::default(),
    };
    interrupt::until(pidfd, PollFlags::IN, Some(bound)).unwrap_or(false)
}

fn go_in(order: &ExecOrder<'_>, cgroup: &Cgroup) -> Result<Launched> {
    let kinds = join::foreign(order.init.pid)?;
    if log::debugging() {
        facts::of_exec(order.plan).iter().for_each(|fact| log::debug(|| fact));
        let names: Vec<&str> = kinds.iter().map(|kind| proc_name(*kind)).collect();
        log::debug(|| format!("namespaces of process {}: {}", order.init.pid, names.join(", ")));
        let record = cgroup.record();
        for place in record.v1.iter().chain(&record.unified) {
            log::debug(|| format!("cgroup: {}", place.directory()));
        }
    }
    if !order.plan.first_cpus.is_empty() {
        process::set_affinity(&order.plan.first_cpus).step(|| "process.execCPUAffinity.initial")?;
    }
    // Before it is anywhere near the container's processes (CVE-2016-9962).
    process::forbid_tracing().step(|| "become untraceable")?;
    // The clock's page of the memory is that of its time namespace.
    let shares = !kinds.contains(&Kind::Time);
    let mapped = kinds.contains(&Kind::User);
    let groups = cgroup.join_files()?;
    let entrant = Entrant { order, groups, late: Late::default(), cgroup, kinds };
    let conversation = Conversation::new()?;
    let body = || entrant.pass(&conversation);
    let passed = intermediate::pass_beside(shares, cgroup, &entrant.late, &body);
    let channel = conversation.of_runtime();
    passed?;
    let (pid, pidfd) = intermediate::born(&channel)?;
    log::debug(|| format!("process: {pid}"));
    let launched = Launched { pid, pidfd, channel };
    match set_up(order, &launched, mapped) {
        Ok(()) => Ok(launched),
        Err(error) => Err(launched.end(error)),
    }
}

/// The runtime's part while the process enters; `mapped`: it joins a user namespace.
fn set_up(order: &ExecOrder<'_>, launched: &Launched, mapped: bool) -> Result<()> {
    let process = &order.plan.process;
    identity::raise_limits(launched.pid, &process.rlimits)?;
    if let Some(score) = process.oom_score_adj {
        let path = format!("/proc/{}/oom_score_adj", launched.pid);
        host_path::write_proc(&path, &score.to_string())
            .step(|| format!("process.oomScoreAdj: write {score} to {path}"))?;
    }
    if let Some(class) = &order.state.rdt {
        class.join_later(launched.pid)?;
    }
    loop {
        match launched.channel.listen()? {
            News::Listening(fd) => {
                let filter = order.plan.seccomp.as_ref();
                let (pid, pidfd) = (launched.pid, launched.pidfd.as_fd());
                listener::send(filter, order.state, "running", pid, pidfd, fd)?;
                launched.channel.tell(Word::Listened)?;
            }
            News::StreamsKept => {
                streams::give_from_outside(launched, mapped, process.user.uid)?;
            }
            News::Warning(text) => log::warn(text),
            News::Printed(line) => log::info(line),
            News::Said(line) => log::debug(|| line),
            News::Ready => return Ok(()),
            News::Failed(error) => return Err(error),
            News::Mounted | News::Born(_) | News::Inside(_) | News::Wanted(_) | News::Closed => {
                return Err(Error::system("the process died on its way into the container"));
            }
        }
    }
}

impl Entrant<'_> {
    /// The process in between: it is outside of the container's pid namespace to its end. It has
    /// the runtime's memory, and changes nothing there.
    fn pass(&self, conversation: &Conversation) -> Infallible {
        // Both others are closed with the rest of the descriptors.
        let channel = match conversation.beside() {
            Ok(channel) => ManuallyDrop::new(channel),
            // The runtime hears that nobody was born.
            Err(_) => process::exit_now(1),
        };
        match self.join().and_then(|()| self.clone_inside(&channel)) {
            Ok((Cloned::Child, bounded)) => self.live(&channel, bounded),
            Ok((Cloned::Parent(pid, _), _)) => tell_and_end(&channel, &News::Born(pid)),
            Err(error) => tell_and_end(&channel, &News::Failed(error)),
        }
    }

    fn join(&self) -> Result<()> {
        hear_of_the_end()?;
        core_scheduling::share(self.order.state.extras.core_scheduling, self.order.init.pid)?;
        self.join_groups()?;
        if !self.kinds.contains(&Kind::Mount) {
            join::enter_root_of(self.order.init.pid)?;
        }
        self.join_namespaces()
    }

    /// Lets go of what is the host's, and makes the process that is the container's; what may be
    /// left of its bounding set.
    fn clone_inside(&self, channel: &ChildEnd) -> Result<(Cloned, u64)> {
        let console = self.order.console.iter().map(AsRawFd::as_raw_fd);
        let gate = self.order.gate.iter().flat_map(|gate| gate.descriptors());
        let keep: Vec<i32> = console.chain(gate).chain([channel.as_fd().as_raw_fd()]).collect();
        let first = 3 + self.order.plan.descriptors;
        process::close_except(first as i32, &keep).step(|| "close descriptors")?;
        let process = &self.order.plan.process;
        let restricted = !self.order.state.extras.landlock.is_empty();
        let bounded = match self.kinds.contains(&Kind::User) {
            true => u64::MAX,
            false => confine::for_process(process, self.order.plan.seccomp.as_ref(), restricted)?,
        };
        let cloned = clone3(flags::PARENT, None).step(|| "clone into the container")?;
        Ok((cloned, bounded))
    }

    /// Becomes the program, or reports why not and ends.
    fn live(&self, channel: &ChildEnd, bounded: u64) -> ! {
        log::collect();
        interrupt::ignore();
        let error = match self.run(channel, bounded) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        tell_and_end(channel, &News::Failed(error))
    }

    fn join_groups(&self) -> Result<()> {
        join_groups(self.groups.iter().chain(self.late.file.get()))?;
        if self.late.asks.get() {
            attach_self(self.cgroup)?;
        }
        match self.order.plan.last_cpus.is_empty() {
            true => Ok(()),
            false => process::set_affinity(&self.order.plan.last_cpus)
                .step(|| "process.execCPUAffinity.final"),
        }
    }

    fn join_namespaces(&self) -> Result<()> {
        let order = self.order;
        join::of_process(order.init.pid, order.pidfd, &self.kinds)?;
        if self.kinds.contains(&Kind::User) {
            join::become_root(&order.plan.namespaces, &order.plan.process.user)?;
            // Another user id made it traceable by the kernel's default.
            process::forbid_tracing().step(|| "become untraceable")?;
        }
        Ok(())
    }

    fn run(&self, channel: &ChildEnd, bounded: u64) -> Result<Infallible> {
        let plan = self.order.plan;
        process::reset_signals();
        rustix::process::setsid().step(|| "setsid")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = host_path::open("/", flags).step(|| "open the container's /")?;
        // Never dropped: `arm` closes it by its number.
        let root = ManuallyDrop::new(root);
        if let Some(socket) = &self.order.console {
            let size = plan.process.console_size;
            let size = size.map(|(rows, columns)| console::Size { rows, columns });
            let pty = console::open_pty(root.as_fd(), size)?;
            console::send_master(socket.as_fd(), pty.master.as_fd())?;
            console::adopt(pty.terminal.as_fd())?;
        }
        if let Some(persona) = plan.personality {
            process::set_personality(persona).step(|| "linux.personality")?;
        }
        if let Some((mode, nodes)) = &plan.memory_policy {
            process::set_mempolicy(*mode, nodes).step(|| MEMORY_POLICY)?;
        }
        let payload = Payload {
            process: &plan.process,
            owner: plan.process.user.uid,
            seccomp: plan.seccomp.as_ref(),
            keyring: plan.keyring.as_deref(),
            rich: None,
            services: None,
            record: None,
            descriptors: plan.descriptors,
            bounded,
            ordinary: self.order.ordinary,
            landlock: &self.order.state.extras.landlock,
        };
        payload.dress(None)?;
        let keep = self.order.gate.map(Gate::descriptors);
        let armed = payload.arm(root.as_fd(), channel, keep.as_ref().map_or(&[], |fds| fds))?;
        for warning in log::take() {
            channel.report(&News::Warning(warning))?;
        }
        channel.report(&News::Ready)?;
        let (true, Some(gate)) = (channel.waits()?, self.order.gate) else {
            return Err(armed.execute(channel));
        };
        gate.wait()?;
        gate.executing();
        gate.failed(&armed.execute(channel));
        process::exit_now(1)
    }
}
