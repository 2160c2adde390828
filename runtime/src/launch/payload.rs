//! From a process inside the container to its payload: the last steps, which
//! the container's first process and `exec` have in common.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use caps::CapsHashSet;
use rustix::io::Errno;

use super::sync::{ChildEnd, News, Word};
use super::{identity, interpreter, landlock, rich, streams};
use crate::config::landlock::Landlock;
use crate::config::rich::RichConfig;
use crate::error::{Error, Result, Step};
use crate::plan::process::{ProcessPlan, Scheduling, c_string};
use crate::plan::seccomp::{Filter, Flags};
use crate::sys::process::SchedAttr;
use crate::sys::procfs::Procfs;
use crate::sys::{process, seccomp};

/// What becomes of the process.
#[derive(Debug)]
pub struct Payload<'a> {
    /// Who it is.
    pub process: &'a ProcessPlan,
    /// The user whose the standard streams become: the process's own, or that of
    /// the payload to which it hands them on.
    pub owner: u32,
    /// What it may call.
    pub seccomp: Option<&'a Filter>,
    /// The session keyring that it joins.
    pub keyring: Option<&'a CStr>,
    /// The init in front of it: how, and the program.
    pub rich: Option<(&'a RichConfig, &'a OwnedFd)>,
    /// The descriptors that the init inherits: plan of services, control socket.
    pub services: Option<(i32, i32)>,
    /// Descriptors from 3 on that it gets.
    pub descriptors: u32,
    /// The descriptor to which the init writes how its payload ended.
    pub record: Option<i32>,
    /// What it and all that it starts may not do.
    pub landlock: &'a [Landlock],
    /// Capabilities that may be in the bounding set still.
    pub bounded: u64,
    /// The runtime is an ordinary user's, who may look at this process only while it allows that:
    /// [`Armed::show`].
    pub ordinary: bool,
}

/// A process that has given everything up, and has only to execute.
#[derive(Debug)]
pub struct Armed<'a> {
    payload: &'a Payload<'a>,
    program: CString,
    /// Its environment, complete.
    pub env: Vec<String>,
    /// The filter that is still to be loaded.
    filter: Cell<Option<&'a Filter>>,
}

impl<'a> Payload<'a> {
    /// Labels, keyring and scheduling: whatever needs rights and concerns the
    /// thread as it is, not what it executes.
    /// `proc`: the procfs that was mounted for the container.
    pub fn dress(&self, proc: Option<&Procfs>) -> Result<()> {
        identity::set_labels(self.process, proc)?;
        if let Some(name) = self.keyring {
            match process::join_session_keyring(name) {
                // A kernel without keys.
                Err(Errno::NOSYS) => {}
                joined => {
                    let serial = joined.step(|| "join a session keyring")?;
                    process::make_keyring_searchable(serial)
                        .step(|| "make the session keyring searchable")?;
                }
            }
        }
        if let Some(scheduler) = &self.process.scheduler {
            schedule(scheduler)?;
        }
        if let Some((class, level)) = self.process.io_priority {
            process::set_io_priority(class, level).step(|| "process.ioPriority: ioprio_set")?;
        }
        Ok(())
    }

