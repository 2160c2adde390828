//! Which devices a container may use: the rules of `linux.resources.devices`
//! and the default ones, and what they come to.
//!
//! Everything is denied at first. Then the rules of the specification hold in
//! their order, then the default ones: a later rule overrules an earlier one.

mod exceptions;

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{Error, Result};
use exceptions::Exceptions;

/// Ways of using a device (bits as the kernel's `BPF_DEVCG_ACC_*`).
pub const MKNOD: u8 = 1;
/// Reading.
pub const READ: u8 = 2;
/// Writing.
pub const WRITE: u8 = 4;
/// All of them.
pub const ALL: u8 = MKNOD | READ | WRITE;

/// Block or character device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `b`
    Block,
    /// `c`
    Char,
}

/// A set of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Devices {
    /// Block or character.
    pub kind: Kind,
    /// The major number; `None` for every one.
    pub major: Option<u32>,
    /// The minor number; `None` for every one.
    pub minor: Option<u32>,
}

impl Devices {
    /// The sets that cover this one, itself among them.
    fn wider(&self) -> [Devices; 4] {
        let any = |major: bool, minor: bool| Devices {
            kind: self.kind,
            major: self.major.filter(|_| !major),
            minor: self.minor.filter(|_| !minor),
        };
        [any(false, false), any(false, true), any(true, false), any(true, true)]
    }

    /// Whether every device of `other` is one of these.
    pub(super) fn covers(&self, other: &Devices) -> bool {
        self.kind == other.kind
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Whether a device may be one of both.
    pub(super) fn meets(&self, other: &Devices) -> bool {
        let agree = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && agree(self.major, other.major) && agree(self.minor, other.minor)
    }
}

/// One rule: these ways of using these devices are allowed, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Allowed or denied.
    pub allow: bool,
    /// Of which devices it speaks.
    pub devices: Devices,
    /// Of which ways of using them: bits.
    pub access: u8,
}

/// What holds for a container: `rules` in order, the last that speaks of a
/// device and a way of using it decides, and `otherwise` where none does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRules {
    /// Whether a device is allowed that no rule speaks of.
    pub otherwise: bool,
    /// The rules.
    pub rules: Vec<Rule>,
}

const fn row(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule { allow: true, devices: Devices { kind, major, minor }, access }
}

/// Any node may be made: using it is another matter. The first of runc's list.
const ANY_NODE: [Rule; 2] =
    [row(Kind::Char, None, None, MKNOD), row(Kind::Block, None, None, MKNOD)];

/// What every container may use, whatever the specification says: the rest of runc's list.
const DEFAULTS: [Rule; 9] = [
    row(Kind::Char, Some(1), Some(3), ALL),    // null
    row(Kind::Char, Some(1), Some(8), ALL),    // random
    row(Kind::Char, Some(1), Some(7), ALL),    // full
    row(Kind::Char, Some(5), Some(0), ALL),    // tty
    row(Kind::Char, Some(1), Some(5), ALL),    // zero
    row(Kind::Char, Some(1), Some(9), ALL),    // urandom
    row(Kind::Char, Some(136), None, ALL),     // pts/*
    row(Kind::Char, Some(5), Some(2), ALL),    // ptmx
    row(Kind::Char, Some(10), Some(200), ALL), // net/tun
];

/// Which device nodes a container may make that no rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mknod {
    /// Every one, as with runc.
    Any,
    /// These: the configuration's `linux.devices`, which the container's first process makes.
    Listed(Vec<Devices>),
}

impl Mknod {
    /// Those of `linux.devices`.
    pub fn listed(devices: &[LinuxDevice]) -> Mknod {
        let number = |number: i64| u32::try_from(number).ok();
        let node = |device: &LinuxDevice| {
            let kind = match device.typ() {
                LinuxDeviceType::B => Kind::Block,
                LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
                LinuxDeviceType::P | LinuxDeviceType::A => return None,
            };
            let (major, minor) = (number(device.major())?, number(device.minor())?);
            Some(Devices { kind, major: Some(major), minor: Some(minor) })
        };
        Mknod::Listed(devices.iter().filter_map(node).collect())
    }

    fn rules(&self) -> Vec<Rule> {
        match self {
            Mknod::Any => ANY_NODE.to_vec(),
            Mknod::Listed(nodes) => {
                let row =
                    |devices: &Devices| Rule { allow: true, devices: *devices, access: MKNOD };
                nodes.iter().map(row).collect()
            }
        }
    }
}

