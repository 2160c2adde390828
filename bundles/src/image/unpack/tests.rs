use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;

/// A directory that goes with its owner: `layer` is unpacked into, `canary` is beside.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let id = std::process::id();
        let dir = std::env::temp_dir().join(format!("rich-bundles-unpack-{id}-{name}"));
        fs::create_dir_all(dir.join("layer")).unwrap();
        fs::create_dir_all(dir.join("canary")).unwrap();
        fs::write(dir.join("canary/file"), "untouched").unwrap();
        Place { dir }
    }

    fn layer(&self) -> PathBuf {
        self.dir.join("layer")
    }

    fn unpack_with(&self, tar: &[u8], limits: &Limits) -> io::Result<Summary> {
        let root = rustix::process::geteuid().is_root();
        let rights = Rights { owners: root, devices: false, userxattr: !root };
        unpack(tar, &Cell::new(tar.len() as u64), &self.layer(), rights, limits)
    }

    fn unpack(&self, tar: &[u8]) -> io::Result<Summary> {
        self.unpack_with(tar, &Limits::USUAL)
    }

    /// Nothing but the layer's directory was touched.
    fn assert_canary(&self) {
        assert_eq!(fs::read_to_string(self.dir.join("canary/file")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(self.dir.join("canary")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&self.dir).unwrap().count(), 2);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = remove::at(&self.dir);
    }
}

