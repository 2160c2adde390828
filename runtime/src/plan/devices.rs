//! The devices and links under `/dev`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDeviceType, Spec};

use super::mounts::cleaned;
use crate::error::{Error, Result};

/// What kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A FIFO.
    Fifo,
}

/// A node to be made, or bound where making one is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStep {
    /// Inside the root, and the host's own place of it.
    pub path: PathBuf,
    /// The configuration lists it.
    pub listed: bool,
    /// Kind of node.
    pub kind: NodeKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
}

/// What every container has (runtime-spec, config-linux.md "Default Devices").
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links that every container has under `/dev`: name and target
/// (runtime-linux.md "Dev symbolic links").
pub const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Whether `/dev` is the container's own: with the host's bound over it,
/// nothing is made there.
pub fn own_dev(spec: &Spec) -> bool {
    !spec.mounts().iter().flatten().any(|mount| {
        let bind = mount.options().iter().flatten().any(|o| o == "bind" || o == "rbind")
            || mount.typ().as_deref() == Some("bind");
        bind && cleaned(mount.destination()) == Path::new("/dev")
    })
}

/// The nodes of a container: the defaults, and those of `linux.devices`, which
/// may change a default's mode and owner.
///
/// # Errors
/// A field of `linux.devices` that names no device.
pub fn devices(spec: &Spec) -> Result<Vec<DeviceStep>> {
    let mut steps: Vec<DeviceStep> = DEFAULTS
        .iter()
        .map(|&(path, major, minor)| DeviceStep {
            path: PathBuf::from(path),
            listed: false,
            kind: NodeKind::Char,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    let mut places: BTreeMap<PathBuf, usize> =
        steps.iter().enumerate().map(|(place, step)| (step.path.clone(), place)).collect();
    let linux = spec.linux().as_ref();
    let given = linux.and_then(|linux| linux.devices().as_ref());
    for (index, device) in given.into_iter().flatten().enumerate() {
        let field = format!("linux.devices[{index}]");
        let kind = match device.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => NodeKind::Char,
            LinuxDeviceType::B => NodeKind::Block,
            LinuxDeviceType::P => NodeKind::Fifo,
            LinuxDeviceType::A => {
                return Err(Error::config(format!("{field}.type: must be c, b, u or p")));
            }
        };
        let number = |name: &str, value: i64| match kind {
            NodeKind::Fifo => Ok(0),
            _ => u32::try_from(value)
                .map_err(|_| Error::config(format!("{field}.{name}: {value} is out of range"))),
        };
        let step = DeviceStep {
            path: cleaned(device.path()),
            listed: true,
            kind,
            major: number("major", device.major())?,
            minor: number("minor", device.minor())?,
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        };
        // /dev/ptmx is always the container's own.
        if step.path == Path::new("/dev/ptmx") {
            continue;
        }
        match places.entry(step.path.clone()) {
            Entry::Occupied(known) => steps[*known.get()] = step,
            Entry::Vacant(place) => {
                place.insert(steps.len());
                steps.push(step);
            }
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(devices: &str) -> Result<Vec<DeviceStep>> {
        let text = format!(r#"{{"ociVersion":"1.0.0","linux":{{"devices":[{devices}]}}}}"#);
        super::devices(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn given_devices_join_and_replace_the_defaults() {
        let steps = of(r#"{"path":"/dev/fuse","type":"c","major":10,"minor":229,"uid":7},
            {"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":384},
            {"path":"/dev/ptmx","type":"c","major":5,"minor":2},
            {"path":"/run/pipe","type":"p"}"#)
        .unwrap();
        assert_eq!(steps.len(), 8);
        assert_eq!(steps[0].mode, 0o600);
        assert_eq!((steps[6].minor, steps[6].uid), (229, 7));
        assert_eq!(steps[7].kind, NodeKind::Fifo);
    }

    #[test]
    fn what_is_no_device_is_named() {
        for (json, words) in [
            (r#"{"path":"/dev/x","type":"a"}"#, "linux.devices[0].type"),
            (r#"{"path":"/dev/x","type":"c","major":-1,"minor":0}"#, "linux.devices[0].major"),
        ] {
            assert!(of(json).unwrap_err().to_string().starts_with(words));
        }
    }

    #[test]
    fn a_bound_dev_is_left_alone() {
        let own = |options: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.0.0","mounts":[{{"destination":"/dev/","type":"x","options":[{options}]}}]}}"#
            );
            own_dev(&serde_json::from_str(&text).unwrap())
        };
        assert!(own(r#""nosuid""#));
        assert!(!own(r#""rbind""#));
    }
}
