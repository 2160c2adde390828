//! `spec`: a configuration to start from, as `runc spec` writes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use super::output::indented;
use crate::cgroup;
use crate::cli::{Global, SPEC_VERSION, SpecArgs};
use crate::config::rich::{RichMode, mode_named};
use crate::error::{Error, Kind, Result, Step};
use crate::plan::cgroup::Mode;

/// Writes `config.json` into the bundle; one that exists is left alone.
pub fn run(_: &Global, args: &SpecArgs) -> Result<u8> {
    let bundle = args.bundle.as_deref().unwrap_or(Path::new(""));
    let path = bundle.join("config.json");
    let rootless = args
        .rootless
        .then(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let unified = cgroup::layout::probe()?.mode == Mode::V2;
    let mut config = document(rootless, unified);
    adapt(&mut config, args)?;
    let text = indented(&config, "\t")?;
    let mut file = match File::create_new(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::new(Kind::Usage, "File config.json exists. Remove it first"));
        }
        file => file.step(|| format!("open {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).step(|| format!("write {}", path.display()))?;
    Ok(0)
}

/// The part of the specification's `config.json` that is written, in the order
/// in which runc writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: Vec<String>,
    env: &'static [&'static str],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: Vec<String>,
    effective: Vec<String>,
    permitted: Vec<String>,
}

#[derive(Serialize)]
struct Rlimit {
    r#type: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    r#type: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[Mapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[Mapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Serialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    inside: u32,
    #[serde(rename = "hostID")]
    outside: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    r#type: &'static str,
}

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// What Docker and podman give; an init of an image's own needs no others.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

fn capabilities(names: &[String]) -> Capabilities {
    let [bounding, effective, permitted] = [names; 3].map(<[String]>::to_vec);
    Capabilities { bounding, effective, permitted }
}

/// The capabilities that a word of `--caps` means.
fn capabilities_of(word: &str) -> Result<Vec<String>> {
    let name = |name: &str| {
        let name = name.trim().to_ascii_uppercase();
        let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
        match name.parse::<caps::Capability>() {
            Ok(_) => Ok(name),
            Err(_) => Err(Error::new(Kind::Usage, format!("--caps: no capability {name}"))),
        }
    };
    match word {
        "none" => Ok(Vec::new()),
        "default" => Ok(DEFAULT_CAPABILITIES.map(str::to_owned).to_vec()),
        list => list.split(',').map(name).collect(),
    }
}

/// What the options ask for.
fn adapt(config: &mut Config, args: &SpecArgs) -> Result<()> {
    config.process.terminal = !args.no_terminal;
    if !args.command.is_empty() {
        config.process.args.clone_from(&args.command);
    }
    if let Some(mode) = &args.rich {
        let known = mode_named(mode).map_err(|words| Error::new(Kind::Usage, words))?;
        config.annotations.insert("io.richrun.rich", "true".to_owned());
        config.annotations.insert("io.richrun.mode", mode.clone());
        if known != Some(RichMode::DumbInit) {
            for_an_init(config);
        }
    }
    if let Some(word) = &args.caps {
        config.process.capabilities = capabilities(&capabilities_of(word)?);
    }
    Ok(())
}

