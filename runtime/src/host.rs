//! Facts about this host, probed once per command.

pub mod doctor;
mod engines;

use crate::cgroup;
use crate::cli::{Global, Rootless};
use crate::error::Result;
use crate::plan::Host;
use crate::sys::process::capabilities;

/// Reads what a plan must know.
///
/// # Errors
/// `/proc` cannot be read.
pub fn probe(global: &Global) -> Result<Host> {
    let uid = rustix::process::geteuid().as_raw();
    let unprivileged = match global.rootless {
        Rootless::True => true,
        Rootless::False => false,
        Rootless::Auto => uid != 0 || in_user_namespace(),
    };
    Ok(Host {
        cgroups: cgroup::layout::probe()?,
        uid,
        gid: rustix::process::getegid().as_raw(),
        unprivileged,
        administers: !unprivileged || uid == 0 && may_administer(),
    })
}

/// Whether this process has CAP_SYS_ADMIN (21, linux/capability.h) in its user namespace.
fn may_administer() -> bool {
    capabilities().is_ok_and(|sets| sets.effective & (1 << 21) != 0)
}

/// Whether this process is in another user namespace than the first: the
/// first maps every id to itself (user_namespaces(7)).
pub fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_whitespace().eq(["0", "0", "4294967295"])
}
