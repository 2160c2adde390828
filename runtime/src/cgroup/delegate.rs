//! A group that is the container's to divide: its processes stand in a leaf, and its controllers
//! are enabled above that (cgroups(7), "no internal processes").

use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;

use super::walk::open_dir;
use super::{Cgroup, Group, file};
use crate::error::{Error, Result, Step};
use crate::plan::cgroup::CgroupPlan;

/// The leaf's name.
const LEAF: &str = "payload";
/// How often the group is looked at for processes that were born meanwhile.
const ROUNDS: usize = 16;

impl Cgroup {
    /// Moves everybody who is in the container's group into a leaf, and hands its
    /// controllers on. Its cgroup namespace must be there: its top is the group.
    ///
    /// # Errors
    /// The file that could not be written.
    pub fn delegate(&self, plan: &CgroupPlan) -> Result<()> {
        let Some(group) = &self.unified else { return Ok(()) };
        let place = crate::plan::cgroup::Place {
            path: format!("{}/{LEAF}", group.place.path.trim_end_matches('/')),
            ..group.place.clone()
        };
        let step = || format!("make cgroup {}", place.directory());
        match mkdirat(&group.dir, LEAF, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::os(step(), errno)),
        }
        let leaf = Group { dir: open_dir(&group.dir, LEAF).step(step)?, place, fresh: true };
        group.empty_into(&leaf)?;
        for controller in group.get("cgroup.controllers")?.split_whitespace() {
            group.put("cgroup.subtree_control", &format!("+{controller}"))?;
        }
        match plan.owner {
            Some(uid) => leaf.give_to(uid, plan.unprivileged),
            None => Ok(()),
        }
    }
}

impl Group {
    fn empty_into(&self, leaf: &Group) -> Result<()> {
        for _ in 0..ROUNDS {
            let procs = self.get("cgroup.procs")?;
            if procs.trim().is_empty() {
                return Ok(());
            }
            for pid in procs.split_whitespace() {
                match file::put(&leaf.dir, "cgroup.procs", pid) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => return Err(leaf.error("write to", "cgroup.procs", errno)),
                }
            }
        }
        Err(Error::system(format!("cgroup {}: does not become empty", self.place.directory())))
    }
}
