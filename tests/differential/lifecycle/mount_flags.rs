//! Every combination of a bind mount's flags, over sources of every flag: as the
//! superuser, and in a user namespace, where what the source has is locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use richrun_tests::bundle::{bind, sh, user_namespace};
use richrun_tests::suite::ONE;
use richrun_tests::{Kind, Suite, Trial};

use super::needs;

pub fn register(suite: &mut Suite) {
    suite.compare(ONE, "flags_of_binds", flags_of_binds).compare(
        ONE,
        "flags_of_binds_in_a_user_namespace",
        flags_of_locked_binds,
    );
    suite.compare(ONE, "access_times_of_binds", access_times_of_binds);
}

/// Each flag, its opposite, and the flag of mount(2).
const FLAGS: [(&str, &str, MsFlags); 4] = [
    ("ro", "rw", MsFlags::MS_RDONLY),
    ("nosuid", "suid", MsFlags::MS_NOSUID),
    ("nodev", "dev", MsFlags::MS_NODEV),
    ("noexec", "exec", MsFlags::MS_NOEXEC),
];

type Set = BTreeSet<&'static str>;

/// What one bind mount asks for.
#[derive(Clone, Default)]
struct Asked {
    set: Set,
    clear: Set,
}

impl Asked {
    /// All 81: each flag is set, cleared or not named.
    fn all() -> Vec<Asked> {
        FLAGS.iter().fold(vec![Asked::default()], |all, (name, _, _)| {
            let three = |asked: &Asked| {
                let (mut with, mut without) = (asked.clone(), asked.clone());
                with.set.insert(name);
                without.clear.insert(name);
                [asked.clone(), with, without]
            };
            all.iter().flat_map(three).collect()
        })
    }

    fn options(&self) -> Vec<&'static str> {
        let word = |(flag, opposite, _): &(&'static str, &'static str, _)| {
            let set = self.set.contains(flag).then_some(*flag);
            set.or(self.clear.contains(flag).then_some(*opposite))
        };
        ["bind"].into_iter().chain(FLAGS.iter().filter_map(word)).collect()
    }
}

/// A source for each set of flags: a file system mounted with them; and one of FUSE with those
/// that fusermount gives.
fn sources(t: &Trial) -> Vec<(Set, PathBuf)> {
    let one = |bits: usize| {
        let dir = t.dir.join(format!("source{bits}"));
        fs::create_dir(&dir).expect("mkdir");
        let chosen = FLAGS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
        let (names, flags): (Set, Vec<MsFlags>) = chosen.map(|(_, row)| (row.0, row.2)).unzip();
        let flags = flags.into_iter().fold(MsFlags::empty(), |all, flag| all | flag);
        mount(Some("source"), &dir, Some("tmpfs"), flags, None::<&str>).expect("mount a tmpfs");
        (names, dir)
    };
    let mut all: Vec<(Set, PathBuf)> = (0..16).map(one).collect();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let fuse = fuse_source(t, flags).map(|dir| (Set::from(["nosuid", "nodev"]), dir));
    all.extend(fuse);
    t.accept_mounts();
    all
}

/// A file system of FUSE: an empty directory. Nothing where the kernel has none.
fn fuse_source(t: &Trial, flags: MsFlags) -> Option<PathBuf> {
    let mut device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
    let dir = t.dir.join("fuse");
    fs::create_dir(&dir).expect("mkdir");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    mount(Some("source"), &dir, Some("fuse"), flags, Some(options.as_str())).expect("mount fuse");
    // It ends with the mount, or with the trial.
    std::thread::spawn(move || {
        let mut request = vec![0; 1 << 17];
        while let Ok(length) = device.read(&mut request) {
            if let Some(answer) = fuse_answer(&request[..length]) {
                let _gone = device.write(&answer);
            }
        }
    });
    Some(dir)
}

