//! Mount trees that the runtime clones for the container's first process.
//!
//! In a user namespace the container's root is nobody on the host: it may not
//! even walk to a bind mount's source, nor make a device. And the mapping of an
//! id-mapped mount is nobody's to give but the host's root. So the child asks,
//! one tree at a time, when its turn has come: what earlier mounts provide is
//! there then, and no more than one descriptor is on its way.
//!
//! The runtime clones in the container's mount namespace, with the host's
//! rights: what a less privileged namespace must not undo is locked there
//! (mount_namespaces(7)), and mounts of other mount namespaces, which could not
//! be taken along, are not there.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, fstatvfs};
use rustix::io::Errno;

use super::sync::{ChildEnd, News, Wanted};
use super::{bind, console, devices, host_path, idmap, maps};
use crate::error::{Error, Kind as Sort, Result, Step};
use crate::plan::id_ranges::{IdMap, IdRange};
use crate::plan::mount_attr::{FsParam, MountAttr, attr, propagation};
use crate::plan::mounts::{MountStep, What};
use crate::plan::namespaces::Namespaces;
use crate::plan::{Host, Plan};
use crate::sys::{mount, process};

/// Whether the child lacks the rights over the host's files that the runtime has. A
/// runtime in a user namespace has them there: rootless podman's `--userns=auto` makes
/// one more below it, whose root may not walk to what is the user's own.
pub fn foreign(plan: &Plan, host: &Host) -> bool {
    host.administers && plan.namespaces.has(Kind::User)
}

/// The child's side: asks for a tree. `None`: the kernel has no mount API, and
/// the child does what it can.
pub fn ask(channel: &ChildEnd, wanted: Wanted) -> Result<Option<OwnedFd>> {
    channel.report(&News::Wanted(wanted))?;
    console::receive(channel.as_fd()).step(|| "take a mount of the runtime's")
}

/// The runtime's side.
pub struct Trees<'a> {
    plan: &'a Plan,
    /// The container's first process.
    pid: i32,
    binds: Binds<'a>,
}

/// What makes the trees of bind mounts.
pub struct Binds<'a> {
    namespaces: &'a Namespaces,
    /// What the host's mounts have in the mount namespace of `pid`: one of [`propagation`].
    propagation: u64,
    foreign: bool,
    /// Who asks: in his mount namespace they are cloned.
    pid: i32,
    /// The user namespace of the last id-mapped mount.
    mapping: Option<(IdMap, OwnedFd)>,
}

impl<'a> Trees<'a> {
    /// For the first process of a plan.
    pub fn new(plan: &'a Plan, host: &Host, pid: i32) -> Self {
        let binds = Binds::new(&plan.namespaces, plan.root.propagation.0, foreign(plan, host), pid);
        Trees { plan, pid, binds }
    }

    /// Answers a question of the child's.
    ///
    /// # Errors
    /// The tree cannot be had, or the child is gone.
    pub fn answer(&mut self, channel: BorrowedFd<'_>, wanted: Wanted) -> Result<()> {
        let tree = match wanted {
            Wanted::Root => inside(self.pid, || bind::root_tree(&self.plan.root.path))?,
            Wanted::Devices => Some(self.devices()?),
            Wanted::Mount(index) => {
                let step = self.plan.mounts.get(index);
                let step = step.ok_or_else(|| Error::system(format!("no mount {index}")))?;
                self.binds.bound(step)?
            }
        };
        hand_over(channel, tree)
    }

    /// The nodes that the configuration lists, each by its number in the list: in a
    /// file system of the host's, where they work, with their modes and owners.
    fn devices(&self) -> Result<OwnedFd> {
        let step = || "linux.devices: make a tmpfs for the nodes";
        let mode = FsParam { key: c"mode".to_owned(), value: Some(c"755".to_owned()) };
        let attrs = attr::NOSUID | attr::NOEXEC;
        let nodes = mount::new_fs(c"tmpfs", Some(c"dev"), &[mode], attrs).step(step)?;
        let (uids, gids) = maps::read(self.pid)?;
        let umask = rustix::process::umask(Mode::empty());
        let made = self.make_nodes(&nodes, &uids, &gids);
        rustix::process::umask(umask);
        made.map(|()| nodes)
    }

    fn make_nodes(&self, nodes: &OwnedFd, uids: &[IdRange], gids: &[IdRange]) -> Result<()> {
        for (number, device) in self.plan.devices.iter().enumerate().filter(|(_, d)| d.listed) {
            let step = || format!("device {}", device.path.display());
            let name = number.to_string();
            let (kind, number) = devices::kind_of(device);
            let mode = Mode::from_raw_mode(device.mode);
            rustix::fs::mknodat(nodes, &name, kind, mode, number).step(step)?;
            let uid = IdRange::outside_of(uids, device.uid).map(Uid::from_raw);
            let gid = IdRange::outside_of(gids, device.gid).map(Gid::from_raw);
            rustix::fs::chownat(nodes, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).step(step)?;
        }
        Ok(())
    }
}

