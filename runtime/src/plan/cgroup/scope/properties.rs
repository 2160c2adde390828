//! Limits as properties of a unit (systemd.resource-control(5)). What has no property, or a value
//! that the property would not take, is left to the group's files, into which every limit is
//! written in any case.

use super::super::knob::Absent;
use super::{Knob, Mode, Property, TASKS_MAX, Value};

/// systemd's "no limit".
const INFINITY: u64 = u64::MAX;
/// The period that systemd has without a word, in microseconds.
const PERIOD: u64 = 100_000;
/// The first processor number that is too high to be one.
const CPUS: usize = 1 << 13;

/// The properties of these rows, each once: the last row that speaks of it counts.
pub fn of_knobs(rows: &[Knob], mode: Mode) -> Vec<Property> {
    let mut properties: Vec<Property> = Vec::new();
    for property in rows.iter().flat_map(|row| of_row(row, rows, mode)) {
        match properties.iter_mut().find(|known| known.name == property.name) {
            Some(known) => merge(known, property),
            None => properties.push(property),
        }
    }
    properties
}

/// Lists of devices grow, everything else is replaced.
fn merge(known: &mut Property, new: Property) {
    match (&mut known.value, new.value) {
        (Value::Array(of, list), Value::Array(_, more)) if of == "(st)" => list.extend(more),
        (value, new) => *value = new,
    }
}

fn of_row(row: &Knob, rows: &[Knob], mode: Mode) -> Vec<Property> {
    match mode {
        Mode::V2 => v2(row, rows),
        Mode::V1 | Mode::Hybrid | Mode::None => v1(row, rows).into_iter().collect(),
    }
}

fn v2(row: &Knob, rows: &[Knob]) -> Vec<Property> {
    let value = row.value.trim();
    let one = |property: Option<Property>| property.into_iter().collect();
    match &*row.file {
        "memory.max" => one(limit("MemoryMax", value, 1)),
        "memory.high" => one(limit("MemoryHigh", value, 1)),
        "memory.low" => one(limit("MemoryLow", value, 0)),
        "memory.min" => one(limit("MemoryMin", value, 0)),
        "memory.swap.max" => one(limit("MemorySwapMax", value, 0)),
        "memory.oom.group" => one(match value {
            "0" => Some(Property::new("OOMPolicy", Value::text("continue"))),
            "1" => Some(Property::new("OOMPolicy", Value::text("kill"))),
            _ => None,
        })
        .into_iter()
        .map(|property: Property| Property { since: 253, ..property })
        .collect(),
        "pids.max" => one(limit(TASKS_MAX, value, 1)),
        // Both are one property.
        "cpu.weight" if is_idle(rows) => Vec::new(),
        "cpu.weight" => one(weight("CPUWeight", value)),
        "cpu.idle" if value == "1" => {
            vec![Property { since: 252, ..Property::new("CPUWeight", Value::U64(0)) }]
        }
        // A weight of its own, or none any more.
        "cpu.idle" if value == "0" && !rows.iter().any(|row| row.file == "cpu.weight") => {
            vec![Property { since: 252, ..Property::new("CPUWeight", Value::U64(INFINITY)) }]
        }
        "cpu.max" => quota(value),
        "cpuset.cpus" => one(set("AllowedCPUs", value)),
        "cpuset.mems" => one(set("AllowedMemoryNodes", value)),
        "io.weight" => one(io_weight(value)),
        "io.bfq.weight" => match &row.absent {
            Absent::Instead { file, value } if file == "io.weight" => one(io_weight(value)),
            _ => Vec::new(),
        },
        "io.max" => throttles(value),
        _ => Vec::new(),
    }
}

fn is_idle(rows: &[Knob]) -> bool {
    rows.iter().any(|row| row.file == "cpu.idle" && row.value.trim() == "1")
}

fn v1(row: &Knob, rows: &[Knob]) -> Option<Property> {
    let value = row.value.trim();
    match &*row.file {
        "memory.limit_in_bytes" => limit("MemoryLimit", value, 1),
        "pids.max" => limit(TASKS_MAX, value, 1),
        "cpu.shares" => {
            let shares = value.parse().ok().filter(|shares| (2..=262_144).contains(shares))?;
            Some(Property::new("CPUShares", Value::U64(shares)))
        }
        "blkio.bfq.weight" | "blkio.weight" => {
            let weight = value.parse().ok().filter(|weight| (10..=1000).contains(weight))?;
            Some(Property::new("BlockIOWeight", Value::U64(weight)))
        }
        "cpu.cfs_quota_us" => {
            let period = rows.iter().rfind(|row| row.file == "cpu.cfs_period_us");
            let period = period.and_then(|row| row.value.parse().ok()).unwrap_or(PERIOD);
            Some(per_second(value.parse().ok(), period))
        }
        "cpu.cfs_period_us" => value.parse().ok().map(period),
        _ => None,
    }
}

