//! A container without a mount namespace of its own: it is in the caller's, as the
//! specification has it ("inherited"), and changes nothing there.
//!
//! Its tree is built in a new mount namespace like every other. At the end it is copied,
//! detached from every namespace, the process returns to the caller's and makes the copy its
//! root. So none of its mounts is ever the caller's, nothing is left there however it ends,
//! and no `..` leads out of a root that lies on nothing.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::host_path;
use crate::error::{Error, Result, Step};
use crate::plan::namespaces::flag;
use crate::sys::{mount, process};

/// The caller's mount namespace, which the process has left to build its root.
#[derive(Debug)]
pub struct Callers(OwnedFd);

impl Callers {
    /// Leaves it for a new one.
    ///
    /// # Errors
    /// There is no right to make one.
    pub fn leave() -> Result<Callers> {
        let namespace = host_path::open("/proc/self/ns/mnt", OFlags::RDONLY)
            .step(|| "open /proc/self/ns/mnt")?;
        process::unshare(flag(Kind::Mount))
            .step(|| "make a mount namespace to build the root in")?;
        Ok(Callers(namespace))
    }

    /// Returns to it with a detached copy of everything that is mounted at the present root.
    /// That is the root then, and the working directory.
    ///
    /// # Errors
    /// Before Linux 5.2 mounts cannot be detached.
    pub fn return_to(&self) -> Result<OwnedFd> {
        let tree = mount::clone_tree_at(c"/", true).map_err(|errno| match errno {
            Errno::NOSYS => Error::config(
                "linux.namespaces: a container without a mount namespace needs Linux 5.2",
            ),
            errno => Error::os("linux.namespaces: copy the root for the caller's", errno),
        })?;
        process::enter_mounts(self.0.as_fd(), tree.as_fd())
            .step(|| "linux.namespaces: return to the caller's mount namespace")?;
        Ok(tree)
    }
}
