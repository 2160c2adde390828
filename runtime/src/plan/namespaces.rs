//! The namespaces of a container: which are new, which are joined, and in
//! which of the launch's processes each comes to be.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespaceType as Kind, Spec};

use super::id_ranges::IdRange;
pub use crate::config::namespaces::proc_name;

/// `CLONE_NEW*` of clone(2).
pub fn flag(kind: Kind) -> u64 {
    match kind {
        Kind::Time => 0x80,
        Kind::Mount => 0x0002_0000,
        Kind::Cgroup => 0x0200_0000,
        Kind::Uts => 0x0400_0000,
        Kind::Ipc => 0x0800_0000,
        Kind::User => 0x1000_0000,
        Kind::Pid => 0x2000_0000,
        Kind::Network => 0x4000_0000,
    }
}

/// Every kind, in the order in which they are joined. The user namespace stands
/// first, since it gives the rights over those that it owns; who has rights over another
/// one joins that before it (`launch::join::all`).
pub const JOIN_ORDER: [Kind; 8] = [
    Kind::User,
    Kind::Pid,
    Kind::Network,
    Kind::Ipc,
    Kind::Uts,
    Kind::Cgroup,
    Kind::Time,
    Kind::Mount,
];

/// An existing namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its kind.
    pub kind: Kind,
    /// A file that stands for it.
    pub path: PathBuf,
}

/// The namespaces of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// The flags of all that are new.
    pub new: u64,
    /// Those that exist already, in the order of [`JOIN_ORDER`].
    pub joined: Vec<Joined>,
    /// User ids of a new user namespace.
    pub uids: Vec<IdRange>,
    /// Group ids of a new user namespace.
    pub gids: Vec<IdRange>,
    /// Clock, seconds, nanoseconds of a new time namespace.
    pub time_offsets: Vec<(String, i64, u32)>,
}

impl Namespaces {
    /// Reads them from a configuration that has been validated.
    pub fn new(spec: &Spec) -> Self {
        let mut namespaces = Namespaces::default();
        let Some(linux) = spec.linux() else { return namespaces };
        for namespace in linux.namespaces().iter().flatten() {
            match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
                None => namespaces.new |= flag(namespace.typ()),
                Some(path) => {
                    namespaces.joined.push(Joined { kind: namespace.typ(), path: path.clone() });
                }
            }
        }
        let place = |joined: &Joined| JOIN_ORDER.iter().position(|kind| *kind == joined.kind);
        namespaces.joined.sort_by_key(place);
        if namespaces.has_new(Kind::User) {
            namespaces.uids = IdRange::list(linux.uid_mappings());
            namespaces.gids = IdRange::list(linux.gid_mappings());
        }
        for (clock, offset) in linux.time_offsets().iter().flatten() {
            let (secs, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            namespaces.time_offsets.push((clock.clone(), secs, nanos));
        }
        namespaces.time_offsets.sort();
        namespaces
    }

    /// Whether the container has a new namespace of this kind.
    pub fn has_new(&self, kind: Kind) -> bool {
        self.new & flag(kind) != 0
    }

    /// Whether it joins one of this kind.
    pub fn joins(&self, kind: Kind) -> bool {
        self.joined.iter().any(|joined| joined.kind == kind)
    }

    /// Whether it has one of its own of this kind, new or joined.
    pub fn has(&self, kind: Kind) -> bool {
        self.has_new(kind) || self.joins(kind)
    }

    /// Those that `clone3` makes. The rest is made by the child itself: the
    /// network namespace, which takes as long as everything else together and
    /// for which the parent need not wait; the cgroup namespace, whose top is
    /// the group that the child is in by then; the time namespace, which takes
    /// its offsets only while nobody is in it.
    pub fn at_clone(&self) -> u64 {
        self.new & !self.by_child()
    }

    /// Those that the child makes by unshare(2).
    pub fn by_child(&self) -> u64 {
        self.new & (flag(Kind::Network) | flag(Kind::Cgroup) | flag(Kind::Time))
    }

    /// Whether the first process is to be born last: in a pid namespace in which there are others,
    /// who may see all that it has.
    pub fn born_last(&self) -> bool {
        self.joins(Kind::Pid)
    }

    /// Whether a process must stand between the runtime and the container's
    /// first process: namespaces are joined with the rights over the user
    /// namespace that owns them, so before a new user namespace is made and
    /// after an existing one is joined.
    pub fn needs_intermediate(&self) -> bool {
        self.joins(Kind::User) || (self.has_new(Kind::User) && !self.joined.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(list: &str) -> Namespaces {
        let text = format!(
            r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{list}],
            "uidMappings":[{{"containerID":0,"hostID":5,"size":1}}],
            "timeOffsets":{{"monotonic":{{"secs":-3}},"boottime":{{"nanosecs":7}}}}}}}}"#
        );
        Namespaces::new(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn each_namespace_is_made_where_it_can_be() {
        let all = namespaces(
            r#"{"type":"pid"},{"type":"network"},{"type":"mount"},{"type":"cgroup"},
            {"type":"user"},{"type":"time"},{"type":"uts","path":""}"#,
        );
        let flags = |kinds: &[Kind]| kinds.iter().fold(0, |all, kind| all | flag(*kind));
        assert_eq!(all.at_clone(), flags(&[Kind::Pid, Kind::Mount, Kind::User, Kind::Uts]));
        assert_eq!(all.by_child(), flags(&[Kind::Network, Kind::Cgroup, Kind::Time]));
        assert_eq!(all.uids, [IdRange { inside: 0, outside: 5, count: 1 }]);
        assert_eq!(
            all.time_offsets,
            [("boottime".to_owned(), 0, 7), ("monotonic".to_owned(), -3, 0)]
        );
        assert!(!all.needs_intermediate());
    }

    #[test]
    fn the_user_namespace_is_joined_first_and_by_a_process_between() {
        let joined = namespaces(
            r#"{"type":"mount"},{"type":"network","path":"/n"},{"type":"user","path":"/u"}"#,
        );
        assert_eq!(joined.joined[0].kind, Kind::User);
        assert!(joined.needs_intermediate() && joined.uids.is_empty());
        let outer = namespaces(r#"{"type":"user"},{"type":"network","path":"/n"}"#);
        assert!(outer.needs_intermediate());
        assert!(!namespaces(r#"{"type":"pid","path":"/p"}"#).needs_intermediate());
    }
}
