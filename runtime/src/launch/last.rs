//! The first process of a container that joins a pid namespace with others in it.
//!
//! Whoever is there and may trace it sees all that a process has, from its birth on
//! (`/proc/PID/root`, `cwd`, `fd`). So what sets the container up stays outside; once it has
//! nothing of the host's any more it clones the one who becomes the payload into the pid
//! namespace, as a child of the runtime, and ends. A crowd of one has nobody who could
//! look: a new pid namespace is entered at the first clone.
//!
//! From a new user namespace nobody may join the pid namespace of another one. So who sets up a
//! container that has both joins it first, which counts for its children only, and makes
//! the user namespace by unshare(2), in which it stays outside. Whatever it started would be born inside
//! with what is the host's: it starts nothing, and the runtime has createContainer hooks run.

use std::os::fd::OwnedFd;

use oci_spec::runtime::LinuxNamespaceType as Kind;

use super::confine;
use super::join::Open;
use crate::error::{Result, Step};
use crate::plan::Plan;
use crate::plan::namespaces::Namespaces;
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::{mount, process};

/// Whether it is joined before anything else, for the sake of a new user namespace.
pub fn early(namespaces: &Namespaces) -> bool {
    namespaces.born_last() && namespaces.has_new(Kind::User) && mount::has_api()
}

/// The pid namespace that the container's procfs is to show.
pub fn shown(namespace: &Open) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(namespace, 3).step(|| "copy a descriptor")
}

/// Goes on in a process that is inside the pid namespace: with the descriptors to `keep` and those of the
/// plan, and no more rights than it needs. `proc`: it has a procfs that nobody can change.
///
/// # Errors
/// What failed, in the process that stays outside.
pub fn go_inside(namespace: &Open, plan: &Plan, keep: &[i32], proc: bool) -> Result<()> {
    if !early(&plan.namespaces) {
        namespace.join()?;
    }
    let first = 3 + plan.descriptors;
    process::close_except(first as i32, keep).step(|| "close descriptors")?;
    confine::for_plan(plan, proc)?;
    match clone3(flags::PARENT, None).step(|| "clone into the pid namespace")? {
        // What is still to be said the other one says.
        Cloned::Parent(..) => process::exit_now(0),
        Cloned::Child => Ok(()),
    }
}
