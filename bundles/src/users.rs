//! Users: those of an image, and the caller's own ids.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::error::Result;
use crate::spec::{Identity, Ids, identity};

/// Of a file of users or groups no more is read.
const MOST: u64 = 4 << 20;

/// `USER[:GROUP]`, names or numbers, in the image whose layers these are: directories, the
/// topmost first, or its one root.
///
/// # Errors
/// A name that the image does not have.
pub fn look_up(layers: &[impl AsRef<Path>], who: &str) -> Result<Identity> {
    identity(who, &read(layers, "etc/passwd"), &read(layers, "etc/group"))
}

/// The ids of who calls: he is root, and his subordinate ids follow.
pub fn own_ids() -> Ids {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let name = user.map(|user| user.name);
    Ids::of(name.as_deref(), uid, gid, &text("/etc/subuid"), &text("/etc/subgid"))
}

/// A small file of an image, as overlayfs would show it; empty where there is none. Links lead
/// nowhere out of it, and nothing but a regular file is read.
fn read(layers: &[impl AsRef<Path>], name: &str) -> String {
    for layer in layers {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(root) = rustix::fs::open(layer.as_ref(), flags, Mode::empty()) else { continue };
        if is_whiteout(&root, name) {
            break;
        }
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Ok(file) = rustix::fs::openat2(&root, name, flags, Mode::empty(), how) else {
            continue;
        };
        let file = File::from(file);
        let mut bytes = Vec::new();
        let regular = file.metadata().is_ok_and(|file| file.is_file());
        if regular && file.take(MOST).read_to_end(&mut bytes).is_ok() {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    String::new()
}

fn is_whiteout(root: &OwnedFd, name: &str) -> bool {
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

    #[test]
    fn names_are_those_of_the_image_layer_by_layer() {
        let dir = std::env::temp_dir().join(format!("rich-users-{}", std::process::id()));
        let (top, base) = (dir.join("top"), dir.join("base"));
        for layer in [&top, &base] {
            fs::create_dir_all(layer.join("etc")).expect("made");
        }
        fs::write(base.join("etc/passwd"), "web:x:33:34::/:\n").expect("written");
        fs::write(top.join("etc/group"), "www:x:50:\n").expect("written");
        let found = |word: &str| look_up(&[&top, &base], word).map(|who| (who.uid, who.gid)).ok();
        assert_eq!((found("web"), found("33:www")), (Some((33, 34)), Some((33, 50))));
        // A link out of the image is followed inside it, and a FIFO is not waited for.
        std::os::unix::fs::symlink("/etc/../../../etc/hostname", top.join("etc/passwd"))
            .expect("linked");
        assert_eq!(found("web"), Some((33, 34)));
        fs::remove_file(base.join("etc/passwd")).expect("removed");
        let fifo = base.join("etc/passwd");
        let fifo = rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, 0o600.into(), 0);
        fifo.expect("made");
        assert_eq!((found("web"), found("7")), (None, Some((7, 0))));
        fs::remove_dir_all(dir).expect("removed");
    }
}
