//! Mounts in a running container: `mounts add` and `mounts remove`.
//!
//! A process of the runtime's does it. It joins the container's user namespace, if that is
//! another one, and makes a mount namespace there: a copy of the host's, in which the kernel has
//! locked what a less privileged namespace must not undo (mount_namespaces(7)). What is bound is
//! cloned in that one, as at `create` (`launch::trees`), and only when all sources are there does
//! it join the container's mount namespace and attach them, by descriptors in the container's
//! root. It is in none of the container's other namespaces, so nobody inside can name it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::child::hear_of_the_end;
use super::intermediate::tell_and_end;
use super::rootfs::Root;
use super::sync::{ChildEnd, Conversation, News, RuntimeEnd, Wanted};
use super::trees::{self, Binds};
use super::{Launched, bind, host_path, join};
use crate::error::{Error, Result, Step};
use crate::life::ProcessId;
use crate::log;
use crate::plan::Host;
use crate::plan::added::AddedPlan;
use crate::plan::mount_attr::MountAttr;
use crate::plan::mounts::{MountStep, What};
use crate::plan::namespaces::{flag, proc_name};
use crate::plan::process::UserPlan;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::procfs::Procfs;
use crate::sys::{inroot, mount, process};

/// What is to be done, and where.
#[derive(Debug)]
pub struct AddedOrder<'a> {
    /// What.
    pub plan: &'a AddedPlan,
    /// The container's first process.
    pub init: ProcessId,
    /// The user of the container's payload.
    pub user: &'a UserPlan,
    /// Facts about the host.
    pub host: &'a Host,
}

/// The process that does it.
struct Mounter<'a> {
    order: &'a AddedOrder<'a>,
    /// The container is in another user namespace.
    user_namespace: Option<OwnedFd>,
    mount_namespace: OwnedFd,
    /// The runtime makes the trees of bind mounts: it has rights that this process has not.
    asks: bool,
}

