//! The control groups of a container, as data: where they lie, what is written
//! into them and in which order. Knobs are rows of tables in [`v1`] and [`v2`].

pub mod bpf;
pub mod devices;
pub mod knob;
pub mod layout;
pub mod owner;
pub mod path;
pub mod scope;
pub mod shared;
#[cfg(test)]
mod tests;
pub mod v1;
pub mod v2;

use devices::{DeviceRules, Mknod};
use knob::Knobs;
pub use layout::{Hierarchy, Layout, Mode};
use oci_spec::runtime::{LinuxResources, Spec};
use path::GroupPath;
use scope::{ScopePlan, annotations};
use serde::{Deserialize, Serialize};
use shared::ZeroPids;

use crate::error::{Error, Result};

/// One group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The hierarchy's controllers (`["cpu", "cpuacct"]`); empty for the
    /// unified hierarchy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub mount: String,
    /// The group below `mount`, starting with a slash.
    pub path: String,
}

impl Place {
    /// The group's directory.
    pub fn directory(&self) -> String {
        match self.path.as_str() {
            "/" => self.mount.clone(),
            path => format!("{}{path}", self.mount),
        }
    }

    /// Whether the hierarchy carries `controller` (v1).
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// Everything that will be done about a container's control groups.
#[derive(Debug, Clone, PartialEq)]
pub struct CgroupPlan {
    /// The generation of control groups.
    pub mode: Mode,
    /// The group in each v1 hierarchy.
    pub v1: Vec<Place>,
    /// The group in the unified hierarchy (v2 and hybrid).
    pub unified: Option<Place>,
    /// What is written into the groups.
    pub knobs: Knobs,
    /// Which devices the container may use.
    pub devices: DevicePlan,
    /// The host uid to which the group in the unified hierarchy is given (v2).
    pub owner: Option<u32>,
    /// `linux.cgroupsPath` says where the groups are to be.
    pub named: bool,
    /// The process may lack the right to make groups: without limits that is
    /// no failure, and the container then runs in the caller's groups.
    pub unprivileged: bool,
    /// The scope that systemd makes the groups with; they are where it says then.
    pub scope: Option<ScopePlan>,
}

/// What systemd's scopes are made by, beside the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeAsked {
    /// By the user's own manager.
    pub user: bool,
    /// The properties that annotations may set.
    pub allowed: Vec<String>,
}

impl CgroupPlan {
    /// A container that stays in the caller's groups (`--cgroup-manager
    /// disabled`, or a host without control groups).
    pub fn none() -> Self {
        CgroupPlan {
            mode: Mode::None,
            v1: Vec::new(),
            unified: None,
            knobs: Knobs::default(),
            devices: DevicePlan::Nothing,
            owner: None,
            named: false,
            unprivileged: true,
            scope: None,
        }
    }

    /// The group that a knob's file is in.
    fn carries(&self, controller: &str) -> bool {
        match self.mode {
            Mode::V1 | Mode::Hybrid => self.v1.iter().any(|place| place.has(controller)),
            Mode::V2 => self.unified.is_some(),
            Mode::None => false,
        }
    }

    /// Every limit must have a hierarchy that can take it.
    fn check_controllers(&self) -> Result<()> {
        let missing = self.knobs.rows.iter().find(|row| !self.carries(&row.controller));
        missing.map_or(Ok(()), |row| {
            Err(Error::config(format!(
                "{}: no cgroup controller {} is mounted on this host",
                row.field, row.controller
            )))
        })
    }
}

