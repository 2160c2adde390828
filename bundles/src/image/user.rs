//! Who a container of an image runs as: names are looked up in the image's own files.

use std::io::Read;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};

/// Ids of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its other groups.
    pub groups: Vec<u32>,
    /// Its directory, where the image knows one.
    pub home: Option<String>,
}

/// Files of accounts are not larger.
const ACCOUNTS: u64 = 4 << 20;

/// `USER[:GROUP]`, names or numbers, in the image whose layers (directories, the topmost
/// first) these are.
///
/// # Errors
/// A name that the image does not have.
pub fn resolve(layers: &[impl AsRef<Path>], spec: &str) -> Result<Identity> {
    let passwd = read(layers, "etc/passwd");
    let group = read(layers, "etc/group");
    looked_up(spec, &passwd, &group)
}

fn looked_up(spec: &str, passwd: &str, group: &str) -> Result<Identity> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let account = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        fields.len() >= 6 && (fields[0] == user || is_number(user) && fields[2] == user)
    });
    let mut identity = Identity::default();
    let mut name = None;
    match (&account, user.parse::<u32>()) {
        (Some(fields), _) => {
            let number = |at: usize| fields[at].parse::<u32>().ok();
            let ids = number(2).zip(number(3));
            (identity.uid, identity.gid) = ids.ok_or_else(|| {
                Error::new(Kind::Refused, format!("user {user}: /etc/passwd is malformed"))
            })?;
            identity.home = Some(fields[5].to_owned());
            name = Some(fields[0]);
        }
        (None, Ok(uid)) => identity.uid = uid,
        (None, Err(_)) => {
            return Err(Error::new(
                Kind::Refused,
                format!("user {user}: the image's /etc/passwd has no such name; give a number"),
            ));
        }
    }
    let groups =
        || group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|f| f.len() >= 4);
    match wanted_group {
        Some(wanted) => {
            let known = groups().find(|fields| fields[0] == wanted);
            let number = known.and_then(|fields| fields[2].parse().ok()).or(wanted.parse().ok());
            identity.gid = number.ok_or_else(|| {
                Error::new(
                    Kind::Refused,
                    format!(
                        "group {wanted}: the image's /etc/group has no such name; give a number"
                    ),
                )
            })?;
        }
        None => {
            let member = |fields: &Vec<&str>| {
                name.is_some_and(|name| fields[3].split(',').any(|one| one == name))
            };
            identity.groups = groups().filter(member).filter_map(|f| f[2].parse().ok()).collect();
        }
    }
    Ok(identity)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A small file of an image, as overlayfs would show it; empty where there is none.
fn read(layers: &[impl AsRef<Path>], name: &str) -> String {
    for layer in layers {
        let Ok(root) = open_path(layer.as_ref()) else { continue };
        if is_whiteout(&root, name) {
            break;
        }
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Ok(file) = rustix::fs::openat2(&root, name, flags, Mode::empty(), how) else {
            continue;
        };
        let mut bytes = Vec::new();
        let is_file = rustix::fs::fstat(&file)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if is_file && std::fs::File::from(file).take(ACCOUNTS).read_to_end(&mut bytes).is_ok() {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    String::new()
}

fn open_path(path: &Path) -> Result<rustix::fd::OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn is_whiteout(root: &rustix::fd::OwnedFd, name: &str) -> bool {
    let hidden = |part: &Path| {
        rustix::fs::statat(root, part, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
        })
    };
    Path::new(name).ancestors().filter(|part| !part.as_os_str().is_empty()).any(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:100:Me:/home/me:/bin/sh\nbad\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nwheel:x:10:root,me\n";

    #[test]
    fn users() {
        let of = |spec: &str| looked_up(spec, PASSWD, GROUP).unwrap();
        let me =
            Identity { uid: 1000, gid: 100, groups: vec![10], home: Some("/home/me".to_owned()) };
        assert_eq!(of("me"), me);
        assert_eq!(of("1000"), me);
        assert_eq!(of("me:wheel"), Identity { gid: 10, groups: vec![], ..me });
        assert_eq!(of("7:8"), Identity { uid: 7, gid: 8, ..Identity::default() });
        assert_eq!(of("").uid, 0);
        assert!(looked_up("nobody", PASSWD, GROUP).is_err());
        assert!(looked_up("me:nogroup", PASSWD, GROUP).is_err());
    }
}