/// What is answered to a request (linux/fuse.h).
fn fuse_answer(request: &[u8]) -> Option<Vec<u8>> {
    const FORGET: u32 = 2;
    const GETATTR: u32 = 3;
    const STATFS: u32 = 17;
    const INIT: u32 = 26;
    const INTERRUPT: u32 = 36;
    const BATCH_FORGET: u32 = 42;
    let words = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let operation = u32::from_le_bytes(request.get(4..8)?.try_into().ok()?);
    let body = match operation {
        FORGET | INTERRUPT | BATCH_FORGET => return None,
        // Version 7.31; largest write of a page; the rest is as little as it can be.
        INIT => [words(&[7, 31, 0, 0, 0, 4096, 1]), vec![0; 36]].concat(),
        // Known for an hour: number 1, no size, no times; a directory of root's with two links.
        GETATTR => {
            let no_size_and_times = [0; 13];
            words(
                &[&[3600, 0, 0, 0, 1, 0], &no_size_and_times[..], &[0o40755, 2, 0, 0, 0, 4096, 0]]
                    .concat(),
            )
        }
        STATFS => vec![0; 80],
        _ => Vec::new(),
    };
    const ENOSYS: i32 = 38;
    let error = if body.is_empty() { -ENOSYS } else { 0 };
    let length = u32::try_from(16 + body.len()).ok()?.to_le_bytes();
    Some([&length, &error.to_le_bytes()[..], request.get(8..16)?, &body].concat())
}

/// Binds a source once for each of `list`; what flags they come to have.
fn seen(t: &Trial, source: &Path, list: &[Asked], foreign: bool) -> Vec<Set> {
    let bundle = t.bundle(|c| sh(c, "cat /proc/self/mountinfo"));
    for number in 0..list.len() {
        fs::create_dir_all(bundle.rootfs().join(format!("m/{number}"))).expect("mkdir");
    }
    bundle.edit(|c| {
        for (number, asked) in list.iter().enumerate() {
            bind(c, source, &format!("/m/{number}"), &asked.options());
        }
        if foreign {
            user_namespace(c);
        }
    });
    let out = t.run(&bundle).ok().out;
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let number: usize = fields.get(4)?.strip_prefix("/m/")?.parse().ok()?;
        let has = |name: &&str| fields[5].split(',').any(|word| word == *name);
        Some((number, FLAGS.iter().map(|row| row.0).filter(has).collect()))
    };
    let found: BTreeMap<usize, Set> = out.lines().filter_map(line).collect();
    assert_eq!(found.len(), list.len(), "{out}");
    found.into_values().collect()
}

/// Once a flag is named, a mount has what is asked for and nothing else.
fn flags_of_binds(t: &Trial) {
    needs(t, "run");
    // Before 1.2 only what is set counts as named.
    let old = t.kind() == Kind::Runc && t.runtime.version < (1, 2);
    let list = Asked::all();
    for (had, source) in sources(t) {
        for (asked, got) in list.iter().zip(seen(t, &source, &list, false)) {
            // crun takes every bind mount for one that names its flags.
            let crun = t.kind() == Kind::Crun;
            let named = crun || !asked.set.is_empty() || (!asked.clear.is_empty() && !old);
            let wanted = if named { &asked.set } else { &had };
            assert_eq!(&got, wanted, "{:?} of a source with {had:?}", asked.options());
        }
    }
}

/// In a user namespace it keeps besides what its source has. To take that away by name
/// is refused. crun mounts on the host, where nothing is locked.
fn flags_of_locked_binds(t: &Trial) {
    needs(t, "run");
    let crun = t.kind() == Kind::Crun;
    if t.kind() == Kind::Runc && t.runtime.version < (1, 2) {
        t.skip("runc before 1.2 keeps locked attributes only where read-only is among them");
    }
    for (number, (had, source)) in sources(t).into_iter().enumerate() {
        if crun && number == 16 {
            continue; // it may not look at a directory of FUSE that is its caller's
        }
        let takes = |asked: &&Asked| !asked.clear.is_disjoint(&had);
        let (refused, list): (Vec<_>, Vec<_>) = Asked::all().into_iter().partition(|a| takes(&a));
        for (asked, got) in list.iter().zip(seen(t, &source, &list, true)) {
            let kept = had.iter().filter(|_| !crun);
            let wanted: Set = asked.set.iter().chain(kept).copied().collect();
            assert_eq!(got, wanted, "{:?} of a source with {had:?}", asked.options());
        }
        let one = |asked: &&Asked| asked.clear.len() == 1 && asked.set.is_empty();
        for asked in refused.iter().filter(one).filter(|_| !crun) {
            let out = t.sh_with("true", |c| {
                bind(c, &source, "/usr", &asked.options());
                user_namespace(c);
            });
            out.fails().says("peration not permitted");
        }
    }
}