    /// Becomes the payload's user, with nothing left that is not its own.
    /// `root` is the container's root, `keep` the descriptors still needed.
    pub fn arm(
        &'a self,
        root: BorrowedFd<'_>,
        channel: &ChildEnd,
        keep: &[i32],
    ) -> Result<Armed<'a>> {
        let plan = self.process;
        if streams::give(self.owner) {
            // Its rights reach no further than its user namespace; the runtime's may.
            channel.report(&News::StreamsKept)?;
            channel.expect(Word::StreamsSeen)?;
        }
        if let Some(umask) = plan.user.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        }
        let mut env = plan.env.clone();
        identity::complete_environment(&mut env, plan.user.uid, root);
        self.close_descriptors(root, channel, keep)?;
        let rules = landlock::prepare(root, self.landlock)?;
        let missing = self.become_user(root)?;
        // Whatever the filter forbids, what is left to do under it is the last
        // capset(2), a word or two, and the execve(2).
        let early = self
            .seccomp
            .filter(|filter| !plan.no_new_privs || filter.flags.contains(Flags::NEW_LISTENER));
        // Without no_new_privs a filter takes CAP_SYS_ADMIN, and so do Landlock's rules.
        let lend = (early.is_some() || !rules.is_empty()) && !plan.no_new_privs;
        let lent = identity::set_capabilities(&plan.caps, missing, lend)?;
        if plan.no_new_privs {
            rustix::thread::set_no_new_privs(true).step(|| "process.noNewPrivileges")?;
        }
        // Without a word of a program, none is executed: `start` refuses.
        let program = match plan.args.is_empty() {
            true => CString::default(),
            false => identity::find_program(&plan.args, &env)?,
        };
        rules.into_iter().try_for_each(landlock::Ready::hold)?;
        // A listener goes to its agent through the runtime, which `create`
        // does not let wait until the payload is executed.
        if let Some(filter) = early {
            self.install(filter, channel)?;
        }
        if let Some(lent) = lent {
            lent.take_back()?;
        }
        let filter = Cell::new(self.seccomp.filter(|_| early.is_none()));
        Ok(Armed { payload: self, program, env, filter })
    }

    /// Loads the filter; its listener, if it has one, goes to the runtime.
    fn install(&self, filter: &Filter, channel: &ChildEnd) -> Result<()> {
        let Some(listener) = seccomp::install(filter)? else { return Ok(()) };
        // An ordinary user's runtime may take it only from a process that allows tracing. Not
        // before: who traces this process without its filter could keep it without.
        let shown = self.ordinary && filter.allows_to_be_traced();
        if shown {
            process::allow_tracing().step(|| "let the listener be taken")?;
        }
        channel.report(&News::Listening(listener.as_raw_fd()))?;
        channel.expect(Word::Listened)?;
        match shown {
            true => process::forbid_tracing().step(|| "become untraceable"),
            false => Ok(()),
        }
    }

    /// Only the standard streams and what was asked for survive (CVE-2024-21626).
    fn close_descriptors(
        &self,
        root: BorrowedFd<'_>,
        channel: &ChildEnd,
        keep: &[i32],
    ) -> Result<()> {
        let first = 3 + self.descriptors;
        let image = self.rich.map(|(_, image)| image.as_raw_fd());
        let mut keep = keep.to_vec();
        keep.extend(image);
        let inherited = self.services.map(|(plan, control)| [plan, control]);
        keep.extend(inherited.iter().flatten());
        keep.extend(self.record);
        keep.extend([root.as_raw_fd(), channel.as_fd().as_raw_fd()]);
        process::close_except(first as i32, &keep).step(|| "close descriptors")?;
        process::cloexec_from(first).step(|| "close descriptors on exec")?;
        for fd in 3..first as i32 {
            process::set_cloexec(fd, false).step(|| format!("preserve descriptor {fd}"))?;
        }
        for fd in inherited.into_iter().flatten().chain(self.record) {
            process::set_cloexec(fd, false).step(|| "pass descriptors on to rich-init")?;
        }
        Ok(())
    }

    /// The order is the kernel's: the bounding set while it may be changed, the
    /// directory before the rights to enter it go (or after, if only the user
    /// may), and the ids. The capabilities come after: ids take them away.
    fn become_user(&self, root: BorrowedFd<'_>) -> Result<CapsHashSet> {
        let plan = self.process;
        let missing = identity::bound_capabilities(&plan.caps, self.bounded)?;
        let entered = identity::enter_directory(root, &plan.cwd, false)?;
        // Before the user changes: how many processes it has is counted then.
        identity::set_limits(&plan.rlimits)?;
        identity::become_user(plan)?;
        if entered.is_none() && identity::enter_directory(root, &plan.cwd, false)?.is_none() {
            let step = format!("process.cwd: chdir to {}", plan.cwd.display());
            return Err(Error::os(step, Errno::ACCESS));
        }
        identity::check_directory()?;
        identity::set_descriptor_limit(&plan.rlimits)?;
        Ok(missing)
    }
}

impl Armed<'_> {
    /// Loads the filter, if that is still to be done: before anything of the container's runs.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn restrict(&self, channel: &ChildEnd) -> Result<()> {
        self.filter.take().map_or(Ok(()), |filter| self.payload.install(filter, channel))
    }

    /// While it waits to be started: whether the ordinary user whose runtime this is may look at
    /// it, which takes the same right as tracing it. `exec` does; the superuser may in any case.
    /// A filter that is loaded and does not let it be said leaves it as it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn show(&self, shown: bool) -> Result<()> {
        let loaded = self.payload.seccomp.filter(|_| self.filter.get().is_none());
        let may = loaded.is_none_or(Filter::allows_to_be_traced);
        match (self.payload.ordinary && may, shown) {
            (false, _) => Ok(()),
            (true, true) => process::allow_tracing().step(|| "let exec look"),
            (true, false) => process::forbid_tracing().step(|| "become untraceable"),
        }
    }

    /// Executes the payload; returns only when that failed.
    pub fn execute(&self, channel: &ChildEnd) -> Error {
        match self.try_execute(channel) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_execute(&self, channel: &ChildEnd) -> Result<std::convert::Infallible> {
        let env: Vec<CString> =
            self.env.iter().map(|entry| c_string(entry, "process.env")).collect::<Result<_>>()?;
        let env: Vec<&CStr> = env.iter().map(CString::as_c_str).collect();
        let args = &self.payload.process.args;
        self.restrict(channel)?;
        let (shown, errno) = match self.payload.rich {
            Some((config, image)) => {
                let mut inherited = rich::services_option(self.payload.services);
                inherited.extend(rich::record_option(self.payload.record));
                let argv = rich::arguments(config, &inherited, args);
                ("rich-init", process::execveat(image.as_fd(), c"", &argv, &env))
            }
            None => {
                let argv: Vec<&CStr> = args.iter().map(CString::as_c_str).collect();
                let shown = self.program.to_str().unwrap_or_default();
                (shown, process::execve(&self.program, &argv, &env))
            }
        };
        if errno == Errno::NOENT
            && self.payload.rich.is_none()
            && let Some(missing) = interpreter::missing(&self.program)
        {
            let step = format!("exec {shown:?}: its interpreter {missing:?}");
            return Err(Error::os(step, errno));
        }
        Err(Error::os(format!("exec {shown:?}"), errno))
    }
}

fn schedule(plan: &Scheduling) -> Result<()> {
    let [runtime, deadline, period] = plan.deadline;
    let attr = SchedAttr {
        policy: plan.policy,
        flags: plan.flags,
        nice: plan.nice,
        priority: plan.priority,
        runtime,
        deadline,
        period,
        ..SchedAttr::default()
    };
    process::set_scheduler(attr).step(|| "process.scheduler: sched_setattr")
}