/// Reads `linux.resources.devices` and appends the default rules.
///
/// # Errors
/// A rule has no meaning; the message names it.
pub fn rules(list: &[LinuxDeviceCgroup], mknod: &Mknod) -> Result<DeviceRules> {
    let mut all = DeviceRules { otherwise: false, rules: Vec::with_capacity(list.len() + 11) };
    for (index, entry) in list.iter().enumerate() {
        match parse(entry)
            .map_err(|why| Error::config(format!("linux.resources.devices[{index}]: {why}")))?
        {
            // All devices: what was said before counts no more.
            None => {
                all.otherwise = entry.allow();
                all.rules.clear();
            }
            Some(rule) => all.rules.push(rule),
        }
    }
    all.rules.extend(mknod.rules());
    all.rules.extend(DEFAULTS);
    all.drop_overruled();
    Ok(all)
}

/// A rule; `None` for all devices, whatever numbers stand beside `a`.
fn parse(entry: &LinuxDeviceCgroup) -> std::result::Result<Option<Rule>, String> {
    let access = match entry.access().as_deref() {
        None | Some("") => ALL,
        Some(letters) => letters.chars().try_fold(0, |bits, letter| match letter {
            'r' => Ok(bits | READ),
            'w' => Ok(bits | WRITE),
            'm' => Ok(bits | MKNOD),
            other => Err(format!("access {letters:?}: {other:?} is none of r, w, m")),
        })?,
    };
    let kind = match entry.typ() {
        None | Some(LinuxDeviceType::A) => return Ok(None),
        Some(LinuxDeviceType::B) => Kind::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Kind::Char,
        Some(LinuxDeviceType::P) => return Err("type \"p\" is no device".to_owned()),
    };
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(n) => match i32::try_from(n).ok().and_then(|n| u32::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(format!("{name} {n} is out of range")),
        },
    };
    let (major, minor) = (number("major", entry.major())?, number("minor", entry.minor())?);
    Ok(Some(Rule { allow: entry.allow(), devices: Devices { kind, major, minor }, access }))
}

impl DeviceRules {
    /// Whether nothing is denied.
    pub fn allow_everything(&self) -> bool {
        self.otherwise && self.rules.iter().all(|rule| rule.allow)
    }

    /// Drops rules that later ones overrule altogether: engines repeat the
    /// default rules in their own lists.
    fn drop_overruled(&mut self) {
        // Of later rules, by their devices: the bit for each set of accesses.
        let mut later: BTreeMap<Devices, u8> = BTreeMap::new();
        let mut kept: Vec<Rule> = Vec::with_capacity(self.rules.len());
        for rule in self.rules.iter().rev() {
            let covers =
                |access: &u8, seen: u8| seen & (1 << access) != 0 && rule.access & !access == 0;
            let overruled = rule.devices.wider().into_iter().any(|devices| {
                let seen = later.get(&devices).copied().unwrap_or(0);
                (0..=ALL).any(|access| covers(&access, seen))
            });
            *later.entry(rule.devices).or_default() |= 1 << rule.access;
            if !overruled {
                kept.push(*rule);
            }
        }
        kept.reverse();
        self.rules = kept;
    }

    /// The lines for v1's `devices.deny` and `devices.allow`, in order: the
    /// whole first, then the exceptions. v1 keeps exceptions of one sort only, and
    /// silently ignores a rule that takes a part out of an exception.
    ///
    /// # Errors
    /// Such a rule: it would leave allowed what the specification denies.
    pub fn v1_lines(&self) -> Result<Vec<(&'static str, String)>> {
        let mut exceptions = Exceptions::default();
        for rule in &self.rules {
            if rule.allow != self.otherwise {
                exceptions.add(*rule);
                continue;
            }
            exceptions.take(rule).map_err(|exception| {
                let word = |rule: &Rule| if rule.allow { "allow" } else { "deny" };
                Error::config(format!(
                    "linux.resources.devices: cgroup v1 cannot {} {} and {} {} within it",
                    word(&exception),
                    line(&exception),
                    word(rule),
                    line(rule),
                ))
            })?;
        }
        let (whole, single) = match self.otherwise {
            true => ("devices.allow", "devices.deny"),
            false => ("devices.deny", "devices.allow"),
        };
        let mut lines = vec![(whole, "a".to_owned())];
        lines.extend(exceptions.left().map(|rule| (single, line(&rule))));
        Ok(lines)
    }
}

