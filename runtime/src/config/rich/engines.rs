//! What engines write into a configuration that an init must know of.

use std::collections::HashMap;

/// How Kubernetes' engines mark the container that only holds a pod's
/// namespaces: containerd's CRI plugin, CRI-O.
const POD_HOLDERS: [(&str, &str); 2] = [
    ("io.kubernetes.cri.container-type", "sandbox"),
    ("io.kubernetes.cri-o.ContainerType", "sandbox"),
];

/// Whether a container only holds a pod's namespaces. What is asked of a pod,
/// by its annotations or its RuntimeClass, is meant for the others: this one's
/// image has nothing but a program that waits.
pub fn holds_a_pod(annotations: &HashMap<String, String>) -> bool {
    POD_HOLDERS.iter().any(|(name, value)| annotations.get(*name).is_some_and(|is| is == value))
}

/// The inits that engines put before a payload when their `--init` asks for
/// one: podman's, that of podman before 4, Docker's.
const ENGINES_INITS: [&str; 3] = ["/run/podman-init", "/dev/init", "/sbin/docker-init"];

/// A command line without the init that an engine has put before it: a rich
/// container has one already, behind which another could reap nothing.
pub fn without_engines_init(args: &[String]) -> &[String] {
    match args {
        [init, dashes, payload @ ..]
            if ENGINES_INITS.contains(&init.as_str()) && dashes == "--" && !payload.is_empty() =>
        {
            payload
        }
        _ => args,
    }
}
