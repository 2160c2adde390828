//! Users and groups of the image, by its passwd(5) and group(5).

/// The two files' texts.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
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
        let by_name =
            || rows(&self.group).find(|row| row[0] == text).and_then(|row| id(row.get(2)?));
        let unknown = || format!("no such group in the image: {text:?}");
        id(text).or_else(by_name).ok_or_else(unknown)
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
        let accounts = Accounts {
            passwd: "root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n".into(),
            group: "users:x:100:\nextra:x:2000:bob,app\nodd\n".into(),
        };
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
