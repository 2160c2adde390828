//! The checks on `linux.netDevices` (runtime-spec 1.3, config-linux.md "Network Devices").

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxNamespaceType as Kind, Spec};

use super::finding::wrong;
use crate::error::Result;

/// The longest name of a device, in bytes (`IFNAMSIZ` without its NUL).
const LONGEST: usize = 15;

/// Whether every device can be asked for by its name, and gets one that may be.
pub fn check(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let linux = spec.linux().as_ref();
    let devices = linux.and_then(|linux| linux.net_devices().as_ref());
    let Some(devices) = devices.filter(|devices| !devices.is_empty()) else { return Ok(()) };
    // One that a path names is somebody's own; the host's are not listed by now (`namespaces`).
    let namespaces = linux.iter().flat_map(|linux| linux.namespaces().iter().flatten());
    if !namespaces.into_iter().any(|namespace| namespace.typ() == Kind::Network) {
        let cause = "devices cannot be moved: the container has no network namespace of its own";
        return Err(wrong("linux.netDevices", cause));
    }
    let mut inside = BTreeSet::new();
    for (name, device) in devices {
        let field = format!("linux.netDevices[{name:?}]");
        valid(name, false).map_err(|cause| wrong(&field, format!("{name:?} {cause}")))?;
        let new = device.name().as_deref().filter(|new| !new.is_empty());
        if let Some(new) = new {
            let field = format!("{field}.name");
            valid(new, true).map_err(|cause| wrong(&field, format!("{new:?} {cause}")))?;
        }
        let new = new.unwrap_or(name);
        if !new.contains('%') && !inside.insert(new.to_owned()) {
            return Err(wrong(&field, format!("another device is to be {new:?} too")));
        }
    }
    Ok(())
}

/// What the kernel takes for a name (`dev_valid_name`); a template has one `%d`, for the first
/// number that is free (`dev_alloc_name`).
fn valid(name: &str, may_be_template: bool) -> std::result::Result<(), &'static str> {
    if name.is_empty() || name.len() > LONGEST {
        return Err("is no name of a network device: 1 to 15 bytes");
    }
    let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
    if name == "." || name == ".." || name.contains(bad) {
        return Err("is no name of a network device: no '/', ':' and white space");
    }
    match name.split_once('%') {
        None => Ok(()),
        Some((_, rest)) if may_be_template && rest.starts_with('d') && !rest.contains('%') => {
            Ok(())
        }
        Some(_) if may_be_template => Err("is no template: one %d, and no other '%'"),
        Some(_) => Err("is a template: which device is meant?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(namespaces: &str, devices: &str) -> Option<String> {
        let text = format!(
            r#"{{"ociVersion": "1.3.0", "linux": {{"namespaces": {namespaces}, "netDevices": {devices}}}}}"#
        );
        let spec: Spec = serde_json::from_str(&text).unwrap();
        check(&spec, &mut Vec::new()).err().map(|error| error.to_string())
    }

    #[test]
    fn names_are_the_kernels() {
        let own = r#"[{"type": "network"}]"#;
        for good in [
            "{}",
            r#"{"eth0": {}}"#,
            r#"{"eth0": {"name": ""}, "eth1": {"name": "ctr"}}"#,
            r#"{"eth0": {"name": "e%d"}, "eth1": {"name": "e%d"}}"#,
        ] {
            assert_eq!(error(own, good), None, "{good}");
        }
        for (bad, what) in [
            (r#"{"eth%d": {}}"#, "is a template"),
            (r#"{"a/b": {}}"#, "no '/'"),
            (r#"{"": {}}"#, "1 to 15 bytes"),
            (r#"{"0123456789abcdef": {}}"#, "1 to 15 bytes"),
            (r#"{"eth0": {"name": "e%s"}}"#, "is no template"),
            (r#"{"eth0": {"name": "%d%d"}}"#, "is no template"),
            (r#"{"eth0": {"name": ".."}}"#, "no '/'"),
            (r#"{"eth0": {"name": "x"}, "eth1": {"name": "x"}}"#, "another device is to be"),
            (r#"{"eth0": {"name": "eth1"}, "eth1": {}}"#, "another device is to be"),
        ] {
            let said = error(own, bad).unwrap_or_default();
            assert!(said.starts_with("linux.netDevices") && said.contains(what), "{bad}: {said}");
        }
    }

    #[test]
    fn there_must_be_somewhere_to_move_them() {
        let said = error("[]", r#"{"eth0": {}}"#).unwrap();
        assert!(said.contains("no network namespace of its own"), "{said}");
        assert_eq!(error("[]", "{}"), None);
    }
}
