//! The container's first process, from its clone to the payload.
//!
//! One function tells it: [`First::try_set_up`]. It runs in a copy of the
//! runtime's memory, alone, and reports to the runtime over the channel; from
//! the start gate on there may be no runtime any more, and it reports there.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rich_hooks::Phase;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::callers_mounts::Callers;
use super::devices::Nodes;
use super::gate::Gate;
use super::payload::{Armed, Payload};
use super::rootfs::Root;
use super::scripts::{self, Ground, Waiting};
use super::services::Inherited;
use super::sync::{ChildEnd, News, Wanted, Word};
use super::{
    Order, boot, console, core_scheduling, devices, identity, join, last, profile, restrict, trees,
};
use crate::cgroup;
use crate::config::rich::Script;
use crate::error::{Error, Result, Step};
use crate::life::document::hook_state;
use crate::life::hooks::{self, Place, Tell};
use crate::plan::boot::SYSTEMD_STOP;
use crate::plan::mounts::What;
use crate::plan::namespaces::{flag, proc_name};
use crate::plan::process::MAX_CPUS;
use crate::plan::{grant, rich};
use crate::sys::procfs::Procfs;
use crate::sys::{arguments, interrupt, net, process};

/// What engines, and people at a keyboard, send for an end.
const ASK_FOR_AN_END: [i32; 5] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, SYSTEMD_STOP];

/// The phases whose hooks run before the root is entered.
pub(super) const HOOKED: [Phase; 3] =
    [Phase::Prestart, Phase::CreateRuntime, Phase::CreateContainer];

const PARENT: &str = "prctl PR_SET_PDEATHSIG";

/// The step of `linux.memoryPolicy`.
pub(super) const MEMORY_POLICY: &str = "linux.memoryPolicy: set_mempolicy";

/// What the child has at its clone.
#[derive(Debug)]
pub struct First<'a> {
    /// What it is to become.
    pub order: &'a Order<'a>,
    /// Its end of the conversation.
    pub channel: ChildEnd,
    /// What it joins by itself.
    pub joins: join::Joins,
    /// The image of the built-in init.
    pub image: Option<OwnedFd>,
    /// What the built-in init inherits, if there are services.
    pub inherited: Option<Inherited>,
    /// Where the built-in init writes how its payload ended.
    pub record: Option<OwnedFd>,
    /// Descriptors of the runtime's alone, to be closed at once: with them the child would keep
    /// the container locked for it.
    pub not_ours: Vec<i32>,
}

