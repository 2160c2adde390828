//! A knob: one write into one file of a group.

use crate::error::{Error, Result};

/// What it means that a knob's file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// The limit cannot be set: an error.
    Fail,
    /// The kernel is older than the knob, and does well without.
    Skip,
    /// The kernel no longer has the knob: it goes on with a warning.
    Warn,
    /// Another file does the same.
    Instead {
        /// That file.
        file: String,
        /// The value in its terms.
        value: String,
    },
}

/// One write into one file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knob {
    /// The controller whose hierarchy has the file (v1), or which must be
    /// enabled for it (v2).
    pub controller: String,
    /// The field of the specification that asks for it.
    pub field: String,
    /// The file's name.
    pub file: String,
    /// What is written, in one write.
    pub value: String,
    /// What it means that the file is not there.
    pub absent: Absent,
    /// The kernel may refuse it (`EINVAL`) because of the present value of
    /// another knob that is written later: then it is written again at the end.
    pub retried: bool,
}

/// The usage that a new limit must not fall below (`checkBeforeUpdate`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageCheck {
    /// The controller whose hierarchy has the file.
    pub controller: String,
    /// The file with the usage, in bytes.
    pub file: String,
    /// The limit, in bytes.
    pub limit: u64,
}

/// The rows of a container, in the order in which they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Knobs {
    /// Checked before anything is written.
    pub check: Option<UsageCheck>,
    /// The rows.
    pub rows: Vec<Knob>,
    /// What is asked for and passed over.
    pub warnings: Vec<String>,
}

impl Knobs {
    /// Appends a row. `field` is below `linux.resources`; the controller is the
    /// first part of the file's name.
    pub(super) fn set(&mut self, field: &str, file: &str, value: impl ToString) -> &mut Knob {
        let controller = file.split('.').next().unwrap_or(file);
        self.rows.push(Knob {
            controller: controller.to_owned(),
            field: format!("linux.resources.{field}"),
            file: file.to_owned(),
            value: value.to_string(),
            absent: Absent::Fail,
            retried: false,
        });
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }
}

impl Knobs {
    /// Says that a field of `linux.resources` is passed over, and why.
    pub(super) fn passed_over(&mut self, field: &str, why: &str) {
        self.warnings.push(format!("linux.resources.{field}: ignored: {why}"));
    }
}

impl Knob {
    /// The kernel may be older than the file.
    pub(super) fn skipped_if_absent(&mut self) -> &mut Self {
        self.absent = Absent::Skip;
        self
    }

    /// The kernel may have given the file up.
    pub(super) fn warned_if_absent(&mut self) -> &mut Self {
        self.absent = Absent::Warn;
        self
    }

    /// Another file does, where this one is not.
    pub(super) fn or(&mut self, file: &str, value: impl ToString) -> &mut Self {
        self.absent = Absent::Instead { file: file.to_owned(), value: value.to_string() };
        self
    }

    /// Written again at the end when the kernel refuses the value.
    pub(super) fn retried(&mut self) -> &mut Self {
        self.retried = true;
        self
    }
}

/// A limit that this host's control groups cannot express.
pub(super) fn impossible(field: &str, why: &str) -> Error {
    Error::config(format!("linux.resources.{field}: {why}"))
}

/// `0` and nothing mean that a value is not set, as runc has it.
pub(super) fn given<T: Copy + Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// Checks that `pageSize` is the name of a size (`2MB`) and no path.
pub(super) fn page_size(index: usize, size: &str) -> Result<&str> {
    let digits = size.trim_end_matches("B").trim_end_matches(['K', 'M', 'G']);
    let named = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match named && size.ends_with('B') {
        true => Ok(size),
        false => Err(impossible(
            &format!("hugepageLimits[{index}].pageSize"),
            &format!("{size:?} is no page size (64KB, 2MB, 1GB)"),
        )),
    }
}