/// A number of at least `least`, or no limit: `max`, and what is negative on v1.
fn limit(name: &str, value: &str, least: u64) -> Option<Property> {
    let number = match value {
        "max" => INFINITY,
        value if value.starts_with('-') => INFINITY,
        value => value.parse().ok().filter(|number| *number >= least)?,
    };
    Some(Property::new(name, Value::U64(number)))
}

fn weight(name: &str, value: &str) -> Option<Property> {
    let weight = value.parse().ok().filter(|weight| (1..=10_000).contains(weight))?;
    Some(Property::new(name, Value::U64(weight)))
}

/// `cpu.max`: quota and period.
fn quota(value: &str) -> Vec<Property> {
    let mut words = value.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    let every = match words.next().map(str::parse) {
        None => PERIOD,
        Some(Ok(every)) if every > 0 => every,
        Some(_) => return Vec::new(),
    };
    let quota = match first {
        "max" => None,
        number => match number.parse() {
            Ok(number) => Some(number),
            Err(_) => return Vec::new(),
        },
    };
    let mut properties = vec![per_second(quota, every)];
    properties.push(period(every));
    properties
}

fn period(microseconds: u64) -> Property {
    Property { since: 242, ..Property::new("CPUQuotaPeriodUSec", Value::U64(microseconds)) }
}

/// Microseconds a second. systemd counts in whole per cent: what lies between is rounded up, so
/// that the group's file may say the exact quota.
fn per_second(quota: Option<i64>, period: u64) -> Property {
    let exact = quota.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0);
    let value = match exact.and_then(|quota| quota.checked_mul(1_000_000)) {
        Some(product) if period > 0 => (product / period).max(1).next_multiple_of(10_000),
        _ => INFINITY,
    };
    Property::new("CPUQuotaPerSecUSec", Value::U64(value))
}

/// A list of numbers (`0-2,5`) as bits.
fn set(name: &str, value: &str) -> Option<Property> {
    let mut bits: Vec<u8> = Vec::new();
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= CPUS {
            return None;
        }
        bits.resize(bits.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| bits[bit / 8] |= 1 << (bit % 8));
    }
    let property = Property::new(name, Value::bytes(&bits));
    (!bits.is_empty()).then_some(Property { since: 244, ..property })
}

/// `[default] WEIGHT` or `MAJOR:MINOR WEIGHT`.
fn io_weight(value: &str) -> Option<Property> {
    match value.split_once(' ') {
        None | Some(("default", _)) => weight("IOWeight", value.trim_start_matches("default ")),
        Some((device, number)) => {
            let Value::U64(number) = weight("", number)?.value else { return None };
            Some(per_device("IODeviceWeight", device, number))
        }
    }
}

fn per_device(name: &str, device: &str, number: u64) -> Property {
    let path = Value::text(format!("/dev/block/{device}"));
    let entry = Value::Struct(vec![path, Value::U64(number)]);
    Property::new(name, Value::Array("(st)".to_owned(), vec![entry]))
}

