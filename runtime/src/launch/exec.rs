//! Another process in a running container: `exec`.
//!
//! One clone into the container's pid namespace and control group, one setns
//! into the rest; a process between only where a user namespace is joined.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::{Mode, OFlags};

use super::child::{MEMORY_POLICY, join_groups};
use super::payload::Payload;
use super::stage::{await_known, born, into_cgroup, tell_and_end};
use super::sync::{Channel, News, Word};
use super::{Launched, console, identity, join, listener, streams};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, Step};
use crate::life::State;
use crate::plan::exec::ExecPlan;
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::process;

/// What is to be run, and where.
#[derive(Debug)]
pub struct ExecOrder<'a> {
    /// The process.
    pub plan: &'a ExecPlan,
    /// The container.
    pub state: &'a State,
    /// Its init in our pid namespace.
    pub init: i32,
    /// A pidfd of its init, checked to be it.
    pub pidfd: BorrowedFd<'a>,
    /// Where the terminal's master end goes.
    pub console: Option<OwnedFd>,
}

/// The child's side.
struct Entrant<'a> {
    order: &'a ExecOrder<'a>,
    channel: Channel,
    groups: Vec<OwnedFd>,
    kinds: Vec<Kind>,
}

/// Brings a process into the container, up to the point where its program
/// could be executed.
///
/// # Errors
/// What failed, on either side; the process is dead then.
pub fn enter(order: &ExecOrder<'_>, cgroup: &Cgroup) -> Result<Launched> {
    let mut kinds = join::foreign(order.init)?;
    let (channel, theirs) = Channel::pair()?;
    let mut groups = cgroup.join_files()?;
    if !order.plan.first_cpus.is_empty() {
        process::set_affinity(&order.plan.first_cpus).step(|| "process.execCPUAffinity.initial")?;
    }
    // Before it is anywhere near the container's processes (CVE-2016-9962).
    process::forbid_tracing().step(|| "become untraceable")?;
    let stage = kinds.contains(&Kind::User);
    if !stage && kinds.contains(&Kind::Pid) {
        join::of_process(order.init, order.pidfd, &[Kind::Pid])?;
        kinds.retain(|kind| *kind != Kind::Pid);
    }
    let cloned = into_cgroup(0, cgroup, &mut groups)?;
    let entrant = Entrant { order, channel: theirs, groups, kinds };
    let (pid, pidfd) = match cloned {
        // Our end is not the child's: with it, it would never hear that we are gone.
        Cloned::Child if stage => {
            drop(channel);
            entrant.live_as_stage()
        }
        Cloned::Child => {
            drop(channel);
            entrant.live(true)
        }
        Cloned::Parent(_, between) if stage => {
            drop(entrant);
            let born = born(&channel);
            super::reap(&between).step(|| "wait for the process that joins namespaces")?;
            born?
        }
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    let launched = Launched { pid, pidfd, channel };
    match set_up(order, &launched, stage) {
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
        std::fs::write(&path, score.to_string())
            .step(|| format!("process.oomScoreAdj: write {score} to {path}"))?;
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
            News::Warning(text) => crate::log::warn(text),
            News::Printed(line) => crate::log::info(line),
            News::Said(line) => crate::log::debug(|| line),
            News::Ready => return Ok(()),
            News::Failed(error) => return Err(error),
            News::Mounted | News::Born(_) | News::Closed => {
                return Err(Error::system("the process died on its way into the container"));
            }
        }
    }
}

impl Entrant<'_> {
    /// Joins everything, then clones the process: in the pid namespace.
    fn live_as_stage(self) -> ! {
        crate::log::collect();
        let cloned = (|| {
            self.join_groups()?;
            self.join_namespaces()?;
            clone3(flags::PARENT, None).step(|| "clone into the container")
        })();
        match cloned {
            Ok(Cloned::Child) => {
                await_known(&self.channel);
                self.live(false)
            }
            Ok(Cloned::Parent(pid, _)) => tell_and_end(&self.channel, &News::Born(pid)),
            Err(error) => tell_and_end(&self.channel, &News::Failed(error)),
        }
    }

    /// Becomes the program, or reports why not and ends. `outside`: it has
    /// nothing of the container yet but its pid namespace.
    fn live(self, outside: bool) -> ! {
        crate::log::collect();
        let error = match self.run(outside) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        tell_and_end(&self.channel, &News::Failed(error))
    }

    fn join_groups(&self) -> Result<()> {
        join_groups(&self.groups)?;
        match self.order.plan.last_cpus.is_empty() {
            true => Ok(()),
            false => process::set_affinity(&self.order.plan.last_cpus)
                .step(|| "process.execCPUAffinity.final"),
        }
    }

    fn join_namespaces(&self) -> Result<()> {
        let order = self.order;
        join::of_process(order.init, order.pidfd, &self.kinds)?;
        if self.kinds.contains(&Kind::User) {
            join::become_root(&order.plan.namespaces, &order.plan.process.user)?;
            // Another user id made it traceable by the kernel's default.
            process::forbid_tracing().step(|| "become untraceable")?;
        }
        Ok(())
    }

    fn run(&self, outside: bool) -> Result<std::convert::Infallible> {
        let plan = self.order.plan;
        process::reset_signals();
        rustix::process::setsid().step(|| "setsid")?;
        if outside {
            self.join_groups()?;
            self.join_namespaces()?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty()).step(|| "open the container's /")?;
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
            descriptors: plan.descriptors,
        };
        payload.dress(None)?;
        let armed = payload.arm(root.as_fd(), &self.channel, &[])?;
        for warning in crate::log::take() {
            self.channel.report(&News::Warning(warning))?;
        }
        self.channel.report(&News::Ready)?;
        self.channel.expect(Word::Start)?;
        Err(armed.execute(&self.channel))
    }
}
