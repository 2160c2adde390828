//! The first process of a container that joins a pid namespace with others in it.
//!
//! Whoever is there and may trace it sees all that a process has, from its birth on
//! (`/proc/PID/root`, `cwd`, `fd`). So what sets the container up stays outside; once it has
//! nothing of the host's any more it clones the one who becomes the payload into the pid
//! namespace, as a child of the runtime, and ends. A crowd of one has nobody who could
//! look: a new pid namespace is entered at the first clone.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::child::{First, hear_of_the_end};
use super::confine;
use super::gate::Gate;
use super::join::Open;
use super::rootfs::Root;
use super::services::Inherited;
use super::sync::{News, Word};
use crate::error::{Result, Step};
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::process;

/// The pid namespace that the container's procfs is to show.
pub fn shown(namespace: &Open) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(namespace, 3).step(|| "copy a descriptor")
}

impl First<'_> {
    /// Goes on in a process that is inside the pid namespace, where that is still to be entered:
    /// with the container's root, directory and descriptors, and no more rights than it needs.
    ///
    /// # Errors
    /// What failed; the runtime has gone.
    pub(super) fn be_born_last(&self, root: &Root, terminal: Option<&OwnedFd>) -> Result<()> {
        let Some(namespace) = &self.joins.last else { return Ok(()) };
        let (order, plan) = (self.order, self.order.plan);
        namespace.join()?;
        let mut keep = vec![root.as_fd().as_raw_fd(), self.channel.as_fd().as_raw_fd()];
        keep.extend(root.proc.iter().map(|proc| proc.as_fd().as_raw_fd()));
        keep.extend(terminal.map(AsRawFd::as_raw_fd));
        keep.extend(order.gate.iter().flat_map(Gate::descriptors));
        keep.extend(self.image.as_ref().map(AsRawFd::as_raw_fd));
        keep.extend(self.inherited.iter().map(Inherited::numbers).flat_map(|(a, b)| [a, b]));
        let first = 3 + plan.descriptors;
        process::close_except(first as i32, &keep).step(|| "close descriptors")?;
        confine::for_plan(plan, root.proc.is_some())?;
        match clone3(flags::PARENT, None).step(|| "clone into the pid namespace")? {
            // What is still to be said the other one says.
            Cloned::Parent(..) => process::exit_now(0),
            Cloned::Child => {}
        }
        hear_of_the_end()?;
        rustix::process::setsid().step(|| "setsid")?;
        self.channel.report(&News::Inside(0))?;
        self.channel.expect(Word::Known)
    }
}