impl<'a> Binds<'a> {
    /// For process `pid`, whose mount namespace is one of a user namespace of less rights
    /// (`foreign`) or not.
    pub fn new(namespaces: &'a Namespaces, propagation: u64, foreign: bool, pid: i32) -> Binds<'a> {
        Binds { namespaces, propagation, foreign, pid, mapping: None }
    }

    /// The tree of a step; `None` for what is no bind mount, and on a kernel without the mount
    /// API.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn bound(&mut self, step: &MountStep) -> Result<Option<OwnedFd>> {
        let What::Bind { source, recursive, idmap } = &step.what else { return Ok(None) };
        let named = |error: Error| error.within(&step.field);
        let inner = || bind::tree(bind::source_of(source, step.links)?.as_fd(), *recursive, step);
        let tree = match inside(self.pid, inner) {
            // What is mounted below it in the container's namespace is locked there.
            Err(error) if error.errno() == Some(Errno::INVAL) && self.foreign && !recursive => {
                self.bound_outside(source, step).map_err(named)?
            }
            tree => tree.map_err(named)?,
        };
        if let (Some(tree), Some(map)) = (&tree, idmap) {
            self.map_ids(tree.as_fd(), map).map_err(named)?;
        }
        Ok(tree)
    }

    /// A copy of the host's own mount, which no lock keeps as it is.
    fn bound_outside(&self, source: &Path, step: &MountStep) -> Result<Option<OwnedFd>> {
        let open = bind::source_of(source, step.links)?;
        let restricts = libc::ST_RDONLY | libc::ST_NOSUID | libc::ST_NODEV | libc::ST_NOEXEC;
        let flags = fstatvfs(&open).step(|| "source: statvfs")?.f_flag.bits();
        if flags & restricts != 0 {
            return Err(Error::config(format!(
                "source: {} has other mounts below it, and cannot be bound without them in a user namespace: use rbind",
                source.display()
            )));
        }
        let tree = bind::tree(open.as_fd(), false, step)?;
        let kind = self.propagation;
        if let Some(tree) = &tree
            && kind != propagation::SHARED
        {
            mount::set_attr(tree.as_fd(), &MountAttr::propagate(kind), true)
                .step(|| "propagation")?;
        }
        Ok(tree)
    }

    /// Gives a detached tree its id mapping (mount_setattr(2), Linux 5.12).
    fn map_ids(&mut self, tree: BorrowedFd<'_>, map: &IdMap) -> Result<()> {
        let attrs = MountAttr {
            set: attr::IDMAP,
            userns_fd: self.mapping(map)?.as_raw_fd() as u64,
            ..MountAttr::default()
        };
        mount::set_attr(tree, &attrs, map.recursive).step(|| "id-mapped mount")
    }

    /// The user namespace of a mapping: that of the mount, else the container's.
    fn mapping(&mut self, map: &IdMap) -> Result<BorrowedFd<'_>> {
        if self.mapping.as_ref().is_none_or(|(known, _)| known != map) {
            let namespaces = self.namespaces;
            let joined = namespaces.joined.iter().find(|joined| joined.kind == Kind::User);
            let made = match (map.uids.is_empty(), joined) {
                (false, _) => idmap::user_namespace(&map.uids, &map.gids)?,
                (true, Some(joined)) => host_path::open(&joined.path, OFlags::RDONLY)
                    .step(|| format!("linux.namespaces: open {}", joined.path.display()))?,
                (true, None) if !namespaces.uids.is_empty() => {
                    idmap::user_namespace(&namespaces.uids, &namespaces.gids)?
                }
                (true, None) => {
                    return Err(Error::new(
                        Sort::Config,
                        "idmap needs uidMappings, or a user namespace with mappings",
                    ));
                }
            };
            self.mapping = Some((map.clone(), made));
        }
        let known = self.mapping.as_ref().map(|(_, namespace)| namespace.as_fd());
        known.ok_or_else(|| Error::system("no mapping"))
    }
}

/// Answers who has asked for a tree.
///
/// # Errors
/// He is gone.
pub fn hand_over(channel: BorrowedFd<'_>, tree: Option<OwnedFd>) -> Result<()> {
    let step = || "hand a mount over";
    match tree {
        Some(tree) => console::send(channel, b"tree", tree.as_fd()).step(step),
        None => {
            rustix::io::retry_on_intr(|| rustix::io::write(channel, b"none")).map(drop).step(step)
        }
    }
}

/// Does something in the mount namespace of process `pid` and comes back.
fn inside<T>(pid: i32, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    let open = |path: &str, flags| host_path::open(path, flags).step(|| format!("open {path}"));
    let file = OFlags::RDONLY;
    let home = (open("/proc/self/ns/mnt", file)?, open("/", directory)?, open(".", directory)?);
    let there = open(&format!("/proc/{pid}/ns/mnt"), file)?;
    // Its copy of our own root, which need not be its namespace's.
    let root = open(&format!("/proc/{pid}/root"), directory)?;
    let done = process::enter_mounts(there.as_fd(), root.as_fd())
        .step(|| "enter the container's mount namespace")
        .and_then(|()| act());
    process::enter_mounts(home.0.as_fd(), home.1.as_fd())
        .and_then(|()| rustix::process::fchdir(&home.2))
        .step(|| "return from the container's mount namespace")?;
    done
}