/// An image's own init writes to its root, to /run and to its control groups.
fn for_an_init(config: &mut Config) {
    config.root.readonly = false;
    config.process.no_new_privileges = false;
    config.process.capabilities = capabilities(&DEFAULT_CAPABILITIES.map(str::to_owned));
    for mount in &mut config.mounts {
        if mount.destination == "/sys/fs/cgroup" {
            mount.options.retain(|option| *option != "ro");
            mount.options.push("rw");
        }
    }
    let options = vec!["nosuid", "nodev", "mode=755", "size=65536k"];
    config.mounts.push(Mount { destination: "/run", r#type: "tmpfs", source: "tmpfs", options });
    if !config.linux.namespaces.iter().any(|namespace| namespace.r#type == "cgroup") {
        config.linux.namespaces.push(Namespace { r#type: "cgroup" });
    }
}

/// Destination, type, source, options.
const MOUNTS: &[(&str, &str, &str, &[&str])] = &[
    ("/proc", "proc", "proc", &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
    "/sys/devices/virtual/tpm",
];

const READONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The configuration; `rootless` is the user and group of who is to run it
/// without privileges, `unified` whether the host has cgroup v2.
fn document(rootless: Option<(u32, u32)>, unified: bool) -> Config {
    let mapping = |outside| [Mapping { inside: 0, outside, size: 1 }];
    let resources = Resources { devices: [DeviceRule { allow: false, access: "rwm" }] };
    Config {
        oci_version: SPEC_VERSION,
        process: process(),
        root: Root { path: "rootfs", readonly: true },
        hostname: "richrun",
        annotations: BTreeMap::new(),
        mounts: mounts(rootless.is_some()),
        linux: Linux {
            uid_mappings: rootless.map(|(uid, _)| mapping(uid)),
            gid_mappings: rootless.map(|(_, gid)| mapping(gid)),
            // An ordinary user may set no limits.
            resources: rootless.is_none().then_some(resources),
            namespaces: namespaces(rootless.is_some(), unified),
            masked_paths: MASKED,
            readonly_paths: READONLY,
        },
    }
}

fn process() -> Process {
    Process {
        terminal: true,
        user: User { uid: 0, gid: 0 },
        args: vec!["sh".to_owned()],
        env: &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        cwd: "/",
        capabilities: capabilities(&CAPABILITIES.map(str::to_owned)),
        rlimits: [Rlimit { r#type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
        no_new_privileges: true,
    }
}

/// With one id mapped, nothing can be another user's; and sysfs can be mounted
/// only by who owns the network namespace: the host's is bound.
fn mounts(rootless: bool) -> Vec<Mount> {
    let row = |&(destination, r#type, source, options): &(_, _, _, &[&'static str])| Mount {
        destination,
        r#type,
        source,
        options: options.to_vec(),
    };
    let mut mounts: Vec<Mount> = MOUNTS.iter().map(row).collect();
    for mount in mounts.iter_mut().filter(|_| rootless) {
        mount.options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
        if mount.destination == "/sys" {
            (mount.r#type, mount.source) = ("none", "/sys");
            mount.options.insert(0, "rbind");
        }
    }
    mounts
}

fn namespaces(rootless: bool, unified: bool) -> Vec<Namespace> {
    let kinds = [
        ("pid", true),
        ("network", !rootless),
        ("ipc", true),
        ("uts", true),
        ("mount", true),
        ("cgroup", unified),
        ("user", rootless),
    ];
    kinds.into_iter().filter(|kind| kind.1).map(|kind| Namespace { r#type: kind.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_valid() {
        for (rootless, unified) in [(None, false), (None, true), (Some((1000, 100)), true)] {
            let text = indented(&document(rootless, unified), "\t").unwrap();
            let spec: oci_spec::runtime::Spec = serde_json::from_str(&text).unwrap();
            crate::config::validate::validate(&spec, &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn an_ordinary_user_gets_what_it_may_do() {
        let value = serde_json::to_value(document(Some((1000, 100)), false)).unwrap();
        assert_eq!(value["linux"]["uidMappings"][0]["hostID"], 1000);
        assert_eq!(value["linux"]["gidMappings"][0]["hostID"], 100);
        assert!(value["linux"]["resources"].is_null());
        let text = value.to_string();
        assert!(!text.contains("gid=5") && !text.contains("network") && text.contains("rbind"));
    }

    #[test]
    fn the_cgroup_namespace_comes_with_cgroup_v2() {
        let has = |unified| {
            namespaces(false, unified).iter().any(|namespace| namespace.r#type == "cgroup")
        };
        assert!(has(true) && !has(false));
    }
}
