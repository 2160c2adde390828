//! Who a name is, by the text of an image's passwd and group: pure.

use crate::error::{Error, Kind, Result};

/// Who a process is, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// More groups.
    pub groups: Vec<u32>,
    /// Its directory, where the image knows one.
    pub home: Option<String>,
}

/// A row of passwd: name, user, group and directory.
type Account<'a> = (&'a str, u32, u32, Option<&'a str>);

/// `USER[:GROUP]`, each a name or a number. A user who says no group has his own and all that
/// list him; nobody is root. Rows that are none are passed over.
///
/// # Errors
/// [`Kind::Refused`]: a name that the image does not know.
pub fn identity(who: &str, passwd: &str, group: &str) -> Result<Identity> {
    let (user, wanted) = match who.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (who, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let fits = |row: &Account<'_>| row.0 == user || number == Some(row.1);
    let found = passwd.lines().filter_map(account).find(fits);
    let uid = found.map(|row| row.1).or(number).ok_or_else(|| unknown("user", user))?;
    let home = found.and_then(|row| row.3).map(str::to_owned);
    let Some(wanted) = wanted else {
        let (name, gid) = found.map_or(("", 0), |row| (row.0, row.2));
        return Ok(Identity { uid, gid, groups: groups_of(name, group), home });
    };
    let named = group.lines().filter_map(members).find(|row| row.0 == wanted);
    let gid = named.map(|row| row.1).or_else(|| wanted.parse().ok());
    let gid = gid.ok_or_else(|| unknown("group", wanted))?;
    Ok(Identity { uid, gid, groups: Vec::new(), home })
}

fn unknown(what: &str, name: &str) -> Error {
    let words = format!("{what} {name:?}: the image has no such {what}; give a number");
    Error::new(Kind::Refused, words)
}

fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((name, uid, gid, fields.nth(1)))
}

/// A row of group: name, number and members.
fn members(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let (name, number) = (fields.next()?, fields.nth(1)?.parse().ok()?);
    Some((name, number, fields.next().unwrap_or_default()))
}

fn groups_of(name: &str, group: &str) -> Vec<u32> {
    let rows = group.lines().filter_map(members);
    let of = rows.filter(|row| !name.is_empty() && row.2.split(',').any(|one| one == name));
    of.map(|row| row.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbad\nweb:x:33:34::/srv:/bin/sh\nshort:x:5:6\nworse:x:a:b::/:\n7:x:70:71::/:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nextra:x:50:web,other\nbare:x:51\nbad\n";

    #[test]
    fn by_name_and_number() {
        let found = |word: &str| {
            let who = identity(word, PASSWD, GROUP).expect(word);
            (who.uid, who.gid, who.groups)
        };
        assert_eq!(found("web"), (33, 34, vec![50]));
        assert_eq!(found("33"), (33, 34, vec![50]));
        assert_eq!(found("web:"), (33, 34, vec![50]));
        assert_eq!(found("web:extra"), (33, 50, vec![]));
        assert_eq!(found("33:bare"), (33, 51, vec![]));
        assert_eq!(found("8:9"), (8, 9, vec![]));
        assert_eq!(found("8"), (8, 0, vec![]));
        assert_eq!(found("short"), (5, 6, vec![]));
        // A name of digits is a name first.
        assert_eq!(found("7"), (70, 71, vec![]));
        assert_eq!(found(""), (0, 0, vec![]));
        for wrong in ["nobody", "web:nobody", "-1", "worse", "4294967296"] {
            let said = identity(wrong, PASSWD, GROUP).expect_err(wrong).message;
            assert!(said.contains("the image has no such"), "{said}");
        }
    }

    #[test]
    fn directories() {
        let home = |word: &str| identity(word, PASSWD, GROUP).expect(word).home;
        assert_eq!(home("web:9").as_deref(), Some("/srv"));
        assert_eq!((home("short"), home("9")), (None, None));
    }
}
