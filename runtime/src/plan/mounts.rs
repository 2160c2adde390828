//! The mounts of a container, as data: what each option means is a row of
//! `OPTIONS`, and what a `mounts` entry comes to is a [`MountStep`].

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxIdMapping, Mount};

use super::mount_attr::{FsParam, MountAttr, attr, propagation};
use crate::error::{Error, Result};

/// One mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountStep {
    /// The entry, for messages: `mounts[3]`.
    pub field: String,
    /// Where, inside the root.
    pub destination: PathBuf,
    /// What is mounted there.
    pub what: What,
    /// Attributes of the mount itself.
    pub attr: MountAttr,
    /// Attributes of it and all mounts below it.
    pub recursive: MountAttr,
    /// Propagation, in order; `true`: of all mounts below it too.
    pub propagation: Vec<(u64, bool)>,
    /// The directory's content is copied into the new tmpfs.
    pub copy_up: bool,
    /// The destination must be that very directory: no link is followed
    /// (`/proc`, `/sys`; CVE-2019-19921, CVE-2023-27561).
    pub exact: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A new mount of a file system.
    Fs {
        /// Its type.
        kind: CString,
        /// What stands for a source in mountinfo.
        source: CString,
        /// Its parameters.
        params: Vec<FsParam>,
    },
    /// A file or directory of the host.
    Bind {
        /// Its path, absolute.
        source: PathBuf,
        /// With the mounts below it.
        recursive: bool,
        /// Id-mapped.
        idmap: Option<IdMap>,
    },
    /// The container's control groups, in whatever form the host has them.
    Cgroup,
}

/// How the ids of an id-mapped mount are translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// User ids; empty: those of the container's user namespace.
    pub uids: Vec<IdRange>,
    /// Group ids; empty: those of the container's user namespace.
    pub gids: Vec<IdRange>,
    /// The mounts below it too (`ridmap`).
    pub recursive: bool,
}

