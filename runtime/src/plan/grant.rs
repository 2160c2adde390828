//! Who it is that runs in front of a payload or beside it: the one rule, in one place.
//!
//! *What* runs there may be asked for by anybody who has a say in config.json, the image
//! among them. *Who it is* (ids, groups, capabilities, no_new_privs, limits, scheduling; and
//! which file systems and control groups it can write to) is never more than config.json
//! gives to the payload, unless he who asks is given more ([`crate::config::trust`]). Seccomp
//! filter, labels, devices and namespaces are the container's in either case.
//!
//! rich-init and its services need no rule: they are the payload's process and whatever that
//! may become.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use caps::{Capability, CapsHashSet};
use oci_spec::runtime::{LinuxNamespaceType as Kind, Mount, Process, Spec, User};

use super::cgroup::Mode;
use super::process::{CapPlan, ProcessPlan, UserPlan, c_string};
use crate::config::file::PATH;
use crate::config::rich::{RichConfig, Script};
use crate::config::trust::{RIGHTS, Right};
use crate::config::validate::has_namespace;
use crate::error::Result;

/// Who an init script is: the payload, in `/`. Or, if the administrator asks, the
/// container's root with all that the container's bounding set has.
///
/// # Errors
/// A word contains a NUL byte.
pub fn script_process(script: &Script, payload: &ProcessPlan) -> Result<ProcessPlan> {
    let name = script.what.name();
    let words = script.what.words();
    let args = words.iter().map(|word| c_string(word, &name)).collect::<Result<_>>()?;
    let mut own = ProcessPlan {
        args,
        cwd: "/".into(),
        terminal: false,
        console_size: None,
        ..payload.clone()
    };
    if script.as_root {
        own.user = UserPlan { uid: 0, gid: 0, groups: Vec::new(), keep_groups: false, umask: None };
        own.caps = whole(&payload.caps);
        (own.scheduler, own.io_priority) = (None, None);
    }
    own.user.umask = Some(0o022);
    Ok(own)
}

/// All that a bounding set allows, for root.
fn whole(caps: &CapPlan) -> CapPlan {
    CapPlan {
        bounding: caps.bounding.clone(),
        effective: caps.bounding.clone(),
        permitted: caps.bounding.clone(),
        ..CapPlan::default()
    }
}

/// Makes `first`, a copy of the payload's process, what the image's init is: the payload, as
/// far as an init can be it; or, if the administrator asks, root with all that the bounding
/// set has. `own_limits`: its units have limits of their own.
pub fn init_process(first: &mut Process, rich: &RichConfig, own_limits: bool) {
    let as_root = rich.granted.has(Right::Root);
    if as_root {
        first.set_user(User::default());
    }
    first.user_mut().set_umask(None);
    if own_limits && rich.granted.has(Right::Limits) {
        first.set_rlimits(None).set_oom_score_adj(None);
    }
    let Some(mut sets) = first.capabilities().clone() else { return };
    let without_audit = |set: &Option<HashSet<_>>| {
        set.as_ref().map(|all| all.iter().copied().filter(is_taken).collect::<HashSet<_>>())
    };
    let bounding = without_audit(sets.bounding());
    let of = |own: &Option<HashSet<_>>| match as_root {
        true => bounding.clone(),
        false => without_audit(own),
    };
    let (effective, permitted) = (of(sets.effective()), of(sets.permitted()));
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    sets.set_inheritable(None).set_ambient(None);
    first.set_capabilities(Some(sets));
}

/// What an init in a container must not have: there is one audit for all.
const NOT_TAKEN: &[Capability] =
    &[Capability::CAP_AUDIT_CONTROL, Capability::CAP_AUDIT_READ, Capability::CAP_AUDIT_WRITE];

fn is_taken(cap: &oci_spec::runtime::Capability) -> bool {
    // The specification's type prints the name without its prefix.
    !NOT_TAKEN.iter().any(|not| not.to_string() == format!("CAP_{cap}"))
}

/// The payload's capabilities beside an init: none that the init lacks.
pub fn without_audit(caps: CapPlan) -> CapPlan {
    let without = |set: CapsHashSet| -> CapsHashSet {
        set.into_iter().filter(|cap| !NOT_TAKEN.contains(cap)).collect()
    };
    CapPlan {
        bounding: without(caps.bounding),
        effective: without(caps.effective),
        permitted: without(caps.permitted),
        inheritable: without(caps.inheritable),
        ambient: without(caps.ambient),
    }
}

/// Capabilities without which an init cannot do its work: whose processes it
/// starts, ends and gives files to.
const NEEDED: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];

/// Something that an init needs and does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What, and where config.json would say so.
    pub what: String,
    /// The right that would give it, if one would.
    pub right: Option<Right>,
}

impl Lack {
    /// What no right gives.
    pub fn of(what: impl Into<String>) -> Lack {
        Lack { what: what.into(), right: None }
    }
}

