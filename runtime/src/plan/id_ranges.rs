//! Ranges of ids: those of user namespaces and of id-mapped mounts.

use oci_spec::runtime::LinuxIdMapping;

/// How the ids of an id-mapped mount are translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// User ids; empty: those of the container's user namespace.
    pub uids: Vec<IdRange>,
    /// Group ids; empty: those of the container's user namespace.
    pub gids: Vec<IdRange>,
    /// The mounts below it too (`ridmap`).
    pub recursive: bool,
}

/// A range of ids (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// The ranges of a specification's list.
    pub fn list(maps: &Option<Vec<LinuxIdMapping>>) -> Vec<IdRange> {
        let range = |map: &LinuxIdMapping| IdRange {
            inside: map.container_id(),
            outside: map.host_id(),
            count: map.size(),
        };
        maps.iter().flatten().map(range).collect()
    }

    /// The text that `/proc/PID/uid_map` takes.
    pub fn text(ranges: &[IdRange]) -> String {
        let line = |r: &IdRange| format!("{} {} {}\n", r.inside, r.outside, r.count);
        ranges.iter().map(line).collect()
    }

    /// What the text of `/proc/PID/uid_map` says.
    pub fn parse(text: &str) -> Vec<IdRange> {
        let range = |line: &str| {
            let mut words = line.split_whitespace().map(|word| word.parse().ok());
            let [inside, outside, count] = [words.next()??, words.next()??, words.next()??];
            Some(IdRange { inside, outside, count })
        };
        text.lines().filter_map(range).collect()
    }

    /// The outside id of an inside one.
    pub fn outside_of(ranges: &[IdRange], id: u32) -> Option<u32> {
        ranges.iter().find_map(|range| {
            let offset = id.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
            range.outside.checked_add(offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_translate() {
        let ranges = [
            IdRange { inside: 0, outside: 1000, count: 1 },
            IdRange { inside: 1, outside: 100_000, count: 10 },
        ];
        assert_eq!(IdRange::outside_of(&ranges, 0), Some(1000));
        assert_eq!(IdRange::outside_of(&ranges, 10), Some(100_009));
        assert_eq!(IdRange::outside_of(&ranges, 11), None);
        assert_eq!(IdRange::text(&ranges), "0 1000 1\n1 100000 10\n");
    }
}