/// `MAJOR:MINOR rbps=N ...`
fn throttles(value: &str) -> Vec<Property> {
    let Some((device, limits)) = value.split_once(' ') else { return Vec::new() };
    let throttle = |limit: &str| {
        let (key, number) = limit.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        let number = if number == "max" { INFINITY } else { number.parse().ok()? };
        Some(per_device(name, device, number))
    };
    limits.split_whitespace().filter_map(throttle).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::knob::Knobs;
    use super::*;

    fn said(mode: Mode, rows: &[(&str, &str)]) -> Vec<(String, Value)> {
        let mut knobs = Knobs::default();
        for (file, value) in rows {
            knobs.set("x", file, value);
        }
        let properties = of_knobs(&knobs.rows, mode);
        properties.into_iter().map(|property| (property.name, property.value)).collect()
    }

    fn one(mode: Mode, file: &str, value: &str) -> Option<(String, Value)> {
        said(mode, &[(file, value)]).into_iter().next()
    }

    #[test]
    fn what_runc_says() {
        for (file, value, name, number) in [
            ("memory.max", "1048576", "MemoryMax", 1 << 20),
            ("memory.max", "max", "MemoryMax", INFINITY),
            ("memory.low", "0", "MemoryLow", 0),
            ("memory.high", "5", "MemoryHigh", 5),
            ("memory.min", "5", "MemoryMin", 5),
            ("memory.swap.max", "0", "MemorySwapMax", 0),
            ("pids.max", "7", "TasksMax", 7),
            ("pids.max", "max", "TasksMax", INFINITY),
            ("cpu.weight", "79", "CPUWeight", 79),
            ("cpu.idle", "1", "CPUWeight", 0),
            ("cpu.idle", "0", "CPUWeight", INFINITY),
            ("cpu.max", "50000 100000", "CPUQuotaPerSecUSec", 500_000),
            ("cpu.max", "max 100000", "CPUQuotaPerSecUSec", INFINITY),
            ("cpu.max", "9999 100000", "CPUQuotaPerSecUSec", 100_000),
            ("cpu.max", "10001 100000", "CPUQuotaPerSecUSec", 110_000),
            ("cpu.max", "4000 5000", "CPUQuotaPerSecUSec", 800_000),
            ("cpu.max", "20000", "CPUQuotaPerSecUSec", 200_000),
            ("io.weight", "default 200", "IOWeight", 200),
            ("io.weight", "200", "IOWeight", 200),
        ] {
            let expected = Some((name.to_owned(), Value::U64(number)));
            assert_eq!(one(Mode::V2, file, value), expected, "{file} {value}");
        }
        for (file, value, name, number) in [
            ("memory.limit_in_bytes", "1048576", "MemoryLimit", 1 << 20),
            ("memory.limit_in_bytes", "-1", "MemoryLimit", INFINITY),
            ("cpu.shares", "512", "CPUShares", 512),
            ("blkio.bfq.weight", "500", "BlockIOWeight", 500),
            ("cpu.cfs_quota_us", "-1", "CPUQuotaPerSecUSec", INFINITY),
            ("cpu.cfs_quota_us", "20000", "CPUQuotaPerSecUSec", 200_000),
            ("pids.max", "7", "TasksMax", 7),
        ] {
            let expected = Some((name.to_owned(), Value::U64(number)));
            assert_eq!(one(Mode::V1, file, value), expected, "{file} {value}");
        }
    }

    #[test]
    fn sets_as_bits() {
        for (value, bits) in [
            ("0", &[1][..]),
            ("0-2,5", &[0b10_0111]),
            ("9", &[0, 2]),
            ("4-8, 0", &[0b1111_0001, 1]),
        ] {
            let expected = Some(("AllowedCPUs".to_owned(), Value::bytes(bits)));
            assert_eq!(one(Mode::V2, "cpuset.cpus", value), expected, "{value}");
        }
    }

    #[test]
    fn devices_are_gathered() {
        let found = said(
            Mode::V2,
            &[("io.max", "8:0 rbps=7"), ("io.max", "8:16 rbps=max"), ("io.weight", "8:0 30")],
        );
        let entry = |path: &str, number| {
            Value::Struct(vec![Value::text(format!("/dev/block/{path}")), Value::U64(number)])
        };
        let list = |entries| Value::Array("(st)".to_owned(), entries);
        let rates = list(vec![entry("8:0", 7), entry("8:16", INFINITY)]);
        assert_eq!(found[0], ("IOReadBandwidthMax".to_owned(), rates));
        assert_eq!(found[1], ("IODeviceWeight".to_owned(), list(vec![entry("8:0", 30)])));
    }

    #[test]
    fn the_last_word_counts_and_idle_more_than_a_weight() {
        let found = said(Mode::V2, &[("memory.max", "5"), ("memory.max", "6")]);
        assert_eq!(found, [("MemoryMax".to_owned(), Value::U64(6))]);
        let found = said(Mode::V2, &[("cpu.weight", "5"), ("cpu.idle", "1")]);
        assert_eq!(found, [("CPUWeight".to_owned(), Value::U64(0))]);
    }

    /// The kernel is asked, and says what is wrong.
    #[test]
    fn what_systemd_would_refuse_is_left_to_the_files() {
        for (file, value) in [
            ("memory.max", "0"),
            ("memory.max", "1G"),
            ("pids.max", "0"),
            ("cpu.weight", "10001"),
            ("cpu.max", ""),
            ("cpu.max", "5 0"),
            ("cpuset.cpus", "2-1"),
            ("cpuset.cpus", "99999999"),
            ("cpuset.cpus", "x"),
            ("io.weight", "8:0 nothing"),
            ("io.max", "8:0"),
            ("hugetlb.2MB.max", "0"),
            ("rdma.max", "mlx hca_handle=1"),
        ] {
            assert_eq!(one(Mode::V2, file, value), None, "{file} {value}");
        }
    }
}
