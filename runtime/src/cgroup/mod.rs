//! Effects on control groups: create, join, freeze, kill, remove.

use serde::{Deserialize, Serialize};

/// Where a container's control groups are: kept in `state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {}

impl CgroupRecord {
    /// Whether the container's cgroup is frozen, or being frozen.
    pub fn is_frozen(&self) -> bool {
        false
    }
}
