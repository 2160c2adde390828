//! Finds out how control groups are laid out on this host, with few reads: a
//! launch waits for it.

use rustix::fs::{CWD, Mode as FileMode, OFlags, openat, statfs};

use super::file;
use crate::error::{Error, Result};
use crate::plan::cgroup::layout::{
    CgroupMount, Hierarchy, Layout, Membership, Mode, below_mount, parse_memberships, parse_mounts,
};

/// Where hierarchies are mounted by convention.
const ROOT: &str = "/sys/fs/cgroup";
/// `CGROUP2_SUPER_MAGIC` (statfs(2)).
const CGROUP2_MAGIC: u32 = 0x6367_7270;
/// `CGROUP_SUPER_MAGIC` (statfs(2)).
const CGROUP1_MAGIC: u32 = 0x0027_e0eb;

/// Reads the layout: one statfs and `/proc/self/cgroup` on a v2 host, and a
/// statfs a hierarchy on a v1 host. Mountinfo, which may be long, is read only
/// where a hierarchy is not at its conventional place.
///
/// # Errors
/// `/proc` cannot be read.
pub fn probe() -> Result<Layout> {
    let v2 = magic(ROOT) == Some(CGROUP2_MAGIC);
    let text = match read_proc("/proc/self/cgroup") {
        // A kernel without control groups has no such file.
        Err(error) if error.errno() == Some(rustix::io::Errno::NOENT) => return Ok(Layout::none()),
        text => text?,
    };
    let memberships = parse_memberships(&text);
    if v2 {
        let own = own_unified(&memberships).unwrap_or_else(|| "/".to_owned());
        return Ok(Layout { mode: Mode::V2, v1: Vec::new(), unified: Some(unified(ROOT, own)) });
    }
    let mut mounts = Mounts::default();
    let mut v1 = Vec::with_capacity(memberships.len());
    for member in memberships.iter().filter(|member| !member.controllers.is_empty()) {
        v1.extend(locate(member, &mut mounts)?);
    }
    let hybrid = format!("{ROOT}/unified");
    let unified = (magic(&hybrid) == Some(CGROUP2_MAGIC))
        .then(|| own_unified(&memberships))
        .flatten()
        .map(|own| unified(&hybrid, own));
    let mode = match (v1.is_empty(), &unified) {
        (true, None) => Mode::None,
        (true, Some(_)) => Mode::V2,
        (false, None) => Mode::V1,
        (false, Some(_)) => Mode::Hybrid,
    };
    Ok(Layout { mode, v1, unified })
}

/// The lines of `/proc/<pid>/cgroup`.
///
/// # Errors
/// The process is gone.
pub fn memberships_of(pid: i32) -> Result<Vec<Membership>> {
    Ok(parse_memberships(&read_proc(&format!("/proc/{pid}/cgroup"))?))
}

fn own_unified(memberships: &[Membership]) -> Option<String> {
    memberships.iter().find(|m| m.controllers.is_empty()).map(|m| m.path.clone())
}

fn unified(mount: &str, own: String) -> Hierarchy {
    Hierarchy { controllers: Vec::new(), mount: mount.to_owned(), own }
}

/// A v1 hierarchy at `/sys/fs/cgroup/<controllers>`, or where mountinfo says.
fn locate(member: &Membership, mounts: &mut Mounts) -> Result<Option<Hierarchy>> {
    let name = member.controllers.join(",");
    let mount = format!("{ROOT}/{}", name.strip_prefix("name=").unwrap_or(&name));
    let own = format!("{mount}{}", member.path);
    if magic(&own) == Some(CGROUP1_MAGIC) {
        let (controllers, own) = (member.controllers.clone(), member.path.clone());
        return Ok(Some(Hierarchy { controllers, mount, own }));
    }
    let found = mounts.read()?.iter().find(|mount| {
        !mount.unified && member.controllers.iter().all(|c| mount.options.contains(c))
    });
    Ok(found.map(|mount| Hierarchy {
        controllers: member.controllers.clone(),
        mount: mount.point.clone(),
        own: below_mount(&mount.root, &member.path),
    }))
}

/// The cgroup mounts of mountinfo, read at most once.
#[derive(Default)]
struct Mounts(Option<Vec<CgroupMount>>);

impl Mounts {
    fn read(&mut self) -> Result<&[CgroupMount]> {
        if self.0.is_none() {
            self.0 = Some(parse_mounts(&read_proc("/proc/self/mountinfo")?));
        }
        Ok(self.0.as_deref().unwrap_or_default())
    }
}

fn magic(path: &str) -> Option<u32> {
    statfs(path).ok().and_then(|fs| u32::try_from(fs.f_type).ok())
}

fn read_proc(path: &str) -> Result<String> {
    let fd = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, FileMode::empty())
        .map_err(|errno| Error::os(format!("open {path}"), errno))?;
    file::read_all(&fd).map_err(|errno| Error::os(format!("read {path}"), errno))
}
