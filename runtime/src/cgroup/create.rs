//! Making a container's groups, by their directories.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode as FileMode, mkdirat, unlinkat};
use rustix::io::Errno;

use super::walk::open_dir;
use super::{Cgroup, Group, file};
use crate::error::{Error, Kind, Result, Step};
use crate::plan::cgroup::knob::Knob;
use crate::plan::cgroup::{CgroupPlan, Mode, Place};

/// Group directories are made like runc's.
const PERMISSIONS: FileMode = FileMode::from_raw_mode(0o755);

/// The directories made so far, for the way back.
pub(super) struct Made(Vec<String>);

impl Made {
    /// Room for the groups of a plan.
    pub(super) fn for_plan(plan: &CgroupPlan) -> Made {
        Made(Vec::with_capacity(plan.v1.len() + 1))
    }

    pub(super) fn undo(self) {
        for path in self.0.iter().rev() {
            // The failure that led here is the one to report.
            let _ = unlinkat(CWD, path.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

/// Makes the groups where the plan says.
pub(super) fn create(plan: &CgroupPlan, made: &mut Made) -> Result<Cgroup> {
    let mut cgroup =
        Cgroup { mode: plan.mode, v1: Vec::with_capacity(plan.v1.len()), ..Cgroup::none() };
    for place in &plan.v1 {
        cgroup.v1.extend(create_one(plan, place, None, made)?);
    }
    if let Some(place) = &plan.unified {
        match create_one(plan, place, None, made) {
            Ok(group) => cgroup.unified = group,
            // Beside v1 hierarchies the unified one is a convenience.
            Err(error) if plan.mode == Mode::Hybrid && error.kind() == Kind::System => {}
            Err(error) => return Err(error),
        }
    }
    if cgroup.is_none() {
        cgroup.mode = Mode::None;
    }
    cgroup.check_thawed()?;
    Ok(cgroup)
}

/// Makes one group, in which nobody is to be but `holder`; `None` when an unprivileged runtime may
/// not.
pub(super) fn create_one(
    plan: &CgroupPlan,
    place: &Place,
    holder: Option<i32>,
    made: &mut Made,
) -> Result<Option<Group>> {
    let path = place.directory();
    let fresh = match make(place, &path, made) {
        Ok(fresh) => fresh,
        Err(errno @ (Errno::PERM | Errno::ACCESS | Errno::ROFS)) if plan.unprivileged => {
            return no_right(plan, place, errno);
        }
        Err(Errno::ROFS) => {
            let step = format!("make cgroup {path} (--cgroup-manager disabled does without)");
            return Err(Error::os(step, Errno::ROFS));
        }
        Err(errno) => return Err(Error::os(format!("make cgroup {path}"), errno)),
    };
    let dir = open_dir(CWD, path.as_str()).step(|| format!("open cgroup {path}"))?;
    let group = Group { place: place.clone(), dir, fresh };
    if !fresh {
        group.check_empty(holder)?;
    }
    if place.has("cpuset") {
        inherit_cpuset(&group)?;
    }
    if plan.mode == Mode::V2 {
        group.enable_controllers()?;
    }
    Ok(Some(group))
}

/// An unprivileged runtime does without a group, unless a limit needs it or the group was
/// asked for by its path.
fn no_right(plan: &CgroupPlan, place: &Place, errno: Errno) -> Result<Option<Group>> {
    if plan.named {
        let step = format!("linux.cgroupsPath: make cgroup {}", place.directory());
        return Err(Error::os(step, errno).of_kind(Kind::Config));
    }
    let needed = |row: &&Knob| plan.mode == Mode::V2 || place.has(&row.controller);
    match plan.knobs.rows.iter().find(needed) {
        None => Ok(None),
        Some(row) => Err(Error::os(
            format!(
                "{}: cannot be set without the right to make cgroup {}",
                row.field,
                place.directory()
            ),
            errno,
        )),
    }
}

/// Makes a group and the groups above it; says whether it is new.
fn make(place: &Place, path: &str, made: &mut Made) -> std::result::Result<bool, Errno> {
    match mkdirat(CWD, path, PERMISSIONS) {
        Err(Errno::NOENT) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(errno) => return Err(errno),
        Ok(()) => {
            made.0.push(path.to_owned());
            return Ok(true);
        }
    }
    let slashes = place.path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for end in slashes.chain([place.path.len()]) {
        let ancestor = format!("{}{}", place.mount, &place.path[..end]);
        match mkdirat(CWD, ancestor.as_str(), PERMISSIONS) {
            Ok(()) => made.0.push(ancestor),
            Err(Errno::EXIST) if end < place.path.len() => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

impl Group {
    /// Refuses a group that somebody else lives in.
    fn check_empty(&self, holder: Option<i32>) -> Result<()> {
        let mut pids = Vec::new();
        self.pids_into(&mut pids)?;
        pids.retain(|pid| Some(*pid) != holder);
        match pids.len() {
            0 => Ok(()),
            n => Err(Error::new(
                Kind::WrongState,
                format!(
                    "container's cgroup is not empty: {n} process(es) found in {}",
                    self.place.directory()
                ),
            )),
        }
    }
}

impl Group {
    /// v2: a group has the controllers that all groups above it pass on. As runc
    /// does, all that there are: statistics need them too. What cannot be passed
    /// on is no failure here: the limit that needs it will say so.
    fn enable_controllers(&self) -> Result<()> {
        let mount = self.place.mount.as_str();
        let top = open_dir(CWD, mount).step(|| format!("open cgroup {mount}"))?;
        let all = file::get(&top, "cgroup.controllers")
            .step(|| format!("read {mount}/cgroup.controllers"))?;
        let has = self.get("cgroup.controllers")?;
        let has: Vec<&str> = has.split_whitespace().collect();
        let missing: Vec<String> = all
            .split_whitespace()
            .filter(|name| !has.contains(name))
            .map(|name| format!("+{name}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let above = self.place.path.rsplit_once('/').map_or("", |(above, _)| above);
        let mut dir = top;
        let hand_on = |dir: &OwnedFd, list: &str| match may_hand_on(
            file::get(dir, "cgroup.type").ok().as_deref(),
            file::get(dir, "cgroup.procs").as_deref().unwrap_or_default(),
        ) {
            true => file::put(dir, "cgroup.subtree_control", list),
            false => Err(Errno::BUSY),
        };
        for name in [""].into_iter().chain(above.split('/').filter(|name| !name.is_empty())) {
            if !name.is_empty() {
                dir = open_dir(&dir, name).step(|| format!("open cgroup {name} of {above}"))?;
            }
            if hand_on(&dir, &missing.join(" ")).is_err() {
                for one in &missing {
                    // One that cannot be passed on must not hold up the others.
                    let _ = hand_on(&dir, one);
                }
            }
        }
        Ok(())
    }
}

/// Whether controllers may be enabled for the groups below one of this type (`None`: the
/// hierarchy's top, which has none) with these processes. The kernel would turn a domain with
/// processes into a threaded one, and the groups below it into invalid ones (cgroups(7)).
fn may_hand_on(kind: Option<&str>, procs: &str) -> bool {
    kind.is_none_or(|kind| kind.trim() != "domain") || procs.trim().is_empty()
}

impl Cgroup {
    /// Makes a group that came to lie below a threaded domain threaded, which it has to be
    /// before anybody can be in it; whether that was the case.
    pub fn become_threaded(&self) -> bool {
        self.unified.as_ref().is_some_and(|group| {
            group.get("cgroup.type").is_ok_and(|kind| kind.trim() == "domain invalid")
                && group.put("cgroup.type", "threaded").is_ok()
        })
    }

    /// Refuses a group that is frozen, or lies below one: whoever joined it
    /// would never run.
    pub(super) fn check_thawed(&self) -> Result<()> {
        match self.is_frozen()? {
            false => Ok(()),
            true => Err(Error::new(Kind::WrongState, "container's cgroup unexpectedly frozen")),
        }
    }
}

/// A fresh v1 cpuset is empty and takes no process: it gets what its parent
/// has, and so do the ancestors that were made with it (cpuset(7)).
fn inherit_cpuset(group: &Group) -> Result<()> {
    for knob in ["cpuset.cpus", "cpuset.mems"] {
        if group.get(knob)?.trim().is_empty() {
            let value = inherited(&group.place, knob)?;
            group.put(knob, &value)?;
        }
    }
    Ok(())
}

/// The value of `knob` in the nearest ancestor that has one, written into the
/// ancestors below it.
fn inherited(place: &Place, knob: &str) -> Result<String> {
    let mut empty = Vec::new();
    let mut path = place.path.as_str();
    loop {
        let (above, _) = path
            .rsplit_once('/')
            .ok_or_else(|| Error::system(format!("no {knob} in {} or above", place.directory())))?;
        let ancestor = format!("{}{above}", place.mount);
        let dir = open_dir(CWD, ancestor.as_str()).step(|| format!("open cgroup {ancestor}"))?;
        let value = file::get(&dir, knob).step(|| format!("read {ancestor}/{knob}"))?;
        if !value.trim().is_empty() {
            for (dir, ancestor) in empty.iter().rev() {
                file::put(dir, knob, value.trim())
                    .step(|| format!("write {:?} to {ancestor}/{knob}", value.trim()))?;
            }
            return Ok(value.trim().to_owned());
        }
        empty.push((dir, ancestor));
        path = above;
    }
}

#[cfg(test)]
mod tests {
    use super::may_hand_on;

    #[test]
    fn a_domain_with_processes_is_not_made_threaded() {
        for (kind, procs, may) in [
            (None, "1\n2\n", true),
            (Some("domain\n"), "", true),
            (Some("domain\n"), "7\n", false),
            (Some("domain threaded\n"), "7\n", true),
            (Some("threaded\n"), "", true),
        ] {
            assert_eq!(may_hand_on(kind, procs), may, "{kind:?} {procs:?}");
        }
    }
}
