//! `config.json` of an environment's containers: pure.

use std::path::PathBuf;

use oci_spec::runtime::Mount;
use serde_json::{Value, json};

use super::template::Bind;
use crate::spec::{Identity, Ids, mappings, rights};

/// What a container of the environment is.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// `root.path`.
    pub root: PathBuf,
    /// The overlay on `/`, where there is one.
    pub overlay: Option<Mount>,
    /// Nothing can be written to the root.
    pub read_only: bool,
    /// The command.
    pub args: Vec<String>,
    /// Its environment.
    pub environment: Vec<String>,
    /// Where it starts.
    pub directory: String,
    /// Who it is.
    pub identity: Identity,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// All rights.
    pub privileged: bool,
    /// Capabilities more and less.
    pub caps: (Vec<String>, Vec<String>),
    /// What is mounted.
    pub binds: Vec<Bind>,
    /// The host's name inside; the first container of a pod only.
    pub hostname: Option<String>,
    /// The first process of the pod whose namespaces it joins.
    pub join: Option<i32>,
    /// An ordinary user's: the mapping of a namespace of its own, or that it joins one.
    pub ids: Option<Ids>,
    /// Its cgroup, as root.
    pub cgroup: Option<String>,
}

impl Document {
    /// The whole document.
    #[must_use]
    pub fn json(&self) -> Value {
        let caps = self.capabilities();
        // The ambient set would make every program of an ordinary user mighty.
        let own: &[String] = if self.identity.uid == 0 { &caps } else { &[] };
        let mut linux = json!({ "namespaces": self.namespaces() });
        if !self.privileged {
            linux["maskedPaths"] = json!(MASKED);
            linux["readonlyPaths"] = json!(READ_ONLY);
        }
        linux["resources"] = json!({ "devices": self.devices() });
        if let (Some(ids), None) = (&self.ids, self.join) {
            linux["uidMappings"] = json!(mappings(&ids.users));
            linux["gidMappings"] = json!(mappings(&ids.groups));
        }
        if let Some(cgroup) = &self.cgroup {
            linux["cgroupsPath"] = json!(cgroup);
        }
        let mut document = json!({
            "ociVersion": "1.0.2",
            "root": { "path": self.root, "readonly": self.read_only },
            "mounts": self.mounts(),
            "linux": linux,
            "process": {
                "terminal": self.terminal,
                "args": self.args,
                "env": self.environment,
                "cwd": self.directory,
                "user": {
                    "uid": self.identity.uid,
                    "gid": self.identity.gid,
                    "additionalGids": self.identity.groups,
                },
                "capabilities": {
                    "bounding": caps,
                    "effective": own,
                    "permitted": own,
                    "inheritable": [],
                    "ambient": [],
                },
            },
        });
        if let (Some(hostname), None) = (&self.hostname, self.join) {
            document["hostname"] = json!(hostname);
        }
        document
    }

    fn capabilities(&self) -> Vec<String> {
        let (more, less) = &self.caps;
        rights::names(&match self.privileged {
            true => rights::all(),
            false => rights::granted(&rights::PODMANS, more, less),
        })
    }

    fn namespaces(&self) -> Vec<Value> {
        let mut all = vec![json!({ "type": "mount" })];
        if self.cgroup.is_some() && !self.privileged {
            all.push(json!({ "type": "cgroup" }));
        }
        let shared =
            [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("user", "user")];
        for (kind, file) in shared {
            if kind == "user" && self.ids.is_none() {
                continue;
            }
            all.push(match self.join {
                Some(pid) => json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }),
                None => json!({ "type": kind }),
            });
        }
        all
    }

    fn devices(&self) -> Vec<Value> {
        if self.privileged {
            return vec![json!({ "allow": true, "access": "rwm" })];
        }
        vec![json!({ "allow": false, "access": "rwm" })]
    }

    fn mounts(&self) -> Vec<Value> {
        let mut mounts: Vec<Value> = self.overlay.iter().map(|mount| json!(mount)).collect();
        let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
        mounts.push(mount("/proc", "proc", &["nosuid", "noexec", "nodev"]));
        mounts.push(mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
        let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
        mounts.push(mount("/dev/pts", "devpts", &pts));
        mounts.push(mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]));
        mounts.push(mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
        let write = if self.privileged { "rw" } else { "ro" };
        mounts.push(mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", write]));
        for bind in &self.binds {
            let write = if bind.read_only { "ro" } else { "rw" };
            mounts.push(match &bind.source {
                Some(source) => json!({
                    "destination": bind.target, "type": "bind", "source": source,
                    "options": ["rbind", "rprivate", write],
                }),
                None => mount(&bind.target, "tmpfs", &["nosuid", "nodev", write]),
            });
        }
        mounts
    }
}

/// What runtimes mask and make read-only by default.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_all_of_the_pod() {
        let document = Document {
            join: Some(7),
            ids: Some(Ids::of(None, 1, 1, "", "")),
            ..Document::default()
        };
        let json = document.json();
        let paths: Vec<&str> = json["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["path"].as_str())
            .collect();
        let wanted = ["net", "ipc", "uts", "pid", "user"].map(|name| format!("/proc/7/ns/{name}"));
        assert_eq!(paths, wanted);
        assert!(json["linux"].get("uidMappings").is_none());
    }

    #[test]
    fn rights() {
        let plain = Document::default();
        assert_eq!(plain.capabilities().len(), rights::PODMANS.len());
        let more =
            Document { caps: (vec!["CAP_SYS_PTRACE".into()], vec!["ALL".into()]), ..plain.clone() };
        assert_eq!(more.capabilities(), ["CAP_SYS_PTRACE"]);
        let all = Document { privileged: true, ..plain };
        assert_eq!(all.capabilities().len(), rights::all().len());
        assert!(all.json()["linux"].get("maskedPaths").is_none());
    }
}