/// Entries written as they are: the tar crate's builder refuses hostile ones.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn entry(mut self, kind: u8, name: &[u8], link: &[u8], data: &[u8]) -> Raw {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_size(data.len() as u64);
        header.set_mtime(1_000_000);
        header.set_uid(0);
        header.set_gid(0);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Raw {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(b'x', b"pax", b"", &data)
    }

    fn dir(self, name: &str) -> Raw {
        self.entry(b'5', name.as_bytes(), b"", b"")
    }

    fn file(self, name: &str, data: &[u8]) -> Raw {
        self.entry(b'0', name.as_bytes(), b"", data)
    }

    fn link(self, name: &str, target: &str) -> Raw {
        self.entry(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    fn hard(self, name: &str, target: &str) -> Raw {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

#[test]
fn ordinary_layer() {
    let place = Place::new("ordinary");
    let tar = Raw::default()
        .dir("./")
        .dir("etc/")
        .file("etc/passwd", b"root")
        .link("etc/link", "/etc/passwd")
        .hard("etc/hard", "etc/passwd")
        .file("no/parents/here", b"x")
        .entry(b'6', b"pipe", b"", b"")
        .end();
    let summary = place.unpack(&tar).unwrap();
    assert_eq!(summary.entries, 7);
    let layer = place.layer();
    let passwd = fs::symlink_metadata(layer.join("etc/passwd")).unwrap();
    assert_eq!(passwd.ino(), fs::symlink_metadata(layer.join("etc/hard")).unwrap().ino());
    assert_eq!(passwd.mtime(), 1_000_000);
    assert_eq!(passwd.permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_link(layer.join("etc/link")).unwrap(), PathBuf::from("/etc/passwd"));
    assert_eq!(fs::metadata(layer.join("etc")).unwrap().mtime(), 1_000_000);
    assert_eq!(fs::read(layer.join("no/parents/here")).unwrap(), b"x");
}

#[test]
fn the_last_entry_of_a_name_counts() {
    let place = Place::new("twice");
    let tar = Raw::default()
        .file("a", b"1")
        .file("a", b"2")
        .dir("d")
        .file("d/x/y", b"1")
        .file("d", b"file now")
        .link("l", "/nowhere")
        .dir("l")
        .file("l/x", b"1")
        .end();
    place.unpack(&tar).unwrap();
    let layer = place.layer();
    assert_eq!(fs::read(layer.join("a")).unwrap(), b"2");
    assert_eq!(fs::read(layer.join("d")).unwrap(), b"file now");
    assert_eq!(fs::read(layer.join("l/x")).unwrap(), b"1");
}

#[test]
fn hostile_layers_write_nothing_outside() {
    let up = "../../../../../../../../../../../..";
    let cases: Vec<(&str, Raw, &str)> = vec![
        ("dots", Raw::default().file("../canary/file", b"bad"), "`..`"),
        ("dots-inside", Raw::default().file("a/../../canary/new", b"bad"), "`..`"),
        ("hard-out", Raw::default().hard("x", "../canary/file"), "`..`"),
        ("hard-absolute", Raw::default().hard("x", "/etc/passwd"), "does not have"),
        ("hard-missing", Raw::default().hard("x", "y"), "does not have"),
        ("hard-dir", Raw::default().dir("d").hard("x", "d"), "directory"),
        ("whiteout-dots", Raw::default().file("a/.wh...", b""), "whiteout"),
        ("no-type", Raw::default().entry(b'V', b"x", b"", b""), "none of a layer's"),
        ("nul", Raw::default().pax(&[("path", b"a\0b")]).file("x", b""), "NUL"),
        ("nul-link", Raw::default().pax(&[("linkpath", b"a\0b")]).link("x", "y"), "NUL"),
        (
            "overlay",
            Raw::default().pax(&[("SCHILY.xattr.user.overlay.redirect", b"/")]).dir("x"),
            "overlayfs",
        ),
        ("below-file", Raw::default().file("a", b"").file("a/b", b""), "a is a file"),
        ("root-file", Raw::default().file("./", b"").link("./", "/etc"), "root of the image"),
        (
            "long-pax",
            Raw::default().pax(&[("comment", &[b'x'; 2 << 20])]).file("x", b""),
            "too long",
        ),
        (
            "dangling",
            Raw::default().link("l", &format!("{up}/canary-x")).file("l/file", b"bad"),
            "nothing in it",
        ),
    ];
    for (name, raw, wanted) in cases {
        let place = Place::new(name);
        let error = place.unpack(&raw.end()).expect_err(name).to_string();
        assert!(error.contains(wanted), "{name}: {error}");
        place.assert_canary();
    }
}

#[test]
fn links_lead_nowhere_but_into_the_layer() {
    let place = Place::new("links");
    let canary = place.dir.join("canary");
    let canary = canary.to_str().unwrap();
    // A directory that is exchanged for a link after its first entry.
    let tar = Raw::default()
        .dir("d")
        .file("d/one", b"1")
        .link("d", canary)
        .dir(&canary[1..])
        .file("d/file", b"bad")
        .hard("d/hard", "d/file")
        .link("to", &format!("{canary}/file"))
        .hard("same", "to")
        .file("to", b"replaced, not followed")
        .end();
    place.unpack(&tar).unwrap();
    place.assert_canary();
    assert_eq!(fs::read(place.layer().join(&canary[1..]).join("file")).unwrap(), b"bad");
    assert_eq!(fs::read(place.layer().join("to")).unwrap(), b"replaced, not followed");
    assert!(fs::symlink_metadata(place.layer().join("same")).unwrap().is_symlink());
}

#[test]
fn bombs() {
    let small = Limits { unpacked: 1 << 20, entries: 10, ..Limits::USUAL };
    let place = Place::new("size");
    let error = place.unpack_with(&Raw::default().file("x", &[0; 2 << 20]).end(), &small);
    assert!(error.unwrap_err().to_string().contains("1048576 bytes"));
    let place = Place::new("entries");
    let many = (0..11).fold(Raw::default(), |raw, at| raw.file(&format!("f{at}"), b""));
    assert!(place.unpack_with(&many.end(), &small).unwrap_err().to_string().contains("10 entries"));
    let place = Place::new("ratio");
    let ratio = Limits { ratio: 2, ratio_from: 4096, ..Limits::USUAL };
    let tar = Raw::default().file("x", &[0; 1 << 20]).end();
    let rights = Rights { owners: false, devices: false, userxattr: true };
    let error = unpack(&tar[..], &Cell::new(1000), &place.layer(), rights, &ratio).unwrap_err();
    assert!(error.to_string().contains("2 times"), "{error}");
}

#[test]
fn cut_off_and_not_a_tar() {
    let place = Place::new("cut");
    let tar = Raw::default().file("x", &[1; 4000]).end();
    assert!(place.unpack(&tar[..2000]).is_err());
    assert!(place.unpack(&[7; 4096]).is_err());
}

#[test]
fn zeros_become_holes() {
    let place = Place::new("sparse");
    let mut data = vec![0; 8 << 20];
    data.extend_from_slice(b"end");
    place.unpack(&Raw::default().file("x", &data).end()).unwrap();
    let file = fs::metadata(place.layer().join("x")).unwrap();
    assert_eq!(file.len(), data.len() as u64);
    assert!(file.blocks() * 512 < 1 << 20, "{} blocks", file.blocks());
    assert_eq!(fs::read(place.layer().join("x")).unwrap(), data);
}

#[test]
fn whiteouts_hide_the_layers_below_only() {
    let place = Place::new("whiteouts");
    let tar = Raw::default()
        .file("here", b"1")
        .file(".wh.here", b"")
        .file(".wh.gone", b"")
        .file(".wh.new", b"")
        .dir("new")
        .file("d/.wh..wh..opq", b"")
        .file(".wh..wh.plnk", b"")
        .end();
    place.unpack(&tar).unwrap();
    let stat = |name: &str| fs::symlink_metadata(place.layer().join(name)).unwrap();
    assert_eq!(stat("here").len(), 1);
    assert_eq!((stat("gone").mode() & libc_char(), stat("gone").rdev()), (libc_char(), 0));
    let prefix = if rustix::process::geteuid().is_root() { "trusted" } else { "user" };
    for name in ["new", "d"] {
        let mut value = [0; 4];
        let path = place.layer().join(name);
        let attribute = format!("{prefix}.overlay.opaque");
        assert_eq!(rustix::fs::getxattr(&path, attribute.as_str(), &mut value), Ok(1), "{name}");
    }
    assert_eq!(fs::read_dir(place.layer()).unwrap().count(), 4);
}

/// The file type of a character device.
fn libc_char() -> u32 {
    0o020_000
}

#[test]
fn trees_deeper_than_descriptors() {
    let place = Place::new("deep");
    let deep = "d/".repeat(1900);
    let tar = Raw::default()
        .pax(&[("path", format!("{deep}f").as_bytes())])
        .file("x", b"1")
        .pax(&[("linkpath", deep.trim_end_matches('/').as_bytes())])
        .link("l", "x")
        .pax(&[("path", format!("l/{deep}f").as_bytes())])
        .file("x", b"1")
        .end();
    place.unpack(&tar).unwrap();
    remove::at(&place.layer()).unwrap();
    assert!(!place.layer().exists());
}

#[test]
fn compression_is_told_by_the_bytes() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"hello").unwrap();
    let gz = gz.finish().unwrap();
    // `printf hello | zstd`, behind a frame to be skipped.
    let mut zstd = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec();
    zstd.extend_from_slice(b"\x28\xb5\x2f\xfd\x04\x58\x29\x00\x00hello\xa3\x6d\x9f\x88");
    let twice = [zstd.clone(), zstd.clone()].concat();
    for (bytes, wanted) in [(&gz, "hello"), (&b"hello".to_vec(), "hello"), (&twice, "hellohello")] {
        let mut text = String::new();
        let read = decompressed(&bytes[..]).and_then(|mut stream| stream.read_to_string(&mut text));
        read.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(text, wanted);
    }
    assert!(decompressed(&b"\xfd7zXZ\0"[..]).is_err());
}

/// Bytes of a layer changed at random, always in the same way: whatever they mean, nothing
/// outside is written, nothing panics, and what was made can be removed.
#[test]
fn mutations_write_nothing_outside() {
    let place = Place::new("mutations");
    let canary = place.dir.join("canary");
    let seed = Raw::default()
        .dir("d/")
        .link("d/l", canary.to_str().unwrap())
        .file("d/l/file", b"bad")
        .hard("h", "d/l")
        .pax(&[("path", b"../canary/x"), ("SCHILY.xattr.user.a", b"b")])
        .file("f", b"content")
        .file(".wh.gone", b"")
        .entry(b'6', b"pipe", b"", b"")
        .end();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let limits = Limits { unpacked: 1 << 20, ..Limits::USUAL };
    let pieces: [&[u8]; 6] = [b"../", b"/", b"\0", b".wh.", b"canary", b"d/l"];
    for _ in 0..400 {
        let mut bytes = seed.clone();
        for _ in 0..=roll(3) {
            let block = roll(bytes.len() / 512 - 2) * 512;
            let piece = pieces[roll(pieces.len())];
            let at = block + [0, 156, 157, 124, 345, roll(500)][roll(6)];
            match roll(3) {
                0 => bytes[at] = u8::try_from(roll(256)).unwrap(),
                1 => bytes[at..at + piece.len()].copy_from_slice(piece),
                _ => bytes[block + 156] = b"0123456xLK"[roll(10)],
            }
            let mut header = tar::Header::from_byte_slice(&bytes[block..block + 512]).clone();
            header.set_cksum();
            bytes[block..block + 512].copy_from_slice(header.as_bytes());
        }
        let _ = place.unpack_with(&bytes, &limits);
        place.assert_canary();
        remove::at(&place.layer()).unwrap();
        fs::create_dir(place.layer()).unwrap();
    }
}
