//! Filters of system calls: a file as `config.json` has it, or the profile of engines.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{At, Error, Kind, Result};

/// Where engines and distributions keep their default profile.
const DEFAULTS: [&str; 3] = [
    "/etc/richrun/seccomp.json",
    "/etc/containers/seccomp.json",
    "/usr/share/containers/seccomp.json",
];

/// A profile from a file, as `linux.seccomp` has it.
///
/// # Errors
/// No such file, or not a profile.
pub fn from_file(path: &Path, capabilities: &[String]) -> Result<Value> {
    let text = std::fs::read(path).at("read", path.display())?;
    let profile: Value = serde_json::from_slice(&text).at("read", path.display())?;
    Ok(resolved(profile, capabilities, std::env::consts::ARCH))
}

/// The profile that engines use by default.
///
/// # Errors
/// None is installed.
pub fn default(capabilities: &[String]) -> Result<Value> {
    let found = DEFAULTS.iter().map(Path::new).find(|path| path.is_file());
    let Some(path) = found else {
        let what = format!(
            "seccompProfile RuntimeDefault: no profile at {}: install one (package \
             golang-github-containers-common) or use Localhost",
            DEFAULTS.join(", ")
        );
        return Err(Error::new(Kind::NotFound, what));
    };
    from_file(path, capabilities)
}

/// What engines write on top of the runtime's form, for these capabilities and this machine:
/// `archMap`, and rules that hold only with or without a capability, or on an architecture.
fn resolved(mut profile: Value, capabilities: &[String], arch: &str) -> Value {
    let (scmp, short) = match arch {
        "aarch64" => ("SCMP_ARCH_AARCH64", "arm64"),
        "riscv64" => ("SCMP_ARCH_RISCV64", "riscv64"),
        _ => ("SCMP_ARCH_X86_64", "amd64"),
    };
    let Some(map) = profile.as_object_mut() else { return profile };
    if let Some(Value::Array(all)) = map.remove("archMap") {
        let own = all.iter().find(|one| one["architecture"] == scmp);
        let more = own.and_then(|one| one["subArchitectures"].as_array()).cloned();
        let list: Vec<Value> =
            std::iter::once(json!(scmp)).chain(more.into_iter().flatten()).collect();
        map.insert("architectures".into(), list.into());
    }
    let Some(Value::Array(rules)) = map.get_mut("syscalls") else { return profile };
    rules.retain(|rule| holds(rule, capabilities, short));
    for rule in rules {
        if let Some(rule) = rule.as_object_mut() {
            tidy(rule);
        }
    }
    profile
}

fn holds(rule: &Value, capabilities: &[String], arch: &str) -> bool {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let has = |list: &[String]| list.iter().any(|name| capabilities.contains(name));
    let (with, without) = (&rule["includes"], &rule["excludes"]);
    let (caps, arches) = (texts(&with["caps"]), texts(&with["arches"]));
    let (no_caps, no_arches) = (texts(&without["caps"]), texts(&without["arches"]));
    (caps.is_empty() || caps.iter().all(|name| capabilities.contains(name)))
        && (arches.is_empty() || arches.iter().any(|name| name == arch))
        && !has(&no_caps)
        && !no_arches.iter().any(|name| name == arch)
}

/// Leaves what the runtime's form has.
fn tidy(rule: &mut Map<String, Value>) {
    rule.retain(|key, value| {
        matches!(key.as_str(), "names" | "action" | "errnoRet" | "args") && !value.is_null()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_by_capability_and_architecture() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "comment": "x", "args": null},
                {"names": ["mount"], "action": "A", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["clone"], "action": "A", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["arm"], "action": "A", "includes": {"arches": ["arm64"]}},
            ],
        });
        let names = |capabilities: &[String]| -> Vec<Value> {
            let done = resolved(profile.clone(), capabilities, "x86_64");
            assert_eq!(done["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
            assert_eq!(done["syscalls"][0], json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"}));
            done["syscalls"]
                .as_array()
                .expect("rules")
                .iter()
                .map(|r| r["names"][0].clone())
                .collect()
        };
        assert_eq!(names(&[]), ["read", "clone"]);
        assert_eq!(names(&["CAP_SYS_ADMIN".into()]), ["read", "mount"]);
    }
}
