//! Joining namespaces that exist already.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::{Gid, OFlags, Uid};
use rustix::io::Errno;

use super::host_path;
use crate::config::namespaces::own;
use crate::error::{Error, Result, Step};
use crate::plan::id_ranges::IdRange;
use crate::plan::namespaces::{JOIN_ORDER, Namespaces, flag, proc_name};
use crate::plan::process::UserPlan;
use crate::sys::process;

/// A namespace to be joined, opened while the host's paths are there.
#[derive(Debug)]
pub struct Open {
    /// Its kind.
    pub kind: Kind,
    fd: OwnedFd,
    path: String,
}

/// What the container's first process joins by itself.
#[derive(Debug, Default)]
pub struct Joins {
    /// Control groups.
    pub groups: Vec<OwnedFd>,
    /// Namespaces.
    pub namespaces: Vec<Open>,
    /// A pid namespace in which there may be others: nobody is born there before all that is the
    /// host's is gone.
    pub last: Option<Open>,
}

/// Opens every namespace that is joined, in the order of joining.
pub fn open(namespaces: &Namespaces) -> Result<Vec<Open>> {
    let open = |joined: &crate::plan::namespaces::Joined| {
        let path = joined.path.display().to_string();
        let fd = host_path::open(&joined.path, OFlags::RDONLY | OFlags::CLOEXEC)
            .step(|| format!("linux.namespaces: open {path}"))?;
        let stat = rustix::fs::fstat(&fd).step(|| format!("linux.namespaces: stat {path}"))?;
        if own(joined.kind)? == Some((stat.st_dev, stat.st_ino)) {
            // The plan took it for another, and allows what is allowed there.
            let kind = proc_name(joined.kind);
            let what = format!("{path} has become the host's {kind} namespace");
            return Err(Error::system(format!("linux.namespaces: {what}")));
        }
        Ok(Open { kind: joined.kind, fd, path })
    };
    namespaces.joined.iter().map(open).collect()
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Open {
    /// Joins it.
    pub fn join(&self) -> Result<()> {
        process::setns(self.fd.as_fd(), flag(self.kind)).step(|| self.step())
    }

    /// Looks whether it could be joined later: what is of another kind could not.
    pub fn is_of_its_kind(&self) -> Result<()> {
        match process::kind_of_namespace(self.fd.as_fd()) {
            Ok(kind) if kind == flag(self.kind) => Ok(()),
            Ok(_) | Err(Errno::NOTTY) => Err(Error::os(self.step(), Errno::INVAL)),
            Err(errno) => Err(Error::os(self.step(), errno)),
        }
    }

    fn step(&self) -> String {
        format!("linux.namespaces: join {} namespace {}", proc_name(self.kind), self.path)
    }
}

/// Joins them in their order. The user namespace among them need not own the others: what the
/// rights that are held now suffice for is joined before it, and the rest with its rights.
pub fn all(list: &[Open]) -> Result<()> {
    let (user, others): (Vec<&Open>, Vec<&Open>) =
        list.iter().partition(|open| open.kind == Kind::User);
    let mut later = Vec::new();
    for open in others {
        match process::setns(open.as_fd(), flag(open.kind)) {
            Err(Errno::PERM) if !user.is_empty() => later.push(open),
            joined => joined.step(|| open.step())?,
        }
    }
    user.into_iter().chain(later).try_for_each(Open::join)
}

/// In a user namespace: its root, or `user` where its mappings have none.
pub fn become_root(namespaces: &Namespaces, user: &UserPlan) -> Result<()> {
    // Joined, its mappings are whatever they are.
    let has_root =
        |ranges: &[IdRange]| ranges.is_empty() || IdRange::outside_of(ranges, 0).is_some();
    let id = |ranges: &[IdRange], own: u32| if has_root(ranges) { 0 } else { own };
    let gid = Gid::from_raw(id(&namespaces.gids, user.gid));
    let uid = Uid::from_raw(id(&namespaces.uids, user.uid));
    rustix::thread::set_keep_capabilities(true).step(|| "keep capabilities")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .step(|| format!("user namespace: setresgid {}", gid.as_raw()))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .step(|| format!("user namespace: setresuid {}", uid.as_raw()))?;
    rustix::thread::set_keep_capabilities(false).step(|| "keep capabilities")
}

/// The kinds of namespaces that are joined to be where process `pid` is: those that are not this
/// process's own. In one user namespace most are joined without a look, which changes nothing
/// where they are the same.
pub fn foreign(pid: i32) -> Result<Vec<Kind>> {
    let user = is_foreign(pid, Kind::User)?;
    let mut kinds = Vec::with_capacity(JOIN_ORDER.len());
    for kind in JOIN_ORDER {
        let looked_at = user || matches!(kind, Kind::User | Kind::Mount | Kind::Time);
        if !looked_at || is_foreign(pid, kind)? {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// Whether process `pid` is in another namespace of this kind.
fn is_foreign(pid: i32, kind: Kind) -> Result<bool> {
    // A kernel may be without this kind.
    let Some(own) = own(kind)? else { return Ok(false) };
    let path = format!("/proc/{pid}/ns/{}", proc_name(kind));
    let theirs = host_path::stat(path.as_str()).step(|| format!("stat {path}"))?;
    Ok(own != (theirs.st_dev, theirs.st_ino))
}

/// Has the root of process `pid`, which is in the mount namespace of this one.
pub fn enter_root_of(pid: i32) -> Result<()> {
    let path = format!("/proc/{pid}/root");
    let step = || format!("enter {path}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = host_path::open(path.as_str(), flags).step(step)?;
    enter_root(root.as_fd()).step(step)
}

/// Has this directory as its root and is in it.
#[expect(clippy::disallowed_methods, reason = "into the directory that was opened")]
pub fn enter_root(root: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")
}

/// Joins these kinds of namespaces of the process behind `pidfd`: in one call
/// since Linux 5.8, one after the other by their files before.
pub fn of_process(pid: i32, pidfd: BorrowedFd<'_>, kinds: &[Kind]) -> Result<()> {
    let flags = kinds.iter().fold(0, |all, kind| all | flag(*kind));
    if flags == 0 {
        return Ok(());
    }
    match process::setns(pidfd, flags) {
        // Before Linux 5.8; or a namespace that is not known, or is this one's own and another
        // user's.
        Err(Errno::INVAL | Errno::PERM) => {}
        joined => return joined.step(|| format!("join the namespaces of process {pid}")),
    }
    // All are opened while the host's paths are there, and its rights.
    let mut list = Vec::with_capacity(kinds.len());
    for kind in kinds {
        if !is_foreign(pid, *kind)? {
            continue;
        }
        let path = format!("/proc/{pid}/ns/{}", proc_name(*kind));
        let fd = host_path::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC)
            .step(|| format!("open {path}"))?;
        list.push(Open { kind: *kind, fd, path });
    }
    all(&list)
}
