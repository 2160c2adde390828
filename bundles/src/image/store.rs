//! Where images are kept: layers unpacked once, by content, and a record for each image.
//!
//! ```text
//! DIR/lock                    held shared while something is added, exclusively while removed
//! DIR/layers/HEX/fs           a layer, as overlayfs takes it; HEX names its tar stream
//! DIR/l/SHORT -> ../layers/HEX/fs   short names: an overlay's options have 4096 bytes
//! DIR/images/HEX.json         a record; HEX is the digest of the configuration
//! DIR/users/HEX/NAME          the directory of a container that uses the image
//! DIR/tmp                     half-made things: removed by `prune`
//! ```
//! A layer is made in `tmp` and renamed, so what stands in `layers` is whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::config::ImageConfig;
use super::digest::{Digest, Verified};
use super::layout::{Found, Layer};
use super::limits::Limits;
use super::progress::Progress;
use super::unpack::tree::{Lost, Rights};
use super::unpack::{self, decompressed, remove};
use super::userns;
use crate::error::{Error, Kind, Result};

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    limits: Limits,
}

/// What is kept of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The digest of its configuration.
    pub id: String,
    /// What it was asked for by.
    pub names: Vec<String>,
    /// When it was unpacked, seconds since 1970.
    pub unpacked: u64,
    /// Bytes of its layers' files.
    pub size: u64,
    /// Digests of its layers, the lowest first.
    pub layers: Vec<String>,
    /// How it is run.
    pub config: ImageConfig,
}

/// What is kept of a layer, beside its files.
#[derive(Debug, Serialize, Deserialize)]
struct Unpacked {
    bytes: u64,
    entries: u64,
}

impl Record {
    /// Its id as a digest.
    ///
    /// # Errors
    /// The record is malformed.
    pub fn digest(&self) -> Result<Digest> {
        Digest::parse(&self.id)
    }

    /// Its layers, the lowest first.
    ///
    /// # Errors
    /// The record is malformed.
    pub fn layers(&self) -> Result<Vec<Digest>> {
        self.layers.iter().map(|text| Digest::parse(text)).collect()
    }
}

fn failed<'a>(step: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| Error::new(Kind::Refused, format!("image: {step} {}: {error}", path.display()))
}

impl Store {
    /// The store in this directory, made where there is none; nobody else may look at it,
    /// since what images have set-id bits on is none of this host's.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: &Path) -> Result<Store> {
        for part in ["", "layers", "l", "images", "users", "tmp"] {
            let path = dir.join(part);
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(&path).map_err(failed("make", &path))?;
        }
        Ok(Store { dir: dir.to_owned(), limits: Limits::USUAL })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it holds images to.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place for half-made things.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    fn layer(&self, diff: &Digest) -> PathBuf {
        self.dir.join("layers").join(diff.hex())
    }

    fn record_path(&self, id: &Digest) -> PathBuf {
        self.dir.join("images").join(format!("{}.json", id.hex()))
    }

    /// The short name of a layer, for overlayfs.
    #[must_use]
    pub fn short(&self, diff: &Digest) -> PathBuf {
        self.dir.join("l").join(diff.short())
    }

    /// A layer's files.
    #[must_use]
    pub fn files(&self, diff: &Digest) -> PathBuf {
        self.layer(diff).join("fs")
    }

    /// The lock: shared while something is added, exclusive while something is removed.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn lock(&self, how: FlockOperation) -> Result<File> {
        let path = self.dir.join("lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(failed("open", &path))?;
        flock(&file, how).map_err(|error| failed("lock", &path)(error.into()))?;
        Ok(file)
    }

