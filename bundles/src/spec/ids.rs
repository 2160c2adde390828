//! The ids of ordinary users.

/// A range of subordinate ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// An ordinary user's ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// The user, who is root inside.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Subordinate users, from 1 on inside.
    pub users: Vec<Range>,
    /// Subordinate groups, from 1 on inside.
    pub groups: Vec<Range>,
}

/// The ranges of a user in the text of `/etc/subuid` or `/etc/subgid`.
pub fn id_maps(text: &str, name: &str, id: u32) -> Vec<Range> {
    let number = id.to_string();
    let row = |line: &str| {
        let mut parts = line.trim().split(':');
        let who = parts.next()?;
        let (first, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (who == name || who == number).then_some(Range { first, count })
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_name_and_number() {
        let text = "root:1:1\nme:100000:65536\n1000:7:2\nbad\nme:x:1\n";
        let found = id_maps(text, "me", 1000);
        let wanted = [Range { first: 100_000, count: 65_536 }, Range { first: 7, count: 2 }];
        assert_eq!(found, wanted);
    }
}
