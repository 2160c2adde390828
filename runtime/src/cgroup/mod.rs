//! Effects on control groups: create, join, freeze, kill, remove.
//!
//! [`Cgroup`] is a container's group in every hierarchy, each held by the
//! descriptor of its directory: what is read and written goes to the group
//! that was made, whatever its path names by then.

mod apply;
mod create;
mod delegate;
mod file;
mod freeze;
mod join;
mod kill;
pub mod layout;
mod make;
mod oom;
mod pids;
pub mod rdt;
mod remove;
mod stats;
mod systemd;
mod update;
mod walk;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub use join::join;
pub use kill::Killed;
pub use oom::OomWatch;
pub use remove::Leftovers;
use rustix::fs::CWD;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use systemd::Held;
pub use systemd::{ScopeRecord, is_users};
pub use update::without_groups;
use walk::open_dir;

use crate::error::{Error, Result};
use crate::plan::cgroup::{Mode, Place};

/// What `state.json` keeps of a container's control groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {
    /// The generation of control groups.
    pub mode: Mode,
    /// The groups in the v1 hierarchies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub v1: Vec<Place>,
    /// The group in the unified hierarchy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified: Option<Place>,
    /// The scope that systemd has made them with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeRecord>,
}

impl CgroupRecord {
    /// Whether the container's group is frozen, by itself or by a group above
    /// it. One that is gone is not.
    pub fn is_frozen(&self) -> bool {
        let freezer = self.v1.iter().find(|place| place.has("freezer")).or(self.unified.as_ref());
        let Some(Ok(Some(group))) = freezer.map(open_if_there) else { return false };
        let (v1, unified) = match group.place.controllers.is_empty() {
            true => (Vec::new(), Some(group)),
            false => (vec![group], None),
        };
        Cgroup { mode: self.mode, v1, unified, scope: None }.is_frozen().unwrap_or(false)
    }
}

/// A group whose directory is open.
#[derive(Debug)]
struct Group {
    place: Place,
    dir: OwnedFd,
    /// It was made by this process just now.
    fresh: bool,
}

impl Group {
    /// Opens an existing group.
    fn open(place: &Place) -> std::result::Result<Self, Errno> {
        Ok(Group {
            dir: open_dir(CWD, place.directory().as_str())?,
            place: place.clone(),
            fresh: false,
        })
    }

    fn error(&self, step: &str, file: &str, errno: Errno) -> Error {
        Error::os(format!("{step} {}/{file}", self.place.directory()), errno)
    }

    fn get(&self, file: &str) -> Result<String> {
        file::get(&self.dir, file).map_err(|errno| self.error("read", file, errno))
    }

    fn put(&self, file: &str, value: &str) -> Result<()> {
        file::put(&self.dir, file, value)
            .map_err(|errno| self.error(&format!("write {value:?} to"), file, errno))
    }
}

/// The control groups of a container.
#[derive(Debug)]
pub struct Cgroup {
    mode: Mode,
    v1: Vec<Group>,
    unified: Option<Group>,
    /// The scope.
    scope: Option<Held>,
}

impl Cgroup {
    /// Opens the groups that a container was started in. A hierarchy whose
    /// group is gone is left out: deletion must be repeatable.
    ///
    /// # Errors
    /// A group exists and cannot be opened.
    pub fn open(record: &CgroupRecord) -> Result<Self> {
        let mut cgroup =
            Cgroup { mode: record.mode, v1: Vec::with_capacity(record.v1.len()), ..Cgroup::none() };
        for place in &record.v1 {
            cgroup.v1.extend(open_if_there(place)?);
        }
        if let Some(place) = &record.unified {
            cgroup.unified = open_if_there(place)?;
        }
        cgroup.scope = record.scope.clone().map(Held::of_others);
        Ok(cgroup)
    }

    /// No groups: a process stays where it is.
    pub fn none() -> Self {
        Cgroup { mode: Mode::None, v1: Vec::new(), unified: None, scope: None }
    }

    /// How many groups there are, of all hierarchies.
    pub fn len(&self) -> usize {
        self.groups().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.is_none()
    }

    /// What to store, so that [`Cgroup::open`] finds the groups again.
    pub fn record(&self) -> CgroupRecord {
        CgroupRecord {
            mode: self.mode,
            v1: self.v1.iter().map(|group| group.place.clone()).collect(),
            unified: self.unified.as_ref().map(|group| group.place.clone()),
            scope: self.scope.as_ref().map(|scope| scope.record.clone()),
        }
    }

    /// Whether systemd can put processes into the unified group for a user who may not do so
    /// himself: between his session and his manager's groups lies one that is root's.
    pub fn can_attach(&self) -> bool {
        self.scope.is_some() && self.unified.is_some()
    }

    /// Has systemd do that.
    ///
    /// # Errors
    /// It does not.
    pub fn attach(&self, pid: i32) -> Result<()> {
        match (&self.scope, &self.unified) {
            (Some(scope), Some(group)) => scope.record.attach(&group.place.path, pid),
            _ => Ok(()),
        }
    }

    /// The container's first process is in the groups: whoever held its scope until then ends.
    ///
    /// # Errors
    /// A limit that had to wait for this cannot be set.
    pub fn release_scope(&mut self) -> Result<()> {
        self.scope.as_mut().map_or(Ok(()), Held::release)
    }

    /// Whether the container has no groups of its own.
    pub fn is_none(&self) -> bool {
        self.v1.is_empty() && self.unified.is_none()
    }

    /// The group of the unified hierarchy, an `O_PATH` descriptor for
    /// `CLONE_INTO_CGROUP` (v2 and hybrid).
    pub fn v2_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|group| group.dir.as_fd())
    }

    /// The v1 group that carries `controller`.
    fn with(&self, controller: &str) -> Option<&Group> {
        self.v1.iter().find(|group| group.place.has(controller))
    }

    /// Every group, the unified one last.
    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.v1.iter().chain(&self.unified)
    }
}

fn open_if_there(place: &Place) -> Result<Option<Group>> {
    match Group::open(place) {
        Ok(group) => Ok(Some(group)),
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(errno) => Err(Error::os(format!("open cgroup {}", place.directory()), errno)),
    }
}