    /// Held while a record is read, changed and written: others add names, too.
    fn names_lock(&self) -> Result<File> {
        let path = self.dir.join("names.lock");
        let file = File::create(&path).map_err(failed("make", &path))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| failed("lock", &path)(error.into()))?;
        Ok(file)
    }

    /// The record of an image whose layers are all there.
    #[must_use]
    pub fn record(&self, id: &Digest) -> Option<Record> {
        let record: Record = serde_json::from_slice(&fs::read(self.record_path(id)).ok()?).ok()?;
        let layers = record.layers().ok()?;
        layers.iter().all(|layer| self.files(layer).is_dir()).then_some(record)
    }

    /// All records, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn records(&self) -> Result<Vec<Record>> {
        let path = self.dir.join("images");
        let mut all = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed("read", &path))? {
            let entry = entry.map_err(failed("read", &path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(hex) = name.strip_suffix(".json") else { continue };
            let digest = ["sha256", "sha512"].map(|kind| Digest::parse(&format!("{kind}:{hex}")));
            all.extend(digest.iter().flatten().find_map(|id| self.record(id)));
        }
        all.sort_by_key(|record| std::cmp::Reverse(record.unpacked));
        Ok(all)
    }

    /// The image that was asked for by `name`, or whose id begins so (4 digits or more).
    ///
    /// # Errors
    /// [`Kind::Usage`] for the beginning of several ids; the store cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Record>> {
        let mut all = self.records()?;
        if let Some(at) = all.iter().position(|record| record.names.iter().any(|one| one == name)) {
            return Ok(Some(all.swap_remove(at)));
        }
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        if hex.len() < 4 {
            return Ok(None);
        }
        all.retain(|record| record.id.split(':').nth(1).is_some_and(|id| id.starts_with(hex)));
        match all.len() {
            0 | 1 => Ok(all.pop()),
            count => Err(Error::usage(format!(
                "{name} is the beginning of the ids of {count} images: give more of it"
            ))),
        }
    }

    /// Unpacks what is missing of an image, and records it under `name`. The caller is
    /// root, of the host or of a user namespace. What could not be made is added to `lost`.
    ///
    /// # Errors
    /// A layer that is hostile or broken; a failed system call.
    pub fn add(&self, found: &Found, name: &str, lost: &mut Lost) -> Result<Record> {
        let _lock = self.lock(FlockOperation::LockShared)?;
        let mut size = 0;
        for (at, layer) in found.layers.iter().enumerate() {
            let title = format!("layer {}/{} {}", at + 1, found.layers.len(), layer.diff.short());
            size += self.add_layer(found, layer, &title, lost)?;
        }
        let _names = self.names_lock()?;
        let before = self.record(&found.id);
        let mut names = before.map_or_else(Vec::new, |record| record.names);
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        self.forget_name(name, &found.id)?;
        let record = Record {
            id: found.id.to_string(),
            names,
            unpacked: now(),
            size,
            layers: found.layers.iter().map(|layer| layer.diff.to_string()).collect(),
            config: found.config.clone(),
        };
        self.write(&self.record_path(&found.id), &record)?;
        Ok(record)
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn alias(&self, record: Record, name: String) -> Result<Record> {
        let _lock = self.names_lock()?;
        // As it is by now.
        let mut record = self.record(&record.digest()?).unwrap_or(record);
        if !record.names.contains(&name) {
            record.names.push(name);
            self.write(&self.record_path(&record.digest()?), &record)?;
        }
        Ok(record)
    }

    /// A name is one image's: the one that was unpacked last.
    fn forget_name(&self, name: &str, but: &Digest) -> Result<()> {
        for mut record in self.records()? {
            if record.id != but.to_string() && record.names.iter().any(|known| known == name) {
                record.names.retain(|known| known != name);
                self.write(&self.record_path(&record.digest()?), &record)?;
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, content: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(content).map_err(|error| {
            Error::new(Kind::Refused, format!("image: {}: {error}", path.display()))
        })?;
        let half = self.scratch().join(unique("record"));
        fs::write(&half, bytes).map_err(failed("write", &half))?;
        fs::rename(&half, path).map_err(failed("write", path))
    }

    /// Unpacks one layer unless it is there; its size.
    fn add_layer(&self, found: &Found, layer: &Layer, title: &str, lost: &mut Lost) -> Result<u64> {
        let home = self.layer(&layer.diff);
        let path = self.dir.join("tmp").join(format!("{}.lock", layer.diff.hex()));
        let lock = File::create(&path).map_err(failed("make", &path))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| failed("lock", &path)(error.into()))?;
        if let Ok(bytes) = fs::read(home.join("layer.json"))
            && let Ok(known) = serde_json::from_slice::<Unpacked>(&bytes)
        {
            return Ok(known.bytes);
        }
        let half = self.scratch().join(unique(layer.diff.short()));
        let made = self.make_layer(found, layer, title, &half, lost);
        let made = made.and_then(|unpacked| {
            self.write(&half.join("layer.json"), &unpacked)?;
            let _ = remove::at(&home);
            fs::rename(&half, &home).map_err(failed("make", &home))?;
            Ok(unpacked.bytes)
        });
        if made.is_err() {
            let _ = remove::at(&half);
        }
        let bytes = made?;
        let short = self.short(&layer.diff);
        let target = Path::new("../layers").join(layer.diff.hex()).join("fs");
        let half = self.scratch().join(unique("link"));
        std::os::unix::fs::symlink(&target, &half).map_err(failed("make", &half))?;
        fs::rename(&half, &short).map_err(failed("make", &short))?;
        Ok(bytes)
    }

    fn make_layer(
        &self,
        found: &Found,
        layer: &Layer,
        title: &str,
        half: &Path,
        lost: &mut Lost,
    ) -> Result<Unpacked> {
        let fs = half.join("fs");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&fs)
            .map_err(failed("make", &fs))?;
        let summary = self.unpack(found, layer, title, &fs).map_err(|error| {
            Error::new(Kind::Refused, format!("image: unpack layer {}: {error}", layer.diff))
        })?;
        lost.owners += summary.lost.owners;
        lost.devices += summary.lost.devices;
        lost.xattrs += summary.lost.xattrs;
        Ok(Unpacked { bytes: summary.bytes, entries: summary.entries })
    }

    fn unpack(
        &self,
        found: &Found,
        layer: &Layer,
        title: &str,
        directory: &Path,
    ) -> io::Result<unpack::Summary> {
        let (file, length) = found.files.open(&layer.path)?;
        let progress = Progress::new(title, length);
        // Without a manifest's word the bytes as stored may be any: what comes out counts.
        let any = Digest::of(b"");
        let stored = layer.stored.as_ref().unwrap_or(&any);
        let mut stored = Verified::new(progress.reading(file), stored, self.limits.compressed);
        let counter = stored.counter();
        let most = self.limits.unpacked.saturating_mul(2);
        let stream = decompressed(BufReader::with_capacity(1 << 16, &mut stored))?;
        let mut plain =
            Verified::new(stream, &layer.diff, most).in_ratio(counter.clone(), self.limits);
        let rights = Rights {
            owners: userns::is_initial() || userns::has_range(),
            devices: userns::is_initial(),
            userxattr: !userns::is_initial(),
        };
        let summary = unpack::unpack(&mut plain, &counter, directory, rights, &self.limits)?;
        plain.finish()?;
        if layer.stored.is_some() {
            stored.finish()?;
        }
        Ok(summary)
    }

    /// Notes that the container in `directory` uses the image, until the directory is gone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_user(&self, id: &Digest, directory: &Path) -> Result<()> {
        let users = self.dir.join("users").join(id.hex());
        fs::create_dir_all(&users).map_err(failed("make", &users))?;
        let name = Digest::of(directory.as_os_str().as_encoded_bytes());
        let path = users.join(name.short());
        fs::write(&path, directory.as_os_str().as_encoded_bytes()).map_err(failed("write", &path))
    }

    /// Directories of containers that use the image; those that are gone are forgotten.
    #[must_use]
    pub fn users(&self, id: &Digest) -> Vec<PathBuf> {
        let mut there = Vec::new();
        let entries = fs::read_dir(self.dir.join("users").join(id.hex()));
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(text) = fs::read_to_string(entry.path()) else { continue };
            if Path::new(&text).is_dir() {
                there.push(PathBuf::from(text));
            } else {
                let _ = fs::remove_file(entry.path());
            }
        }
        there
    }

    /// Removes an image's record, and with it the layers that no other image has.
    ///
    /// # Errors
    /// A container uses it.
    pub fn remove(&self, record: &Record) -> Result<()> {
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let id = record.digest()?;
        if let Some(user) = self.users(&id).first() {
            let name = user.display();
            return Err(Error::new(
                Kind::Refused,
                format!(
                    "image rm {}: the container in {name} uses it; remove that first",
                    id.short()
                ),
            ));
        }
        let path = self.record_path(&id);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        let _ = fs::remove_dir(self.dir.join("users").join(id.hex()));
        self.sweep().map(drop)
    }

    /// Removes the images that no container uses, if `all`, and what no image has.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn prune(&self, all: bool) -> Result<Pruned> {
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let mut pruned = Pruned::default();
        for record in self.records()? {
            let id = record.digest()?;
            let unnamed = record.names.is_empty();
            if (all || unnamed) && self.users(&id).is_empty() {
                let path = self.record_path(&id);
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                pruned.images.push(record.id);
            }
        }
        (pruned.layers, pruned.bytes) = self.sweep()?;
        Ok(pruned)
    }

    /// Removes layers without an image, and half-made things; how many, and their bytes.
    fn sweep(&self) -> Result<(usize, u64)> {
        let mut used = BTreeSet::new();
        for record in self.records()? {
            used.extend(record.layers()?.iter().map(|layer| layer.hex().to_owned()));
        }
        let (mut count, mut bytes) = (0, 0);
        let layers = self.dir.join("layers");
        for entry in fs::read_dir(&layers).map_err(failed("read", &layers))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if used.contains(&name) {
                continue;
            }
            let meta = fs::read(entry.path().join("layer.json")).unwrap_or_default();
            let meta = serde_json::from_slice::<Unpacked>(&meta);
            count += 1;
            bytes += meta.map_or(0, |meta| meta.bytes);
            let half = self.scratch().join(unique("gone"));
            fs::rename(entry.path(), &half).map_err(failed("remove", &entry.path()))?;
            let _ = fs::remove_file(self.dir.join("l").join(name.get(..12).unwrap_or_default()));
        }
        let scratch = self.scratch();
        for entry in fs::read_dir(&scratch).map_err(failed("read", &scratch))?.flatten() {
            remove::at(&entry.path()).map_err(failed("remove", &entry.path()))?;
        }
        Ok((count, bytes))
    }
}