/// A rule as v1 writes it: `c 1:3 rwm`.
fn line(rule: &Rule) -> String {
    let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
    let mut text = match rule.devices.kind {
        Kind::Block => "b ".to_owned(),
        Kind::Char => "c ".to_owned(),
    };
    text += &format!("{}:{} ", number(rule.devices.major), number(rule.devices.minor));
    for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
        if rule.access & bit != 0 {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(json: &str) -> Result<DeviceRules> {
        rules(&serde_json::from_str::<Vec<LinuxDeviceCgroup>>(json).unwrap(), &Mknod::Any)
    }

    fn lines(json: &str) -> Vec<String> {
        let lines = parse_all(json).unwrap().v1_lines().unwrap();
        lines.into_iter().map(|(file, line)| format!("{file} {line}")).collect()
    }

    const DEFAULT_LINES: [&str; 11] = [
        "devices.allow c *:* m",
        "devices.allow b *:* m",
        "devices.allow c 1:3 rwm",
        "devices.allow c 1:8 rwm",
        "devices.allow c 1:7 rwm",
        "devices.allow c 5:0 rwm",
        "devices.allow c 1:5 rwm",
        "devices.allow c 1:9 rwm",
        "devices.allow c 136:* rwm",
        "devices.allow c 5:2 rwm",
        "devices.allow c 10:200 rwm",
    ];

    #[test]
    fn everything_is_denied_but_the_defaults() {
        for list in ["[]", r#"[{"allow":false,"access":"rwm"}]"#, r#"[{"allow":false}]"#] {
            assert_eq!(lines(list)[0], "devices.deny a");
            assert_eq!(lines(list)[1..], DEFAULT_LINES, "{list}");
        }
    }

    #[test]
    fn the_specifications_rules_come_before_the_defaults() {
        let got = lines(
            r#"[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
            {"allow":true,"type":"b","major":8,"minor":-1,"access":"r"},
            {"allow":false,"type":"c","major":1,"minor":3,"access":"w"}]"#,
        );
        assert_eq!(
            got[..3],
            ["devices.deny a", "devices.allow c 10:229 rw", "devices.allow b 8:* r"]
        );
        assert_eq!(got[3..], DEFAULT_LINES);
    }

    #[test]
    fn what_an_engine_repeats_is_written_once() {
        let got = lines(
            r#"[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
            {"allow":true,"type":"c","access":"m"}]"#,
        );
        assert_eq!(got.len(), 12);
    }

    #[test]
    fn privileged_containers_may_use_everything() {
        let rules =
            parse_all(r#"[{"allow":false},{"allow":true,"type":"a","access":"rwm"}]"#).unwrap();
        assert!(rules.allow_everything());
    }

    #[test]
    fn exceptions_from_everything_are_denied_on_v1() {
        let got = lines(
            r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"rwm"},
            {"allow":true,"type":"b","major":8,"access":"r"}]"#,
        );
        // The default rules allow making nodes again.
        assert_eq!(got, ["devices.allow a", "devices.deny b 8:* w"]);
    }

    #[test]
    fn a_rule_that_v1_would_ignore_is_an_error() {
        let rules = parse_all(
            r#"[{"allow":true,"type":"b","major":8,"access":"rwm"},
            {"allow":false,"type":"b","major":8,"minor":1,"access":"w"}]"#,
        )
        .unwrap();
        assert_eq!(
            rules.v1_lines().unwrap_err().to_string(),
            "linux.resources.devices: cgroup v1 cannot allow b 8:* rwm and deny b 8:1 w within it"
        );
    }

    #[test]
    fn rules_without_meaning_are_named() {
        for (json, words) in [
            (
                r#"[{"allow":true},{"allow":true,"type":"c","access":"x"}]"#,
                "devices[1]: access \"x\"",
            ),
            (r#"[{"allow":true,"type":"c","major":-2}]"#, "devices[0]: major -2"),
            (r#"[{"allow":true,"type":"c","minor":4294967296}]"#, "devices[0]: minor 4294967296"),
            (r#"[{"allow":true,"type":"p"}]"#, "devices[0]: type \"p\""),
        ] {
            let error = parse_all(json).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
