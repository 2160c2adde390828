//! Which processes are in a group.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::walk::{Reached, walk};
use super::{Cgroup, Group, file};
use crate::error::{Error, Result};

impl Cgroup {
    /// The processes of the container, those of nested groups too, ascending.
    ///
    /// # Errors
    /// A group cannot be read. One that vanishes while it is read is skipped.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let mut all = Vec::new();
        // A process is in one group of each hierarchy: one of them will do.
        if let Some(group) = self.lister() {
            group.pids_into(&mut all)?;
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    fn lister(&self) -> Option<&Group> {
        ["devices", "freezer", "pids"]
            .iter()
            .find_map(|controller| self.with(controller))
            .or(self.unified.as_ref())
            .or(self.v1.first())
    }
}

impl Group {
    /// Appends the processes of this group and of those below it.
    pub(super) fn pids_into(&self, all: &mut Vec<i32>) -> Result<()> {
        walk(&self.dir, &mut |reached| match reached {
            Reached::Group(dir) => pids_of(dir, all),
            Reached::Left { .. } => Ok(()),
        })
        .map_err(|errno| Error::os(format!("list processes of {}", self.place.directory()), errno))
    }
}

/// The processes of one group.
fn pids_of(dir: &OwnedFd, all: &mut Vec<i32>) -> std::result::Result<(), Errno> {
    let text = match file::get(dir, "cgroup.procs") {
        // A threaded group lists threads only (cgroups(7)).
        Err(Errno::OPNOTSUPP) => file::get(dir, "cgroup.threads"),
        text => text,
    };
    match text {
        // 0 is a process outside this pid namespace.
        Ok(text) => all.extend(
            text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0),
        ),
        Err(Errno::NOENT | Errno::NODEV) => {}
        Err(errno) => return Err(errno),
    }
    Ok(())
}
