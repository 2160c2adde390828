//! Making a container's processes: one clone, or two with a process in between, where namespaces
//! are joined with other rights than the runtime's or nothing of the host's may be seen inside.

use std::cell::{Cell, OnceCell};
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::{First, hear_of_the_end, join_groups};
use super::join::{self, Joins, Open};
use super::sync::{ChildEnd, Conversation, News, RuntimeEnd};
use super::{host_path, last};
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind as Sort, Result, Step};
use crate::plan::namespaces::{Namespaces, flag};
use crate::sys::beside::{Beside, beside};
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::{interrupt, mount, process, signals};

/// What the runtime has of a process that it has made.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, in the runtime's pid namespace.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: OwnedFd,
    /// The conversation with it.
    pub channel: RuntimeEnd,
}

/// Clones the container's first process, which `make` makes of its end of the conversation.
///
/// It is born in its namespaces and in its control group of the unified
/// hierarchy. A pid namespace is joined at the end only (`launch::last`); before Linux 5.2
/// by the runtime, for its children. With
/// a user namespace and others to join, a process between does that, and the
/// first process becomes the runtime's own child all the same (`CLONE_PARENT`).
pub fn spawn<'a>(
    namespaces: &Namespaces,
    mut joins: Joins,
    cgroup: &Cgroup,
    make: impl FnOnce(ChildEnd, Joins) -> First<'a>,
) -> Result<Spawned> {
    let at_clone = namespaces.at_clone();
    let conversation = Conversation::new()?;
    if namespaces.born_last() && mount::has_api() {
        conversation.tell_senders()?;
        let place = joins.namespaces.iter().position(|open| open.kind == Kind::Pid);
        joins.last = place.map(|at| joins.namespaces.remove(at));
        joins.last.iter().try_for_each(Open::is_of_its_kind)?;
    }
    if last::early(namespaces) {
        return spawn_in_place(at_clone, joins, cgroup, conversation, make);
    }
    if namespaces.needs_intermediate() {
        return spawn_by_intermediate(at_clone, joins, cgroup, conversation, make);
    }
    let pid_namespace = joins.namespaces.iter().position(|open| open.kind == Kind::Pid);
    let pid_namespace = pid_namespace.map(|at| joins.namespaces.remove(at));
    let own = pid_namespace.as_ref().map(|_| own_pid_namespace()).transpose()?;
    if let Some(joined) = &pid_namespace {
        joined.join()?;
    }
    let (cloned, outside) = into_cgroup(at_clone, cgroup, &mut joins.groups)?;
    match cloned {
        Cloned::Child => make(conversation.of_child(), joins).live(),
        Cloned::Parent(pid, pidfd) => {
            if let Some(own) = own {
                // Hooks are children too.
                process::setns(own.as_fd(), flag(Kind::Pid))
                    .step(|| "return to the pid namespace")?;
            }
            let spawned = Spawned { pid, pidfd, channel: conversation.of_runtime() };
            if outside {
                // It waits for its mappings: only who has a user namespace comes here.
                cgroup.attach(pid).inspect_err(|_| spawned.end())?;
            }
            Ok(spawned)
        }
    }
}

fn own_pid_namespace() -> Result<OwnedFd> {
    let path = "/proc/self/ns/pid";
    host_path::open(path, OFlags::RDONLY).step(|| format!("open {path}"))
}

impl Spawned {
    /// Ends and reaps it; what led here is the error to report.
    fn end(&self) {
        let _gone = signals::send(self.pidfd.as_fd(), libc::SIGKILL);
        let _reaped = super::reap(&self.pidfd);
    }
}

