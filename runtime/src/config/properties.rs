//! Which properties of a container's scope an annotation may set at all.

/// Properties that are the runtime's to set: nobody may allow them.
const OWN: [&str; 12] = [
    "PIDs",
    "PIDFDs",
    "Slice",
    "Delegate",
    "DelegateSubgroup",
    "DevicePolicy",
    "DeviceAllow",
    "Controller",
    "DefaultDependencies",
    "CollectMode",
    "BPFProgram",
    "RestrictNetworkInterfaces",
];

/// Whether a property may be allowed.
///
/// # Errors
/// Why not.
pub fn check_property(name: &str) -> Result<(), String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is no property's name"));
    }
    match OWN.contains(&name) {
        true => Err(format!("{name} is the runtime's own")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_property;

    #[test]
    fn names() {
        assert_eq!(check_property("TimeoutStopUSec"), Ok(()));
        for bad in ["", "ab", "a.b", "Slice", "DeviceAllow", "\u{e4}\u{e4}\u{e4}"] {
            assert!(check_property(bad).is_err(), "{bad}");
        }
    }
}
