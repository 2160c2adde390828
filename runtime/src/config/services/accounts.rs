//! Users and groups of the image, by its passwd(5) and group(5).

use std::cell::OnceCell;
use std::collections::HashMap;

/// The two files' texts.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
    /// The ids of the groups by name, once one was looked up: a list of groups may be as long as
    /// the file. The first row of a name counts.
    ids: OnceCell<HashMap<String, Option<u32>>>,
}

/// Somebody to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory, if the image knows one.
    pub home: Option<String>,
}

impl Accounts {
    /// By the texts of `/etc/passwd` and `/etc/group`.
    pub fn new(passwd: String, group: String) -> Accounts {
        Accounts { passwd, group, ids: OnceCell::new() }
    }

    /// Looks `USER[:GROUP]` up; each a name or a number.
    ///
    /// # Errors
    /// What is not known.
    pub fn user(&self, text: &str) -> Result<User, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let number = id(user);
        let row = rows(&self.passwd).find(|row| match number {
            Some(uid) => id(row.get(2).unwrap_or(&"")) == Some(uid),
            None => row[0] == user,
        });
        let known = row.as_deref();
        let field = |at: usize| known.and_then(|row| row.get(at).copied());
        let uid = number.or_else(|| id(field(2)?));
        let uid = uid.ok_or_else(|| format!("no such user in the image: {user:?}"))?;
        let gid = match group {
            Some(group) => self.group(group)?,
            None => field(3).and_then(id).unwrap_or(uid),
        };
        let name = field(0).unwrap_or_default();
        let member = |row: &Vec<&str>| {
            let list = row.get(3).copied().unwrap_or_default();
            !name.is_empty() && list.split(',').any(|member| member == name)
        };
        let groups = rows(&self.group).filter(member).filter_map(|row| id(row.get(2)?));
        Ok(User { uid, gid, groups: groups.collect(), home: field(5).map(str::to_owned) })
    }

    /// Looks a group up, by name or number.
    ///
    /// # Errors
    /// It is not known.
    pub fn group(&self, text: &str) -> Result<u32, String> {
        let by_name = || self.ids.get_or_init(|| self.groups()).get(text).copied().flatten();
        let unknown = || format!("no such group in the image: {text:?}");
        id(text).or_else(by_name).ok_or_else(unknown)
    }

    fn groups(&self) -> HashMap<String, Option<u32>> {
        let mut ids = HashMap::new();
        for row in rows(&self.group) {
            let id = row.get(2).copied().and_then(id);
            ids.entry(row[0].to_owned()).or_insert(id);
        }
        ids
    }
}

/// An id: decimal, and not the one that means "unchanged".
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let accounts = Accounts::new(
            "root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n".into(),
            "users:x:100:\nextra:x:2000:bob,app\nodd\nextra:x:1:\nodd:x:3:\n".into(),
        );
        assert_eq!(accounts.group("extra"), Ok(2000));
        assert!(accounts.group("odd").is_err(), "the first row of a name counts");
        let user = accounts.user("app").unwrap();
        assert_eq!((user.uid, user.gid, &user.groups[..]), (1000, 100, &[2000][..]));
        assert_eq!(user.home.as_deref(), Some("/home/app"));
        assert_eq!(accounts.user("1000"), accounts.user("app"));
        assert_eq!(accounts.user("app:extra").unwrap().gid, 2000);
        assert_eq!(
            accounts.user("7:8").unwrap(),
            User { uid: 7, gid: 8, groups: vec![], home: None }
        );
        for bad in ["nobody", "", "-1", "4294967295", "4294967296", "app:none", "1:2:3"] {
            assert!(accounts.user(bad).is_err(), "{bad}");
        }
    }
}
