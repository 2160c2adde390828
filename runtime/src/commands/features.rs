//! `features`: the Features document (runtime-spec 1.3, features.md and
//! features-linux.md), made of the tables that the rest of the runtime works by.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator, MemoryPolicyFlagType,
    MemoryPolicyModeType,
};
use rich_hooks::Phase;
use serde::Serialize;

use super::output::{indented, print};
use crate::cli::{FeaturesArgs, Global, SPEC_VERSION, commit};
use crate::config::annotations::{KNOWN, SYSTEMD_PROPERTY};
use crate::config::validate::name_of;
use crate::config::{extras, rich};
use crate::error::Result;
use crate::launch::criu;
use crate::plan::namespaces::JOIN_ORDER;
use crate::plan::process::{MEMORY_FLAGS, MEMORY_MODES};
use crate::plan::{mount_options, seccomp::known};

/// Prints the document; neither a container nor rights are needed.
pub fn run(_: &Global, _: &FeaturesArgs) -> Result<u8> {
    print(&(indented(&features(), "    ")? + "\n"))?;
    Ok(0)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Vec<&'static str>,
    mount_options: Vec<String>,
    linux: Linux,
    annotations: BTreeMap<&'static str, String>,
    potentially_unsafe_config_annotations: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<&'static str>,
    capabilities: Vec<String>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [LinuxSeccompAction],
    operators: &'static [LinuxSeccompOperator],
    archs: Vec<Arch>,
    known_flags: &'static [LinuxSeccompFilterFlag],
    supported_flags: &'static [LinuxSeccompFilterFlag],
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: &'static [MemoryPolicyModeType],
    flags: &'static [MemoryPolicyFlagType],
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

fn features() -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: SPEC_VERSION,
        hooks: Phase::ALL.map(Phase::name).to_vec(),
        mount_options: mount_options::known_options(),
        linux: linux(),
        annotations: annotations(),
        // What of them gives rights only does so where the administrator trusts annotations
        // (config.toml, `trust`, `annotations.allow`, `systemd.properties`); what is run in front
        // of the payload anybody may ask for.
        potentially_unsafe_config_annotations: [&["io.richrun.", SYSTEMD_PROPERTY][..], &KNOWN]
            .concat(),
    }
}

fn linux() -> Linux {
    let mut namespaces = JOIN_ORDER.map(name_of).to_vec();
    namespaces.sort_unstable();
    let mut capabilities: Vec<_> = caps::all().into_iter().collect();
    capabilities.sort_unstable_by_key(caps::Capability::index);
    Linux {
        namespaces,
        capabilities: capabilities.iter().map(ToString::to_string).collect(),
        cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
        seccomp: Seccomp {
            enabled: true,
            actions: &known::ACTIONS,
            operators: &known::OPERATORS,
            archs: known::archs(),
            known_flags: &known::FLAGS,
            supported_flags: &known::FLAGS,
        },
        apparmor: Enabled { enabled: true },
        selinux: Enabled { enabled: true },
        intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
        memory_policy: MemoryPolicy { modes: &MEMORY_MODES, flags: &MEMORY_FLAGS },
        mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
        net_devices: Enabled { enabled: true },
    }
}

/// What is this runtime's own.
fn annotations() -> BTreeMap<&'static str, String> {
    let modes: Vec<&str> = rich::MODES.iter().map(|row| row.0).collect();
    let checkpoint = criu::program().is_ok().to_string();
    let mut annotations = BTreeMap::from([
        ("io.richrun.annotations", extras::NAMES.join(",")),
        ("io.richrun.checkpoint.enabled", checkpoint.clone()),
        ("io.richrun.rich.modes", modes.join(",")),
        // runc's, which engines look for.
        ("org.opencontainers.runc.checkpoint.enabled", checkpoint),
        ("io.richrun.version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    if let Some(commit) = commit() {
        annotations.insert("io.richrun.commit", commit.to_owned());
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> serde_json::Value {
        serde_json::to_value(features()).unwrap()
    }

    #[test]
    fn it_is_a_features_document() {
        let document: oci_spec::runtime::Features = serde_json::from_value(value()).unwrap();
        assert_eq!(serde_json::to_value(document).unwrap()["hooks"], value()["hooks"]);
    }

    #[test]
    fn every_word_is_understood_in_a_configuration() {
        let linux = &value()["linux"];
        for kind in linux["namespaces"].as_array().unwrap() {
            let text = serde_json::json!({"type": kind});
            serde_json::from_value::<oci_spec::runtime::LinuxNamespace>(text).unwrap();
        }
        assert_eq!(linux["namespaces"].as_array().unwrap().len(), 8);
        for name in linux["capabilities"].as_array().unwrap() {
            serde_json::from_value::<oci_spec::runtime::Capability>(name.clone()).unwrap();
        }
        assert_eq!(linux["capabilities"][0], "CAP_CHOWN");
        assert_eq!(linux["capabilities"].as_array().unwrap().len(), 41);
    }

    /// Each word that grants something, or decides what runs, is named: an engine passes on what is
    /// not.
    #[test]
    fn what_may_be_unsafe_is_named() {
        let list = value()["potentiallyUnsafeConfigAnnotations"].clone();
        let named = |annotation: &str| {
            list.as_array().unwrap().iter().filter_map(|word| word.as_str()).any(|word| {
                word == annotation || word.ends_with('.') && annotation.starts_with(word)
            })
        };
        let others = ["io.richrun.rich", "org.systemd.property.CollectMode"];
        assert!(KNOWN.iter().chain(&others).all(|annotation| named(annotation)), "{list}");
        assert!(!named("org.opencontainers.image.stopSignal"), "{list}");
    }

    #[test]
    fn nothing_of_the_specification_is_left_open() {
        fn no_null(value: &serde_json::Value) -> bool {
            match value {
                serde_json::Value::Null => false,
                serde_json::Value::Array(list) => list.iter().all(no_null),
                serde_json::Value::Object(map) => map.values().all(no_null),
                _ => true,
            }
        }
        assert!(no_null(&value()));
    }
}
