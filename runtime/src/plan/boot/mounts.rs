//! The file systems that an init finds.

use std::path::Path;

use oci_spec::runtime::{Mount, MountBuilder, Spec};

use super::{DIRECTORY, Family};
use crate::config::rich::RichConfig;
use crate::config::trust::Right;
use crate::error::{Error, Result};
use crate::plan::cgroup::Mode;
use crate::plan::grant;

/// The file systems of memory that systemd wants: place and permissions.
const MEMORY: &[(&str, &str)] = &[
    ("/run", "mode=755"),
    ("/run/lock", "mode=755"),
    ("/tmp", "mode=1777"),
    ("/var/log/journal", "mode=755"),
];

/// The mounts of a container whose PID 1 is the image's own.
///
/// # Errors
/// None that could happen.
pub fn mounts(spec: &Spec, rich: &RichConfig, family: Family, mode: Mode) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = spec.mounts().clone().unwrap_or_default();
    let memory = match family {
        Family::Systemd => MEMORY,
        // What others expect of /tmp and the journal is theirs to say.
        Family::Busybox | Family::SysV => &MEMORY[..1],
    };
    let given =
        |place: &str| rich.granted.has(Right::Mounts) || grant::is_writable(spec, Path::new(place));
    for (place, permissions) in memory.iter().filter(|row| given(row.0)) {
        if !mounts.iter().any(|mount| mount.destination() == Path::new(place)) {
            let at = mounts.iter().position(|mount| {
                mount.destination().starts_with(place) && mount.destination() != Path::new(place)
            });
            let fresh = tmpfs(place, &["tmpcopyup", permissions])?;
            mounts.insert(at.unwrap_or(mounts.len()), fresh);
        }
    }
    mounts.push(tmpfs(DIRECTORY, &["mode=755"])?);
    if family == Family::Systemd && rich.granted.has(Right::Cgroups) {
        cgroup_mount(&mut mounts, mode)?;
    }
    for mount in mounts.iter_mut().filter(|mount| mount.typ().as_deref() == Some("sysfs")) {
        // Where /sys can be written to, systemd starts udevd.
        read_only(mount, true);
    }
    Ok(mounts)
}

/// The container's own groups, to be written to by systemd: on v2 all of its subtree, on v1
/// (see `cgroup_view`) the named hierarchy of systemd only.
fn cgroup_mount(mounts: &mut Vec<Mount>, mode: Mode) -> Result<()> {
    let is_own = |mount: &&mut Mount| {
        mount.destination() == Path::new(grant::CGROUPS)
            && mount.typ().as_deref().is_some_and(|kind| kind.starts_with("cgroup"))
    };
    let writable = mode == Mode::V2;
    match mounts.iter_mut().find(is_own) {
        Some(mount) if writable => read_only(mount, false),
        Some(_) => {}
        None if mode != Mode::None => {
            let access = if writable { "rw" } else { "ro" };
            let options = ["nosuid", "noexec", "nodev", "relatime", access].map(str::to_owned);
            mounts.push(mount_of(grant::CGROUPS, "cgroup", options.to_vec())?);
        }
        None => {}
    }
    Ok(())
}

fn read_only(mount: &mut Mount, yes: bool) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| option != "ro" && option != "rw");
    options.push(if yes { "ro" } else { "rw" }.to_owned());
    mount.set_options(Some(options));
}

fn tmpfs(place: &str, options: &[&str]) -> Result<Mount> {
    let all = ["nosuid", "nodev"].iter().chain(options).map(|option| (*option).to_owned());
    mount_of(place, "tmpfs", all.collect())
}

fn mount_of(place: &str, kind: &str, options: Vec<String>) -> Result<Mount> {
    MountBuilder::default()
        .destination(place)
        .typ(kind)
        .source(kind)
        .options(options)
        .build()
        .map_err(|error| Error::config(error.to_string()))
}
