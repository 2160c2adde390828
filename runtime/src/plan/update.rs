//! `update`, as data: what a container's resources become, which of them are written, and
//! what takes a write back.

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Fields in which 0, or an empty text, means that nothing is asked for, as in runc.
const UNSET_AT_ZERO: [(&str, &[&str]); 3] = [
    ("memory", &["limit", "reservation", "swap", "kernel", "kernelTCP"]),
    ("cpu", &["shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"]),
    ("blockIO", &["weight", "leafWeight"]),
];

/// Fields that are one thing to the kernel: with one of them, the other is written again.
const PAIRS: [(&str, &str, &str); 2] = [("memory", "limit", "swap"), ("cpu", "quota", "period")];

/// What an update comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// `linux.resources` as it will be kept.
    pub kept: Value,
    /// The part of it that is written now.
    pub written: LinuxResources,
    /// The whole as the configuration's type, for the checks.
    pub whole: LinuxResources,
}

impl Update {
    /// Decides on an update of the `saved` resources. Devices are left as they are, as
    /// with runc: the engines that send them mean the rules of the beginning.
    ///
    /// # Errors
    /// `asked` is no document of resources.
    pub fn new(saved: Option<&Value>, mut asked: Value) -> Result<Update> {
        let wrong = |error: serde_json::Error| Error::config(format!("resources: {error}"));
        let Some(fields) = asked.as_object_mut() else {
            return Err(Error::config("resources: not an object"));
        };
        fields.remove("devices");
        drop_unset(fields);
        no_limit_means_no_swap_limit(fields);
        let mut kept = saved.cloned().filter(Value::is_object).unwrap_or(Value::Object(Map::new()));
        merge(&mut kept, &asked);
        let mut written = asked;
        for (group, one, other) in PAIRS {
            for (has, lacks) in [(one, other), (other, one)] {
                let fields = &written[group];
                if fields.get(has).is_none() || fields.get(lacks).is_some() {
                    continue;
                }
                if let Some(value) = kept[group].get(lacks) {
                    written[group][lacks] = value.clone();
                }
            }
        }
        let mut whole = kept.clone();
        whole.as_object_mut().and_then(|fields| fields.remove("devices"));
        Ok(Update {
            written: serde_json::from_value(written).map_err(wrong)?,
            whole: serde_json::from_value(whole).map_err(wrong)?,
            kept,
        })
    }
}

fn drop_unset(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| !value.is_null());
    for (group, names) in UNSET_AT_ZERO {
        let Some(group) = fields.get_mut(group).and_then(Value::as_object_mut) else { continue };
        group.retain(|name, value| {
            let unset = names.contains(&name.as_str()) && (*value == 0 || *value == "");
            !unset && !value.is_null()
        });
    }
}

/// Memory without a limit has none with swap either, unless that is asked for (runc).
fn no_limit_means_no_swap_limit(fields: &mut Map<String, Value>) {
    let Some(memory) = fields.get_mut("memory").and_then(Value::as_object_mut) else { return };
    if memory.get("limit") == Some(&Value::from(-1)) {
        memory.entry("swap").or_insert(Value::from(-1));
    }
}

