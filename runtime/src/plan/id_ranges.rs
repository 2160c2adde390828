//! Ranges of ids: those of user namespaces and of id-mapped mounts.

use oci_spec::runtime::LinuxIdMapping;

use crate::error::{Error, Result};

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

impl IdMap {
    /// What the value of the option `idmap=` says, as crun has it:
    /// `uids=0-1000-1#1-100000-10;gids=0-1000-1`.
    ///
    /// # Errors
    /// It cannot be read, or one of both lists is missing.
    pub fn parse(text: &str, recursive: bool) -> Result<Self> {
        let wrong = |why: String| Error::config(format!("idmap={text}: {why}"));
        let mut map = IdMap { uids: Vec::new(), gids: Vec::new(), recursive };
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (list, ranges) = match part.split_once('=') {
                Some(("uids", ranges)) => (&mut map.uids, ranges),
                Some(("gids", ranges)) => (&mut map.gids, ranges),
                _ => return Err(wrong(format!("{part:?} is neither uids=RANGES nor gids=RANGES"))),
            };
            for range in ranges.split('#') {
                list.push(IdRange::dashed(range).map_err(wrong)?);
            }
        }
        if map.uids.is_empty() || map.gids.is_empty() {
            return Err(wrong("uids= and gids= must be given together".to_owned()));
        }
        Ok(map)
    }
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

    /// `INSIDE-OUTSIDE-COUNT`.
    fn dashed(text: &str) -> std::result::Result<Self, String> {
        if text.starts_with('@') {
            return Err(format!(
                "{text}: ids of the container's user namespace are not supported: give the host's"
            ));
        }
        let wrong = || format!("{text:?} is not INSIDE-OUTSIDE-COUNT");
        let numbers: std::result::Result<Vec<u32>, _> = text.split('-').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([inside, outside, count]) if *count > 0 => {
                Ok(IdRange { inside: *inside, outside: *outside, count: *count })
            }
            _ => Err(wrong()),
        }
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
    fn ranges_of_an_option() {
        let map = IdMap::parse("uids=0-1000-1#1-2000-5;gids=0-7-3", true).unwrap();
        assert_eq!(IdRange::text(&map.uids), "0 1000 1\n1 2000 5\n");
        assert_eq!((IdRange::text(&map.gids).as_str(), map.recursive), ("0 7 3\n", true));
        for bad in [
            "",
            "uids=0-1-1",
            "gids=0-1-1",
            "uids=;gids=",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-0;gids=0-1-1",
            "uids=@0-1-1;gids=0-1-1",
            "x=0-1-1",
            "uids=0-1-1-1;gids=0-1-1",
            "uids=0-4294967296-1;gids=0-1-1",
            "uids=0-1-1;gids=0-1-1;z",
        ] {
            let error = IdMap::parse(bad, false).unwrap_err().to_string();
            assert!(error.contains(&format!("idmap={bad}: ")), "{error}");
        }
    }

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
