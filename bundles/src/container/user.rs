//! Users by name, looked up in the image.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use crate::error::{At, Error, Result};
use crate::spec::Identity;

/// Of a file of users or groups no more is read.
const MOST: u64 = 4 << 20;

/// `USER[:GROUP]`, each a name or a number, by the image's own files.
///
/// # Errors
/// A name that the image does not know.
pub fn identity(word: &str, root: &Path) -> Result<Identity> {
    let passwd = read(root, "etc/passwd");
    let group = read(root, "etc/group");
    resolve(word, &passwd, &group)
}

/// A file of the image's: links lead nowhere out of it, and nothing but a regular file is read.
fn read(root: &Path, name: &str) -> String {
    let found = || -> Result<String> {
        let dir = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        let dir = dir.at("open", root.display())?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat2(&dir, name, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        let file = File::from(file.at("open", name)?);
        let regular = file.metadata().at("look at", name)?.is_file();
        let mut text = String::new();
        if regular {
            file.take(MOST).read_to_string(&mut text).at("read", name)?;
        }
        Ok(text)
    };
    found().unwrap_or_default()
}

fn resolve(word: &str, passwd: &str, group: &str) -> Result<Identity> {
    let (user, wanted) = match word.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (word, None),
    };
    let rows = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let number: Option<u32> = user.parse().ok();
    let row = rows.into_iter().find(|row| match number {
        Some(number) => row.get(2).and_then(|id| id.parse().ok()) == Some(number),
        None => row.first() == Some(&user),
    });
    let uid = number.or_else(|| row.as_ref()?.get(2)?.parse().ok());
    let uid =
        uid.ok_or_else(|| Error::usage(format!("user {user:?}: the image has no such user")))?;
    let own: Option<u32> = row.as_ref().and_then(|row| row.get(3)?.parse().ok());
    let name = row.as_ref().and_then(|row| row.first().copied()).unwrap_or_default();
    let gid = match wanted {
        None => own.unwrap_or(0),
        Some(wanted) => group_id(wanted, group)?,
    };
    let groups =
        if wanted.is_some() || name.is_empty() { Vec::new() } else { groups_of(name, group) };
    Ok(Identity { uid, gid, groups })
}

fn group_id(word: &str, group: &str) -> Result<u32> {
    if let Ok(number) = word.parse() {
        return Ok(number);
    }
    let rows = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = rows.into_iter().find(|row| row.first() == Some(&word));
    found
        .and_then(|row| row.get(2)?.parse().ok())
        .ok_or_else(|| Error::usage(format!("group {word:?}: the image has no such group")))
}

fn groups_of(name: &str, group: &str) -> Vec<u32> {
    let member = |line: &str| {
        let row: Vec<&str> = line.split(':').collect();
        let in_it = row.get(3)?.split(',').any(|member| member == name);
        in_it.then(|| row.get(2)?.parse().ok()).flatten()
    };
    group.lines().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_number() {
        let passwd = "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n";
        let group = "root:x:0:\nwww:x:34:\nextra:x:50:web,other\n";
        let found = |word: &str| {
            let who = resolve(word, passwd, group).expect(word);
            (who.uid, who.gid, who.groups)
        };
        assert_eq!(found("web"), (33, 34, vec![50]));
        assert_eq!(found("33"), (33, 34, vec![50]));
        assert_eq!(found("web:extra"), (33, 50, vec![]));
        assert_eq!(found("7:8"), (7, 8, vec![]));
        assert_eq!(found("7"), (7, 0, vec![]));
        for wrong in ["nobody", "web:nobody", "", "-1"] {
            assert!(resolve(wrong, passwd, group).is_err(), "{wrong}");
        }
    }
}