/// Objects are merged, everything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// The writes that bring `file`, which read as `before`, back from a write of `value`.
pub fn undoing(file: &str, before: &str, value: &str) -> Vec<String> {
    if file == "memory.oom_control" {
        let first = before.lines().next().and_then(|line| line.split(' ').nth(1));
        return vec![first.unwrap_or("0").to_owned()];
    }
    let key = value.split(' ').next().unwrap_or(value);
    let per_device = key.split_once(':').is_some_and(|(major, minor)| {
        [major, minor].iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    if per_device || file == "rdma.max" || file == "net_prio.ifpriomap" {
        let line = before.lines().find(|line| line.split(' ').next() == Some(key));
        let none = || {
            per_device.then(|| match file {
                "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
                file if file.starts_with("io.") => format!("{key} default"),
                _ => format!("{key} 0"),
            })
        };
        return line.map(str::to_owned).or_else(none).into_iter().collect();
    }
    match before.trim() {
        // Nothing of its own: as its parent's.
        "" => vec!["\n".to_owned()],
        // io.weight and its like: the group's own stands first.
        text if text.starts_with("default ") => text.lines().take(1).map(str::to_owned).collect(),
        text => vec![text.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn update(saved: Value, asked: Value) -> (Value, Value) {
        let update = Update::new(Some(&saved), asked).unwrap();
        (update.kept, serde_json::to_value(update.written).unwrap())
    }

    #[test]
    fn what_is_not_asked_for_stays() {
        let saved = json!({
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 5, "swap": 9, "reservation": 2},
            "cpu": {"quota": 1000, "period": 2000, "cpus": "0-1"},
        });
        let asked = json!({
            "devices": [{"allow": true}],
            "memory": {"limit": 6, "swap": 0},
            "cpu": {"quota": 0, "cpus": ""},
            "blockIO": {"weight": 0},
            "pids": {"limit": 0},
        });
        let (kept, written) = update(saved.clone(), asked);
        assert_eq!(kept["memory"], json!({"limit": 6, "swap": 9, "reservation": 2}));
        assert_eq!((&kept["cpu"], &kept["devices"]), (&saved["cpu"], &saved["devices"]));
        assert_eq!(written["memory"], json!({"limit": 6, "swap": 9}));
        assert_eq!(written["pids"], json!({"limit": 0}));
        assert!(written.get("devices").is_none());
    }

    #[test]
    fn quota_and_period_are_written_together() {
        let saved = json!({"cpu": {"quota": 1000, "period": 2000}});
        let (_, written) = update(saved, json!({"cpu": {"quota": 3000}}));
        assert_eq!(written["cpu"], json!({"quota": 3000, "period": 2000}));
        let (_, written) = update(json!({}), json!({"cpu": {"period": 3000}}));
        assert_eq!(written["cpu"], json!({"period": 3000}));
    }

    #[test]
    fn no_limit_takes_that_of_swap_along() {
        let saved = json!({"memory": {"limit": 5, "swap": 9}});
        let (kept, _) = update(saved.clone(), json!({"memory": {"limit": -1}}));
        assert_eq!(kept["memory"], json!({"limit": -1, "swap": -1}));
        let (kept, _) = update(saved, json!({"memory": {"limit": -1, "swap": 7}}));
        assert_eq!(kept["memory"], json!({"limit": -1, "swap": 7}));
    }

    #[test]
    fn what_takes_a_write_back() {
        for (file, before, value, undone) in [
            ("memory.max", "max\n", "5", Some("max")),
            ("cpu.max", "max 100000\n", "5 6", Some("max 100000")),
            ("cpuset.cpus", "\n", "0", Some("\n")),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 1\n", "1", Some("0")),
            ("io.max", "8:0 rbps=1 wbps=max\n", "8:0 rbps=2", Some("8:0 rbps=1 wbps=max")),
            ("io.max", "", "8:16 rbps=2", Some("8:16 rbps=max wbps=max riops=max wiops=max")),
            ("io.weight", "default 100\n8:0 50\n", "8:0 70", Some("8:0 50")),
            ("io.weight", "default 100\n8:0 50\n", "200", Some("default 100")),
            ("io.bfq.weight", "default 100\n", "8:0 70", Some("8:0 default")),
            ("blkio.throttle.read_bps_device", "", "8:0 7", Some("8:0 0")),
            ("rdma.max", "mlx hca_handle=1\n", "mlx hca_handle=2", Some("mlx hca_handle=1")),
        ] {
            let undone: Vec<_> = undone.map(str::to_owned).into_iter().collect();
            assert_eq!(undoing(file, before, value), undone, "{file} {value}");
        }
    }
}