/// Adds and takes away what the order says: all of it, or, when something fails, nothing is
/// added.
///
/// # Errors
/// What failed, on either side; the container ended; it has no mount namespace of its own.
pub fn change(order: &AddedOrder<'_>) -> Result<()> {
    let pid = order.init.pid;
    let kinds = join::foreign(pid)?;
    if !kinds.contains(&Kind::Mount) {
        return Err(Error::config(
            "the container has no mount namespace of its own: nothing can be mounted there later",
        ));
    }
    let open = |kind| {
        let path = format!("/proc/{pid}/ns/{}", proc_name(kind));
        host_path::open(path.as_str(), OFlags::RDONLY).step(|| format!("open {path}"))
    };
    let foreign = kinds.contains(&Kind::User);
    let mounter = Mounter {
        order,
        user_namespace: foreign.then(|| open(Kind::User)).transpose()?,
        mount_namespace: open(Kind::Mount)?,
        asks: order.host.administers,
    };
    if !order.init.is_alive() {
        // Its number may be another one's by now.
        return Err(crate::life::signal::not_running());
    }
    // Before it is anywhere near the container's processes (CVE-2016-9962).
    process::forbid_tracing().step(|| "become untraceable")?;
    let conversation = Conversation::new()?;
    let (pid, pidfd) = match clone3(0, None).step(|| "clone the process that mounts")? {
        Cloned::Child => mounter.live(&conversation.of_child()),
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    let launched = Launched { pid, pidfd, channel: conversation.of_runtime() };
    let foreign = foreign && order.host.administers;
    let plan = order.plan;
    let mut binds = Binds::new(&plan.namespaces, plan.propagation, foreign, pid);
    match hear(&launched.channel, plan, &mut binds) {
        Ok(()) => {
            super::reap(&launched.pidfd).step(|| "wait for the process that mounts").map(drop)
        }
        Err(error) => Err(launched.end(error)),
    }
}

/// The runtime's part.
fn hear(channel: &RuntimeEnd, plan: &AddedPlan, binds: &mut Binds<'_>) -> Result<()> {
    loop {
        match channel.listen()? {
            News::Wanted(Wanted::Mount(index)) => {
                let step = plan.add.get(index);
                let step = step.ok_or_else(|| Error::system(format!("no mount {index}")))?;
                trees::hand_over(channel.as_fd(), binds.bound(step)?)?;
            }
            News::Warning(text) => log::warn(text),
            News::Ready => return Ok(()),
            News::Failed(error) => return Err(error),
            _ => return Err(Error::system("the process that mounts died")),
        }
    }
}

impl Mounter<'_> {
    fn live(&self, channel: &ChildEnd) -> ! {
        log::collect();
        let news = match self.act(channel) {
            Ok(()) => News::Ready,
            Err(error) => News::Failed(error),
        };
        for warning in log::take() {
            let _gone = channel.report(&News::Warning(warning));
        }
        tell_and_end(channel, &news)
    }

    fn act(&self, channel: &ChildEnd) -> Result<()> {
        hear_of_the_end()?;
        let namespaces = self.user_namespace.iter().chain([&self.mount_namespace]);
        let keep: Vec<i32> =
            namespaces.map(AsRawFd::as_raw_fd).chain([channel.as_fd().as_raw_fd()]).collect();
        process::close_except(3, &keep).step(|| "close descriptors")?;
        // By it mounts are named that were opened; it is opened while this process can be seen.
        let proc = Procfs::own().step(|| "open a procfs")?;
        let plan = self.order.plan;
        self.leave(plan.propagation)?;
        let trees = self.trees(channel)?;
        process::setns(self.mount_namespace.as_fd(), flag(Kind::Mount))
            .step(|| "join the container's mount namespace")?;
        let mut root = Root::of_running()?;
        plan.remove.iter().try_for_each(|path| remove(&proc, root.as_fd(), path))?;
        let mut added = Vec::with_capacity(plan.add.len());
        let done = plan.add.iter().zip(trees).try_for_each(|(step, tree)| {
            added.extend(root.mount_inside(step, None, tree)?);
            Ok(())
        });
        done.and_then(|()| root.make_read_only()).inspect_err(|_| {
            for mounted in added.iter().rev() {
                // The error that is told is the first one.
                let _undone = mount::detach_open(&proc, mounted.as_fd());
            }
        })
    }

    /// Leaves the host's mount namespace for a copy of it with the container's rights.
    fn leave(&self, propagation: u64) -> Result<()> {
        if let Some(user_namespace) = &self.user_namespace {
            process::setns(user_namespace.as_fd(), flag(Kind::User))
                .step(|| "join the container's user namespace")?;
            join::become_root(&self.order.plan.namespaces, self.order.user)?;
            // Another user id made it traceable by the kernel's default.
            process::forbid_tracing().step(|| "become untraceable")?;
        }
        process::unshare(flag(Kind::Mount)).step(|| "make a mount namespace for the sources")?;
        let top = bind::open_path(Path::new("/")).step(|| "open /")?;
        mount::set_attr(top.as_fd(), &MountAttr::propagate(propagation), true)
            .step(|| "make / private to the container")
    }

    /// What each step binds, before anything changes in the container.
    fn trees(&self, channel: &ChildEnd) -> Result<Vec<Option<OwnedFd>>> {
        let tree = |(index, step): (usize, &MountStep)| match &step.what {
            What::Bind { .. } => {
                let tree = match self.asks {
                    true => trees::ask(channel, Wanted::Mount(index))?,
                    false => own_tree(step).map_err(|error| error.within(&step.field))?,
                };
                let old = || {
                    let why = "mounts are added since Linux 5.12 (mount_setattr)";
                    Error::os(format!("{}: {why}", step.field), Errno::NOSYS)
                };
                tree.ok_or_else(old).map(Some)
            }
            _ => Ok(None),
        };
        self.order.plan.add.iter().enumerate().map(tree).collect()
    }
}

/// What an ordinary user's runtime binds: its rights are this process's.
fn own_tree(step: &MountStep) -> Result<Option<OwnedFd>> {
    match &step.what {
        What::Bind { source, recursive, idmap: None } => {
            bind::tree(bind::source_of(source, step.links)?.as_fd(), *recursive, step)
        }
        _ => Err(Error::os("id-mapped mount", Errno::PERM)),
    }
}

/// Takes the mount at a path of the container's away. No link is followed: a container that has
/// put one on the way would choose the mount.
fn remove(proc: &Procfs, root: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let shown = path.display();
    let step = |why: &str| format!("unmount {shown}{why}");
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let mounted = inroot::open_without_links(root, path, flags).map_err(|errno| {
        let why = match errno {
            Errno::LOOP => ": a link is on the way; name the place that it leads to",
            _ => "",
        };
        Error::os(step(why), errno)
    })?;
    mount::detach_open(proc, mounted.as_fd()).map_err(|errno| {
        let why = match errno {
            Errno::INVAL => ": nothing is mounted there, or it is locked",
            _ => "",
        };
        Error::os(step(why), errno)
    })
}
