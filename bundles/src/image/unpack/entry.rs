//! What a tar entry of a layer asks for: decisions only, nothing is written here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tar::EntryType;

/// A place below the layer's root: no `..`, no NUL, never absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directories above it, relative to the root; empty for the root itself.
    pub parent: PathBuf,
    /// The last component; empty where the place is the root.
    pub name: OsString,
}

/// What is to be at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file; its bytes are the entry's.
    File,
    /// A symbolic link to this text.
    Symlink(PathBuf),
    /// Another name of a file of the same layer.
    HardLink(Place),
    /// A device.
    Device {
        /// Of blocks, or of characters.
        block: bool,
        /// Its major and minor number.
        numbers: (u32, u32),
    },
    /// A named pipe.
    Fifo,
    /// The layers below have nothing at this place.
    Whiteout,
    /// The layers below have nothing in the directory at this place.
    Opaque,
}

/// Who owns it, what may be done with it, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// Owner and group as in the container.
    pub owner: (u32, u32),
    /// Permissions with set-id bits.
    pub mode: u32,
    /// Time of last change, seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, as far as they may be set.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// Longest name of a file that Linux has.
const NAME_MAX: usize = 255;
/// Longest path in bytes.
const PATH_MAX: usize = 4095;
/// Bytes of all extended attributes of one file.
const XATTRS_MAX: usize = 1 << 20;

/// The prefix of a whiteout's name.
const WHITEOUT: &[u8] = b".wh.";
/// Names with this prefix are AUFS's own.
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

impl Place {
    /// Reads a name of a tar entry. A leading `/` or `./` is the layer's root: some
    /// builders write their names so.
    ///
    /// # Errors
    /// `..`, a NUL, an empty name, a name longer than Linux has.
    pub fn parse(bytes: &[u8]) -> Result<Place, String> {
        if bytes.is_empty() {
            return Err("it has no name".to_owned());
        }
        if bytes.contains(&0) {
            return Err("its name has a NUL byte".to_owned());
        }
        if bytes.len() > PATH_MAX {
            return Err(format!("its name has {} bytes; {PATH_MAX} are the limit", bytes.len()));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in bytes.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err("its name has `..`, and may lead out of the image".to_owned()),
                part if part.len() > NAME_MAX => {
                    return Err(format!("a part of its name is longer than {NAME_MAX} bytes"));
                }
                part => parts.push(part),
            }
        }
        let name = parts.pop().unwrap_or_default();
        let parent = PathBuf::from(OsString::from_vec(parts.join(&b'/')));
        Ok(Place { parent, name: OsString::from_vec(name.to_vec()) })
    }

    /// Whether it is the layer's root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.name.is_empty()
    }

    /// As one path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if self.is_root() { PathBuf::new() } else { self.parent.join(&self.name) }
    }
}

/// Where a name says that something is, or is no more. `None`: AUFS's own, to be skipped.
///
/// # Errors
/// As [`Place::parse`]; a whiteout of nothing, `.` or `..`.
pub fn placed(bytes: &[u8]) -> Result<Option<(Place, Option<Kind>)>, String> {
    let place = Place::parse(bytes)?;
    let name = place.name.as_encoded_bytes();
    if name == OPAQUE {
        let above = Place::parse(match place.parent.as_os_str().as_encoded_bytes() {
            b"" => b".",
            parent => parent,
        })?;
        return Ok(Some((above, Some(Kind::Opaque))));
    }
    if name.starts_with(RESERVED) {
        return Ok(None);
    }
    let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok(Some((place, None))) };
    match hidden {
        b"" | b"." | b".." => Err("it is a whiteout of no file".to_owned()),
        hidden => {
            let name = OsString::from_vec(hidden.to_vec());
            Ok(Some((Place { parent: place.parent.clone(), name }, Some(Kind::Whiteout))))
        }
    }
}

/// The raw facts of a tar header that [`kind`] decides by.
#[derive(Debug)]
pub struct Header<'a> {
    /// The entry's type.
    pub kind: EntryType,
    /// What a link names.
    pub link: Option<&'a [u8]>,
    /// Major and minor number, where the header has them.
    pub device: (Option<u32>, Option<u32>),
    /// The name ends in a slash: an old way to say directory.
    pub slash: bool,
}

