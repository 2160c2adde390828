//! How control groups are laid out on a host, as data, and the parsers of the
//! two `/proc` files that say so.

use serde::{Deserialize, Serialize};

/// Which generation of control groups a host offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only v1 hierarchies are mounted.
    V1,
    /// v1 hierarchies, and a cgroup2 mount beside them.
    Hybrid,
    /// One cgroup2 mount on `/sys/fs/cgroup`.
    V2,
    /// No control groups are mounted, or none are wanted.
    #[default]
    None,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Its controllers as the kernel lists them (`["cpu", "cpuacct"]`,
    /// `["name=systemd"]`); empty for the unified hierarchy.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: String,
    /// This process's own group, as a path below `mount` (`/` for the top).
    pub own: String,
}

impl Hierarchy {
    /// Whether this hierarchy carries `controller` (v1).
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// The hierarchies of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The generation.
    pub mode: Mode,
    /// The v1 hierarchies that are mounted, in the kernel's order.
    pub v1: Vec<Hierarchy>,
    /// The unified hierarchy (v2 and hybrid).
    pub unified: Option<Hierarchy>,
}

impl Layout {
    /// A host without control groups.
    pub fn none() -> Self {
        Layout { mode: Mode::None, v1: Vec::new(), unified: None }
    }
}

/// A line of `/proc/<pid>/cgroup` (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The controllers of the hierarchy; empty for the unified one.
    pub controllers: Vec<String>,
    /// The group, from the root of this process's cgroup namespace.
    pub path: String,
}

/// Parses `/proc/<pid>/cgroup`.
pub fn parse_memberships(text: &str) -> Vec<Membership> {
    text.lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            Some(Membership {
                controllers: match controllers {
                    "" => Vec::new(),
                    list => list.split(',').map(str::to_owned).collect(),
                },
                // A group outside this cgroup namespace reads `/../..`.
                path: if path.starts_with("/..") { "/".to_owned() } else { path.to_owned() },
            })
        })
        .collect()
}

/// A cgroup mount of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupMount {
    /// The group that is the root of the mount.
    pub root: String,
    /// The mount point.
    pub point: String,
    /// Whether it is a cgroup2 mount.
    pub unified: bool,
    /// The super options: among them the controllers.
    pub options: Vec<String>,
}

/// Parses the cgroup mounts out of `/proc/self/mountinfo`.
pub fn parse_mounts(text: &str) -> Vec<CgroupMount> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<CgroupMount> {
    let (mount, fs) = line.split_once(" - ")?;
    let mut fs = fs.split(' ');
    let unified = match fs.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let options = fs.nth(1)?.split(',').map(str::to_owned).collect();
    let mut mount = mount.split(' ').skip(3);
    let root = unescape(mount.next()?);
    let point = unescape(mount.next()?);
    Some(CgroupMount { root, point, unified, options })
}

/// Undoes the octal escapes of mountinfo (`\040` is a blank).
pub fn unescape(field: &str) -> String {
    if !field.contains('\\') {
        return field.to_owned();
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `path` (a group seen from the namespace) below a mount whose root is the
/// group `root`; the mount's own top where it lies outside.
pub fn below_mount(root: &str, path: &str) -> String {
    if root == "/" {
        return path.to_owned();
    }
    match path.strip_prefix(root) {
        Some("") | None => "/".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        Some(_) => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_of_a_hybrid_host() {
        let text = "9:name=systemd:/\n4:cpu,cpuacct:/a:b\n0::/../x\n";
        let all = parse_memberships(text);
        assert_eq!(all[0].controllers, ["name=systemd"]);
        assert_eq!(all[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(all[1].path, "/a:b");
        assert_eq!(all[2], Membership { controllers: vec![], path: "/".into() });
    }

    #[test]
    fn mounts_with_a_root_and_an_escape() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            33 31 0:30 /docker/x /sys/fs/cgroup/cpu\\040a rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let mounts = parse_mounts(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].root, "/docker/x");
        assert_eq!(mounts[0].point, "/sys/fs/cgroup/cpu a");
        assert_eq!(mounts[0].options, ["rw", "cpu", "cpuacct"]);
        assert!(mounts[1].unified);
    }

    #[test]
    fn a_group_below_the_root_of_its_mount() {
        assert_eq!(below_mount("/", "/a"), "/a");
        assert_eq!(below_mount("/docker/x", "/docker/x"), "/");
        assert_eq!(below_mount("/docker/x", "/docker/x/y"), "/y");
        assert_eq!(below_mount("/docker/x", "/docker/xy"), "/");
    }
}