/// Clones into namespaces and the unified group. Where the kernel cannot do
/// that (before 5.7), or not here (a group with children, EBUSY, is refused at
/// the write too, with a better word), the child joins by writing. Where this user may not, it is
/// outside, and systemd is to put it there: `true`.
pub(super) fn into_cgroup(
    flags: u64,
    cgroup: &Cgroup,
    groups: &mut Vec<OwnedFd>,
) -> Result<(Cloned, bool)> {
    let mut outside = false;
    let cloned = match (clone3(flags, cgroup.v2_fd()), cgroup.v2_fd()) {
        (Err(Errno::NOSYS | Errno::INVAL), Some(_)) => {
            groups.extend(cgroup.v2_join_file()?);
            clone3(flags, None)
        }
        (Err(Errno::OPNOTSUPP), group) if cgroup.become_threaded() => clone3(flags, group),
        (Err(Errno::ACCESS | Errno::PERM), Some(_)) if cgroup.can_attach() => {
            outside = true;
            clone3(flags, None)
        }
        (cloned, _) => cloned,
    };
    cloned.map(|cloned| (cloned, outside)).map_err(|errno| not_cloned(flags, errno))
}

/// Why there is no first process, with what the host or the document lacks for it.
fn not_cloned(asked: u64, errno: Errno) -> Error {
    if matches!(errno, Errno::BUSY | Errno::OPNOTSUPP) {
        return Error::os("join the container's cgroup", errno).of_kind(Sort::System);
    }
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
        let text = host_path::read_text(format!("/proc/sys/{path}"));
        text.is_ok_and(|text| text.trim() == *value)
    };
    let found = SWITCHES.into_iter().find(off)?;
    Some(format!("no user namespace: sysctl {} is {}", found.0.replace('/', "."), found.1))
}

fn spawn_by_intermediate<'a>(
    at_clone: u64,
    mut joins: Joins,
    cgroup: &Cgroup,
    conversation: Conversation,
    make: impl FnOnce(ChildEnd, Joins) -> First<'a>,
) -> Result<Spawned> {
    let (cloned, outside) = into_cgroup(0, cgroup, &mut joins.groups)?;
    match cloned {
        Cloned::Child => {
            let attach = || if outside { attach_self(cgroup) } else { Ok(()) };
            live_between(make(conversation.of_child(), joins), at_clone, &attach)
        }
        Cloned::Parent(_, between) => {
            let channel = conversation.of_runtime();
            see_the_end_of(&between)?;
            born(&channel).map(|(pid, pidfd)| Spawned { pid, pidfd, channel })
        }
    }
}

/// The first process makes its new namespaces itself, once it has joined the others with the
/// host's rights: what is joined for its children holds in them.
fn spawn_in_place<'a>(
    at_clone: u64,
    mut joins: Joins,
    cgroup: &Cgroup,
    conversation: Conversation,
    make: impl FnOnce(ChildEnd, Joins) -> First<'a>,
) -> Result<Spawned> {
    let (cloned, outside) = into_cgroup(0, cgroup, &mut joins.groups)?;
    match cloned {
        Cloned::Child => {
            let attach = || if outside { attach_self(cgroup) } else { Ok(()) };
            live_in_place(make(conversation.of_child(), joins), at_clone, &attach)
        }
        Cloned::Parent(pid, pidfd) => {
            let spawned = Spawned { pid, pidfd, channel: conversation.of_runtime() };
            // Its ids are mapped when it is there.
            let error = match spawned.channel.listen() {
                Ok(News::Born(_)) => return Ok(spawned),
                Ok(News::Failed(error)) | Err(error) => error,
                Ok(_) => Error::system("the process that joins namespaces died"),
            };
            spawned.end();
            Err(error)
        }
    }
}

fn live_in_place(mut first: First<'_>, at_clone: u64, attach: &dyn Fn() -> Result<()>) -> ! {
    crate::log::collect();
    interrupt::ignore();
    let made = (|| {
        join_first(&mut first, attach)?;
        first.joins.last.iter().try_for_each(Open::join)?;
        process::unshare(at_clone).map_err(|errno| not_cloned(at_clone, errno))?;
        first.channel.report(&News::Born(0))
    })();
    match made {
        Ok(()) => first.live(),
        Err(error) => tell_and_end(&first.channel, &News::Failed(error)),
    }
}

