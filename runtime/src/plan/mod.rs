//! Pure decisions: what a launch will do, as data.
//!
//! A [`Plan`] is made of the configuration, the command line and the facts
//! about the host, and of nothing else: no file is opened here.

pub mod added;
pub mod annotations;
mod base64;
pub mod boot;
pub mod cgroup;
pub mod cgroup_view;
pub mod criu;
pub mod dbus;
pub mod devices;
pub mod doctor;
pub mod exec;
pub mod facts;
pub mod grant;
pub mod id_ranges;
pub mod kernel;
pub mod mount_attr;
pub mod mount_options;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod problems;
pub mod process;
pub mod rdt;
pub mod rdt_stats;
pub mod rich;
pub mod seccomp;
pub mod services;
pub mod stats;
pub mod update;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hooks, LinuxNamespaceType, Spec};

use crate::config::Config;
use crate::config::extras::{Extras, Strength};
use crate::config::rich::RichConfig;
use crate::config::services::Services;
use crate::config::trust::Right;
use crate::config::validate::sysctl_path;
use crate::error::{Error, Result};
use boot::{BootHost, BootPlan, Family, FoundInit};
use cgroup::devices::Mknod;
use cgroup::{CgroupPlan, Layout, Mode, ScopeAsked};
use cgroup_view::CgroupView;
use devices::DeviceStep;
use mount_attr::{attr, propagation};
use mounts::MountStep;
use namespaces::Namespaces;
use net_devices::NetDevice;
use process::{ProcessPlan, c_string};
use rdt::RdtPlan;
use seccomp::{Arch, Filter};

/// What must be known of the host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its control groups.
    pub cgroups: Layout,
    /// The runtime's effective user id.
    pub uid: u32,
    /// The runtime's effective group id.
    pub gid: u32,
    /// The runtime is not root on the host: another user, or root of a user
    /// namespace.
    pub unprivileged: bool,
    /// The runtime may mount in its own user namespace: root of the host, or of a user
    /// namespace such as rootless podman's.
    pub administers: bool,
}

/// What the command line adds to a configuration.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The container's id.
    pub id: String,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the payload gets.
    pub descriptors: u32,
    /// The payload keeps the caller's supplementary groups.
    pub keep_groups: bool,
    /// A filter in the place of `linux.seccomp`.
    pub raw_filter: Option<Filter>,
    /// The annotation's socket for a pidfd of the first process.
    pub pidfd_receiver: Option<PathBuf>,
    /// A rich container.
    pub rich: Option<RichConfig>,
    /// What a rich container runs beside its payload.
    pub services: Option<Services>,
    /// The payload makes no device nodes but those that config.json lists.
    pub listed_nodes: bool,
    /// No control groups are made (`--cgroup-manager disabled`).
    pub no_cgroups: bool,
    /// systemd makes the control groups.
    pub scope: Option<ScopeAsked>,
    /// The directory of the notification socket, to be bound.
    pub notify: Option<PathBuf>,
    /// What is asked for beyond the specification.
    pub extras: Extras,
    /// The image's init, which is to be PID 1.
    pub init: Option<FoundInit>,
    /// What the host adds to its environment.
    pub boot_host: BootHost,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPlan {
    /// Where it is on the host, absolute.
    pub path: PathBuf,
    /// Whether it is mounted read-only.
    pub readonly: bool,
    /// The propagation that the host's mounts have in the container's mount
    /// namespace; `true`: all of them.
    pub propagation: (u64, bool),
    /// The propagation that the root has in the end, if one is asked for: the
    /// root alone, since a mount's own options say what it is.
    pub final_propagation: Option<u64>,
    /// `chroot` instead of `pivot_root`.
    pub no_pivot: bool,
}

