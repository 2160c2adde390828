//! Making the container's first process: one clone, or two where namespaces
//! are joined with other rights than the runtime's.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::{First, join_groups};
use super::join;
use super::sync::{Channel, News, Word};
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind as Sort, Result, Step};
use crate::plan::namespaces::flag;
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::process;

/// Clones the container's first process; returns its pid and a pidfd.
///
/// It is born in its namespaces and in its control group of the unified
/// hierarchy. A pid namespace is joined by the runtime, for its children; with
/// a user namespace and others to join, a process between does that, and the
/// first process becomes the runtime's own child all the same (`CLONE_PARENT`).
pub fn spawn(mut first: First<'_>, channel: &Channel, cgroup: &Cgroup) -> Result<(i32, OwnedFd)> {
    let namespaces = &first.order.plan.namespaces;
    if namespaces.needs_stage() {
        return spawn_by_stage(first, channel, cgroup);
    }
    let at_clone = namespaces.at_clone();
    let pid_namespace = first.joins.iter().position(|open| open.kind == Kind::Pid);
    let pid_namespace = pid_namespace.map(|at| first.joins.remove(at));
    let own = pid_namespace.as_ref().map(|_| own_pid_namespace()).transpose()?;
    if let Some(joined) = &pid_namespace {
        joined.join()?;
    }
    let cloned = into_cgroup(at_clone, cgroup, &mut first.groups);
    match cloned? {
        Cloned::Child => first.live(),
        Cloned::Parent(pid, pidfd) => {
            if let Some(own) = own {
                // Hooks are children too.
                process::setns(own.as_fd(), flag(Kind::Pid))
                    .step(|| "return to the pid namespace")?;
            }
            Ok((pid, pidfd))
        }
    }
}

fn own_pid_namespace() -> Result<OwnedFd> {
    let path = "/proc/self/ns/pid";
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("open {path}"))
}

/// Clones into namespaces and the unified group. Where the kernel cannot do
/// that (before 5.7), or not here (a group with children, EBUSY, is refused at
/// the write too, with a better word), the child joins by writing.
pub fn into_cgroup(flags: u64, cgroup: &Cgroup, groups: &mut Vec<OwnedFd>) -> Result<Cloned> {
    let failed = |errno| not_cloned(flags, errno);
    let Some(unified) = cgroup.v2_fd() else { return clone3(flags, None).map_err(failed) };
    match clone3(flags, Some(unified)) {
        Err(Errno::NOSYS | Errno::INVAL) => {
            groups.extend(cgroup.v2_join_file()?);
            clone3(flags, None).map_err(failed)
        }
        Err(Errno::OPNOTSUPP) if cgroup.become_threaded() => {
            clone3(flags, Some(unified)).step(|| "join the container's cgroup, now a threaded one")
        }
        Err(errno @ (Errno::BUSY | Errno::OPNOTSUPP)) => {
            Err(Error::os("join the container's cgroup", errno).of_kind(Sort::System))
        }
        cloned => cloned.map_err(failed),
    }
}

/// Why there is no first process, with what the host or the document lacks for it.
fn not_cloned(asked: u64, errno: Errno) -> Error {
    let new_user = asked & flag(Kind::User) != 0;
    let lacks = match errno {
        Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS if new_user => switched_off(),
        Errno::PERM if asked != 0 => Some(
            "linux.namespaces has no user namespace, without which this user may make no other (richrun spec --rootless writes one)".to_owned(),
        ),
        _ => None,
    };
    let step = "clone the container's first process";
    match lacks {
        Some(lacks) => Error::os(format!("{step}: {lacks}"), errno),
        None => Error::os(step, errno),
    }
}

/// What keeps users from making user namespaces here.
fn switched_off() -> Option<String> {
    const SWITCHES: [(&str, &str); 3] = [
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ];
    let off = |(path, value): &(&str, &str)| {
        let text = std::fs::read_to_string(format!("/proc/sys/{path}"));
        text.is_ok_and(|text| text.trim() == *value)
    };
    let found = SWITCHES.into_iter().find(off)?;
    Some(format!("no user namespace: sysctl {} is {}", found.0.replace('/', "."), found.1))
}

fn spawn_by_stage(
    mut first: First<'_>,
    channel: &Channel,
    cgroup: &Cgroup,
) -> Result<(i32, OwnedFd)> {
    match into_cgroup(0, cgroup, &mut first.groups)? {
        Cloned::Child => live_as_stage(first),
        Cloned::Parent(_, stage) => {
            // With our copy of its end, its death would go unheard.
            drop(first);
            let born = born(channel);
            super::reap(&stage).step(|| "wait for the process that joins namespaces")?;
            born
        }
    }
}

/// Waits for the word of a stage that the next process is born.
pub fn born(channel: &Channel) -> Result<(i32, OwnedFd)> {
    match channel.listen()? {
        News::Born(pid) => {
            let step = || format!("pidfd_open {pid}");
            let raw = Pid::from_raw(pid).ok_or_else(|| Error::os(step(), Errno::SRCH))?;
            // Its parent is this process, so it is there until it is reaped here.
            let pidfd = pidfd_open(raw, PidfdFlags::empty()).step(step)?;
            channel.tell(Word::Known)?;
            Ok((pid, pidfd))
        }
        News::Failed(error) => Err(error),
        news => Err(Error::system(format!(
            "the process that joins namespaces ended without a word ({news:?})"
        ))),
    }
}

/// The process between: joins, then clones the first process.
fn live_as_stage(mut first: First<'_>) -> ! {
    crate::log::collect();
    first.close_what_is_not_ours();
    let cloned = (|| {
        join_groups(&std::mem::take(&mut first.groups))?;
        join::all(&std::mem::take(&mut first.joins))?;
        let at_clone = first.order.plan.namespaces.at_clone();
        clone3(at_clone | flags::PARENT, None).map_err(|errno| not_cloned(at_clone, errno))
    })();
    match cloned {
        Ok(Cloned::Child) => {
            await_known(&first.channel);
            first.live()
        }
        Ok(Cloned::Parent(pid, _)) => tell_and_end(&first.channel, &News::Born(pid)),
        Err(error) => tell_and_end(&first.channel, &News::Failed(error)),
    }
}

/// For the process that a stage has made: waits until [`born`] has heard of it.
/// Both talk over the same channel, and this one's words could come first.
pub fn await_known(channel: &Channel) {
    if channel.expect(Word::Known).is_err() {
        // The runtime has gone.
        process::exit_now(1)
    }
}

/// Says the last word of a stage. Nobody is left to hear that it failed.
pub fn tell_and_end(channel: &Channel, news: &News) -> ! {
    let told = channel.report(news);
    process::exit_now(i32::from(told.is_err()))
}