impl First<'_> {
    /// Becomes the payload, or reports why not and ends.
    pub fn live(mut self) -> ! {
        crate::log::collect();
        interrupt::ignore();
        let error = self.begin();
        // If the runtime has gone, nobody is left to tell.
        let _gone = self.channel.report(&News::Failed(error));
        process::exit_now(1)
    }

    /// Returns only with the error that stopped it.
    fn begin(&mut self) -> Error {
        let begun = hear_of_the_end().and_then(|()| {
            // Not before: until then the lock shows that this process is there.
            for fd in std::mem::take(&mut self.not_ours) {
                process::close_inherited(fd);
            }
            self.try_set_up()
        });
        match begun {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_set_up(&mut self) -> Result<std::convert::Infallible> {
        let order = self.order;
        let plan = order.plan;
        process::reset_signals();
        if order.gate.is_some() {
            // Whoever stops a container that was never started need not wait, as with runc.
            process::end_by(&ASK_FOR_AN_END);
        }
        // Modes are as they are said to be, whatever the caller's umask.
        let callers_umask = rustix::process::umask(Mode::empty());
        // A session of its own: signals of the caller's terminal are not for it.
        rustix::process::setsid().step(|| "setsid")?;
        join_groups(&self.joins.groups)?;
        let callers = ManuallyDrop::new(self.enter_namespaces()?);
        self.inherited.as_mut().map_or(Ok(()), Inherited::listen)?;
        // Never dropped: `arm` closes descriptors by number, whoever owns them,
        // and this process ends by execve or by exit.
        let mut root = ManuallyDrop::new(self.build_root()?);
        devices::make(root.as_fd(), plan, &self.nodes()?)?;
        let terminal = ManuallyDrop::new(self.open_terminal(&root)?);
        self.hooks_before_the_root(callers_umask)?;
        // Who enters a created container finds this process in it.
        arguments::wipe();
        root.enter(&plan.root)?;
        self.name_host()?;
        if let Some(plan) = &plan.boot {
            boot::prepare(root.as_fd(), plan)?;
        }
        // Before anything becomes read-only.
        self.keep_environment(&root)?;
        restrict::sysctls(root.proc.as_ref(), &plan.sysctls)?;
        identity::enter_directory(root.as_fd(), &plan.process.cwd, true)?;
        // Mounts first: what covers one of them would hide it.
        root.make_read_only()?;
        restrict::make_readonly(root.as_fd(), &plan.readonly)?;
        restrict::mask(root.as_fd(), &plan.masked)?;
        if let Some(callers) = &*callers {
            let _closed_by_arm = ManuallyDrop::new(root.replace(callers.return_to()?));
            identity::enter_directory(root.as_fd(), &plan.process.cwd, false)?;
        }
        root.finish(&plan.root)?;
        // From here on others may look.
        self.be_born_last(&root, terminal.as_ref())?;
        if let Some(terminal) = &*terminal {
            console::adopt(terminal.as_fd())?;
        }
        if let Some(persona) = plan.personality {
            process::set_personality(persona).step(|| "linux.personality")?;
        }
        if let Some((mode, nodes)) = &plan.memory_policy {
            process::set_mempolicy(*mode, nodes).step(|| MEMORY_POLICY)?;
        }
        core_scheduling::begin(plan.extras.core_scheduling)?;
        // While this process may still become what they need.
        let scripts = self.prepare_scripts(&root)?;
        let payload = Payload {
            process: &plan.process,
            owner: self.order.plan.payload().user.uid,
            seccomp: plan.seccomp.as_ref(),
            keyring: plan.keyring.as_deref(),
            rich: plan.rich.as_ref().zip(self.image.as_ref()),
            services: self.inherited.as_ref().map(Inherited::numbers),
            record: self.record.as_ref().map(AsRawFd::as_raw_fd),
            descriptors: plan.descriptors,
            bounded: u64::MAX,
            ordinary: order.host.uid != 0,
            landlock: &plan.extras.landlock,
        };
        payload.dress(root.proc.as_ref())?;
        let gate = order.gate.iter().flat_map(Gate::descriptors);
        let keep: Vec<i32> = gate.chain(scripts.iter().flat_map(Waiting::descriptors)).collect();
        // The state names this process by now, and `delete` ends it, stopped or not.
        process::go_on_without_parent(false).step(|| PARENT)?;
        let armed = payload.arm(root.as_fd(), &self.channel, &keep)?;
        for warning in crate::log::take() {
            self.channel.report(&News::Warning(warning))?;
        }
        // Nobody is in a new pid namespace but who is let in by `exec`.
        let shown = order.gate.is_some() && plan.namespaces.has_new(Kind::Pid);
        if shown {
            armed.show(true)?;
        }
        self.channel.report(&News::Ready)?;
        match (self.channel.waits()?, &order.gate) {
            (true, Some(gate)) => {
                gate.wait()?;
                if shown {
                    armed.show(false)?;
                }
                let started = self
                    .hooks_before_the_payload(&armed, Some(&|line| gate.said(&line)))
                    .and_then(|()| self.run_scripts(scripts, &|line| gate.printed(line)));
                let error = match started {
                    Ok(()) => {
                        gate.executing();
                        armed.execute(&self.channel)
                    }
                    Err(error) => error,
                };
                gate.failed(&error);
                process::exit_now(1)
            }
            _ => {
                self.hooks_before_the_payload(&armed, self.teller(&|line| self.tell(line)))?;
                // Without a runtime the next word will fail.
                let sink = |line: &str| drop(self.channel.report(&News::Printed(line.to_owned())));
                self.run_scripts(scripts, &sink)?;
                Err(armed.execute(&self.channel))
            }
        }
    }

    /// Where others are in the pid namespace already, goes on in a process that is born there with
    /// the container's root, directory and descriptors: from here on it may be looked at.
    fn be_born_last(&self, root: &Root, terminal: Option<&OwnedFd>) -> Result<()> {
        let Some(namespace) = &self.joins.last else { return Ok(()) };
        let mut keep = vec![root.as_fd().as_raw_fd(), self.channel.as_fd().as_raw_fd()];
        keep.extend(root.proc.iter().map(|proc| proc.as_fd().as_raw_fd()));
        keep.extend(terminal.map(AsRawFd::as_raw_fd));
        keep.extend(self.order.gate.iter().flat_map(Gate::descriptors));
        keep.extend(self.image.as_ref().map(AsRawFd::as_raw_fd));
        keep.extend(self.record.as_ref().map(AsRawFd::as_raw_fd));
        keep.extend(self.inherited.iter().map(Inherited::numbers).flat_map(|(a, b)| [a, b]));
        last::go_inside(namespace, self.order.plan, &keep, root.proc.is_some())?;
        hear_of_the_end()?;
        rustix::process::setsid().step(|| "setsid")?;
        self.channel.report(&News::Inside(0))?;
        self.channel.expect(Word::Known)
    }

    /// Comes to be in every namespace of the plan. What it returns is the caller's mount
    /// namespace, if it is to come back to that.
    fn enter_namespaces(&self) -> Result<Option<Callers>> {
        let namespaces = &self.order.plan.namespaces;
        let host = self.order.host;
        if namespaces.has_new(Kind::User) {
            self.channel.expect(Word::Mapped)?;
        }
        if namespaces.has(Kind::User) {
            join::become_root(namespaces, &self.order.plan.process.user)?;
        }
        // Not before the mappings: newuidmap(1) must see whose process it is.
        // As root the runtime forbade it before the clone (CVE-2016-9962).
        if host.uid != 0 || namespaces.has(Kind::User) {
            process::forbid_tracing().step(|| "become untraceable")?;
        }
        // The host's, while it is there to be opened.
        let proc = match namespaces.has_new(Kind::Time) {
            true => Some(Procfs::here().step(|| "open /proc")?),
            false => None,
        };
        join::all(&self.joins.namespaces)?;
        let own = namespaces.by_child();
        if own != 0 {
            process::unshare(own).step(|| "make new namespaces")?;
        }
        if let Some(proc) = proc {
            self.enter_time(&proc)?;
        }
        if namespaces.has_new(Kind::Network) {
            net::loopback_up().step(|| "bring the loopback interface up")?;
        }
        (!namespaces.has(Kind::Mount)).then(Callers::leave).transpose()
    }

    /// time_namespaces(7): the offsets are set while nobody is in it.
    fn enter_time(&self, proc: &Procfs) -> Result<()> {
        let namespaces = &self.order.plan.namespaces;
        if !namespaces.time_offsets.is_empty() {
            let hidden = namespaces.has(Kind::User);
            if hidden {
                // An untraceable process's files belong to the host's root.
                process::allow_tracing().step(|| "linux.timeOffsets")?;
            }
            let text: String = namespaces
                .time_offsets
                .iter()
                .map(|(clock, secs, nanos)| format!("{clock} {secs} {nanos}\n"))
                .collect();
            let written = proc
                .open_own("timens_offsets", rustix::fs::OFlags::WRONLY)
                .and_then(|file| rustix::io::write(&file, text.as_bytes()));
            if hidden {
                process::forbid_tracing().step(|| "become untraceable")?;
            }
            written.step(|| "linux.timeOffsets: write /proc/self/timens_offsets")?;
        }
        let name = "time_for_children";
        let namespace = proc.namespace(name).step(|| format!("open /proc/self/ns/{name}"))?;
        process::setns(namespace.as_fd(), flag(Kind::Time))
            .step(|| format!("enter the new {} namespace", proc_name(Kind::Time)))
    }

    /// The root's tree with every mount of the plan.
    fn build_root(&self) -> Result<Root> {
        let Order { plan, host, .. } = self.order;
        let foreign = trees::foreign(plan, host);
        let ask = |wanted| trees::ask(&self.channel, wanted);
        let tree = if foreign { ask(Wanted::Root)? } else { None };
        let mut root = Root::open(&plan.root, tree)?;
        root.pid_namespace = self.joins.last.as_ref().map(last::shown).transpose()?;
        for (index, step) in plan.mounts.iter().enumerate() {
            let asks = match &step.what {
                What::Bind { idmap, .. } => foreign || idmap.is_some(),
                _ => false,
            };
            let tree = if asks { ask(Wanted::Mount(index))? } else { None };
            root.mount(step, &plan.cgroup_view, tree)?;
        }
        Ok(root)
    }

    /// In a user namespace nobody makes device nodes.
    fn nodes(&self) -> Result<Nodes> {
        let Order { plan, host, .. } = self.order;
        if !host.unprivileged && !plan.namespaces.has(Kind::User) {
            return Ok(Nodes::Made);
        }
        let asks = !host.unprivileged && plan.devices.iter().any(|device| device.listed);
        let lent = if asks { trees::ask(&self.channel, Wanted::Devices)? } else { None };
        Ok(lent.map_or(Nodes::Bound, Nodes::Lent))
    }

    /// The pty of the container's own devpts; its master end goes out.
    fn open_terminal(&self, root: &Root) -> Result<Option<OwnedFd>> {
        let plan = &self.order.plan.process;
        let Some(socket) = &self.order.console else { return Ok(None) };
        let size = plan.console_size.map(|(rows, columns)| console::Size { rows, columns });
        let pty = console::open_pty(root.as_fd(), size)?;
        console::send_master(socket.as_fd(), pty.master.as_fd())?;
        // Beside a payload the init must not write to the payload's terminal.
        let beside = self.order.plan.boot.as_ref().is_some_and(|boot| boot.payload.is_some());
        if !beside {
            console::bind_console(root.as_fd(), pty.terminal.as_fd())?;
        }
        Ok(Some(pty.terminal))
    }

    /// The runtime's hooks, then those in the container's namespaces; what these make is not
    /// for everybody to write to.
    fn hooks_before_the_root(&self, callers_umask: Mode) -> Result<()> {
        let Order { plan, state, .. } = self.order;
        // What stays of those that are started from here on (init scripts) has what the runtime
        // gives to this process: its class, its limits, its score.
        let scripts = plan.rich.as_ref().is_some_and(|rich| !rich.scripts.is_empty());
        let waits = scripts || !plan.net_devices.is_empty() || plan.rdt.is_some();
        if !waits && !hooks::any(&plan.hooks, &HOOKED) {
            return Ok(());
        }
        self.channel.report(&News::Mounted)?;
        self.channel.expect(Word::HooksDone)?;
        if last::early(&plan.namespaces) {
            // The runtime had them run: a child of this process is born among others.
            return Ok(());
        }
        let cwd = Some(plan.root.path.as_path());
        let tell = |line| self.tell(line);
        let place = Place { cwd, tell: self.teller(&tell), ..Place::default() };
        let umask = rustix::process::umask(callers_umask);
        hooks::run_in(Phase::CreateContainer, &plan.hooks, state, own_pid(), place)?;
        rustix::process::umask(umask);
        Ok(())
    }

    fn hooks_before_the_payload(&self, armed: &Armed<'_>, tell: Option<Tell<'_>>) -> Result<()> {
        let Order { plan, state, .. } = self.order;
        if !hooks::any(&plan.hooks, &[Phase::StartContainer]) {
            return Ok(());
        }
        // They are programs of the container's, and get no more than its payload.
        armed.restrict(&self.channel)?;
        let cwd: Option<&Path> = Some(&plan.process.cwd);
        let env = Some(armed.env.as_slice());
        let place = Place { cwd, env, tell, ..Place::default() };
        hooks::run_in(Phase::StartContainer, &plan.hooks, state, own_pid(), place)?;
        Ok(())
    }

    /// The environment for later logins, unless the root is not to be written to.
    fn keep_environment(&self, root: &Root) -> Result<()> {
        let plan = self.order.plan;
        let wanted = plan.rich.as_ref().is_some_and(|rich| rich.environment_file);
        match wanted && !plan.root.readonly {
            true => profile::write(root.as_fd(), &rich::profile(&self.order.plan.payload().env)),
            false => Ok(()),
        }
    }

    /// A process for each init script, waiting.
    fn prepare_scripts(&self, root: &Root) -> Result<Vec<Waiting>> {
        let Order { plan, state, .. } = self.order;
        if plan.rich.as_ref().is_some_and(|rich| !rich.scripts.is_empty()) {
            // Of a stream that nobody reads, a write tells as well.
            process::survive(libc::SIGPIPE);
        }
        let scripts = plan.rich.iter().flat_map(|rich| &rich.scripts);
        let state = hook_state(state, "created", own_pid());
        let ground = Ground {
            root: root.as_fd(),
            proc: root.proc.as_ref(),
            channel: &self.channel,
            seccomp: plan.seccomp.as_ref(),
            keyring: plan.keyring.as_deref(),
            landlock: &plan.extras.landlock,
            state: &state,
        };
        let one = |script: &Script| {
            let process = grant::script_process(script, self.order.plan.payload())?;
            scripts::prepare(&script.what, &process, ground)
        };
        scripts.map(one).collect()
    }

    fn run_scripts(&self, scripts: Vec<Waiting>, sink: &dyn Fn(&str)) -> Result<()> {
        let seconds = self.order.plan.rich.as_ref().map_or(0, |rich| rich.init_timeout);
        let timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
        scripts.into_iter().try_for_each(|script| script.run(timeout, sink))
    }

    /// What the container's own hooks print goes to the runtime, which has the
    /// log; nothing is sent that nobody asked for.
    fn teller<'t>(&self, tell: Tell<'t>) -> Option<Tell<'t>> {
        crate::log::debugging().then_some(tell)
    }

    fn tell(&self, line: String) {
        // Without a runtime the next word will fail.
        let _gone = self.channel.report(&News::Said(line));
    }

    fn name_host(&self) -> Result<()> {
        let plan = self.order.plan;
        if let Some(name) = &plan.hostname {
            rustix::system::sethostname(name.as_bytes())
                .step(|| format!("hostname: set {name:?}"))?;
        }
        if let Some(name) = &plan.domainname {
            rustix::system::setdomainname(name.as_bytes())
                .step(|| format!("domainname: set {name:?}"))?;
        }
        Ok(())
    }
}

/// From now on this process hears of the runtime's death, should it be stopped then.
pub fn hear_of_the_end() -> Result<()> {
    process::go_on_without_parent(true).step(|| PARENT)
}

/// The pid that the state of this process's own hooks names: as seen from the
/// container (runtime.md, "State").
fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Joins the groups that a process is not born in, and lets all their CPUs be
/// used whatever the runtime was bound to.
pub fn join_groups<'g>(groups: impl IntoIterator<Item = &'g OwnedFd>) -> Result<()> {
    for group in groups {
        cgroup::join(group).step(|| "join cgroup: write 0 to tasks")?;
    }
    match process::set_affinity(&[u64::MAX; MAX_CPUS / 64]) {
        // None of the CPUs is allowed here, or the call is not.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => Ok(()),
        Err(errno) => Err(Error::os("sched_setaffinity", errno)),
    }
}