/// What the entry is. `None`: no file (a global header), to be skipped.
///
/// # Errors
/// A type that layers do not have; a link that names nothing.
pub fn kind(header: &Header<'_>) -> Result<Option<Kind>, String> {
    let link = || match header.link {
        Some([]) => Err("it is a link to nothing".to_owned()),
        Some(link) if link.contains(&0) => Err("its link has a NUL byte".to_owned()),
        Some(link) if link.len() > PATH_MAX => Err("its link is too long".to_owned()),
        Some(link) => Ok(link),
        None => Err("it is a link to nothing".to_owned()),
    };
    let numbers = || match header.device {
        (Some(0), Some(0)) => Err("it is the device 0:0, a whiteout in disguise".to_owned()),
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err("it is a device without a number".to_owned()),
    };
    Ok(Some(match header.kind {
        EntryType::Directory => Kind::Directory,
        EntryType::Regular if header.slash => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Symlink => Kind::Symlink(OsString::from_vec(link()?.to_vec()).into()),
        EntryType::Link => {
            let target = Place::parse(link()?).map_err(|why| format!("as a hard link, {why}"))?;
            if target.is_root() {
                return Err("it is a hard link to the root".to_owned());
            }
            Kind::HardLink(target)
        }
        EntryType::Char => Kind::Device { block: false, numbers: numbers()? },
        EntryType::Block => Kind::Device { block: true, numbers: numbers()? },
        EntryType::Fifo => Kind::Fifo,
        EntryType::XGlobalHeader => return Ok(None),
        other => {
            return Err(format!("its type {:?} is none of a layer's", other.as_byte() as char));
        }
    }))
}

/// Adds what one record of a PAX header says.
///
/// # Errors
/// A number that is none; a sparse file in PAX's form; attributes that steer overlayfs.
pub fn extend(meta: &mut Meta, key: &[u8], value: &[u8]) -> Result<(), String> {
    let text = || std::str::from_utf8(value).map_err(|_| bad(key));
    let number = || text()?.parse::<u32>().map_err(|_| bad(key));
    match key {
        b"uid" => meta.owner.0 = number()?,
        b"gid" => meta.owner.1 = number()?,
        b"mtime" => meta.mtime = time(text()?).ok_or_else(|| bad(key))?,
        _ if key.starts_with(b"GNU.sparse.") => {
            return Err("it is a sparse file in PAX's form, which layers do not have".to_owned());
        }
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                attribute(meta, name, value)?;
            }
        }
    }
    Ok(())
}

fn bad(key: &[u8]) -> String {
    format!("its header's {} is malformed", String::from_utf8_lossy(key))
}

/// Keeps an extended attribute, if one of an image's may be set at all.
fn attribute(meta: &mut Meta, name: &[u8], value: &[u8]) -> Result<(), String> {
    let name = std::str::from_utf8(name).map_err(|_| bad(b"SCHILY.xattr"))?;
    if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
        return Err("an extended attribute's name is empty or too long".to_owned());
    }
    if name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") {
        return Err(format!("it has the attribute {name}, which steers the host's overlayfs"));
    }
    let sum: usize = meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if sum + name.len() + value.len() > XATTRS_MAX {
        return Err(format!("its extended attributes have more than {XATTRS_MAX} bytes"));
    }
    // A label is the host's policy, not the image's.
    if name != "security.selinux" {
        meta.xattrs.push((name.to_owned(), value.to_vec()));
    }
    Ok(())
}

/// Seconds with a fraction, as PAX writes times.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = whole.parse::<i64>().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse::<u32>().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

