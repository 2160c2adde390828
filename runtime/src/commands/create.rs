//! `create`, and what `run` has in common with it: from a bundle to a
//! container that is set up and waits.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use oci_spec::runtime::LinuxNamespaceType;
use rich_hooks::Phase;

use super::descriptors::{self, Passed};
use super::terminal::{self, Terminal};
use super::{pid_file, rich};
use crate::cgroup::rdt::Resctrl;
use crate::cgroup::{self, Cgroup, CgroupRecord, ScopeRecord};
use crate::cli::{CgroupManager, CreateArgs, Global, LaunchArgs};
use crate::config::annotations::{KEEP_GROUPS, PIDFD_RECEIVER};
use crate::config::extras::{Extras, Given};
use crate::config::file::Settings;
use crate::config::hooks::directories;
use crate::config::rich::{RichConfig, RichMode};
use crate::config::services::Services;
use crate::config::{Config, validate};
use crate::error::{Error, Result};
use crate::launch::gate::{self, Gate};
use crate::launch::services::{self, Places};
use crate::launch::sync::Word;
use crate::launch::{Launched, Order, boot, console, launch, notify_relay, own_image};
use crate::life::delete::destroy;
use crate::life::{Entry, State, Store, hooks, process, signal};
use crate::plan::annotations;
use crate::plan::boot::{BootHost, Family};
use crate::plan::cgroup::{CgroupPlan, ScopeAsked};
use crate::plan::process::deduplicated;
use crate::plan::{Asked, Host, Plan};
use crate::{host, log};

/// A container that is set up.
#[derive(Debug)]
pub struct Made {
    /// Its directory, locked.
    pub entry: Entry,
    /// Its state, as it is on disk.
    pub state: State,
    /// Its first process.
    pub launched: Launched,
    /// What it was made by.
    pub plan: Plan,
    /// Where its terminal's master end arrives, if we show it.
    pub terminal: Option<OwnedFd>,
}

/// How the payload is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// By `start`.
    AtTheGate,
    /// By us, who do not stay.
    Detached,
    /// By us, who wait for its end.
    Foreground,
}

/// `create`
pub fn run(global: &Global, args: &CreateArgs) -> Result<u8> {
    own_image::protect()?;
    let made = make(global, &args.launch, Begin::AtTheGate)?;
    let done = (|| {
        announce(&args.launch, &made)?;
        made.launched.channel.tell(Word::Wait)
    })();
    match done {
        Ok(()) => Ok(0),
        Err(error) => Err(made.undo(error)),
    }
}

/// Makes a container. After a failure nothing of it is left.
pub fn make(global: &Global, args: &LaunchArgs, begin: Begin) -> Result<Made> {
    let passed = descriptors::passed(args.preserve_fds)?;
    let store = Store::new(global.root());
    let job = Job::new(global, args, &store, passed)?;
    if begin != Begin::AtTheGate || job.plan.rich.is_some() {
        validate::startable(&job.config.spec)?;
    }
    let detached = begin != Begin::Foreground;
    let wanted = job.plan.process.terminal;
    let Terminal { to, from } =
        terminal::prepare(wanted, detached, args.console_socket.as_deref())?;
    let entry = store.create(&args.id)?;
    let mut state = job.first_state();
    match job.fill(&entry, &mut state, to, begin) {
        Ok(launched) => Ok(Made { entry, state, launched, plan: job.plan, terminal: from }),
        Err(error) => Err(undo(&entry, &state, error)),
    }
}

/// Writes the pid file and sends the pidfd, where asked for.
pub fn announce(args: &LaunchArgs, made: &Made) -> Result<()> {
    if let Some(path) = &args.pidfd_socket {
        let socket = console::connect("--pidfd-socket", path)?;
        console::send_pidfd(socket.as_fd(), made.launched.pidfd.as_fd())?;
    }
    if let Some(path) = &made.plan.pidfd_receiver {
        let socket = console::connect(PIDFD_RECEIVER, path)?;
        console::send_pidfd(socket.as_fd(), made.launched.pidfd.as_fd())?;
    }
    args.pid_file.as_ref().map_or(Ok(()), |path| pid_file::write(path, made.launched.pid))
}

impl Made {
    /// Takes the container away again because of `error`, and returns that.
    pub fn undo(&self, error: Error) -> Error {
        undo(&self.entry, &self.state, self.launched.end(error))
    }
}

/// What led here is the error to report; what hinders the way back warns.
pub fn undo(entry: &Entry, state: &State, error: Error) -> Error {
    if let Err(hindrance) = destroy(entry, state) {
        log::warn(hindrance);
    }
    error
}

/// Everything that was decided.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) config: Config,
    host: Host,
    pub(super) plan: Plan,
    /// Where classes of cache and memory bandwidth are, if one is asked for.
    resctrl: Option<Resctrl>,
    /// Readiness of the payload is told to the host.
    notifies: bool,
    /// What TERM is translated to.
    stop_signal: Option<i32>,
}

