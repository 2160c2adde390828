//! The ids that an ordinary user may use: his own and his ranges in `/etc/subuid` and
//! `/etc/subgid`.

use std::fs;

use rustix::process::{getgid, getuid};

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

/// A user namespace's mappings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Of users.
    pub users: Vec<Range>,
    /// Of groups.
    pub groups: Vec<Range>,
}

impl Ids {
    /// The caller's: he is root, and his ranges follow.
    #[must_use]
    pub fn of_caller() -> Ids {
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        let name = name_of(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid);
        let ranges = |file: &str, id: u32| {
            mapping(&fs::read_to_string(file).unwrap_or_default(), name.as_deref(), uid, id)
        };
        Ids { users: ranges("/etc/subuid", uid), groups: ranges("/etc/subgid", gid) }
    }

    /// Whether there is more than the caller himself.
    #[must_use]
    pub fn is_range(&self) -> bool {
        self.users.len() > 1 && self.groups.len() > 1
    }
}

fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// `NAME-OR-ID:FIRST:COUNT` lines to a mapping.
fn mapping(file: &str, name: Option<&str>, uid: u32, own: u32) -> Vec<Range> {
    let mut ranges = vec![Range { inside: 0, outside: own, count: 1 }];
    let mut inside = 1u32;
    for line in file.lines() {
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
    fn lines() {
        let file = "other:1:2\nme:100000:65536\n1001:300000:10\nme:bad:1\nme:5:0\n";
        let range = |inside, outside, count| Range { inside, outside, count };
        assert_eq!(
            mapping(file, Some("me"), 1001, 1001),
            [range(0, 1001, 1), range(1, 100_000, 65536), range(65537, 300_000, 10)]
        );
        assert_eq!(mapping("", None, 7, 8), [range(0, 8, 1)]);
        assert_eq!(name_of("root:x:0:0::/:\nme:x:1001:1001::/:", 1001), Some("me".to_owned()));
    }
}
