//! Annotations that grant something, and therefore count only where the administrator's file
//! allows them (`annotations.allow`).

use serde::Deserialize;

use super::nearest::did_you_mean;

/// The payload keeps the supplementary groups of who calls the runtime (crun's annotation;
/// podman's `--group-add keep-groups`).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// A unix socket of the host's that gets a pidfd of the container's first process (crun's).
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// A filter of system calls as the kernel takes it, in base64, in the place of `linux.seccomp`
/// (crun's).
pub const SECCOMP_BPF_DATA: &str = "run.oci.seccomp_bpf_data";

/// What stands before a property of systemd's scope (runc's), which counts where
/// `systemd.properties` has it.
pub const SYSTEMD_PROPERTY: &str = "org.systemd.property.";

/// The file by which CRIU is configured at checkpoint and restore (runc's annotation): CRIU runs
/// what it names, as root.
pub const CRIU_CONFIG: &str = "org.criu.config";

/// All that can be allowed.
pub const KNOWN: [&str; 4] = [KEEP_GROUPS, PIDFD_RECEIVER, SECCOMP_BPF_DATA, CRIU_CONFIG];

/// The table `annotations` of the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Annotations {
    /// The names of those that count, whoever has written them.
    pub allow: Vec<String>,
}

impl Annotations {
    /// Whether every name is one that can be allowed.
    ///
    /// # Errors
    /// The one that is not, and what may have been meant.
    pub fn check(&self) -> Result<(), String> {
        match self.allow.iter().find(|name| !KNOWN.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(format!(
                "annotations.allow: {name:?} is none of {}{}",
                KNOWN.join(", "),
                did_you_mean(name, KNOWN)
            )),
        }
    }
}
