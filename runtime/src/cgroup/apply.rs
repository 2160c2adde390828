//! Writing limits, device rules and ownership into a container's groups.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, OFlags, Uid, chownat};
use rustix::io::Errno;

use super::{Cgroup, Group, file};
use crate::error::{Error, Kind, Result, Step};
use crate::plan::cgroup::knob::{Absent, Knob, Knobs, UsageCheck};
use crate::plan::cgroup::{CgroupPlan, DevicePlan, Mode, bpf};
use crate::sys;

/// Which files of a group its new owner gets.
const DELEGATE: &str = "/sys/kernel/cgroup/delegate";
/// The same for kernels before 4.15, which do not say (specification).
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Writes what the plan says into the groups: device rules and limits.
    ///
    /// # Errors
    /// The field of the specification, the file and the cause.
    pub fn apply(&self, plan: &CgroupPlan) -> Result<()> {
        self.apply_devices(plan)?;
        self.apply_limits(plan)
    }

    /// Writes the limits. It may run while the container's first process,
    /// already in the groups, sets itself up, but must be done before the payload runs.
    ///
    /// # Errors
    /// As [`Cgroup::apply`].
    pub fn apply_limits(&self, plan: &CgroupPlan) -> Result<()> {
        self.apply_checked(&plan.knobs)?;
        match (plan.owner, &self.unified) {
            (Some(uid), Some(group)) => group.give_to(uid, plan.unprivileged),
            _ => Ok(()),
        }
    }

    pub(super) fn apply_checked(&self, knobs: &Knobs) -> Result<()> {
        if let Some(check) = &knobs.check {
            self.check_usage(check)?;
        }
        self.apply_knobs(&knobs.rows)
    }

    /// The group that has a controller's files.
    pub(super) fn of(&self, controller: &str) -> Option<&Group> {
        match self.mode {
            Mode::V2 => self.unified.as_ref(),
            _ => self.with(controller),
        }
    }

    fn check_usage(&self, check: &UsageCheck) -> Result<()> {
        let Some(group) = self.of(&check.controller) else { return Ok(()) };
        let usage = group.get(&check.file)?.trim().parse::<u64>().unwrap_or(0);
        match usage > check.limit {
            false => Ok(()),
            true => Err(Error::new(
                Kind::Config,
                format!(
                    "linux.resources.memory.limit: {} is below the present usage of {usage}",
                    check.limit
                ),
            )),
        }
    }

    fn apply_knobs(&self, rows: &[Knob]) -> Result<()> {
        let mut refused = Vec::new();
        for row in rows {
            match self.turn(row) {
                Err(Errno::INVAL) if row.retried => refused.push(row),
                result => result.map_err(|errno| self.knob_error(row, errno))?,
            }
        }
        for row in refused {
            self.turn(row).map_err(|errno| self.knob_error(row, errno))?;
        }
        Ok(())
    }

    /// Writes one knob.
    fn turn(&self, row: &Knob) -> std::result::Result<(), Errno> {
        let group = self.of(&row.controller).ok_or(Errno::NOENT)?;
        match (file::put(&group.dir, &row.file, &row.value), &row.absent) {
            (Err(Errno::NOENT), Absent::Skip) => Ok(()),
            (Err(Errno::NOENT), Absent::Warn) => {
                crate::log::warn(format!("{}: ignored: no {} here", row.field, row.file));
                Ok(())
            }
            (Err(Errno::NOENT), Absent::Instead { file, value }) => {
                file::put(&group.dir, file, value)
            }
            (result, _) => result.inspect(|()| {
                crate::log::debug(|| {
                    let group = group.place.directory();
                    format!("cgroup: {}={} in {group}", row.file, row.value)
                });
            }),
        }
    }

    fn knob_error(&self, row: &Knob, errno: Errno) -> Error {
        let step = format!("{}: write {} to {}", row.field, row.value, row.file);
        let Some(group) = self.of(&row.controller) else { return Error::os(step, errno) };
        let missing = errno == Errno::NOENT
            && self.mode == Mode::V2
            && row.controller != "cgroup"
            && !group
                .get("cgroup.controllers")
                .is_ok_and(|list| list.split_whitespace().any(|name| name == row.controller));
        match missing {
            true => {
                let threaded = group.get("cgroup.type").is_ok_and(|kind| kind.contains("threaded"));
                Error::system(format!(
                    "{step}: the controller {} is not available in {}{}",
                    row.controller,
                    if threaded { "the threaded cgroup " } else { "" },
                    group.place.directory()
                ))
            }
            false => Error::os(step, errno),
        }
    }

    /// Brings the device rules to the kernel. On v2 they change in one moment; on
    /// v1 everything is denied first and then one thing after the other allowed, so
    /// nobody who opens devices may be in the group yet.
    ///
    /// # Errors
    /// As [`Cgroup::apply`].
    pub fn apply_devices(&self, plan: &CgroupPlan) -> Result<()> {
        let (group, result) = match (&plan.devices, self.with("devices"), &self.unified) {
            (DevicePlan::Lines(lines), Some(group), _) => (group, group.write_rules(lines)),
            (DevicePlan::Program(program), _, Some(group)) => (group, group.run_program(program)),
            _ => return Ok(()),
        };
        match result {
            // Inside a user namespace nobody may; the rules of the one who made
            // it hold there.
            Err(Errno::PERM | Errno::ACCESS) if plan.unprivileged => Ok(()),
            // Before Linux 5.2 it takes 4096 instructions.
            Err(Errno::TOOBIG) => Err(Error::os(
                "linux.resources.devices: more rules than this kernel takes in one program",
                Errno::TOOBIG,
            )),
            result => result
                .step(|| format!("linux.resources.devices: apply to {}", group.place.directory())),
        }
    }
}

