//! The control groups of a container, as data: where they lie, what is written
//! into them and in which order. Knobs are rows of tables in [`v1`] and [`v2`].

pub mod layout;
pub mod path;

pub use layout::{Hierarchy, Layout, Mode};
use oci_spec::runtime::Spec;
use path::GroupPath;
use serde::{Deserialize, Serialize};

use crate::error::Result;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPlan {
    /// The generation of control groups.
    pub mode: Mode,
    /// The group in each v1 hierarchy.
    pub v1: Vec<Place>,
    /// The group in the unified hierarchy (v2 and hybrid).
    pub unified: Option<Place>,
    /// The process may lack the right to make groups: without limits that is
    /// no failure, and the container then runs in the caller's groups.
    pub unprivileged: bool,
}

impl CgroupPlan {
    /// A container that stays in the caller's groups (`--cgroup-manager
    /// disabled`, or a host without control groups).
    pub fn none() -> Self {
        CgroupPlan { mode: Mode::None, v1: Vec::new(), unified: None, unprivileged: true }
    }
}

/// Decides on the control groups of container `id`. `unprivileged` says that
/// the runtime is not root on the host (not uid 0, or in a user namespace).
///
/// # Errors
/// A field of `linux.cgroupsPath` or `linux.resources` that cannot be honoured
/// is named.
pub fn plan(spec: &Spec, id: &str, layout: &Layout, unprivileged: bool) -> Result<CgroupPlan> {
    let linux = spec.linux().as_ref();
    let path = GroupPath::new(
        linux.and_then(|linux| linux.cgroups_path().as_ref()).and_then(|path| path.to_str()),
        id,
    )?;
    let v1 = layout.v1.iter().map(|h| place(h, path.in_v1(h))).collect();
    let unified = layout.unified.as_ref().map(|h| {
        let path = match layout.mode {
            Mode::V2 => path.in_v2(h),
            _ => path.in_v1(h),
        };
        place(h, path)
    });
    Ok(CgroupPlan { mode: layout.mode, v1, unified, unprivileged })
}

fn place(hierarchy: &Hierarchy, path: String) -> Place {
    Place { controllers: hierarchy.controllers.clone(), mount: hierarchy.mount.clone(), path }
}
