//! What PID 1 must be told of the launch, besides the services themselves.

use oci_spec::runtime::LinuxNamespaceType;

use super::Host;
use super::namespaces::Namespaces;
use crate::config::services::Surroundings;

/// What a user without a mapping is seen as (user_namespaces(7), "Unmapped user and group
/// IDs"): the kernel's default of `/proc/sys/kernel/overflowuid`.
const OVERFLOW: u32 = 65_534;

/// Who may ask over the control socket, as PID 1 sees them, and what else it holds.
pub fn surroundings(namespaces: &Namespaces, host: &Host, descriptors: u32) -> Surroundings {
    let seen = |uid: u32| match namespaces.has(LinuxNamespaceType::User) {
        false => uid,
        true => inside(namespaces, uid).unwrap_or(OVERFLOW),
    };
    Surroundings { owner: seen(host.uid), root: seen(0), descriptors }
}

fn inside(namespaces: &Namespaces, uid: u32) -> Option<u32> {
    namespaces.uids.iter().find_map(|range| {
        let above = uid.checked_sub(range.outside)?;
        (above < range.count).then(|| range.inside + above)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::Layout;

    #[test]
    fn users_are_seen_through_the_mappings() {
        let namespaces = |list: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{list}],
                "uidMappings":[{{"containerID":0,"hostID":1000,"size":1}},
                {{"containerID":1,"hostID":100000,"size":10}}]}}}}"#
            );
            Namespaces::new(&serde_json::from_str(&text).unwrap())
        };
        let host = |uid| Host {
            cgroups: Layout::none(),
            uid,
            gid: uid,
            unprivileged: uid != 0,
            administers: uid == 0,
        };
        let plain = surroundings(&namespaces(r#"{"type":"pid"}"#), &host(0), 3);
        assert_eq!((plain.owner, plain.root, plain.descriptors), (0, 0, 3));
        let user = namespaces(r#"{"type":"user"}"#);
        let rootless = surroundings(&user, &host(1000), 0);
        assert_eq!((rootless.owner, rootless.root), (0, OVERFLOW));
        assert_eq!(surroundings(&user, &host(100_009), 0).owner, 10);
        assert_eq!(surroundings(&user, &host(100_010), 0).owner, OVERFLOW);
    }
}
