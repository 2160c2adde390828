//! In which case a behaviour is tried: which view of the cgroups, and as whom.

use std::path::Path;

use crate::runtime::Runtime;

/// How the runtime sees the cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The machine's own v1 (or hybrid) hierarchies.
    V1,
    /// cgroup2 on `/sys/fs/cgroup`.
    V2,
    /// Whichever the runtime under test can work in: for behaviours that have
    /// nothing to do with cgroups.
    Any,
}

impl View {
    /// The view that stands for [`View::Any`]: v2, but v1 for crun, whose older
    /// versions want `CAP_SYS_RESOURCE` in the v2 view.
    pub fn settled(self, runtime: &Runtime) -> View {
        match self {
            View::Any if !runtime.works_in_v2() && !host_is_unified() => View::V1,
            View::Any => View::V2,
            named => named,
        }
    }
}

/// Who calls the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The superuser.
    Root,
    /// An ordinary user with a range of subordinate ids.
    Ordinary,
}

/// Whether this machine has cgroup2 only.
pub fn host_is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.procs").exists()
}