/// Joins, with the rights of the host, all that is joined before there are new namespaces.
fn join_first(first: &mut First<'_>, attach: &dyn Fn() -> Result<()>) -> Result<()> {
    hear_of_the_end()?;
    let last = first.joins.last.take();
    let joins = std::mem::replace(&mut first.joins, Joins { last, ..Joins::default() });
    attach()?;
    join_groups(&joins.groups)?;
    join::all(&joins.namespaces)
}

/// How a process that is not born in the unified group gets there.
#[derive(Debug, Default)]
pub struct Late {
    /// By this file.
    pub file: OnceCell<OwnedFd>,
    /// By systemd.
    pub asks: Cell<bool>,
}

/// Has systemd put this process into the unified group.
pub fn attach_self(cgroup: &Cgroup) -> Result<()> {
    cgroup.attach(std::process::id() as i32)
}

/// Lets a process pass by `body` beside this one, with its memory if it `shares`: born in the
/// unified group, or with the way to get there in `late`. Returns at its end.
pub fn pass_beside(
    shares: bool,
    cgroup: &Cgroup,
    late: &Late,
    body: &dyn Fn() -> Infallible,
) -> Result<()> {
    let pass = |group| beside(shares, group, body, interrupt::readable_first);
    let passed = match (pass(cgroup.v2_fd()), cgroup.v2_fd()) {
        (Err(Errno::NOSYS | Errno::INVAL), Some(_)) => {
            if let Some(file) = cgroup.v2_join_file()? {
                late.file.get_or_init(|| file);
            }
            pass(None)
        }
        (Err(Errno::OPNOTSUPP), group) if cgroup.become_threaded() => pass(group),
        (Err(Errno::ACCESS | Errno::PERM), Some(_)) if cgroup.can_attach() => {
            late.asks.set(true);
            pass(None)
        }
        (passed, _) => passed,
    };
    match passed {
        Ok(Beside::Ended) => Ok(()),
        Ok(Beside::GivenUp) => Err(interrupt::obey()),
        Err(errno) => Err(not_cloned(0, errno)),
    }
}

/// The word of a process between, which has ended, that the next one is born.
pub fn born(channel: &RuntimeEnd) -> Result<(i32, OwnedFd)> {
    let pid = channel.born()?;
    Ok((pid, pidfd_of(pid)?))
}

/// A pidfd of a child of this process, which is there until it is reaped here.
pub fn pidfd_of(pid: i32) -> Result<OwnedFd> {
    let step = || format!("pidfd_open {pid}");
    let raw = Pid::from_raw(pid).ok_or_else(|| Error::os(step(), Errno::SRCH))?;
    pidfd_open(raw, PidfdFlags::empty()).step(step)
}

/// Waits for the end of a process that another one has taken over from; a request to end is its
/// end too.
pub fn see_the_end_of(between: &OwnedFd) -> Result<()> {
    let ended = interrupt::until_readable(between.as_fd());
    if ended.is_err() {
        let _gone = signals::send(between.as_fd(), libc::SIGKILL);
    }
    super::reap(between).step(|| "wait for the process that joins namespaces")?;
    ended
}

/// The process between: joins, then clones the first process.
fn live_between(mut first: First<'_>, at_clone: u64, attach: &dyn Fn() -> Result<()>) -> ! {
    crate::log::collect();
    interrupt::ignore();
    let cloned = (|| {
        join_first(&mut first, attach)?;
        clone3(at_clone | flags::PARENT, None).map_err(|errno| not_cloned(at_clone, errno))
    })();
    match cloned {
        Ok(Cloned::Child) => first.live(),
        Ok(Cloned::Parent(pid, _)) => tell_and_end(&first.channel, &News::Born(pid)),
        Err(error) => tell_and_end(&first.channel, &News::Failed(error)),
    }
}

/// Says the last word of a process between. Nobody is left to hear that it failed.
pub fn tell_and_end(channel: &ChildEnd, news: &News) -> ! {
    let told = channel.report(news);
    process::exit_now(i32::from(told.is_err()))
}