/// Everything that a launch will do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// The root file system.
    pub root: RootPlan,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Mounts, in order.
    pub mounts: Vec<MountStep>,
    /// What `type: cgroup` mounts show.
    pub cgroup_view: CgroupView,
    /// Device nodes; none where `/dev` is the host's.
    pub devices: Vec<DeviceStep>,
    /// Whether `/dev` is the container's own.
    pub own_dev: bool,
    /// Paths that are covered.
    pub masked: Vec<PathBuf>,
    /// Paths that become read-only.
    pub readonly: Vec<PathBuf>,
    /// Path below `/proc/sys` and value.
    pub sysctls: Vec<(String, String)>,
    /// Devices of the host's network that move into the container's.
    pub net_devices: Vec<NetDevice>,
    /// The class of cache and memory bandwidth.
    pub rdt: Option<RdtPlan>,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// The payload.
    pub process: ProcessPlan,
    /// personality(2).
    pub personality: Option<u32>,
    /// set_mempolicy(2): mode, nodes.
    pub memory_policy: Option<(u32, Vec<u64>)>,
    /// Control groups.
    pub cgroup: CgroupPlan,
    /// System call filter.
    pub seccomp: Option<Filter>,
    /// Hooks.
    pub hooks: Hooks,
    /// The name of a new session keyring.
    pub keyring: Option<CString>,
    /// What is asked for beyond the specification.
    pub extras: Extras,
    /// Whether, and how strongly, the payload is to stand in a leaf below its group.
    pub delegate_cgroup: Option<Strength>,
    /// The init in front of the payload.
    pub rich: Option<RichConfig>,
    /// The plan of services that the init gets.
    pub services: Option<Vec<u8>>,
    /// The image's own init as PID 1, and the payload beside it.
    pub boot: Option<BootPlan>,
    /// Descriptors from 3 on that the payload gets.
    pub descriptors: u32,
    /// The annotation's socket for a pidfd of the first process.
    pub pidfd_receiver: Option<PathBuf>,
}

impl Plan {
    /// Whom the container is for: its first process, or who starts beside the init
    /// that this becomes.
    pub fn payload(&self) -> &ProcessPlan {
        let beside = self.boot.as_ref().and_then(|boot| boot.payload.as_ref());
        beside.unwrap_or(&self.process)
    }

    /// The same launch with control groups at other places.
    pub fn moved(&self, places: (Vec<cgroup::Place>, Option<cgroup::Place>), host: &Host) -> Plan {
        let mut plan = self.clone();
        (plan.cgroup.v1, plan.cgroup.unified) = places;
        let writable = self.cgroup_view.systemd_writes();
        let private = plan.namespaces.has(LinuxNamespaceType::Cgroup);
        plan.cgroup_view = CgroupView::new(&host.cgroups, &plan.cgroup, private);
        if writable {
            plan.cgroup_view.let_systemd_write();
        }
        plan
    }

    /// Plans the launch of a validated configuration.
    ///
    /// # Errors
    /// A field that cannot be honoured on this host.
    pub fn new(config: &Config, asked: Asked, host: &Host) -> Result<Plan> {
        let (Some(init), Some(rich)) = (&asked.init, &asked.rich) else {
            return Plan::plain(config, asked, host);
        };
        let mode = if asked.no_cgroups { Mode::None } else { host.cgroups.mode };
        let host_adds = &asked.boot_host;
        if !asked.extras.landlock.is_empty() {
            let words = "landlock: not beside an init of the image, which must mount and start all";
            return Err(Error::config(words));
        }
        let (spec, mut boot) = boot::boot(&config.spec, rich, init, &asked.id, mode, host_adds)?;
        let bundle = config.bundle.clone();
        let changed = Config { bundle, spec, bytes: Vec::new(), warnings: Vec::new() };
        if let (Some(payload), true) = (&mut boot.payload, asked.extras.no_core_dumps) {
            payload.without_core_dumps();
        }
        let writes = boot.family == Family::Systemd && rich.granted.has(Right::Cgroups);
        let mut plan = Plan::plain(&changed, asked, host)?;
        if writes {
            plan.cgroup_view.let_systemd_write();
        }
        plan.boot = Some(boot);
        Ok(plan)
    }