/// A name as an error shows it: in one line, and short.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    let text = Path::new(&OsString::from_vec(name.to_vec())).display().to_string();
    let mut escaped: String = text.escape_debug().take(120).collect();
    if text.len() > 120 {
        escaped.push_str("...");
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(parent: &str, name: &str) -> Place {
        Place { parent: parent.into(), name: name.into() }
    }

    #[test]
    fn names() {
        assert_eq!(Place::parse(b"./a/b/"), Ok(place("a", "b")));
        assert_eq!(Place::parse(b"/layers/x"), Ok(place("layers", "x")));
        assert_eq!(Place::parse(b"a//b/./c"), Ok(place("a/b", "c")));
        assert!(Place::parse(b"./").unwrap().is_root());
        assert!(Place::parse(b"a\nb").is_ok(), "a file's name may have a newline");
        for bad in [&b"a/../b"[..], b"..", b"../x", b"a/..", b"", b"a\0b", &[b'x'; 256]] {
            assert!(Place::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Place::parse("a/".repeat(3000).as_bytes()).is_err());
    }

    #[test]
    fn whiteouts() {
        let is = |name: &[u8], there: Place, kind| {
            assert_eq!(placed(name), Ok(Some((there, Some(kind)))));
        };
        is(b"a/.wh.b", place("a", "b"), Kind::Whiteout);
        is(b".wh.b", place("", "b"), Kind::Whiteout);
        is(b"a/b/.wh..wh..opq", place("a", "b"), Kind::Opaque);
        is(b".wh..wh..opq", place("", ""), Kind::Opaque);
        assert_eq!(placed(b"a/.wh..wh.plnk"), Ok(None));
        assert_eq!(placed(b"a/.whb"), Ok(Some((place("a", ".whb"), None))));
        for bad in [&b".wh."[..], b"a/.wh..", b"a/.wh...", b"../.wh.x"] {
            assert!(placed(bad).is_err(), "{bad:?}");
        }
    }

    fn header(kind: EntryType, link: Option<&[u8]>) -> Header<'_> {
        Header { kind, link, device: (Some(1), Some(3)), slash: false }
    }

    #[test]
    fn kinds() {
        let of = |type_, link| kind(&header(type_, link));
        assert_eq!(
            of(EntryType::Symlink, Some(b"/etc/x")),
            Ok(Some(Kind::Symlink("/etc/x".into())))
        );
        assert_eq!(of(EntryType::Link, Some(b"a/b")), Ok(Some(Kind::HardLink(place("a", "b")))));
        assert_eq!(of(EntryType::XGlobalHeader, None), Ok(None));
        let device = Kind::Device { block: false, numbers: (1, 3) };
        assert_eq!(of(EntryType::Char, None), Ok(Some(device)));
        assert!(of(EntryType::Link, Some(b"../x")).is_err());
        assert!(of(EntryType::Link, Some(b"/")).is_err());
        assert!(of(EntryType::Symlink, None).is_err());
        assert!(of(EntryType::Symlink, Some(b"")).is_err());
        assert!(of(EntryType::new(b'V'), None).is_err());
        let zero = Header { device: (Some(0), Some(0)), ..header(EntryType::Char, None) };
        assert!(kind(&zero).is_err());
    }

    #[test]
    fn extended_headers() {
        let mut meta = Meta::default();
        extend(&mut meta, b"mtime", b"1.5").unwrap();
        assert_eq!(meta.mtime, (1, 500_000_000));
        extend(&mut meta, b"mtime", b"-1.25").unwrap();
        assert_eq!(meta.mtime, (-2, 750_000_000));
        extend(&mut meta, b"SCHILY.xattr.user.x", b"y").unwrap();
        assert_eq!(meta.xattrs, [("user.x".to_owned(), b"y".to_vec())]);
        for (key, value) in [
            (&b"SCHILY.xattr.trusted.overlay.redirect"[..], &b"/etc"[..]),
            (b"SCHILY.xattr.user.overlay.opaque", b"y"),
            (b"GNU.sparse.major", b"1"),
            (b"uid", b"-1"),
            (b"mtime", b"1.x"),
            (b"SCHILY.xattr.user.big", &[0; XATTRS_MAX]),
        ] {
            assert!(extend(&mut meta, key, value).is_err(), "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn names_are_shown_in_one_line() {
        assert_eq!(shown(b"a\nb"), "a\\nb");
        assert!(shown(&[b'x'; 500]).len() < 130);
    }
}