/// What `prune` has removed.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Pruned {
    /// Ids of images.
    pub images: Vec<String>,
    /// How many layers.
    pub layers: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A name that no other process uses.
fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{next}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_before_ids_and_no_guess_between_two() {
        let dir = std::env::temp_dir().join(format!("rich-images-{}", std::process::id()));
        let store = Store::open(&dir).expect("a store");
        let add = |hex: &str, name: &str| {
            let id = format!("sha256:{hex}{}", "0".repeat(64 - hex.len()));
            let record = Record {
                names: vec![name.to_owned()],
                unpacked: 0,
                size: 0,
                layers: Vec::new(),
                config: ImageConfig::default(),
                id,
            };
            let digest = record.digest().expect("a digest");
            store.write(&store.record_path(&digest), &record).expect("written");
        };
        add("cafe1", "one");
        add("cafe2", "two");
        add("beef1", "cafe");
        let found =
            |word: &str| store.find(word).map(|found| found.map(|one| one.names[0].clone()));
        assert_eq!(found("cafe").expect("by name").as_deref(), Some("cafe"));
        assert_eq!(found("cafe1").expect("by id").as_deref(), Some("one"));
        assert_eq!(found("sha256:cafe2").expect("by id").as_deref(), Some("two"));
        assert_eq!(found("sha256:cafe").expect_err("two of them").kind, Kind::Usage);
        assert_eq!(found("caf").expect("too short"), None);
        fs::remove_dir_all(dir).expect("removed");
    }
}