/// What an init needs of who it is, and would not be.
pub fn identity_lacks(payload: &ProcessPlan, rich: &RichConfig) -> Vec<Lack> {
    let as_root = rich.granted.has(Right::Root);
    let right = (!as_root).then_some(Right::Root);
    let mut lacks = Vec::new();
    let user = &payload.user;
    for (kind, field, id) in [("user", "uid", user.uid), ("group", "gid", user.gid)] {
        if !as_root && id != 0 {
            let what = format!("{kind} 0 (process.user.{field} is {id})");
            lacks.push(Lack { what, right });
        }
    }
    // execve(2) gives root its bounding set, but for no_new_privs (capabilities(7)).
    let bounding = as_root || !payload.no_new_privs;
    let (held, set) = match bounding {
        true => (&payload.caps.bounding, "bounding"),
        false => (&payload.caps.permitted, "permitted"),
    };
    let lacking = NEEDED.iter().filter(|cap| !held.contains(*cap));
    let names: Vec<String> = lacking.map(ToString::to_string).collect();
    if !names.is_empty() {
        let what = format!("{} (process.capabilities.{set})", names.join(" "));
        lacks.push(Lack { what, right: right.filter(|_| !bounding) });
    }
    lacks
}

/// Where the control groups are.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// What systemd needs of its control groups, and would not have.
pub fn cgroup_lack(spec: &Spec, rich: &RichConfig, mode: Mode) -> Option<Lack> {
    if mode == Mode::None {
        return Some(Lack::of("control groups"));
    }
    if rich.granted.has(Right::Cgroups) {
        return None;
    }
    let own = match mode {
        Mode::V2 => None,
        // The hierarchy that is systemd's may be mounted by itself.
        _ => Some("/sys/fs/cgroup/systemd"),
    };
    let given = groups_are_writable(spec, CGROUPS)
        || own.is_some_and(|place| mount_at(spec, place).is_some_and(|mount| !is_read_only(mount)));
    (!given).then(|| Lack {
        what: format!("control groups that can be written to (mounts: {CGROUPS})"),
        right: Some(Right::Cgroups),
    })
}

fn groups_are_writable(spec: &Spec, place: &str) -> bool {
    let Some(mount) = mount_at(spec, place) else { return false };
    // Such groups are somebody else's, and so they are mounted read-only.
    let foreign = has_namespace(spec, Kind::User) && !has_namespace(spec, Kind::Cgroup);
    let linux = spec.linux().as_ref();
    let restricted = linux.into_iter().flat_map(|linux| {
        linux.readonly_paths().iter().chain(linux.masked_paths()).flatten().map(Path::new)
    });
    let covered = restricted.into_iter().any(|path| Path::new(place).starts_with(path));
    !(is_read_only(mount) || foreign || covered)
}

/// Whether the payload itself can write where `place` is: what a file system of memory
/// there would give it otherwise.
pub fn is_writable(spec: &Spec, place: &Path) -> bool {
    let holds = |mount: &&Mount| place.starts_with(mount.destination());
    let depth = |mount: &&Mount| mount.destination().components().count();
    // Of those at one place the last counts.
    match spec.mounts().iter().flatten().filter(holds).max_by_key(depth) {
        Some(mount) => !is_read_only(mount),
        None => !spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)),
    }
}

/// What an init needs of `/run`, and would not have.
pub fn run_lack(spec: &Spec, rich: &RichConfig) -> Option<Lack> {
    let writable = rich.granted.has(Right::Mounts) || is_writable(spec, Path::new("/run"));
    (!writable).then(|| Lack {
        what: "a /run that can be written to (mounts, root.readonly)".to_owned(),
        right: Some(Right::Mounts),
    })
}

fn mount_at<'s>(spec: &'s Spec, place: &str) -> Option<&'s Mount> {
    let at = |mount: &&Mount| mount.destination() == &PathBuf::from(place);
    spec.mounts().iter().flatten().rfind(at)
}

fn is_read_only(mount: &Mount) -> bool {
    let said = mount.options().iter().flatten().rev();
    let mut said = said.filter(|option| matches!(option.as_str(), "ro" | "rro" | "rw" | "rrw"));
    said.next().is_some_and(|option| option.ends_with("ro"))
}

/// The error's words about what is missing, and who can grant it.
pub fn refusal(lacks: &[Lack], rich: &RichConfig) -> String {
    let names: Vec<&str> = lacks.iter().map(|lack| lack.what.as_str()).collect();
    let mut text = names.join(", ");
    let wanted = lacks.iter().filter_map(|lack| lack.right);
    let wanted: Vec<&str> = RIGHTS
        .iter()
        .filter(|row| wanted.clone().any(|right| right == row.1))
        .map(|row| row.0)
        .collect();
    let Some(word) = rich.asked_by.word().filter(|_| !wanted.is_empty()) else { return text };
    let words: Vec<String> = wanted.iter().map(|right| format!("\"{word}:{right}\"")).collect();
    text.push_str(&format!(
        "; asked for by {}, it gets no more than the payload: give that to the container itself \
         (--privileged, user 0), or in [rich] of {PATH}: trust = [{}]",
        rich.asked_by.shown(),
        words.join(", ")
    ));
    text
}

#[cfg(test)]
mod tests;
