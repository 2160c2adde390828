//! What an ordinary user's containers need: a user namespace, and nothing that is root's.

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Mount, Spec};

use super::{Ids, NetworkNamespace, Options, mappings};

/// The group that devpts gives terminals to (`tty`).
const TERMINALS: u32 = 5;

/// Adapts a configuration.
pub fn adapt(spec: &mut Spec, ids: &Ids, options: &Options) {
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    let has = |all: &[LinuxNamespace], kind| all.iter().any(|namespace| namespace.typ() == kind);
    if !has(&namespaces, LinuxNamespaceType::User) {
        let mut user = LinuxNamespace::default();
        user.set_typ(LinuxNamespaceType::User);
        namespaces.push(user);
    }
    let joined = namespaces
        .iter()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::User && namespace.path().is_some());
    linux.set_namespaces(Some(namespaces));
    if !joined && linux.uid_mappings().as_ref().is_none_or(Vec::is_empty) {
        linux.set_uid_mappings(Some(mappings(&ids.users)));
        linux.set_gid_mappings(Some(mappings(&ids.groups)));
    }
    // Without a delegated group there is none to make.
    if options.cgroup.is_none() {
        linux.set_cgroups_path(None);
    }
    spec.set_linux(Some(linux));
    let host_network = options.network == Some(NetworkNamespace::Host);
    let mounts = spec.mounts().clone().unwrap_or_default();
    let is_in = |id: u32| ids.groups.iter().any(|r| id >= r.inside && id - r.inside < r.count);
    let terminals = is_in(TERMINALS);
    let adapted = mounts.into_iter().map(|mount| adapted(mount, host_network, terminals));
    spec.set_mounts(Some(adapted.collect()));
}

fn adapted(mut mount: Mount, host_network: bool, terminals: bool) -> Mount {
    // sysfs belongs to the network namespace's owner.
    if host_network && mount.typ().as_deref() == Some("sysfs") {
        mount.set_typ(Some("bind".into()));
        mount.set_source(Some("/sys".into()));
        mount.set_options(Some(
            ["rbind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ));
    }
    if mount.typ().as_deref() == Some("devpts") && !terminals {
        let kept = mount.options().clone().unwrap_or_default();
        let kept = kept.into_iter().filter(|option| !option.starts_with("gid=")).collect();
        mount.set_options(Some(kept));
    }
    mount
}
