//! An image's user by name, from its own files.

use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use crate::error::{At, Error, Kind, Result};

/// The longest account file that is read.
const LONGEST: u64 = 1 << 20;

/// User, group and directory of an image's `USER[:GROUP]`, names or numbers.
///
/// # Errors
/// A name that the image does not know.
pub fn look_up(root: &Path, word: &str) -> Result<(u32, u32)> {
    let (user, group) = match word.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (word, None),
    };
    let unknown = |what: &str, name: &str| {
        Error::new(Kind::Refused, format!("image: no {what} is named {name:?}"))
    };
    let users = text(root, "etc/passwd")?;
    let entry = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entry
        .filter(|fields| fields.len() > 3)
        .find(|fields| fields[0] == user || fields[2] == user);
    let number = |field: &str| field.parse::<u32>().ok();
    let uid = number(user).or_else(|| number(entry.as_ref()?[2]));
    let uid = uid.ok_or_else(|| unknown("user", user))?;
    let gid = match group {
        None => entry.and_then(|fields| number(fields[3])).unwrap_or(0),
        Some(group) => {
            let groups = text(root, "etc/group")?;
            let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let found = fields.filter(|fields| fields.len() > 2).find(|fields| fields[0] == group);
            let gid = number(group).or_else(|| number(found?[2]));
            gid.ok_or_else(|| unknown("group", group))?
        }
    };
    Ok((uid, gid))
}

/// A file of the image; links lead nowhere but into it. Empty where there is none.
fn text(root: &Path, path: &str) -> Result<String> {
    let dir = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let dir = dir.at("open", root.display())?;
    let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&dir, path, how, Mode::empty(), inside) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(String::new()),
        Err(error) => return Err(error).at("open", format!("{path} of the image")),
    };
    let file = std::fs::File::from(file);
    if !file.metadata().at("look at", path)?.is_file() {
        return Err(Error::new(Kind::Refused, format!("image: {path} is no file")));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).at("read", path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_image() {
        let root = std::env::temp_dir().join(format!("rich-account-{}", std::process::id()));
        std::fs::create_dir_all(root.join("etc")).expect("made");
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:\nweb:x:33:34::/:\n").expect("w");
        std::fs::write(root.join("etc/group"), "www:x:50:\n").expect("written");
        let looked = |word: &str| look_up(&root, word).map_err(|error| error.to_string());
        assert_eq!(looked("web"), Ok((33, 34)));
        assert_eq!(looked("33:www"), Ok((33, 50)));
        assert_eq!(looked("7"), Ok((7, 0)));
        assert_eq!(looked("7:8"), Ok((7, 8)));
        assert!(looked("nobody").is_err_and(|error| error.contains("\"nobody\"")));
        // A link out of the image is looked up inside it.
        std::fs::remove_file(root.join("etc/passwd")).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd-not-there", root.join("etc/passwd")).expect("l");
        assert!(looked("root").is_err());
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
