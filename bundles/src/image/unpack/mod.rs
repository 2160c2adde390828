//! Layers unpacked: a tar stream of somebody unknown becomes a directory that overlayfs
//! takes as one of its lower ones.
//!
//! `entry` decides what each entry asks for and refuses what no image needs, `tree`
//! does it by descriptors, and this file reads the stream and holds it to its limits.

pub mod entry;
pub mod remove;
pub mod tree;

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::rc::Rc;

use self::entry::{Header, Meta};
use self::tree::{Lost, Rights, Tree};
use super::limits::Limits;

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Bytes of files.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// What this host's user could not make.
    pub lost: Lost,
}

/// A reader that allows no more than a budget while the tar crate reads headers: it
/// keeps long names and extended headers in memory, of whatever length they say.
struct Budgeted<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.get().checked_sub(count as u64) {
            Some(left) => self.left.set(left),
            None => return Err(bad("the headers of an entry are too long".to_owned())),
        }
        Ok(count)
    }
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Unpacks the tar stream `layer` into the empty directory `directory`. `stored` counts
/// the bytes of the layer as stored, for the limit on their ratio.
///
/// # Errors
/// The entry and what is wrong with it; a limit; a failed system call.
pub fn unpack(
    layer: impl Read,
    stored: &Cell<u64>,
    directory: &Path,
    rights: Rights,
    limits: &Limits,
) -> io::Result<Summary> {
    let mut tree = Tree::open(directory, rights)?;
    let mut summary = Summary::default();
    let left = Rc::new(Cell::new(limits.headers));
    let mut archive = tar::Archive::new(Budgeted { inner: layer, left: Rc::clone(&left) });
    let mut entries = archive.entries()?;
    loop {
        left.set(limits.headers);
        let Some(next) = entries.next() else { break };
        let mut next = next?;
        left.set(u64::MAX);
        summary.entries += 1;
        summary.bytes = summary.bytes.saturating_add(next.size());
        check(&summary, stored.get(), limits)?;
        let name = next.path_bytes().into_owned();
        put(&mut tree, &name, &mut next).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", entry::shown(&name)))
        })?;
        // What is left of it is skipped here, where it is no header.
        io::copy(&mut next, &mut io::sink())?;
    }
    left.set(u64::MAX);
    tree.finish()?;
    summary.lost = tree.lost;
    Ok(summary)
}

fn check(summary: &Summary, stored: u64, limits: &Limits) -> io::Result<()> {
    if summary.entries > limits.entries {
        return Err(bad(format!("it has more than {} entries", limits.entries)));
    }
    if summary.bytes > limits.unpacked {
        return Err(bad(format!("its files have more than {} bytes", limits.unpacked)));
    }
    if summary.bytes > limits.most_of(stored) {
        let times = limits.ratio;
        return Err(bad(format!("its files have more than {times} times the bytes of the layer")));
    }
    Ok(())
}

fn put<R: Read>(tree: &mut Tree, name: &[u8], entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
    let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
    let header = entry.header();
    let kind = entry::kind(&Header {
        kind: header.entry_type(),
        link: link.as_deref(),
        // Some writers leave them empty where they mean nothing.
        device: (header.device_major().ok().flatten(), header.device_minor().ok().flatten()),
        slash: name.ends_with(b"/"),
    });
    let Some(kind) = kind.map_err(bad)? else { return Ok(()) };
    let Some((place, instead)) = entry::placed(name).map_err(bad)? else { return Ok(()) };
    let meta = meta(entry)?;
    tree.put(&place, &instead.unwrap_or(kind), &meta, entry)
}

/// A number of a header; an empty field is zero, as Go's writers have it.
fn or_zero(field: &[u8], number: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(0) } else { number() }
}

fn meta<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Meta> {
    let header = entry.header();
    let id = |id: u64| u32::try_from(id).map_err(|_| bad(format!("its owner {id} is no id")));
    let old = header.as_old();
    let owner = (or_zero(&old.uid, || header.uid())?, or_zero(&old.gid, || header.gid())?);
    let mtime = or_zero(&old.mtime, || header.mtime())?;
    let mut meta = Meta {
        owner: (id(owner.0)?, id(owner.1)?),
        mode: u32::try_from(or_zero(&old.mode, || header.mode().map(u64::from))?).unwrap_or(0),
        mtime: (i64::try_from(mtime).unwrap_or(0), 0),
        xattrs: Vec::new(),
    };
    if let Some(records) = entry.pax_extensions()? {
        for record in records {
            let record = record?;
            entry::extend(&mut meta, record.key_bytes(), record.value_bytes()).map_err(bad)?;
        }
    }
    Ok(meta)
}

/// The stream below a layer's compression, which is told by its first bytes: media types
/// are wrong often enough.
///
/// # Errors
/// A failed read; a compression that is not known.
pub fn decompressed<'a>(mut stored: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let start = stored.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(stored)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(Frames { stored: Some(stored), decoder: None })
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] | [b'B', b'Z', b'h', ..] => {
            return Err(bad("it is compressed by xz or bzip2, which images are not".to_owned()));
        }
        _ => Box::new(stored),
    })
}

/// Zstandard's frames one after the other: zstd:chunked layers have several, and
/// frames to be skipped among them.
struct Frames<R: BufRead> {
    stored: Option<R>,
    decoder: Option<Decoder<R>>,
}

type Decoder<R> = ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>;

impl<R: BufRead> Frames<R> {
    /// Begins the next frame; false at the end.
    fn begin(&mut self, mut stored: R) -> io::Result<bool> {
        loop {
            let magic = stored.fill_buf()?;
            if magic.is_empty() {
                return Ok(false);
            }
            if !matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
                break;
            }
            let mut head = [0; 8];
            stored.read_exact(&mut head)?;
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
            let skipped = io::copy(&mut (&mut stored).take(length.into()), &mut io::sink())?;
            if skipped != u64::from(length) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let decoder = Decoder::new(stored).map_err(|error| bad(format!("zstd: {error}")))?;
        self.decoder = Some(decoder);
        Ok(true)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                let count = decoder.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
            }
            let stored = match self.decoder.take() {
                Some(decoder) => decoder.into_inner(),
                None => match self.stored.take() {
                    Some(stored) => stored,
                    None => return Ok(0),
                },
            };
            if !self.begin(stored)? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