    /// The configuration as it stands.
    fn plain(config: &Config, asked: Asked, host: &Host) -> Result<Plan> {
        let spec = &config.spec;
        let none = || Error::config("linux: must be specified");
        let linux = spec.linux().as_ref().ok_or_else(none)?;
        let namespaces = Namespaces::new(spec);
        let layout = if asked.no_cgroups { &Layout::none() } else { &host.cgroups };
        let mknod = match asked.listed_nodes {
            true => Mknod::listed(linux.devices().as_deref().unwrap_or_default()),
            false => Mknod::Any,
        };
        let mut cgroup = match (asked.no_cgroups, &asked.scope) {
            (true, _) => CgroupPlan::none(),
            (false, None) => cgroup::plan_by(spec, &asked.id, layout, host.unprivileged, &mknod)?,
            (false, Some(scope)) => {
                let how = (host.unprivileged, &mknod);
                cgroup::plan_in_scope(spec, &asked.id, layout, how, scope)?
            }
        };
        let delegate_cgroup = match asked.extras.delegate_cgroup {
            None => None,
            asked_so => delegated(spec, &asked, asked_so, &mut cgroup)?,
        };
        let private = namespaces.has(LinuxNamespaceType::Cgroup);
        let own_dev = devices::own_dev(spec);
        let process = spec.process().as_ref();
        let mut process = process.map_or(Ok(ProcessPlan::none()), ProcessPlan::new)?;
        // What `init` does without a word of the specification: runc's default.
        process.user.umask.get_or_insert(0o022);
        process.user.keep_groups = asked.keep_groups;
        if asked.extras.no_core_dumps {
            process.without_core_dumps();
        }
        Ok(Plan {
            root: root(config, asked.no_pivot)?,
            mounts: mounts(config, &namespaces, asked.notify)?,
            cgroup_view: CgroupView::new(&host.cgroups, &cgroup, private),
            devices: if own_dev { devices::devices(spec)? } else { Vec::new() },
            own_dev,
            masked: once(linux.masked_paths()),
            readonly: once(linux.readonly_paths()),
            sysctls: sysctls(spec),
            net_devices: net_devices::net_devices(spec),
            rdt: RdtPlan::new(spec, &asked.id),
            hostname: spec.hostname().clone().filter(|name| !name.is_empty()),
            domainname: spec.domainname().clone().filter(|name| !name.is_empty()),
            process,
            personality: process::personality(spec),
            memory_policy: process::memory_policy(spec)?,
            cgroup,
            seccomp: asked.raw_filter.map_or_else(|| filter(spec), |raw| Ok(Some(raw)))?,
            hooks: spec.hooks().clone().unwrap_or_default(),
            keyring: match asked.no_new_keyring {
                true => None,
                false => Some(keyring_name(&asked.id)?),
            },
            extras: asked.extras,
            delegate_cgroup,
            rich: asked.rich,
            services: asked
                .services
                .map(|all| all.encode(services::surroundings(&namespaces, host, asked.descriptors)))
                .transpose()?,
            boot: None,
            descriptors: asked.descriptors,
            pidfd_receiver: asked.pidfd_receiver,
            namespaces,
            id: asked.id,
        })
    }
}

/// Whether the group is handed on as it is asked for: not beyond what config.json gives.
fn delegated(
    spec: &Spec,
    asked: &Asked,
    strength: Option<Strength>,
    plan: &mut CgroupPlan,
) -> Result<Option<Strength>> {
    let why = match (&asked.init, plan.mode, plan.unified.is_some()) {
        (Some(_), ..) => "the image's init divides its group itself",
        (None, Mode::V2, true) if cgroup::owner::may_divide(spec) => return Ok(strength),
        (None, Mode::V2, true) => {
            "config.json gives no cgroup namespace of its own with a writable /sys/fs/cgroup"
        }
        _ => "there is no cgroup v2 group",
    };
    let told = format!("io.richrun.delegate-cgroup: {why}");
    match strength {
        Some(Strength::BestEffort) => plan.knobs.warnings.push(told),
        _ => return Err(Error::config(told)),
    }
    Ok(None)
}