/// What was found out before anything is decided.
pub(super) struct Found {
    /// The configuration, with what was added to it.
    pub(super) config: Config,
    /// The administrator's.
    pub(super) settings: Settings,
    /// A rich container.
    pub(super) rich: Option<RichConfig>,
    /// What runs beside its payload, if that is to be started.
    pub(super) services: Option<Services>,
    /// There is a socket for the payload's readiness.
    pub(super) notifies: bool,
}

/// The bundle's configuration.
pub(super) fn load(args: &LaunchArgs) -> Result<Config> {
    Config::load(args.bundle.as_deref().unwrap_or(Path::new(".")))
}

impl Job {
    fn new(global: &Global, args: &LaunchArgs, store: &Store, passed: Passed) -> Result<Job> {
        let mut config = load(args)?;
        if let (Some(process), false) = (config.spec.process_mut(), args.command.is_empty()) {
            process.set_args(Some(args.command.clone()));
        }
        let mut settings = Settings::load()?;
        config.add_hooks(directories(&args.hooks_dir, &settings))?;
        let rich = rich::asked(args, &mut config, std::mem::take(&mut settings.rich))?;
        let services = services_asked(args, &config, rich.as_ref())?;
        let notifies = notify_relay::host_address().is_some();
        let found = Found { config, settings, rich, services, notifies };
        Job::of(global, args, store, (found, passed))
    }

    /// What is decided by what was found out.
    pub(super) fn of(
        global: &Global,
        args: &LaunchArgs,
        store: &Store,
        (found, passed): (Found, Passed),
    ) -> Result<Job> {
        let Found { mut config, settings, rich, services, notifies } = found;
        let given =
            Given { landlock: &args.landlock, delegate_cgroup: args.delegate_cgroup.as_deref() };
        let extras = Extras::new(config.spec.annotations().as_ref(), given)?;
        let host = host::probe(global)?;
        let init = rich.as_ref().map_or(Ok(None), |rich| boot::find(&config, rich.mode))?;
        // Read for those that show it only.
        let manager = manager(global);
        let release = || std::fs::read_to_string("/etc/os-release").ok();
        let boot_host = BootHost { os_release: init.as_ref().and_then(|_| release()) };
        let directory = store.root().join(&args.id);
        let notify = notifies.then(|| notify_relay::directory(&directory));
        let (keep_groups, told) =
            annotations::keeps_groups(&config.spec, &settings.annotations.allow);
        config.warnings.extend(told);
        if keep_groups && init.is_some() {
            // The init gives the payload its groups, and knows those of config.json.
            let what = "ignored beside an init of the image";
            config.warnings.push(format!("annotation {KEEP_GROUPS}: {what}"));
        }
        let keep_groups = keep_groups && init.is_none();
        let allowed = &settings.annotations.allow;
        let (raw_filter, told) = annotations::raw_filter(&config.spec, allowed)?;
        config.warnings.extend(told);
        let (pidfd_receiver, told) = annotations::pidfd_receiver(&config.spec, allowed)?;
        config.warnings.extend(told);
        let asked = Asked {
            keep_groups,
            raw_filter,
            pidfd_receiver,
            id: args.id.clone(),
            no_pivot: args.no_pivot,
            no_new_keyring: args.no_new_keyring,
            descriptors: passed.count,
            rich,
            services,
            no_cgroups: manager == CgroupManager::Disabled,
            scope: (manager == CgroupManager::Systemd).then(|| ScopeAsked {
                user: cgroup::is_users(),
                allowed: settings.systemd.properties,
            }),
            notify,
            extras,
            listed_nodes: !settings.devices.mknod,
            init,
            boot_host,
        };
        let mut plan = Plan::new(&config, asked, &host)?;
        let resctrl = plan.rdt.as_ref().map(|_| Resctrl::find()).transpose()?;
        plan.process.env.extend(passed.env);
        plan.process.env.extend(notifies.then(|| notify_relay::ENVIRONMENT.to_owned()));
        plan.process.env = deduplicated(&plan.process.env);
        let filter = plan.seccomp.iter().flat_map(|filter| &filter.warnings);
        let limits = &plan.cgroup.knobs.warnings;
        config.warnings.iter().chain(filter).chain(limits).for_each(log::warn);
        let asked = plan.rich.as_ref().and_then(|rich| rich.stop_signal.as_deref());
        let asked = asked.map(|word| signal::that_ends(word).map_err(|e| e.within("stop-signal")));
        let stop_signal = asked.transpose()?.or(plan.boot.as_ref().map(|boot| boot.stop));
        Ok(Job { config, host, plan, resctrl, notifies, stop_signal })
    }