/// How the device rules are brought to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevicePlan {
    /// Nothing is denied.
    Nothing,
    /// Files of v1 and their lines, in order.
    Lines(Vec<(&'static str, String)>),
    /// A program for the group of v2.
    Program(Vec<bpf::Insn>),
}

impl DevicePlan {
    fn new(rules: &DeviceRules, mode: Mode) -> Result<Self> {
        Ok(match mode {
            Mode::V1 | Mode::Hybrid => DevicePlan::Lines(rules.v1_lines()?),
            Mode::V2 => match bpf::compile(rules) {
                None => DevicePlan::Nothing,
                Some(program) if program.len() > bpf::MOST => {
                    return Err(Error::config(format!(
                        "linux.resources.devices: {} rules make a program of {} instructions, the kernel takes {}",
                        rules.rules.len(),
                        program.len(),
                        bpf::MOST
                    )));
                }
                Some(program) => DevicePlan::Program(program),
            },
            Mode::None => DevicePlan::Nothing,
        })
    }
}

/// Decides on the control groups of container `id`. `unprivileged` says that
/// the runtime is not root on the host (not uid 0, or in a user namespace).
///
/// # Errors
/// A field of `linux.cgroupsPath` or `linux.resources` that cannot be honoured
/// is named.
pub fn plan(spec: &Spec, id: &str, layout: &Layout, unprivileged: bool) -> Result<CgroupPlan> {
    plan_by(spec, id, layout, unprivileged, &Mknod::Any)
}

/// As [`plan`], where not every device node may be made.
///
/// # Errors
/// As [`plan`].
pub fn plan_by(
    spec: &Spec,
    id: &str,
    layout: &Layout,
    unprivileged: bool,
    mknod: &Mknod,
) -> Result<CgroupPlan> {
    let asked = asked_path(spec);
    let path = GroupPath::new(asked, id)?;
    let v1 = layout.v1.iter().map(|h| place(h, path.in_v1(h))).collect();
    let unified = layout.unified.as_ref().map(|h| {
        let path = match layout.mode {
            Mode::V2 => path.in_v2(h),
            _ => path.in_v1(h),
        };
        place(h, path)
    });
    let named = asked.is_some_and(|path| !path.is_empty());
    let (plan, _) = limited(spec, layout.mode, unprivileged, mknod)?;
    let plan = CgroupPlan { v1, unified, named, ..plan };
    plan.check_controllers()?;
    Ok(plan)
}

/// As [`plan_by`], with groups that systemd makes. Where they are is known when it has; the plan's
/// places are where they usually are.
///
/// # Errors
/// As [`plan`]; and an annotation that is no property.
pub fn plan_in_scope(
    spec: &Spec,
    id: &str,
    layout: &Layout,
    (unprivileged, mknod): (bool, &Mknod),
    asked: &ScopeAsked,
) -> Result<CgroupPlan> {
    if layout.mode == Mode::None {
        return Err(Error::system("systemd cgroup manager: no control groups are mounted"));
    }
    let name = scope::name(asked_path(spec), id, asked.user)?;
    let (properties, warnings) =
        annotations::properties(spec.annotations().as_ref(), &asked.allowed)?;
    let (mut plan, rules) = limited(spec, layout.mode, unprivileged, mknod)?;
    plan.v1 = layout.v1.iter().map(|h| place(h, name.path.clone())).collect();
    plan.unified = layout.unified.as_ref().map(|h| place(h, name.path.clone()));
    plan.knobs.warnings.extend(warnings);
    let decided = (&rules, plan.knobs.rows.as_slice());
    plan.scope = Some(ScopePlan::new(id, (name, asked.user), layout.mode, decided, properties));
    plan.check_controllers()?;
    Ok(plan)
}

/// `linux.cgroupsPath`
fn asked_path(spec: &Spec) -> Option<&str> {
    let linux = spec.linux().as_ref()?;
    linux.cgroups_path().as_ref().and_then(|path| path.to_str())
}

/// What holds in the groups, wherever they are.
fn limited(
    spec: &Spec,
    mode: Mode,
    unprivileged: bool,
    mknod: &Mknod,
) -> Result<(CgroupPlan, DeviceRules)> {
    let none = LinuxResources::default();
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref()).unwrap_or(&none);
    let rules = devices::rules(resources.devices().as_deref().unwrap_or_default(), mknod)?;
    let plan = CgroupPlan {
        mode,
        knobs: limits(resources, mode, ZeroPids::of(spec))?,
        devices: DevicePlan::new(&rules, mode)?,
        owner: owner::of(spec).filter(|_| mode == Mode::V2),
        unprivileged,
        ..CgroupPlan::none()
    };
    Ok((plan, rules))
}

/// The rows for `linux.resources`, devices apart, in the terms of a generation.
///
/// # Errors
/// A limit that it does not know, or a value that it would not take.
pub fn limits(resources: &LinuxResources, mode: Mode, zero: ZeroPids) -> Result<Knobs> {
    match mode {
        Mode::V2 => v2::knobs(resources, zero),
        Mode::V1 | Mode::Hybrid | Mode::None => v1::knobs(resources, zero),
    }
}

fn place(hierarchy: &Hierarchy, path: String) -> Place {
    Place { controllers: hierarchy.controllers.clone(), mount: hierarchy.mount.clone(), path }
}
