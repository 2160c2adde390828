//! The mounts of a container, as data: what a `mounts` entry comes to is a
//! [`MountStep`].

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount;

use super::id_ranges::IdMap;
use super::mount_attr::{FsParam, MountAttr, attr, propagation};
use super::mount_options::{Links, Options};
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
    /// Attributes that a bind mount loses since others are named, unless the
    /// kernel has locked them.
    pub implied_clear: u64,
    /// Attributes of it and all mounts below it.
    pub recursive: MountAttr,
    /// Propagation, in order; `true`: of all mounts below it too.
    pub propagation: Vec<(u64, bool)>,
    /// The directory's content is copied into the new tmpfs.
    pub copy_up: bool,
    /// It becomes read-only when everything else is in its place: mount points
    /// and devices are still to be made in it.
    pub read_only_late: bool,
    /// The destination must be that very directory: no link is followed
    /// (`/proc`, `/sys`; CVE-2019-19921, CVE-2023-27561).
    pub exact: bool,
    /// What links at its ends mean.
    pub links: Links,
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

/// What the entries of `mounts` are read with.
#[derive(Debug)]
pub struct From<'a> {
    /// Relative sources of bind mounts are taken from here.
    pub bundle: &'a Path,
    /// The root's path on the host, absolute and cleaned.
    pub root: &'a Path,
    /// `linux.mountLabel`, and the option that it is given by.
    pub label: Option<(&'static CStr, &'a str)>,
}

impl From<'_> {
    /// A destination that names the root's own path on the host means what is
    /// inside, as with runc.
    pub(super) fn inside(&self, destination: &Path) -> PathBuf {
        match cleaned(destination).strip_prefix(self.root) {
            Ok(inside) if self.root != Path::new("/") => Path::new("/").join(inside),
            _ => destination.to_owned(),
        }
    }
}

