//! Every combination of a bind mount's flags, over sources of every flag: as the
//! superuser, and in a user namespace, where what the source has is locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
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

/// A source for each set of flags: a file system mounted with them.
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
    let all = (0..16).map(one).collect();
    t.accept_mounts();
    all
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
    for (had, source) in sources(t) {
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