/// Paths in their order, each once.
fn once(paths: &Option<Vec<String>>) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let clean = paths.iter().flatten().map(|path| mounts::cleaned(Path::new(path)));
    clean.filter(|path| seen.insert(path.clone())).collect()
}

/// The name of a container's session keyring: runc's.
pub fn keyring_name(id: &str) -> Result<CString> {
    c_string(&format!("_ses.{id}"), "id")
}

/// Compiles `linux.seccomp` for this machine.
pub fn filter(spec: &Spec) -> Result<Option<Filter>> {
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    profile.map(|profile| seccomp::compile(profile, Arch::NATIVE)).transpose()
}

fn root(config: &Config, no_pivot: bool) -> Result<RootPlan> {
    let missing = || Error::config("root.path: root file system must be specified");
    let root = config.spec.root().as_ref().ok_or_else(missing)?;
    let word = config.spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let asked = word.filter(|word| !word.is_empty()).map(|word| {
        match word.strip_prefix('r').unwrap_or(word) {
            "shared" => propagation::SHARED,
            "slave" => propagation::SLAVE,
            "unbindable" => propagation::UNBINDABLE,
            _ => propagation::PRIVATE,
        }
    });
    // The host's mounts never see the container's unless that is asked for.
    let host = match asked {
        Some(propagation::UNBINDABLE) => (propagation::PRIVATE, true),
        Some(bits) => (bits, true),
        None => (propagation::SLAVE, true),
    };
    Ok(RootPlan {
        path: config.bundle.join(root.path()),
        readonly: root.readonly().unwrap_or(false),
        propagation: host,
        final_propagation: asked,
        no_pivot,
    })
}

/// The root's path on the host, as mounts are compared with it.
fn mount_root(config: &Config) -> PathBuf {
    let root = config.spec.root().as_ref().map_or(Path::new(""), |root| root.path());
    mounts::cleaned(&config.bundle.join(root))
}

/// What all mounts of a configuration have in common.
fn mount_from<'c>(config: &'c Config, root: &'c Path) -> Result<mounts::From<'c>> {
    let label = config.spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
    let kind = annotations::context_type(&config.spec)?;
    let label = label.filter(|label| !label.is_empty()).map(|label| (kind, label));
    Ok(mounts::From { bundle: &config.bundle, root, label })
}

fn mounts(
    config: &Config,
    namespaces: &Namespaces,
    notify: Option<PathBuf>,
) -> Result<Vec<MountStep>> {
    let spec = &config.spec;
    let root = mount_root(config);
    let from = mount_from(config, &root)?;
    let mut steps = Vec::with_capacity(spec.mounts().as_ref().map_or(0, Vec::len) + 1);
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let mut step = MountStep::new(index, mount, &from)?;
        let foreign = step.what == mounts::What::Cgroup
            && namespaces.has_new(LinuxNamespaceType::User)
            && !namespaces.has(LinuxNamespaceType::Cgroup);
        if foreign {
            // Groups of others would be writable to the namespace's root (CVE-2023-25809).
            step.attr.set |= attr::RDONLY;
            step.attr.clear &= !attr::RDONLY;
        }
        steps.push(step);
    }
    if let Some(directory) = notify {
        let attrs = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
        steps.push(mounts::plain_bind("NOTIFY_SOCKET", directory, "/run/notify", attrs));
    }
    Ok(steps)
}

fn sysctls(spec: &Spec) -> Vec<(String, String)> {
    let linux = spec.linux().as_ref();
    let map = linux.and_then(|linux| linux.sysctl().as_ref());
    let mut rows: Vec<(String, String)> =
        map.into_iter().flatten().map(|(key, value)| (sysctl_path(key), value.clone())).collect();
    rows.sort();
    rows
}