    pub(super) fn first_state(&self) -> State {
        let mut created = String::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        log::push_time(&mut created, now);
        let spec = &self.config.spec;
        let annotations = spec.annotations().clone().unwrap_or_default();
        State {
            oci_version: spec.version().clone(),
            id: self.plan.id.clone(),
            bundle: self.config.bundle.clone(),
            rootfs: self.plan.root.path.clone(),
            created,
            owner: self.host.uid,
            annotations: annotations.into_iter().collect(),
            init: None,
            cgroup: planned(&self.plan.cgroup),
            rdt: None,
            ready: false,
            poststop_next: hooks::any(&self.plan.hooks, &[Phase::Poststop]).then_some(0),
            rich: self.plan.rich.clone(),
            stop_signal: self.stop_signal,
            extras: self.plan.extras.clone(),
            ends_whole_in: self
                .plan
                .namespaces
                .has_new(LinuxNamespaceType::Pid)
                .then(process::own_pid_namespace)
                .flatten(),
        }
    }

    /// The container's directory, groups and first process, in this order:
    /// what a crash in between leaves is known to `delete`.
    fn fill(
        &self,
        entry: &Entry,
        state: &mut State,
        console: Option<OwnedFd>,
        begin: Begin,
    ) -> Result<Launched> {
        let mut cgroup = self.place(entry, state)?;
        let moved = self.moved(state.cgroup.as_ref());
        let plan = moved.as_ref().unwrap_or(&self.plan);
        let systemd = plan.boot.as_ref().is_some_and(|boot| boot.family == Family::Systemd);
        if systemd && state.cgroup.is_none() {
            return Err(boot::without_groups());
        }
        self.join_class(entry, state)?;
        let gate = (begin == Begin::AtTheGate)
            .then(|| Gate::make(entry.dir(), gate::FIRST))
            .transpose()?;
        let config = &self.config.bytes;
        let parent_leaves = begin != Begin::Foreground;
        let order =
            Order { plan, host: &self.host, entry, state, config, console, gate, parent_leaves };
        let (launched, init) = launch(&order, &mut cgroup)?;
        drop(order);
        state.init = Some(init);
        state.ready = true;
        Ok(launched)
    }

    /// The container's directory and groups.
    pub(super) fn place(&self, entry: &Entry, state: &mut State) -> Result<Cgroup> {
        entry.save(state)?;
        if self.notifies {
            notify_relay::make_directory(&entry.path())?;
        }
        // A group that is refused is somebody else's: it is not ours to remove.
        let cgroup = Cgroup::create(&self.plan.cgroup).inspect_err(|_| state.cgroup = None)?;
        state.cgroup = (!cgroup.is_none()).then(|| cgroup.record());
        if cgroup.is_none() && !self.plan.namespaces.has_new(LinuxNamespaceType::Pid) {
            log::warn(
                "the container has no cgroup and no pid namespace of its own: not all of its processes can be found and ended",
            );
        }
        Ok(cgroup)
    }

    /// Its class of cache and memory bandwidth, if one is asked for.
    pub(super) fn join_class(&self, entry: &Entry, state: &mut State) -> Result<()> {
        if let (Some(asked), Some(resctrl)) = (&self.plan.rdt, &self.resctrl) {
            resctrl.make(asked, &mut |record| {
                state.rdt = Some(record.clone());
                entry.save(state)
            })?;
        }
        Ok(())
    }

    /// The plan for the groups that systemd has made, where they are elsewhere than thought.
    pub(super) fn moved(&self, groups: Option<&CgroupRecord>) -> Option<Plan> {
        let groups = groups.filter(|groups| groups.scope.is_some())?;
        let planned = &self.plan.cgroup;
        let elsewhere = groups.unified != planned.unified || groups.v1 != planned.v1;
        let places = || (groups.v1.clone(), groups.unified.clone());
        elsewhere.then(|| self.plan.moved(places(), &self.host))
    }
}

/// The services of a rich container whose PID 1 is rich-init.
fn services_asked(
    args: &LaunchArgs,
    config: &Config,
    rich: Option<&RichConfig>,
) -> Result<Option<Services>> {
    if rich.is_none_or(|rich| rich.mode != RichMode::DumbInit) {
        return Ok(None);
    }
    services::find(Places { file: args.services.as_deref(), config })
}

/// The groups as they will be.
pub(super) fn planned(plan: &CgroupPlan) -> Option<CgroupRecord> {
    let record = CgroupRecord {
        mode: plan.mode,
        v1: plan.v1.clone(),
        unified: plan.unified.clone(),
        scope: plan.scope.as_ref().map(ScopeRecord::planned),
    };
    (!record.v1.is_empty() || record.unified.is_some()).then_some(record)
}

/// Who manages the control groups. Both options may be there: an engine has one of them in its
/// settings.
fn manager(global: &Global) -> CgroupManager {
    match (global.cgroup_manager, global.systemd_cgroup) {
        (Some(CgroupManager::Disabled), _) => CgroupManager::Disabled,
        (Some(CgroupManager::Systemd), _) | (_, true) => CgroupManager::Systemd,
        _ => CgroupManager::Cgroupfs,
    }
}