impl Group {
    /// v1: one line a write; the files stay open between them.
    fn write_rules(&self, lines: &[(&'static str, String)]) -> std::result::Result<(), Errno> {
        let mut open: Option<(&str, OwnedFd)> = None;
        for (name, line) in lines {
            let fd = match open.take() {
                Some((same, fd)) if same == *name => fd,
                _ => file::open(&self.dir, name, OFlags::WRONLY)?,
            };
            file::put_fd(&fd, line)?;
            open = Some((name, fd));
        }
        Ok(())
    }

    /// v2: the new program joins those that are there, and then they go: at
    /// no moment is more allowed than by one of them.
    fn run_program(&self, program: &[bpf::Insn]) -> std::result::Result<(), Errno> {
        let old = match self.fresh {
            true => Vec::new(),
            false => sys::bpf::device_programs(&self.dir)?,
        };
        let loaded = sys::bpf::load_device_program(program)?;
        sys::bpf::attach_device_program(&self.dir, &loaded)?;
        old.iter().try_for_each(|program| sys::bpf::detach_device_program(&self.dir, program))
    }

    /// Gives the group, and the files that the kernel lists, to `uid`.
    pub(super) fn give_to(&self, uid: u32, unprivileged: bool) -> Result<()> {
        let listed = std::fs::read_to_string(DELEGATE);
        for name in delegated(listed.as_deref().ok()) {
            match chownat(&self.dir, name, Some(Uid::from_raw(uid)), None, AtFlags::EMPTY_PATH) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::PERM) if unprivileged => return Ok(()),
                Err(errno) => return Err(self.error("give to the container's user", name, errno)),
            }
        }
        Ok(())
    }
}

/// What changes hands: the group's directory, and the files that the kernel
/// lists, or those that the specification names where it lists none.
fn delegated(listed: Option<&str>) -> impl Iterator<Item = &str> {
    [""].into_iter().chain(listed.unwrap_or(DELEGATED).lines())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_kernels_list_the_specifications_files_change_hands() {
        let names: Vec<_> = delegated(None).collect();
        assert_eq!(names, ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]);
        let names: Vec<_> = delegated(Some("cgroup.procs\nmemory.oom.group\n")).collect();
        assert_eq!(names, ["", "cgroup.procs", "memory.oom.group"]);
    }
}
