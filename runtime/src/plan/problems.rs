//! All that a plan would stumble over, and not the first of it only.

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::mount_options::known_options;
use super::mounts::MountStep;
use super::process::{self, ProcessPlan};
use super::{Host, cgroup, devices, filter, mount_from, mount_root};
use crate::config::Config;
use crate::config::nearest::nearest;
use crate::error::Error;

/// What hinders each part of a plan for a validated configuration, on this host.
pub fn problems(config: &Config, host: &Host) -> Vec<Error> {
    let spec = &config.spec;
    let mut found = Vec::new();
    let mut note = |result: Result<(), Error>| found.extend(result.err());
    note(cgroup::plan(spec, "check", &host.cgroups, host.unprivileged).map(drop));
    if let Some(process) = spec.process() {
        note(ProcessPlan::new(process).map(drop));
    }
    note(process::memory_policy(spec).map(drop));
    if devices::own_dev(spec) {
        note(devices::devices(spec).map(drop));
    }
    note(filter(spec).map(drop));
    let root = mount_root(config);
    match mount_from(config, &root) {
        Ok(from) => {
            for (index, mount) in spec.mounts().iter().flatten().enumerate() {
                note(MountStep::new(index, mount, &from).map(drop));
            }
        }
        Err(error) => note(Err(error)),
    }
    found
}

/// What works and may be meant otherwise: mount options that go to a file system because
/// nobody else knows them.
pub fn doubts(spec: &Spec) -> Vec<String> {
    let known = known_options();
    let mut found = Vec::new();
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let options = mount.options().iter().flatten();
        let bind = mount.typ().as_deref() == Some("bind")
            || mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind");
        for option in options.filter(|option| !known.contains(option)) {
            let near = nearest(option, known.iter().map(String::as_str));
            let field = format!("mounts[{index}].options: {option:?}");
            match (near, bind) {
                (Some(near), _) => {
                    found.push(format!("{field} is no option that is known; did you mean {near}?"));
                }
                (None, true) => found.push(format!("{field} means nothing for a bind mount")),
                (None, false) => {}
            }
        }
    }
    if spec.linux().is_none() {
        return found;
    }
    let lists = |kind| {
        let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        namespaces.is_some_and(|all| all.iter().any(|one| one.typ() == kind))
    };
    if !lists(LinuxNamespaceType::Pid) {
        found.push("linux.namespaces: no pid: the container sees the host's processes".to_owned());
    }
    found
}