/// A range of ids (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// The ranges of a specification's list.
    pub fn list(maps: &Option<Vec<LinuxIdMapping>>) -> Vec<IdRange> {
        let range = |map: &LinuxIdMapping| IdRange {
            inside: map.container_id(),
            outside: map.host_id(),
            count: map.size(),
        };
        maps.iter().flatten().map(range).collect()
    }

    /// The text that `/proc/PID/uid_map` takes.
    pub fn text(ranges: &[IdRange]) -> String {
        let line = |r: &IdRange| format!("{} {} {}\n", r.inside, r.outside, r.count);
        ranges.iter().map(line).collect()
    }

    /// What the text of `/proc/PID/uid_map` says.
    pub fn parse(text: &str) -> Vec<IdRange> {
        let range = |line: &str| {
            let mut words = line.split_whitespace().map(|word| word.parse().ok());
            let [inside, outside, count] = [words.next()??, words.next()??, words.next()??];
            Some(IdRange { inside, outside, count })
        };
        text.lines().filter_map(range).collect()
    }

    /// The outside id of an inside one.
    pub fn outside_of(ranges: &[IdRange], id: u32) -> Option<u32> {
        ranges.iter().find_map(|range| {
            let offset = id.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
            range.outside.checked_add(offset)
        })
    }
}

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Sets attributes of the mount.
    Set(u64),
    /// Clears attributes of the mount.
    Clear(u64),
    /// Chooses the access-time mode.
    Atime(u64),
    /// A flag of the file system.
    Flag(&'static str),
    /// Takes a flag of the file system back.
    NoFlag(&'static str),
    /// Propagation of the mount.
    Propagate(u64),
    /// A bind mount.
    Bind,
    /// Id-mapped by the container's user namespace unless mappings are given.
    Idmap,
    /// The directory's content is copied up.
    CopyUp,
    /// Nothing.
    Nothing,
}

/// The options (mount(8) and the specification's "Linux mount options") that
/// are not for the file system itself. Those whose last column is true have a
/// recursive form with an `r` in front.
const OPTIONS: &[(&str, Effect, bool)] = &[
    ("defaults", Effect::Nothing, false),
    ("remount", Effect::Nothing, false),
    ("ro", Effect::Set(attr::RDONLY), true),
    ("rw", Effect::Clear(attr::RDONLY), true),
    ("nosuid", Effect::Set(attr::NOSUID), true),
    ("suid", Effect::Clear(attr::NOSUID), true),
    ("nodev", Effect::Set(attr::NODEV), true),
    ("dev", Effect::Clear(attr::NODEV), true),
    ("noexec", Effect::Set(attr::NOEXEC), true),
    ("exec", Effect::Clear(attr::NOEXEC), true),
    ("nodiratime", Effect::Set(attr::NODIRATIME), true),
    ("diratime", Effect::Clear(attr::NODIRATIME), true),
    ("nosymfollow", Effect::Set(attr::NOSYMFOLLOW), true),
    ("symfollow", Effect::Clear(attr::NOSYMFOLLOW), true),
    ("noatime", Effect::Atime(attr::NOATIME), true),
    ("atime", Effect::Atime(attr::RELATIME), true),
    ("relatime", Effect::Atime(attr::RELATIME), true),
    ("norelatime", Effect::Atime(attr::RELATIME), true),
    ("strictatime", Effect::Atime(attr::STRICTATIME), true),
    ("nostrictatime", Effect::Atime(attr::RELATIME), true),
    ("sync", Effect::Flag("sync"), false),
    ("async", Effect::NoFlag("sync"), false),
    ("dirsync", Effect::Flag("dirsync"), false),
    ("lazytime", Effect::Flag("lazytime"), false),
    ("nolazytime", Effect::NoFlag("lazytime"), false),
    ("mand", Effect::Flag("mand"), false),
    ("nomand", Effect::NoFlag("mand"), false),
    // The kernel knows these by flags of mount(2) only and does nothing by them.
    ("silent", Effect::Nothing, false),
    ("loud", Effect::Nothing, false),
    ("iversion", Effect::Nothing, false),
    ("noiversion", Effect::Nothing, false),
    ("acl", Effect::Nothing, false),
    ("noacl", Effect::Nothing, false),
    ("private", Effect::Propagate(propagation::PRIVATE), true),
    ("shared", Effect::Propagate(propagation::SHARED), true),
    ("slave", Effect::Propagate(propagation::SLAVE), true),
    ("unbindable", Effect::Propagate(propagation::UNBINDABLE), true),
    ("bind", Effect::Bind, true),
    ("idmap", Effect::Idmap, true),
    ("tmpcopyup", Effect::CopyUp, false),
];

/// The names of all options that [`MountStep`] knows, recursive forms
/// included, sorted: for the Features document.
pub fn known_options() -> Vec<String> {
    let mut names: Vec<String> = OPTIONS
        .iter()
        .flat_map(|(name, _, recursive)| {
            let other = recursive.then(|| format!("r{name}"));
            [Some((*name).to_owned()), other].into_iter().flatten()
        })
        .collect();
    names.sort();
    names
}

/// An option's effect, and whether it is the recursive form.
fn effect_of(option: &str) -> Option<(Effect, bool)> {
    let find = |name: &str| OPTIONS.iter().find(|row| row.0 == name);
    if let Some(row) = find(option) {
        return Some((row.1, false));
    }
    let row = option.strip_prefix('r').and_then(find).filter(|row| row.2)?;
    Some((row.1, true))
}

/// The files under `/proc` that may be mounted over: what lxcfs provides.
const OVER_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Whether a path inside the root (cleaned) may be mounted over although it
/// lies under `/proc`.
pub fn may_cover_proc(path: &Path) -> bool {
    OVER_PROC.iter().any(|allowed| path == Path::new(allowed))
}

/// Why something else than a procfs may not be mounted on `/proc`: the container's
/// programs believe it, and so do labels and sysctls.
pub fn not_of_type_proc(destination: &Path) -> String {
    format!("{} cannot be mounted because it is not of type proc", destination.display())
}

impl MountStep {
    /// What `mounts[index]` comes to; relative sources of bind mounts are taken
    /// from `bundle`.
    ///
    /// # Errors
    /// The entry's field and what is wrong with it.
    pub fn new(index: usize, mount: &Mount, bundle: &Path, label: Option<&str>) -> Result<Self> {
        let field = format!("mounts[{index}]");
        let destination = Path::new("/").join(mount.destination());
        let clean = cleaned(&destination);
        if clean != Path::new("/proc") && clean.starts_with("/proc") && !may_cover_proc(&clean) {
            return Err(Error::config(format!(
                "{field}.destination: {} cannot be mounted because it is inside /proc",
                destination.display()
            )));
        }
        let mut read = Read::default();
        for option in mount.options().iter().flatten() {
            read.option(option);
        }
        let kind = mount.typ().as_deref().unwrap_or_default();
        let what = if read.bind || kind == "bind" {
            let source = mount.source().as_deref().unwrap_or(Path::new(""));
            let idmap = read.idmap(mount);
            // Parameters of a file system mean nothing for what is mounted already.
            What::Bind { source: bundle.join(source), recursive: read.recursive_bind, idmap }
        } else if kind == "cgroup" || kind == "cgroup2" {
            What::Cgroup
        } else {
            let c = |text: &[u8], part: &str| {
                let nul = |_| Error::config(format!("{field}.{part}: contains a NUL byte"));
                CString::new(text).map_err(nul)
            };
            let source = mount
                .source()
                .as_deref()
                .map_or(kind.as_bytes(), |path| path.as_os_str().as_bytes());
            let mut params = read.params(&field)?;
            if let (Some(label), "tmpfs" | "devpts") = (label, kind) {
                params.push(FsParam {
                    key: c"context".to_owned(),
                    value: Some(c(label.as_bytes(), "options")?),
                });
            }
            What::Fs { kind: c(kind.as_bytes(), "type")?, source: c(source, "source")?, params }
        };
        // Of a bind mount only the source can tell.
        let proc_only = clean == Path::new("/proc") && !matches!(what, What::Bind { .. });
        if proc_only && kind != "proc" {
            return Err(Error::config(not_of_type_proc(&destination)).within(&field));
        }
        Ok(MountStep {
            field,
            exact: clean == Path::new("/proc") || clean == Path::new("/sys"),
            destination,
            copy_up: read.copy_up && kind == "tmpfs",
            what,
            attr: read.attr,
            recursive: read.recursive,
            propagation: read.propagation,
        })
    }

    /// Whether a parameter of the file system is given.
    pub fn has_param(&self, name: &[u8]) -> bool {
        matches!(&self.what, What::Fs { params, .. } if params.iter().any(|p| p.key.as_bytes() == name))
    }
}

/// Options as they are read, the later ones overruling the earlier.
#[derive(Default)]
struct Read {
    attr: MountAttr,
    recursive: MountAttr,
    propagation: Vec<(u64, bool)>,
    flags: Vec<&'static str>,
    data: Vec<String>,
    bind: bool,
    recursive_bind: bool,
    mapped: Option<bool>,
    copy_up: bool,
}

impl Read {
    fn option(&mut self, option: &str) {
        let Some((effect, recursive)) = effect_of(option) else {
            // One option may hold several, as a line of fstab does.
            self.data.extend(option.split(',').filter(|part| !part.is_empty()).map(str::to_owned));
            return;
        };
        let attr = if recursive { &mut self.recursive } else { &mut self.attr };
        match effect {
            Effect::Set(bits) => {
                attr.set |= bits;
                attr.clear &= !bits;
            }
            Effect::Clear(bits) => {
                attr.clear |= bits;
                attr.set &= !bits;
            }
            Effect::Atime(mode) => {
                attr.set = attr.set & !attr::ATIME | mode;
                attr.clear |= attr::ATIME;
            }
            Effect::Flag(name) => self.flags.push(name),
            Effect::NoFlag(name) => self.flags.retain(|flag| *flag != name),
            Effect::Propagate(bits) => self.propagation.push((bits, recursive)),
            Effect::Bind => {
                self.bind = true;
                self.recursive_bind |= recursive;
            }
            Effect::Idmap => self.mapped = Some(recursive),
            Effect::CopyUp => self.copy_up = true,
            Effect::Nothing => {}
        }
    }

    fn idmap(&self, mount: &Mount) -> Option<IdMap> {
        let given = mount.uid_mappings().is_some();
        if self.mapped.is_none() && !given {
            return None;
        }
        Some(IdMap {
            uids: IdRange::list(mount.uid_mappings()),
            gids: IdRange::list(mount.gid_mappings()),
            recursive: self.mapped == Some(true),
        })
    }

    fn params(&self, field: &str) -> Result<Vec<FsParam>> {
        let c = |text: &str| {
            let nul = |_| Error::config(format!("{field}.options: contains a NUL byte"));
            CString::new(text).map_err(nul)
        };
        let flags = self.flags.iter().map(|flag| Ok(FsParam { key: c(flag)?, value: None }));
        let data = self.data.iter().map(|option| {
            Ok(match option.split_once('=') {
                Some((key, value)) => FsParam { key: c(key)?, value: Some(c(value)?) },
                None => FsParam { key: c(option)?, value: None },
            })
        });
        flags.chain(data).collect()
    }
}

/// A path without `.`, and with each `..` taken back: what it names as long as
/// no link is on the way.
pub fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// A bind mount of the runtime's own, which no configuration names.
pub fn plain_bind(field: &str, source: PathBuf, destination: &str, attrs: u64) -> MountStep {
    MountStep {
        field: field.to_owned(),
        destination: PathBuf::from(destination),
        what: What::Bind { source, recursive: true, idmap: None },
        attr: MountAttr::setting(attrs),
        recursive: MountAttr::default(),
        propagation: Vec::new(),
        copy_up: false,
        exact: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: &str) -> Result<MountStep> {
        let mount: Mount = serde_json::from_str(json).unwrap();
        MountStep::new(0, &mount, Path::new("/bundle"), None)
    }

    fn tmpfs(options: &str) -> MountStep {
        step(&format!(
            r#"{{"destination":"/x","type":"tmpfs","source":"tmpfs","options":[{options}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn later_options_overrule_earlier_ones() {
        for (options, set, clear) in [
            (r#""ro""#, attr::RDONLY, 0),
            (r#""ro","rw""#, 0, attr::RDONLY),
            (r#""rw","ro""#, attr::RDONLY, 0),
            (r#""noatime","relatime""#, 0, attr::ATIME),
            (r#""relatime","strictatime""#, attr::STRICTATIME, attr::ATIME),
            (r#""nosuid","nodev","noexec","suid""#, attr::NODEV | attr::NOEXEC, attr::NOSUID),
        ] {
            let got = tmpfs(options).attr;
            assert_eq!((got.set, got.clear), (set, clear), "{options}");
        }
    }

    #[test]
    fn recursive_forms_are_kept_apart() {
        let got = tmpfs(r#""rro","nosuid","rslave","private""#);
        assert_eq!(got.recursive.set, attr::RDONLY);
        assert_eq!(got.attr.set, attr::NOSUID);
        assert_eq!(got.propagation, [(propagation::SLAVE, true), (propagation::PRIVATE, false)]);
    }

    #[test]
    fn what_is_not_an_option_of_mounts_goes_to_the_file_system() {
        let got = tmpfs(r#""size=64k,mode=755","nr_inodes=5","sync","remountx","rsize=1""#);
        let What::Fs { params, .. } = &got.what else { panic!() };
        let text: Vec<String> = params
            .iter()
            .map(|param| {
                let key = param.key.to_str().unwrap();
                let value = param.value.as_ref().map(|value| value.to_str().unwrap());
                value.map_or(key.to_owned(), |value| format!("{key}={value}"))
            })
            .collect();
        assert_eq!(text, ["sync", "size=64k", "mode=755", "nr_inodes=5", "remountx", "rsize=1"]);
        assert!(got.has_param(b"mode") && !got.has_param(b"uid"));
    }

    #[test]
    fn bind_mounts_by_type_or_by_option() {
        for (kind, options, recursive) in [
            (r#""type":"bind","#, r#""ro""#, false),
            (r#""type":"none","#, r#""bind""#, false),
            ("", r#""rbind""#, true),
            (r#""type":"bind","#, r#""bind","rbind""#, true),
        ] {
            let got = step(&format!(
                r#"{{"destination":"x/../y",{kind}"source":"data","options":[{options}]}}"#
            ));
            let got = got.unwrap();
            let source = PathBuf::from("/bundle/data");
            assert_eq!(got.what, What::Bind { source, recursive, idmap: None }, "{kind} {options}");
            assert_eq!(got.destination, Path::new("/x/../y"));
        }
    }

    #[test]
    fn proc_is_not_to_be_covered() {
        let on = |path: &str| {
            step(&format!(r#"{{"destination":"{path}","type":"bind","source":"/s"}}"#))
        };
        for bad in ["/proc/self", "/proc/sys", "proc/1/attr", "/x/../proc/kcore", "/proc/./stat/x"]
        {
            let error = on(bad).unwrap_err().to_string();
            assert!(error.contains("inside /proc"), "{error}");
        }
        for good in ["/proc", "/proc/cpuinfo", "/process", "/proc/sys/kernel/ns_last_pid"] {
            assert_eq!(on(good).unwrap().exact, good == "/proc", "{good}");
        }
    }

    #[test]
    fn ranges_translate() {
        let ranges = [
            IdRange { inside: 0, outside: 1000, count: 1 },
            IdRange { inside: 1, outside: 100_000, count: 10 },
        ];
        assert_eq!(IdRange::outside_of(&ranges, 0), Some(1000));
        assert_eq!(IdRange::outside_of(&ranges, 10), Some(100_009));
        assert_eq!(IdRange::outside_of(&ranges, 11), None);
        assert_eq!(IdRange::text(&ranges), "0 1000 1\n1 100000 10\n");
    }
}
