//! Making a container's groups, by the runtime itself or by systemd.

use super::create::{Made, create};
use super::{Cgroup, systemd};
use crate::error::Result;
use crate::plan::cgroup::CgroupPlan;

impl Cgroup {
    /// Makes the group in every hierarchy of the plan. After a failure nothing
    /// that was made is left.
    ///
    /// # Errors
    /// A group cannot be made, has processes already, or is frozen. Without
    /// rights and without limits there is no error and no group
    /// ([`Cgroup::is_none`]).
    pub fn create(plan: &CgroupPlan) -> Result<Self> {
        let mut made = Made::for_plan(plan);
        let result = match &plan.scope {
            None => create(plan, &mut made),
            Some(scope) => systemd::create(plan, scope, &mut made),
        };
        if result.is_err() {
            made.undo();
        }
        result
    }
}
