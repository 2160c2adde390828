//! Changing the limits of a container that has them already: all of them, or none.

use rustix::io::Errno;

use super::{Cgroup, ScopeRecord, file};
use crate::error::{Error, Result};
use crate::plan::cgroup::knob::{Absent, Knob, Knobs};
use crate::plan::cgroup::scope::{Property, of_knobs};
use crate::plan::update::undoing;

/// A file as it was, and what is written to it.
struct Before<'k> {
    row: &'k Knob,
    file: &'k str,
    text: String,
    value: &'k str,
}

/// A file that systemd writes too, as it is to be.
struct Exact {
    controller: &'static str,
    file: &'static str,
    text: String,
}

/// When one property of a controller changes, systemd writes all files of it that it knows: in whole
/// per cent of a processor, in other weights for bfq, and without a limit where it was not told of one.
const WRITTEN_BY_SYSTEMD: [(&str, &str); 22] = [
    ("cpu", "cpu.idle"),
    ("cpu", "cpu.weight"),
    ("cpu", "cpu.max"),
    ("cpu", "cpu.shares"),
    ("cpu", "cpu.cfs_period_us"),
    ("cpu", "cpu.cfs_quota_us"),
    ("cpuset", "cpuset.cpus"),
    ("cpuset", "cpuset.mems"),
    ("io", "io.weight"),
    ("io", "io.bfq.weight"),
    ("io", "io.max"),
    ("io", "io.latency"),
    ("blkio", "blkio.weight"),
    ("blkio", "blkio.bfq.weight"),
    ("memory", "memory.min"),
    ("memory", "memory.low"),
    ("memory", "memory.high"),
    ("memory", "memory.max"),
    ("memory", "memory.swap.max"),
    ("memory", "memory.zswap.max"),
    ("memory", "memory.limit_in_bytes"),
    ("pids", "pids.max"),
];

impl Cgroup {
    /// Writes the limits, and has systemd know of them where it has made the groups. When one is
    /// refused, those that were written before it become what they were.
    ///
    /// # Errors
    /// The field, the file and the cause; and what could not be taken back.
    pub fn update(&self, knobs: &Knobs, scope: Option<&ScopeRecord>) -> Result<()> {
        let before = self.before(&knobs.rows);
        let whole = scope.map_or_else(Vec::new, |_| self.exact(&knobs.rows));
        let mut told = None;
        let changed = self.apply_checked(knobs).and_then(|()| match scope {
            None => Ok(()),
            Some(scope) => {
                let exact = self.exact(&knobs.rows);
                scope.set(&of_knobs(&knobs.rows, self.mode))?;
                told = Some(scope);
                self.make_exact(&exact)
            }
        });
        changed.map_err(|error| {
            // First systemd, which writes files, too.
            let back = |scope: &ScopeRecord| {
                scope.set(&self.undoing(&before)).and_then(|()| self.make_exact(&whole))
            };
            let untold = told.and_then(|scope| back(scope).err());
            let untold = untold.map(|error| format!("its properties ({error})"));
            let left: Vec<String> = untold.into_iter().chain(self.take_back(&before)).collect();
            match left.is_empty() {
                true => error,
                false => error.within(format!("{} could not be taken back", left.join(", "))),
            }
        })
    }

    /// The properties that a unit had when the files were as they were.
    fn undoing(&self, before: &[Before<'_>]) -> Vec<Property> {
        let rows = before.iter().flat_map(|one| {
            let values = undoing(one.file, &one.text, one.value);
            values.into_iter().map(|value| Knob {
                file: one.file.to_owned(),
                value,
                ..one.row.clone()
            })
        });
        of_knobs(&rows.collect::<Vec<_>>(), self.mode)
    }

    /// What the files say that systemd is about to write anew.
    fn exact(&self, rows: &[Knob]) -> Vec<Exact> {
        let asked = |controller| rows.iter().any(|row| row.controller == controller);
        let read = |&(controller, file): &(&'static str, &'static str)| {
            let text = file::get(&self.of(controller)?.dir, file).ok()?;
            Some(Exact { controller, file, text })
        };
        WRITTEN_BY_SYSTEMD
            .iter()
            .filter(|(controller, _)| asked(*controller))
            .filter_map(read)
            .collect()
    }

    /// Has them say it again, where systemd's values are others.
    fn make_exact(&self, files: &[Exact]) -> Result<()> {
        for Exact { controller, file, text } in files {
            let Some(group) = self.of(controller) else { continue };
            let step = |errno| Error::os(format!("write {} to {file}", text.trim()), errno);
            let now = file::get(&group.dir, file).map_err(step)?;
            for line in text.lines().filter(|line| !now.lines().any(|one| one == *line)) {
                file::put(&group.dir, file, line).map_err(step)?;
            }
        }
        Ok(())
    }

    /// What the files are now: those that cannot be read will refuse the write as well.
    fn before<'k>(&self, rows: &'k [Knob]) -> Vec<Before<'k>> {
        let read = |row: &'k Knob| {
            let group = self.of(&row.controller)?;
            let (file, value) = match (&row.absent, file::get(&group.dir, &row.file)) {
                (_, Ok(text)) => {
                    return Some(Before { row, file: &row.file, text, value: &row.value });
                }
                (Absent::Instead { file, value }, Err(Errno::NOENT)) => (file, value),
                _ => return None,
            };
            let text = file::get(&group.dir, file).ok()?;
            Some(Before { row, file, text, value })
        };
        rows.iter().filter_map(read).collect()
    }

    /// Brings every file back that is not as it was; what could not be. The last one written
    /// first, and again as often as it takes: limits of memory and swap, of quota and burst, bound each
    /// other.
    fn take_back(&self, before: &[Before<'_>]) -> Vec<String> {
        let mut left: Vec<&Before<'_>> = before.iter().rev().collect();
        for _ in 0..=before.len() {
            left.retain(|one| !self.is_back(one));
            if left.is_empty() {
                break;
            }
        }
        left.iter().map(|one| format!("{} ({})", one.row.field, one.file)).collect()
    }

    /// Whether a file is as it was, after an attempt to make it so.
    fn is_back(&self, one: &Before<'_>) -> bool {
        let Some(group) = self.of(&one.row.controller) else { return true };
        // What is taken need not read as it did: the kernel rounds, and tells `max` as a number.
        file::get(&group.dir, one.file).is_ok_and(|text| text == one.text)
            || undoing(one.file, &one.text, one.value)
                .iter()
                .all(|value| file::put(&group.dir, one.file, value).is_ok())
    }
}

/// A container without groups has no limits to change.
pub fn without_groups(id: &str) -> Error {
    Error::system(format!("update {id}: the container has no cgroup"))
}
