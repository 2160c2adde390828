//! How a process gets into a container's groups.
//!
//! On v2 it is born there (`CLONE_INTO_CGROUP`). Into v1 hierarchies it writes
//! itself: `0` into `tasks`. For a single-threaded writer that moves exactly
//! one thread, which the kernel does without the lock over all thread groups;
//! a pid in `cgroup.procs`, as others write it, takes that lock and waits for
//! an RCU grace period (kernel/cgroup/cgroup.c, `cgroup_procs_write_start`).

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Cgroup, file};
use crate::error::{Error, Result};

impl Cgroup {
    /// The `tasks` files of the v1 groups, opened write-only: a freshly cloned,
    /// still single-threaded child writes `0` into each ([`join`]).
    ///
    /// # Errors
    /// A file cannot be opened.
    pub fn join_files(&self) -> Result<Vec<OwnedFd>> {
        self.v1
            .iter()
            .map(|group| {
                file::open(&group.dir, "tasks", OFlags::WRONLY)
                    .map_err(|errno| group.error("open", "tasks", errno))
            })
            .collect()
    }

    /// The `cgroup.procs` file of the unified group: for kernels and callers
    /// without `CLONE_INTO_CGROUP`, the child writes `0` into it ([`join`]).
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn v2_join_file(&self) -> Result<Option<OwnedFd>> {
        self.unified
            .as_ref()
            .map(|group| {
                file::open(&group.dir, "cgroup.procs", OFlags::WRONLY)
                    .map_err(|errno| group.error("open", "cgroup.procs", errno))
            })
            .transpose()
    }

    /// Puts another process, with all its threads, into every group: slow
    /// ([`join_files`](Cgroup::join_files)), but it needs nothing of the process.
    ///
    /// # Errors
    /// The process is gone, or a group does not take it.
    pub fn add(&self, pid: i32) -> Result<()> {
        self.groups().try_for_each(|group| group.put("cgroup.procs", &pid.to_string()))
    }

    /// The error of a child whose write into `join_files()[index]` failed.
    pub fn join_error(&self, index: usize, errno: Errno) -> Error {
        match self.v1.get(index).or(self.unified.as_ref()) {
            Some(group) => group.error("join cgroup: write 0 to", "tasks", errno),
            None => Error::os("join cgroup", errno),
        }
    }
}

/// Moves the calling, single-threaded process into a group by the file that
/// [`Cgroup::join_files`] opened. Makes one system call and allocates nothing.
///
/// # Errors
/// The kernel's errno.
pub fn join(file: &OwnedFd) -> std::result::Result<(), Errno> {
    file::put_fd(file, "0")
}
