//! Threats and faults: what must hold when the container, or the world, is
//! hostile. `docs/must-hold.md` lists them all; the ids (R1...) are its rows.
//! Each of these trials fails on a runtime without the defence: versions of the
//! peers that are older than an advisory, or lack what is asked, fail some.

mod born;
mod entering;
mod exposure;
mod faults;
mod holdings;
mod kills;
mod notify;
mod paths;
mod steps;
mod trace;
mod trees;
mod well_known;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use richrun_tests::{Suite, Trial};

pub fn register(suite: &mut Suite) {
    born::register(suite);
    entering::register(suite);
    exposure::register(suite);
    trees::register(suite);
    trace::register(suite);
    well_known::register(suite);
    words::register(suite);
    paths::register(suite);
    faults::register(suite);
    holdings::register(suite);
    kills::register(suite);
    notify::register(suite);
    steps::register(suite, 3, 600);
}

/// Something of the host's that no container may touch.
pub struct Canary {
    /// A directory beside the bundles.
    pub dir: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

impl Canary {
    pub fn new(t: &Trial) -> Canary {
        let dir = t.dir.join("canary");
        fs::create_dir_all(dir.join("deeper")).expect("make the canary");
        fs::write(dir.join("secret"), "SECRET").expect("write the canary");
        fs::write(dir.join("deeper/secret"), "SECRET").expect("write the canary");
        let before = snapshot(&dir);
        Canary { dir, before }
    }

    /// The directory as text.
    pub fn path(&self) -> &str {
        self.dir.to_str().expect("utf-8 path")
    }

    #[track_caller]
    pub fn is_untouched(&self, what: &str) {
        assert_eq!(snapshot(&self.dir), self.before, "{what}");
    }
}

/// Every path below `dir` with what could be changed of it.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let data = fs::symlink_metadata(&path).expect("stat");
        if data.is_dir() {
            let entries = fs::read_dir(&path).expect("read a directory");
            open.extend(entries.flatten().map(|entry| entry.path()));
        }
        let text =
            if data.is_file() { fs::read_to_string(&path).expect("read") } else { String::new() };
        let line = format!("{:o} {}:{} {} {text}", data.mode(), data.uid(), data.gid(), data.dev());
        found.insert(path, line);
    }
    found
}

/// Numbers that are the same in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides` (xorshift64*).
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len() as u64) as usize]
    }
}
