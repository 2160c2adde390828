//! What a process may do between its birth in a container and its payload.
//!
//! Others inside may trace it, and use what it has. So before it is born the runtime's
//! capabilities go, but for those of the payload itself and those that becoming it takes; the
//! bounding set too, or executing a program as root would bring them back. In a user
//! namespace of the container's they all end at its borders, and stay.

use caps::Capability as Cap;
use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::io::Errno;

use crate::error::{Result, Step};
use crate::plan::process::ProcessPlan;
use crate::plan::seccomp::Filter;
use crate::plan::{Plan, grant};
use crate::sys::process::{self, CapSets};

/// What it takes to become any user: ids, streams and terminals that change hands, a passwd and
/// a working directory that are another user's. Not CAP_DAC_READ_SEARCH: that opens files by handles, past every
/// root.
const BECOMING: [Cap; 6] = [
    Cap::CAP_CHOWN,
    Cap::CAP_DAC_OVERRIDE,
    Cap::CAP_FOWNER,
    Cap::CAP_SETGID,
    Cap::CAP_SETUID,
    Cap::CAP_SETPCAP,
];

/// Before `exec`'s process is born; `landlock`: rules of it are to hold. What may be left of the
/// bounding set.
///
/// # Errors
/// The kernel refuses.
pub fn for_process(plan: &ProcessPlan, filter: Option<&Filter>, landlock: bool) -> Result<u64> {
    keep(needed(plan, filter.is_some() || landlock, false))
}

/// Before the first process is born among others; `proc`: it has a procfs that nobody can change.
///
/// # Errors
/// The kernel refuses; a script's user is not known.
pub fn for_plan(plan: &Plan, proc: bool) -> Result<()> {
    if plan.namespaces.has(Kind::User) {
        return Ok(());
    }
    let restricted = plan.seccomp.is_some() || !plan.extras.landlock.is_empty();
    let mut all = needed(&plan.process, restricted, proc);
    for script in plan.rich.iter().flat_map(|rich| &rich.scripts) {
        let script = grant::script_process(script, plan.payload())?;
        all |= needed(&script, restricted, proc);
    }
    keep(all).map(drop)
}

/// Nothing but the right to mount.
///
/// # Errors
/// The kernel refuses.
pub fn to_mounting() -> std::result::Result<(), Errno> {
    let mask = Cap::CAP_SYS_ADMIN.bitmask();
    bound(mask)?;
    process::set_capabilities(CapSets { effective: mask, permitted: mask, inheritable: 0 })
}

/// The capabilities that a process needs until it is the payload, and as it.
/// `restricted`: it gives up more by a filter or by rules, which takes a right where its
/// privileges may grow.
fn needed(plan: &ProcessPlan, restricted: bool, proc: bool) -> u64 {
    let caps = &plan.caps;
    let sets = [&caps.bounding, &caps.permitted, &caps.effective, &caps.inheritable];
    let labels = plan.apparmor.is_some() || plan.selinux.is_some();
    let admin = restricted && !plan.no_new_privs || labels && !proc;
    let nice = plan.scheduler.is_some() || plan.io_priority.is_some();
    let more = [
        (Cap::CAP_SYS_ADMIN, admin),
        (Cap::CAP_SYS_NICE, nice),
        (Cap::CAP_SYS_RESOURCE, !plan.rlimits.is_empty()),
    ];
    let more = more.iter().filter(|(_, needed)| *needed).map(|(cap, _)| cap);
    let own = sets.into_iter().flatten().chain(&BECOMING);
    own.chain(more).fold(0, |mask, cap| mask | cap.bitmask())
}

fn keep(mask: u64) -> Result<u64> {
    let step = || "let go of capabilities";
    let left = match bound(mask) {
        Ok(()) => mask,
        // Who becomes the payload says which of them had to go.
        Err(Errno::PERM) => u64::MAX,
        Err(errno) => return Err(errno).step(step),
    };
    let own = process::capabilities().step(step)?;
    let kept = CapSets {
        effective: own.effective & mask,
        permitted: own.permitted & mask,
        inheritable: own.inheritable & mask,
    };
    process::set_capabilities(kept).step(step).map(|()| left)
}

/// Leaves of the bounding set what is in `mask`.
fn bound(mask: u64) -> std::result::Result<(), Errno> {
    for cap in caps::all().into_iter().filter(|cap| mask & cap.bitmask() == 0) {
        match process::drop_bounding(cap.index()) {
            // The kernel is older than the capability.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
