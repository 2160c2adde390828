//! To whom a container's group is given (specification, "Cgroup ownership").

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespace, LinuxNamespaceType, Spec};

/// The host uid that gets the container's group in the unified hierarchy: that
/// of `process.user.uid`, when the container has a new cgroup namespace and the cgroup
/// file system is mounted writable. `None` where nothing changes hands: the
/// group's maker is root, and so is the container's user.
pub fn of(spec: &Spec) -> Option<u32> {
    if !may_divide(spec) {
        return None;
    }
    let linux = spec.linux().as_ref()?;
    let uid = spec.process().as_ref()?.user().uid();
    let host = match namespace(spec, LinuxNamespaceType::User) {
        Some(_) => mapped(linux.uid_mappings().as_deref().unwrap_or_default(), uid)?,
        None => uid,
    };
    (host != 0).then_some(host)
}

/// Whether config.json lets the container divide its group: a cgroup namespace of its own, and
/// the cgroup file system mounted writable.
pub fn may_divide(spec: &Spec) -> bool {
    let cgroup = namespace(spec, LinuxNamespaceType::Cgroup);
    cgroup.is_some_and(|cgroup| cgroup.path().is_none()) && mounted_writable(spec)
}

fn namespace(spec: &Spec, kind: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    let linux = spec.linux().as_ref()?;
    linux.namespaces().iter().flatten().find(|namespace| namespace.typ() == kind)
}

fn mounted_writable(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(|mount| {
        let source = mount.source().as_ref().is_some_and(|source| source.as_os_str() == "cgroup");
        let kind = mount.typ().as_deref().is_some_and(|kind| kind.starts_with("cgroup"));
        let read_only = mount.options().iter().flatten().any(|option| option == "ro");
        (source || kind) && mount.destination().as_os_str() == "/sys/fs/cgroup" && !read_only
    })
}

/// The host's id for a container's.
fn mapped(mappings: &[LinuxIdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|mapping| {
        let offset = id.checked_sub(mapping.container_id())?;
        (offset < mapping.size()).then(|| mapping.host_id().checked_add(offset))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(options: &str, namespaces: &str, uid: u32) -> Spec {
        let text = format!(
            r#"{{"ociVersion":"1.0.2","process":{{"cwd":"/","user":{{"uid":{uid},"gid":0}}}},
            "mounts":[{{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":[{options}]}}],
            "linux":{{"namespaces":[{namespaces}],
            "uidMappings":[{{"containerID":0,"hostID":100000,"size":10}},{{"containerID":10,"hostID":5,"size":1}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_group_goes_to_the_containers_user_where_it_may_be_written() {
        let (cgroup, user) = (r#"{"type":"cgroup"}"#, r#"{"type":"cgroup"},{"type":"user"}"#);
        for (options, namespaces, uid, owner) in [
            (r#""rw""#, user, 0, Some(100_000)),
            (r#""rw""#, user, 10, Some(5)),
            (r#""rw""#, user, 11, None),
            (r#""ro""#, user, 0, None),
            ("", user, 0, Some(100_000)),
            (r#""rw""#, r#"{"type":"user"}"#, 0, None),
            (r#""rw""#, r#"{"type":"cgroup","path":"/x"},{"type":"user"}"#, 0, None),
            (r#""rw""#, cgroup, 0, None),
            (r#""rw""#, cgroup, 1000, Some(1000)),
        ] {
            assert_eq!(of(&spec(options, namespaces, uid)), owner, "{options} {namespaces} {uid}");
        }
    }
}
