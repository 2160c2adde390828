//! Capabilities by name: what a container's processes may do. Pure.

use std::collections::HashSet;

use caps::Capability;

/// What containers' root may do where nothing else is said: as Docker and Kubernetes have it.
pub const USUAL: [Capability; 14] = [
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

/// The same as podman has it.
pub const PODMANS: [Capability; 11] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

/// All that Linux has, by number (the runtime leaves out what this kernel does not know).
pub fn all() -> Vec<Capability> {
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.sort_by_key(Capability::index);
    all
}

/// A capability by its name, in whatever letters, with or without `CAP_`.
pub fn named(word: &str) -> Option<Capability> {
    caps::to_canonical(word).parse().ok()
}

/// Whether a word is a capability's name, or `ALL`.
pub fn is_known(word: &str) -> bool {
    is_all(word) || named(word).is_some()
}

fn is_all(word: &str) -> bool {
    word.eq_ignore_ascii_case("ALL")
}

/// What is held, by number, when these are added to the usual ones and those dropped, each by a
/// name or `ALL`: who is named to be added is held in any case, and who is named to be dropped
/// outdoes `ALL`.
pub fn granted(usual: &[Capability], add: &[String], drop: &[String]) -> Vec<Capability> {
    let every = |list: &[String]| list.iter().any(|word| is_all(word));
    let named = |list: &[String]| -> HashSet<Capability> {
        list.iter().filter_map(|word| named(word)).collect()
    };
    let (added, dropped) = (named(add), named(drop));
    let held = |one: &Capability| {
        let by_default = every(add) || usual.contains(one) && !every(drop);
        added.contains(one) || by_default && !dropped.contains(one)
    };
    all().into_iter().filter(held).collect()
}

/// Their names, as `config.json` has them.
pub fn names(of: &[Capability]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_every_form() {
        for word in ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "cap_net_admin"] {
            assert_eq!(named(word), Some(Capability::CAP_NET_ADMIN), "{word}");
        }
        assert!(is_known("all") && !is_known("NO_SUCH") && !is_known(""));
        assert_eq!(all().len(), 41);
        assert_eq!(names(&all()[..2]), ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    }

    #[test]
    fn added_and_dropped() {
        let held = |add: &[&str], drop: &[&str]| {
            let list = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
            let (add, drop): (Vec<String>, Vec<String>) = (list(add), list(drop));
            names(&granted(&USUAL, &add, &drop))
        };
        assert_eq!(held(&[], &[]).len(), USUAL.len());
        assert_eq!(held(&[], &["ALL"]), Vec::<String>::new());
        assert_eq!(held(&["NET_ADMIN"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(held(&["ALL"], &["SYS_ADMIN"]).len(), all().len() - 1);
        assert_eq!(held(&["ALL"], &["ALL"]).len(), all().len());
        assert!(!held(&[], &["KILL"]).contains(&"CAP_KILL".to_owned()));
    }
}
