//! A tar file as a place with files: its members are found once, and read where they lie.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use super::limits::Limits;
use super::unpack::decompressed;

/// The tar file.
pub struct Archive {
    file: File,
    members: HashMap<PathBuf, Member>,
}

enum Member {
    File { at: u64, length: u64 },
    Link(PathBuf),
}

/// Members that an image's archive may have; each takes some memory here.
const MEMBERS: usize = 100_000;

impl Archive {
    /// Finds the members. A compressed file is unpacked into one without a name in
    /// `scratch`, since its members are not read in their order.
    ///
    /// # Errors
    /// It is no tar file, or too large.
    pub fn open(file: File, scratch: &Path, limits: &Limits) -> io::Result<Archive> {
        let mut file = plain(file, scratch, limits)?;
        let mut members = HashMap::new();
        file.seek(SeekFrom::Start(0))?;
        let mut archive = tar::Archive::new(BufReader::new(&file));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let Some(path) = inside(&entry.path()?) else { continue };
            let kind = entry.header().entry_type();
            let member = if kind.is_file() {
                Member::File { at: entry.raw_file_position(), length: entry.size() }
            } else if kind.is_symlink() || kind.is_hard_link() {
                let Some(target) = entry.link_name()? else { continue };
                let base = path.parent().filter(|_| kind.is_symlink()).unwrap_or(Path::new(""));
                let Some(target) = inside(&base.join(target)) else { continue };
                Member::Link(target)
            } else {
                continue;
            };
            members.insert(path, member);
            if members.len() > MEMBERS {
                return Err(io::Error::other(format!("it has more than {MEMBERS} members")));
            }
        }
        drop(archive);
        Ok(Archive { file, members })
    }

    /// Opens a member, and says how long it is.
    ///
    /// # Errors
    /// There is none.
    pub fn open_member(&self, path: &Path) -> io::Result<(Window<'_>, u64)> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "the archive has no such file");
        let mut path = inside(path).ok_or_else(missing)?;
        for _ in 0..8 {
            match self.members.get(&path).ok_or_else(missing)? {
                Member::Link(target) => path.clone_from(target),
                Member::File { at, length } => {
                    let window = Window { file: &self.file, at: *at, end: at + length };
                    return Ok((window, *length));
                }
            }
        }
        Err(io::Error::other("a chain of links in the archive"))
    }

    /// The same, as the layout reads it.
    ///
    /// # Errors
    /// There is none.
    pub fn open_boxed(&self, path: &Path) -> io::Result<(Box<dyn Read + '_>, u64)> {
        let (window, length) = self.open_member(path)?;
        Ok((Box::new(window), length))
    }
}

/// A part of a file, read without moving its offset.
pub struct Window<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..left], self.at)?;
        if count == 0 && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// The path with its dots taken away; `None` where it leads out.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

fn plain(mut file: File, scratch: &Path, limits: &Limits) -> io::Result<File> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut magic = [0; 6];
    let count = file.read_at(&mut magic, 0)?;
    let compressed = matches!(magic, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..])
        || magic.starts_with(b"\xfd7zXZ")
        || magic.starts_with(b"BZh");
    if count < magic.len() || !compressed {
        return Ok(file);
    }
    let length = file.metadata()?.len();
    let most = limits.unpacked.min(limits.most_of(length));
    file.seek(SeekFrom::Start(0))?;
    let stream = decompressed(BufReader::new(file))?;
    let flags =
        rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let unnamed = rustix::fs::open(scratch, flags, rustix::fs::Mode::from(0o600))?;
    let mut unnamed = File::from(unnamed);
    let copied = io::copy(&mut stream.take(most + 1), &mut unnamed)?;
    unnamed.flush()?;
    if copied > most {
        return Err(io::Error::other(format!("it unpacks to more than {most} bytes")));
    }
    Ok(unnamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        builder.append_data(&mut header, "a/layer.tar", &b"hello"[..]).unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "b/layer.tar", "../a/layer.tar").unwrap();
        builder.append_link(&mut link, "loop", "loop").unwrap();
        builder.append_link(&mut link, "out", "../../etc/passwd").unwrap();
        builder.into_inner().unwrap()
    }

    fn opened(bytes: &[u8]) -> Archive {
        let scratch = std::env::temp_dir();
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let file = rustix::fs::open(&scratch, flags, rustix::fs::Mode::from(0o600)).unwrap();
        let mut file = File::from(file);
        file.write_all(bytes).unwrap();
        Archive::open(file, &scratch, &Limits::USUAL).unwrap()
    }

    fn check(archive: &Archive) {
        for name in ["a/layer.tar", "./b/layer.tar", "a/../b/layer.tar"] {
            let (mut member, length) = archive.open_member(Path::new(name)).unwrap();
            let mut text = String::new();
            member.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), length), ("hello", 5), "{name}");
        }
        for name in ["loop", "out", "nothing", "../a/layer.tar"] {
            assert!(archive.open_member(Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn members() {
        check(&opened(&sample()));
    }

    #[test]
    fn compressed() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&sample()).unwrap();
        check(&opened(&gz.finish().unwrap()));
    }
}
