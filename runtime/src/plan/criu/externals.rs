//! What of a container is outside of it, as CRIU is told: mounts and namespaces.

use oci_spec::runtime::LinuxNamespaceType as Kind;

use crate::error::{Error, Result};
use crate::plan::cgroup::layout::unescape;
use crate::plan::cgroup_view::CgroupView;
use crate::plan::mounts::{MountStep, What, cleaned};
use crate::plan::namespaces::{Joined, proc_name};
use crate::plan::{Plan, devices::DeviceStep};
use std::path::Path;

/// One line of mountinfo (proc_pid_mountinfo(5)), as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Its id, as fdinfo tells it.
    pub id: u32,
    /// Its file system, by the device's numbers.
    device: String,
    /// What of that file system.
    root: String,
    /// Where.
    pub point: String,
    /// The file system's type.
    kind: String,
}

/// Reads mountinfo; what is no line of it is passed over.
pub fn mounted(text: &str) -> Vec<Mounted> {
    let line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ');
        Some(Mounted {
            id: fields.next()?.parse().ok()?,
            device: fields.nth(1)?.to_owned(),
            root: unescape(fields.next()?),
            point: unescape(fields.next()?),
            kind: after.split(' ').next()?.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Whether `path` is `top` or below it.
fn within(path: &str, top: &str) -> bool {
    Path::new(path).starts_with(top)
}

/// The key of a mount that is made of something outside: its place, as runc has it.
fn mount_key(place: &str, source: &str) -> String {
    format!("mnt[{place}]:{source}")
}

/// The mounts that CRIU cannot make anew, since what they show is outside of the container:
/// bind mounts with all that is mounted in them, and parts of file systems of which the container
/// has nothing more.
pub fn dumped(plan: &Plan, mounts: &[Mounted]) -> Vec<String> {
    let binds: Vec<String> = plan
        .mounts
        .iter()
        .filter(|step| matches!(step.what, What::Bind { .. }))
        .map(|step| cleaned(&step.destination).display().to_string())
        .collect();
    let is_part = |mount: &Mounted| {
        let holds = |other: &&Mounted| {
            other.device == mount.device
                && other.kind == mount.kind
                && within(&mount.root, &other.root)
                // Two parts that are the same do not make a whole.
                && (mount.root != other.root || other.point == "/")
        };
        mount.root != "/" && !mounts.iter().any(|other| holds(&other))
    };
    mounts
        .iter()
        .filter(|mount| mount.point != "/")
        .filter(|mount| binds.iter().any(|top| within(&mount.point, top)) || is_part(mount))
        .map(|mount| mount_key(&mount.point, &mount.point))
        .collect()
}

/// What is put in their place; `host` are the mounts of the host, since what is bound may have
/// others in it.
pub fn restored(plan: &Plan, host: &[Mounted]) -> Vec<String> {
    let mut all = Vec::new();
    for step in &plan.mounts {
        let place = cleaned(&step.destination).display().to_string();
        match &step.what {
            What::Bind { source, recursive, .. } => {
                let source = cleaned(source).display().to_string();
                all.push(mount_key(&place, &source));
                let below = host.iter().filter(|mount| {
                    *recursive && mount.point != source && within(&mount.point, &source)
                });
                all.extend(below.map(|mount| {
                    let rest = mount.point[source.len()..].trim_start_matches('/');
                    mount_key(&format!("{}/{rest}", place.trim_end_matches('/')), &mount.point)
                }));
            }
            What::Cgroup => all.extend(groups(&place, &plan.cgroup_view)),
            What::Fs { .. } => {}
        }
    }
    // Where there is no device node to be made, the host's is bound.
    let host_device =
        |path: &Path| mount_key(&path.display().to_string(), &path.display().to_string());
    all.extend(plan.devices.iter().map(|device: &DeviceStep| host_device(&device.path)));
    // runc's images have this for every file that is covered.
    all.push(mount_key("/dev/null", "/dev/null"));
    let masked = plan.masked.iter().map(|path| mount_key(&path.display().to_string(), "/dev/null"));
    all.extend(masked);
    all
}

/// The container's own groups, where they are bound.
fn groups(place: &str, view: &CgroupView) -> Vec<String> {
    match view {
        CgroupView::V1(mounts) => mounts
            .iter()
            .map(|mount| {
                mount_key(&format!("{place}/{}", mount.name), &mount.own.display().to_string())
            })
            .collect(),
        CgroupView::V2 { own, .. } => vec![mount_key(place, &own.display().to_string())],
        CgroupView::None => Vec::new(),
    }
}

/// The name by which CRIU knows a namespace that is outside: runc's.
pub fn namespace_key(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Network => Some("extRootNetNS"),
        Kind::Pid => Some("extRootPidNS"),
        _ => None,
    }
}

/// The namespaces that are not dumped, being somebody else's; `inode` is the number of that of a
/// kind which the container is in.
pub fn namespaces(
    joined: &[Joined],
    mut inode: impl FnMut(Kind) -> Result<u64>,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for joined in joined {
        if let Some(key) = namespace_key(joined.kind) {
            all.push(format!("{}[{}]:{key}", proc_name(joined.kind), inode(joined.kind)?));
        }
    }
    Ok(all)
}

/// What can be dumped, and would be restored as something else.
///
/// # Errors
/// The field.
pub fn check(plan: &Plan) -> Result<()> {
    for step in &plan.mounts {
        refuse(step)?;
    }
    for joined in &plan.namespaces.joined {
        if matches!(joined.kind, Kind::Cgroup | Kind::Mount) {
            let what = "CRIU cannot restore into an existing one of this kind";
            let kind = proc_name(joined.kind);
            return Err(Error::config(format!("linux.namespaces: {kind}: {what}")));
        }
    }
    if plan.namespaces.has(Kind::User) && !plan.namespaces.has_new(Kind::User) {
        return Err(Error::config(
            "linux.namespaces: user: CRIU cannot restore into an existing one of this kind",
        ));
    }
    let listens = plan.seccomp.as_ref().is_some_and(|filter| filter.listener.is_some());
    if listens {
        return Err(Error::config("linux.seccomp.listenerPath: CRIU cannot restore a listener"));
    }
    Ok(())
}

fn refuse(step: &MountStep) -> Result<()> {
    let what = match &step.what {
        What::Bind { idmap: Some(_), .. } => "CRIU does not know id-mapped mounts",
        What::Bind { .. } if step.links.source => "CRIU follows links: src-nofollow would be lost",
        _ => return Ok(()),
    };
    Err(Error::config(format!("{}: {what}", step.field)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
30 20 254:0 /c/rootfs / rw,relatime - ext4 /dev/vda rw
31 30 0:40 / /proc rw - proc proc rw
32 30 0:41 / /dev rw - tmpfs tmpfs rw
33 31 0:41 /null /proc/keys rw - tmpfs tmpfs rw
34 30 0:30 /a/b /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu
35 30 254:0 /srv/a\\040b /data rw master:3 - ext4 /dev/vda rw
36 35 0:50 / /data/inner rw - tmpfs x rw
37 30 254:0 /c/rootfs/etc /etc ro - ext4 /dev/vda rw
38 31 0:6 /null /proc/kcore rw - devtmpfs dev rw
39 32 0:6 /null /dev/null rw - devtmpfs dev rw
";

    #[test]
    fn a_line_has_what_is_needed() {
        let all = mounted(INFO);
        assert_eq!((all.len(), all[5].id), (10, 35));
        assert_eq!((all[5].root.as_str(), all[5].point.as_str()), ("/srv/a b", "/data"));
        assert_eq!(all[4].kind, "cgroup");
        assert!(mounted("x\n1 2 - ").is_empty());
    }

    #[test]
    fn only_what_is_outside_is_external() {
        let mut plan = crate::plan::criu::tests::plan();
        plan.mounts = vec![crate::plan::mounts::plain_bind("mounts[0]", "/srv".into(), "/data", 0)];
        assert_eq!(
            dumped(&plan, &mounted(INFO)),
            [
                "mnt[/sys/fs/cgroup/cpu]:/sys/fs/cgroup/cpu",
                "mnt[/data]:/data",
                "mnt[/data/inner]:/data/inner",
                "mnt[/proc/kcore]:/proc/kcore",
                "mnt[/dev/null]:/dev/null"
            ]
        );
    }

    #[test]
    fn a_bind_mount_brings_what_is_mounted_in_it() {
        let mut plan = crate::plan::criu::tests::plan();
        plan.mounts =
            vec![crate::plan::mounts::plain_bind("mounts[0]", "/data".into(), "/d/./x", 0)];
        let all = restored(&plan, &mounted(INFO));
        assert_eq!(all[..2], ["mnt[/d/x]:/data", "mnt[/d/x/inner]:/data/inner"]);
    }
}