/// How a mount deals with access times, and with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    /// `noatime`, `relatime`, or neither.
    mode: &'static str,
    nodiratime: bool,
    nosymfollow: bool,
}

impl Times {
    fn of(options: &str) -> Times {
        let has = |name: &str| options.split(',').any(|word| word == name);
        let mode = ["noatime", "relatime"].into_iter().find(|name| has(name)).unwrap_or_default();
        Times { mode, nodiratime: has("nodiratime"), nosymfollow: has("nosymfollow") }
    }

    /// What a bind of such a source is with one option.
    fn with(self, option: &str, under: Kind, old: bool) -> Times {
        let richrun = under == Kind::Richrun;
        let named = if old {
            !matches!(option, "" | "atime" | "norelatime" | "nostrictatime" | "diratime")
        } else {
            !option.is_empty()
        };
        let mut times = Times { nosymfollow: self.nosymfollow && !named, ..self };
        match option {
            "noatime" | "relatime" | "strictatime" => {
                times.mode = ["noatime", "relatime"]
                    .into_iter()
                    .find(|name| *name == option)
                    .unwrap_or_default();
                // The peers' remount knows all of them together.
                times.nodiratime &= richrun;
            }
            // Heard by richrun alone: docs/differences.md.
            "atime" | "norelatime" | "nostrictatime" if richrun => times.mode = "relatime",
            "nodiratime" => {
                times.nodiratime = true;
                times.mode = if richrun { times.mode } else { "relatime" };
            }
            "diratime" if richrun => times.nodiratime = false,
            "nosymfollow" => times.nosymfollow = true,
            _ => {}
        }
        // crun knows no such option, and what it binds it mounts anew.
        times.nosymfollow &= under != Kind::Crun;
        times
    }
}

/// Each option of access times and links alone, over sources of every mode of them.
fn access_times_of_binds(t: &Trial) {
    const NO_SYMLINKS: MsFlags = MsFlags::from_bits_retain(256);
    const OPTIONS: [&str; 11] = [
        "",
        "noatime",
        "atime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "nodiratime",
        "diratime",
        "nosymfollow",
        "ro",
    ];
    needs(t, "run");
    let old = t.kind() == Kind::Runc && t.runtime.version < (1, 2);
    let plain = [
        ("relatime", MsFlags::empty()),
        ("noatime", MsFlags::MS_NOATIME),
        ("", MsFlags::MS_STRICTATIME),
        ("relatime,nodiratime", MsFlags::MS_NODIRATIME),
        ("relatime,nosymfollow", NO_SYMLINKS),
    ];
    let mut sources: Vec<(Times, PathBuf)> = Vec::new();
    for (number, (had, flags)) in plain.into_iter().enumerate() {
        let dir = t.dir.join(format!("source{number}"));
        fs::create_dir(&dir).expect("mkdir");
        match mount(Some("source"), &dir, Some("tmpfs"), flags, None::<&str>) {
            // Linux before 5.10 has no such flag.
            Err(nix::Error::EINVAL) if flags == NO_SYMLINKS => continue,
            mounted => mounted.expect("mount a tmpfs"),
        }
        sources.push((Times::of(had), dir));
    }
    let fuse = fuse_source(t, MsFlags::MS_NOATIME).map(|dir| (Times::of("noatime"), dir));
    sources.extend(fuse);
    t.accept_mounts();
    for (had, source) in sources {
        let bundle = t.bundle(|c| sh(c, "cat /proc/self/mountinfo"));
        for number in 0..OPTIONS.len() {
            fs::create_dir_all(bundle.rootfs().join(format!("m/{number}"))).expect("mkdir");
        }
        bundle.edit(|c| {
            for (number, option) in OPTIONS.into_iter().enumerate() {
                let options: Vec<&str> =
                    ["bind", option].into_iter().filter(|option| !option.is_empty()).collect();
                bind(c, &source, &format!("/m/{number}"), &options);
            }
        });
        let out = t.run(&bundle).ok().out;
        for (number, option) in OPTIONS.into_iter().enumerate() {
            let point = format!("/m/{number}");
            let mut fields = out.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let found = fields.rfind(|fields| fields.get(4) == Some(&point.as_str()));
            let got = Times::of(found.unwrap_or_else(|| panic!("no {point}: {out}"))[5]);
            assert_eq!(got, had.with(option, t.kind(), old), "{option:?} of {had:?}");
        }
    }
}
