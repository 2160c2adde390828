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

impl Cgroup {
    /// Writes the limits, and has systemd know of them where it has made the groups. When one is
    /// refused, those that were written before it become what they were.
    ///
    /// # Errors
    /// The field, the file and the cause; and what could not be taken back.
    pub fn update(&self, knobs: &Knobs, scope: Option<&ScopeRecord>) -> Result<()> {
        let before = self.before(&knobs.rows);
        let mut told = None;
        let changed = self.apply_checked(knobs).and_then(|()| match scope {
            None => Ok(()),
            Some(scope) => {
                scope.set(&of_knobs(&knobs.rows, self.mode))?;
                told = Some(scope);
                // systemd rounds some of them: what the files say is exact.
                self.apply_checked(&Knobs { check: None, ..knobs.clone() })
            }
        });
        changed.map_err(|error| {
            // First systemd, which writes files, too.
            let untold = told.and_then(|scope| scope.set(&self.undoing(&before)).err());
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
