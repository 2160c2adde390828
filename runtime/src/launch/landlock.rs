//! Landlock: what a payload may not do any more (landlock(7)).
//!
//! The paths of the rules are looked up in the container's root, by descriptors, while the
//! process still has the rights for that; the rules hold from when its capabilities are the
//! payload's. Whatever is executed afterwards is under them: payload, init scripts,
//! startContainer hooks and services.

use std::os::fd::BorrowedFd;
use std::path::Path;

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{FileType, OFlags, fstat};

use crate::config::landlock::{Access, Landlock};
use crate::error::{Error, Result, Step};
use crate::sys::inroot;

/// What paths are about: all that this version can speak of (Linux 6.10).
const PATHS: ABI = ABI::V5;

/// A set of rules that is made, and does not hold yet.
#[derive(Debug)]
pub struct Ready {
    rules: RulesetCreated,
    best_effort: bool,
}

/// Makes the rule sets of a container.
///
/// # Errors
/// A path that is not there, or rules that the kernel does not have; with best effort both
/// warn.
pub fn prepare(root: BorrowedFd<'_>, sets: &[Landlock]) -> Result<Vec<Ready>> {
    sets.iter().map(|set| one(root, set)).collect()
}

impl Ready {
    /// From now on it holds. It takes no_new_privs or CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn hold(self) -> Result<()> {
        let status = self.rules.no_new_privs(false).restrict_self().map_err(refused)?;
        match status.ruleset {
            RulesetStatus::FullyEnforced => Ok(()),
            RulesetStatus::PartiallyEnforced if self.best_effort => {
                crate::log::warn("landlock: this kernel knows some of the rules only");
                Ok(())
            }
            RulesetStatus::NotEnforced if self.best_effort => {
                crate::log::warn("landlock: this kernel has none, or not enough of it");
                Ok(())
            }
            // The crate has refused before.
            _ => Err(Error::system("landlock: the rules do not hold")),
        }
    }
}

fn refused(error: RulesetError) -> Error {
    Error::system(format!("landlock: {error} (best-effort goes without)"))
}

fn one(root: BorrowedFd<'_>, set: &Landlock) -> Result<Ready> {
    let mut rules = empty(set).map_err(refused)?;
    for (access, path) in &set.paths {
        let step = || format!("landlock: open {path} in the container's root");
        let place = match inroot::open(root, Path::new(path), OFlags::PATH) {
            Err(errno) if set.best_effort => {
                // Nothing is allowed there, then.
                crate::log::warn(Error::os(step(), errno));
                continue;
            }
            place => place.step(step)?,
        };
        let directory =
            FileType::from_raw_mode(fstat(&place).step(step)?.st_mode) == FileType::Directory;
        let rule = PathBeneath::new(place, rights(*access, directory));
        rules = rules.add_rule(rule).map_err(refused)?;
    }
    for (ports, access) in [(&set.bind, AccessNet::BindTcp), (&set.connect, AccessNet::ConnectTcp)]
    {
        for port in ports.iter().flatten() {
            rules = rules.add_rule(NetPort::new(*port, access)).map_err(refused)?;
        }
    }
    Ok(Ready { rules, best_effort: set.best_effort })
}

/// The set without a rule: all that it speaks of is forbidden.
fn empty(set: &Landlock) -> std::result::Result<RulesetCreated, RulesetError> {
    let level = match set.best_effort {
        true => CompatLevel::BestEffort,
        false => CompatLevel::HardRequirement,
    };
    let mut rules = Ruleset::default().set_compatibility(level);
    if !set.paths.is_empty() {
        rules = rules.handle_access(all())?;
    }
    if set.bind.is_some() {
        rules = rules.handle_access(AccessNet::BindTcp)?;
    }
    if set.connect.is_some() {
        rules = rules.handle_access(AccessNet::ConnectTcp)?;
    }
    if set.scope_signal {
        rules = rules.scope(Scope::Signal)?;
    }
    if set.scope_sockets {
        rules = rules.scope(Scope::AbstractUnixSocket)?;
    }
    rules.create()
}

fn all() -> BitFlags<AccessFs> {
    use landlock::Access as _;
    AccessFs::from_all(PATHS)
}

/// The rights below a path; a file has none of those that are about directories.
fn rights(access: Access, directory: bool) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let rights = match access {
        Access::Ro => read,
        Access::Exec => read | AccessFs::Execute,
        Access::Rw => all() & !BitFlags::from(AccessFs::Execute),
    };
    match directory {
        true => rights,
        false => rights & AccessFs::from_file(PATHS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_rights_of_directories() {
        assert_eq!(rights(Access::Ro, false), AccessFs::ReadFile);
        assert_eq!(rights(Access::Exec, true).len(), 3);
        assert!(rights(Access::Rw, true).contains(AccessFs::MakeDir | AccessFs::Refer));
        assert!(!rights(Access::Rw, true).contains(AccessFs::Execute));
        assert!(!rights(Access::Rw, false).contains(AccessFs::MakeReg));
    }
}