impl MountStep {
    /// What `mounts[index]` comes to.
    ///
    /// # Errors
    /// The entry's field and what is wrong with it.
    pub fn new(index: usize, mount: &Mount, from: &From<'_>) -> Result<Self> {
        let field = format!("mounts[{index}]");
        let destination = from.inside(&Path::new("/").join(mount.destination()));
        let clean = cleaned(&destination);
        if clean != Path::new("/proc") && clean.starts_with("/proc") && !may_cover_proc(&clean) {
            return Err(Error::config(format!(
                "{field}.destination: {} cannot be mounted because it is inside /proc",
                destination.display()
            )));
        }
        let read = Options::read(mount.options().iter().flatten());
        let kind = mount.typ().as_deref().unwrap_or_default();
        if read.has_ranges() && !(read.bind || kind == "bind") {
            let why = "id-mapped mounts are only supported for bind mounts";
            return Err(Error::config(format!("{field}.options: idmap: {why}")));
        }
        let what = if read.bind || kind == "bind" {
            let source = mount.source().as_deref().unwrap_or(Path::new(""));
            let options = |error: Error| error.within(format!("{field}.options"));
            let idmap = read.idmap(mount).map_err(options)?;
            // Parameters of a file system mean nothing for what is mounted already.
            What::Bind { source: from.bundle.join(source), recursive: read.recursive_bind, idmap }
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
            if let (Some((option, label)), "tmpfs" | "devpts") = (from.label, kind) {
                params.push(FsParam {
                    key: option.to_owned(),
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
        let bind = matches!(what, What::Bind { .. });
        let mut step = MountStep {
            field,
            exact: clean == Path::new("/proc") || clean == Path::new("/sys"),
            destination,
            copy_up: read.copy_up && kind == "tmpfs",
            implied_clear: if bind { read.implied_clear() } else { 0 },
            what,
            attr: read.attr,
            recursive: read.recursive,
            propagation: read.propagation,
            read_only_late: false,
            links: read.links,
        };
        if matches!(step.what, What::Cgroup) {
            // A group that is bound is never the peer of the host's mount, whatever
            // linux.rootfsPropagation says of the rest.
            step.attr.propagation = propagation::PRIVATE;
        }
        let new = matches!(step.what, What::Fs { .. });
        if new && (kind == "tmpfs" || clean == Path::new("/dev")) {
            step.delay_read_only();
        }
        Ok(step)
    }

    /// Read-only comes last, as with runc.
    fn delay_read_only(&mut self) {
        self.read_only_late = (self.attr.set | self.recursive.set) & attr::RDONLY != 0;
        self.attr.set &= !attr::RDONLY;
        self.recursive.set &= !attr::RDONLY;
    }

    /// Whether a parameter of the file system is given.
    pub fn has_param(&self, name: &[u8]) -> bool {
        matches!(&self.what, What::Fs { params, .. } if params.iter().any(|p| p.key.as_bytes() == name))
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
        implied_clear: 0,
        recursive: MountAttr::default(),
        propagation: Vec::new(),
        copy_up: false,
        read_only_late: false,
        exact: false,
        links: Links::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: &str) -> Result<MountStep> {
        let mount: Mount = serde_json::from_str(json).unwrap();
        let from = From { bundle: Path::new("/bundle"), root: Path::new("/r/fs"), label: None };
        MountStep::new(0, &mount, &from)
    }

    fn new(kind: &str, destination: &str, options: &str) -> MountStep {
        step(&format!(
            r#"{{"destination":"{destination}","type":"{kind}","source":"x","options":[{options}]}}"#
        ))
        .unwrap()
    }

    fn ramfs(options: &str) -> MountStep {
        new("ramfs", "/x", options)
    }

    #[test]
    fn a_bound_group_is_nobodys_peer() {
        for kind in ["cgroup", "cgroup2"] {
            assert_eq!(new(kind, "/sys/fs/cgroup", "").attr.propagation, propagation::PRIVATE);
        }
        assert_eq!(ramfs("").attr.propagation, 0);
    }

    #[test]
    fn read_only_comes_last_where_more_is_to_be_made() {
        for (kind, destination, options, late) in [
            ("tmpfs", "/x", r#""ro""#, true),
            ("tmpfs", "/x", r#""rro""#, true),
            ("tmpfs", "/x", r#""ro","rw""#, false),
            ("devtmpfs", "/dev/", r#""ro""#, true),
            ("ramfs", "/x", r#""ro""#, false),
            ("bind", "/dev", r#""ro""#, false),
        ] {
            let got = new(kind, destination, options);
            let now = (got.attr.set | got.recursive.set) & attr::RDONLY != 0;
            assert_eq!(got.read_only_late, late, "{kind} {options}");
            assert!(!(now && late), "{kind} {options}");
        }
    }

    #[test]
    fn a_label_goes_by_the_option_that_is_asked_for() {
        let mount: Mount =
            serde_json::from_str(r#"{"destination": "/x", "type": "tmpfs", "source": "x"}"#)
                .unwrap();
        let label = Some((c"rootcontext", "a:b:c:s0"));
        let from = From { bundle: Path::new("/b"), root: Path::new("/r"), label };
        let step = MountStep::new(0, &mount, &from).unwrap();
        let What::Fs { params, .. } = step.what else { panic!() };
        assert!(params.iter().any(|p| p.key.as_c_str() == c"rootcontext"), "{params:?}");
    }

    #[test]
    fn the_roots_own_path_is_stripped() {
        for (destination, inside) in
            [("/r/fs/etc", "/etc"), ("/r/./fs", "/"), ("/r/fsx", "/r/fsx"), ("r/fs/x", "/x")]
        {
            assert_eq!(new("ramfs", destination, "").destination, Path::new(inside));
        }
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
            let got = ramfs(options).attr;
            assert_eq!((got.set, got.clear), (set, clear), "{options}");
        }
    }

    #[test]
    fn recursive_forms_are_kept_apart() {
        let got = ramfs(r#""rro","nosuid","rslave","private""#);
        assert_eq!(got.recursive.set, attr::RDONLY);
        assert_eq!(got.attr.set, attr::NOSUID);
        assert_eq!(got.propagation, [(propagation::SLAVE, true), (propagation::PRIVATE, false)]);
    }

    #[test]
    fn what_is_not_an_option_of_mounts_goes_to_the_file_system() {
        let got = ramfs(r#""size=64k,mode=755","nr_inodes=5","sync","remountx","rsize=1""#);
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
}
