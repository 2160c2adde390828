//! What the runtime must prepare before the clone, because the container's
//! user namespace takes away the rights for it.
//!
//! Inside a user namespace the container's root is nobody on the host: it may
//! not even walk to a bind mount's source. So with a new user namespace, and
//! for id-mapped mounts always, the trees are cloned by the runtime and their
//! descriptors inherited.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::host_path;
use super::{idmap, rootfs};
use crate::error::{Error, Kind, Result, Step};
use crate::plan::mount_attr::{MountAttr, attr, propagation};
use crate::plan::mounts::{IdMap, MountStep, What};
use crate::plan::{Host, Plan};
use crate::sys::mount;

/// Mount trees that the runtime has cloned.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The root file system's.
    pub root: Option<OwnedFd>,
    trees: Vec<(String, OwnedFd)>,
}

impl Prepared {
    /// Clones what the child will not be able to.
    pub fn new(plan: &Plan, host: &Host) -> Result<Prepared> {
        let mut prepared = Prepared::default();
        let foreign = !host.unprivileged && (plan.namespaces.has(LinuxNamespaceType::User));
        if foreign {
            prepared.root = rootfs::root_tree(&plan.root.path)?;
        }
        for step in &plan.mounts {
            let What::Bind { source, recursive, idmap } = &step.what else { continue };
            if !foreign && idmap.is_none() {
                continue;
            }
            let named = |error: Error| error.within(&step.field);
            let open = bind_source(source).map_err(named)?;
            let tree = bound(open.as_fd(), *recursive, step).map_err(named)?;
            // Without the mount API (before Linux 5.2) the child does what it can.
            let Some(tree) = tree else { continue };
            if let Some(map) = idmap {
                map_ids(tree.as_fd(), map, plan).map_err(named)?;
            }
            if foreign {
                // Cloned in the host's namespace: what is mounted there later
                // appears here, and nothing goes back.
                let kind = match plan.root.propagation.0 {
                    propagation::SHARED => None,
                    kind => Some(kind),
                };
                if let Some(kind) = kind {
                    mount::set_attr(tree.as_fd(), &MountAttr::propagate(kind), true)
                        .step(|| "propagation")
                        .map_err(named)?;
                }
            }
            prepared.trees.push((step.field.clone(), tree));
        }
        if let Some(root) = &prepared.root {
            let kind = match plan.root.propagation.0 {
                propagation::SHARED => propagation::PRIVATE,
                kind => kind,
            };
            mount::set_attr(root.as_fd(), &MountAttr::propagate(kind), true)
                .step(|| "root.path: propagation")?;
        }
        Ok(prepared)
    }

    /// Takes the tree of a step, if it was cloned.
    pub fn tree(&mut self, field: &str) -> Option<OwnedFd> {
        let at = self.trees.iter().position(|(name, _)| name == field)?;
        Some(self.trees.swap_remove(at).1)
    }
}

/// Opens the source of a bind mount on the host.
pub fn bind_source(path: &Path) -> Result<OwnedFd> {
    host_path::open(path, OFlags::PATH | OFlags::CLOEXEC)
        .step(|| format!("source: open {}", path.display()))
}

/// A detached copy of a source's mount with the attributes of `step`; `None`
/// on a kernel without the mount API, or without attributes for detached mounts.
pub fn bound(source: BorrowedFd<'_>, recursive: bool, step: &MountStep) -> Result<Option<OwnedFd>> {
    let describe = || format!("bind on {}", step.destination.display());
    let tree = match mount::clone_tree(source, recursive) {
        Ok(tree) => tree,
        Err(Errno::NOSYS) => return Ok(None),
        Err(errno) => return Err(Error::os(describe(), errno)),
    };
    let set = mount::set_attr_detached(tree.as_fd(), &step.attr, false)
        .and_then(|()| mount::set_attr_detached(tree.as_fd(), &step.recursive, true));
    match set {
        Err(Errno::NOSYS) => Ok(None),
        set => set.step(describe).map(|()| Some(tree)),
    }
}

/// Gives a detached tree its id mapping (mount_setattr(2), Linux 5.12).
fn map_ids(tree: BorrowedFd<'_>, map: &IdMap, plan: &Plan) -> Result<()> {
    let (uids, gids) = match map.uids.is_empty() {
        true => (&plan.namespaces.uids, &plan.namespaces.gids),
        false => (&map.uids, &map.gids),
    };
    if uids.is_empty() {
        return Err(Error::new(
            Kind::Config,
            "idmap needs uidMappings, or a new user namespace with mappings",
        ));
    }
    let namespace = idmap::user_namespace(uids, gids)?;
    let attrs = MountAttr {
        set: attr::IDMAP,
        userns_fd: std::os::fd::AsRawFd::as_raw_fd(&namespace) as u64,
        ..MountAttr::default()
    };
    mount::set_attr(tree, &attrs, map.recursive).step(|| "id-mapped mount")
}
