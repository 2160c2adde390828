//! The ids of ordinary users: pure.

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};

/// A part of a mapping: `count` ids from `inside` are those from `outside`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first one in the namespace.
    pub inside: u32,
    /// The first one on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A user namespace's mappings: its owner is root in it, and his subordinate ids follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Of users.
    pub users: Vec<Range>,
    /// Of groups.
    pub groups: Vec<Range>,
}

impl Ids {
    /// Those of a user, by the texts of `/etc/subuid` and `/etc/subgid`.
    pub fn of(name: Option<&str>, uid: u32, gid: u32, subuid: &str, subgid: &str) -> Ids {
        Ids { users: mapping(subuid, name, uid, uid), groups: mapping(subgid, name, uid, gid) }
    }

    /// Whether there is more than the user himself.
    pub fn is_range(&self) -> bool {
        self.users.len() > 1 && self.groups.len() > 1
    }

    /// The user himself and nobody else: what the kernel allows without a helper.
    pub fn alone(mut self) -> Ids {
        self.users.truncate(1);
        self.groups.truncate(1);
        self
    }
}

/// A mapping as `config.json` has it.
pub fn mappings(ranges: &[Range]) -> Vec<LinuxIdMapping> {
    let one = |range: &Range| {
        let mapping = LinuxIdMappingBuilder::default();
        let mapping = mapping.container_id(range.inside).host_id(range.outside).size(range.count);
        mapping.build().unwrap_or_default()
    };
    ranges.iter().map(one).collect()
}

/// `NAME-OR-ID:FIRST:COUNT` lines to a mapping; `own` is the first id of it.
fn mapping(text: &str, name: Option<&str>, uid: u32, own: u32) -> Vec<Range> {
    let mut ranges = vec![Range { inside: 0, outside: own, count: 1 }];
    let mut inside = 1u32;
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [who, first, count] = fields[..] else { continue };
        if Some(who) != name && who.parse() != Ok(uid) {
            continue;
        }
        let (Ok(outside), Ok(count)) = (first.parse::<u32>(), count.parse::<u32>()) else {
            continue;
        };
        let Some(next) = inside.checked_add(count) else { break };
        if count > 0 {
            ranges.push(Range { inside, outside, count });
            inside = next;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_name_and_number() {
        let file = "other:1:2\nme:100000:65536\n1001:300000:10\nme:bad:1\nme:5:0\nme:1:2:3\n";
        let range = |inside, outside, count| Range { inside, outside, count };
        let of_me = [range(0, 1001, 1), range(1, 100_000, 65536), range(65537, 300_000, 10)];
        assert_eq!(mapping(file, Some("me"), 1001, 1001), of_me);
        assert_eq!(mapping("", None, 7, 8), [range(0, 8, 1)]);
        let ids = Ids::of(Some("me"), 1001, 1002, file, "");
        assert_eq!((ids.users.len(), &ids.groups[..]), (3, &[range(0, 1002, 1)][..]));
        assert!(!ids.is_range() && ids.alone().users.len() == 1);
    }

    #[test]
    fn no_sum_is_too_large() {
        let file = format!("me:1:{}\nme:1:{}\nme:1:9\n", u32::MAX - 5, 9);
        assert_eq!(mapping(&file, Some("me"), 1, 1).len(), 2);
    }
}
