//! The scope that systemd makes for a container, as data: its name, its slice and its properties.

pub mod annotations;
mod devices;
mod name;
mod properties;

use crate::error::Result;
use crate::plan::dbus::Value;

use super::devices::DeviceRules;
use super::knob::Knob;
use super::layout::Mode;
pub use annotations::Allowed;
pub use name::ScopeName;
pub use properties::of_knobs;

/// How many tasks a scope has to have room for while the container's first process is born: it,
/// the one that holds the scope, and one that joins namespaces.
pub const TASKS_AT_BIRTH: u64 = 3;
/// The property that limits tasks.
pub const TASKS_MAX: &str = "TasksMax";

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name on the bus.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// The version of systemd that brought it; 0 for those that every one has.
    pub since: u32,
}

impl Property {
    /// One that every systemd has.
    pub fn new(name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value, since: 0 }
    }

    /// `(sv)`, as the calls take it.
    pub fn pair(&self) -> Value {
        Value::Struct(vec![
            Value::text(self.name.as_str()),
            Value::Variant(Box::new(self.value.clone())),
        ])
    }
}

/// A scope that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopePlan {
    /// Its name, its slice, and where its group will be.
    pub name: ScopeName,
    /// The manager is the user's own, not the system's.
    pub user: bool,
    /// All properties but the processes.
    pub properties: Vec<Property>,
    /// The limit of tasks, where it is too low for the container's birth: to be set after that.
    pub late_tasks: Option<u64>,
}

impl ScopePlan {
    /// Decides on the scope of container `id`.
    pub(super) fn new(
        id: &str,
        (name, user): (ScopeName, bool),
        mode: Mode,
        (rules, rows): (&DeviceRules, &[Knob]),
        asked: Vec<Property>,
    ) -> ScopePlan {
        let mut properties = vec![
            Property::new("Description", Value::text(format!("richrun container {id}"))),
            Property::new("Slice", Value::text(name.slice.as_str())),
            Property::new("Delegate", Value::Bool(true)),
            // It need not end before the shutdown's own order begins: engines see to that.
            Property::new("DefaultDependencies", Value::Bool(false)),
            // One that has failed (an OOM kill) goes away as well.
            Property {
                since: 236,
                ..Property::new("CollectMode", Value::text("inactive-or-failed"))
            },
        ];
        let io = if mode == Mode::V2 { "IOAccounting" } else { "BlockIOAccounting" };
        for name in ["CPUAccounting", "MemoryAccounting", "TasksAccounting", io] {
            properties.push(Property::new(name, Value::Bool(true)));
        }
        properties.extend(devices::properties(rules, mode));
        let mut late_tasks = None;
        for mut property in of_knobs(rows, mode) {
            if let (TASKS_MAX, Value::U64(limit)) = (&*property.name, &property.value)
                && *limit < TASKS_AT_BIRTH
            {
                late_tasks = Some(*limit);
                property.value = Value::U64(TASKS_AT_BIRTH);
            }
            properties.push(property);
        }
        properties.extend(asked);
        ScopePlan { name, user, properties, late_tasks }
    }
}

/// Whether a version of systemd is needed to say these properties.
pub fn needs_version(properties: &[Property]) -> bool {
    // 236 is older than whatever has cgroup v2 as its default.
    properties.iter().any(|property| property.since > 236)
}

/// The number in what systemd says its version is (`257.13-1~deb13u1`, `v245`); 0 for what has none.
pub fn version(text: &str) -> u32 {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

/// Reads `linux.cgroupsPath` for a scope.
pub(super) fn name(asked: Option<&str>, id: &str, user: bool) -> Result<ScopeName> {
    ScopeName::new(asked.filter(|path| !path.is_empty()), id, user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, number) in
            [("257.13-1~deb13u1", 257), ("v245.4-1.fc32", 245), ("239", 239), ("", 0), ("git", 0)]
        {
            assert_eq!(version(text), number, "{text}");
        }
    }
}
