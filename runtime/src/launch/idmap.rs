//! A user namespace that nobody lives in, for id-mapped mounts.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;

use super::host_path;
use crate::error::{Result, Step};
use crate::plan::id_ranges::IdRange;
use crate::sys::clone::{Cloned, clone3, flags};
use crate::sys::{process, signals};

/// Makes a user namespace with these mappings and returns its descriptor. A
/// process must be in it while the mappings are written; it ends at once.
pub fn user_namespace(uids: &[IdRange], gids: &[IdRange]) -> Result<OwnedFd> {
    let step = || "user namespace for an id-mapped mount";
    let (pid, pidfd) = match clone3(flags::NEWUSER, None).step(step)? {
        Cloned::Child => loop {
            // Until it is killed: there is nothing that it could do.
            process::pause();
        },
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    let made = || -> Result<OwnedFd> {
        let write = |name: &str, text: String| {
            host_path::write_proc(format!("/proc/{pid}/{name}"), &text)
                .step(|| format!("write {name}"))
        };
        write("uid_map", IdRange::text(uids))?;
        write("gid_map", IdRange::text(gids))?;
        let path = format!("/proc/{pid}/ns/user");
        host_path::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC)
            .step(|| format!("open {path}"))
    };
    let namespace = made().map_err(|error| error.within(step()));
    signals::send(pidfd.as_fd(), libc::SIGKILL).step(step)?;
    super::reap(&pidfd).step(step)?;
    namespace
}
