//! The checks on a configuration, by name: pure, one function each.
//!
//! A check refuses what could not work or would not mean what it says. Each
//! error starts with the field's path in the document.

use std::path::Path;

use oci_spec::runtime::{
    Hook, Linux, LinuxIdMapping, LinuxNamespaceType, LinuxSchedulerPolicy, Mount, Process, Spec,
};

use super::finding::wrong;
use super::resources;
use super::{net_devices, rdt};
use crate::error::{Error, Result};

type Check = fn(&Spec, &mut Vec<String>) -> Result<()>;

/// Every check on a whole configuration, in the order in which they run.
const CHECKS: &[Check] = &[
    version,
    root,
    process,
    namespaces,
    id_mappings,
    hostname,
    mounts,
    what_the_callers_mounts_allow,
    restricted_paths,
    resources::check,
    sysctls,
    net_devices::check,
    rdt::check,
    time_offsets,
    devices,
    hooks,
    rootfs_propagation,
    annotations,
];

/// Runs every check; what is merely odd goes to `warnings`.
///
/// # Errors
/// The first check that fails: field and cause.
pub fn validate(spec: &Spec, warnings: &mut Vec<String>) -> Result<()> {
    CHECKS.iter().try_for_each(|check| check(spec, warnings))
}

/// Runs every check whatever the others find: all errors, and all warnings.
pub fn all(spec: &Spec) -> (Vec<Error>, Vec<String>) {
    let mut warnings = Vec::new();
    let errors = CHECKS.iter().filter_map(|check| check(spec, &mut warnings).err()).collect();
    (errors, warnings)
}

fn version(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let version = spec.version();
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<Option<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(1), Some(_), Some(_)] => Ok(()),
        [Some(_), Some(_), Some(_)] => {
            Err(wrong("ociVersion", format!("unsupported version {version:?}: not 1.x.y")))
        }
        _ => Err(wrong("ociVersion", format!("not a semantic version: {version:?}"))),
    }
}

fn root(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    match spec.root() {
        Some(root) if !root.path().as_os_str().is_empty() => Ok(()),
        _ => Err(wrong("root.path", "root file system must be specified")),
    }
}

/// It may be missing until `start` (config.md, "Process").
fn process(spec: &Spec, warnings: &mut Vec<String>) -> Result<()> {
    spec.process().as_ref().map_or(Ok(()), |process| validate_process(process, warnings))
}

/// What is to be started has a process.
///
/// # Errors
/// The document has none.
pub fn startable(spec: &Spec) -> Result<()> {
    match spec.process() {
        Some(_) => Ok(()),
        None => Err(wrong("process", "process must be specified, there is nothing to start")),
    }
}

/// Whether these are variables; `field` is where they come from.
pub fn environment<'e>(entries: impl IntoIterator<Item = &'e String>, field: &str) -> Result<()> {
    for entry in entries {
        if entry.contains('\0') {
            return Err(wrong(field, "must not contain a NUL byte"));
        }
        if !entry.contains('=') || entry.starts_with('=') {
            return Err(wrong(field, format!("{entry:?} is not NAME=value")));
        }
    }
    Ok(())
}

/// The id -1 means "no change" to the kernel: such a process would keep root's
/// (CVE-2024-40635 and kin).
fn ids(process: &Process) -> Result<()> {
    let user = process.user();
    let groups = user.additional_gids().iter().flatten();
    let named = [("uid", user.uid()), ("gid", user.gid())].into_iter();
    for (field, id) in named.chain(groups.map(|gid| ("additionalGids", *gid))) {
        if id == u32::MAX {
            return Err(wrong(
                &format!("process.user.{field}"),
                format!("{id} is not in 0..={}", u32::MAX - 1),
            ));
        }
    }
    Ok(())
}

/// The checks on a process, also for `exec --process`.
pub fn validate_process(process: &Process, warnings: &mut Vec<String>) -> Result<()> {
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(wrong("process.args", "args must not be empty"));
    }
    if process.args().iter().flatten().any(|arg| arg.contains('\0')) {
        return Err(wrong("process.args", "must not contain a NUL byte"));
    }
    if !process.cwd().is_absolute() {
        let cwd = process.cwd().display();
        return Err(wrong(
            "process.cwd",
            format!("cwd must be an absolute path, not {cwd:?}", cwd = cwd.to_string()),
        ));
    }
    environment(process.env().iter().flatten(), "process.env")?;
    ids(process)?;
    rlimits(process)?;
    if let Some(adj) = process.oom_score_adj()
        && !(-1000..=1000).contains(&adj)
    {
        return Err(wrong("process.oomScoreAdj", format!("{adj} is not within -1000 and 1000")));
    }
    if let Some(priority) = process.io_priority()
        && !(0..=7).contains(&priority.priority())
    {
        let value = priority.priority();
        return Err(wrong("process.ioPriority.priority", format!("{value} is not within 0 and 7")));
    }
    scheduler(process)?;
    if let Some(umask) = process.user().umask()
        && umask > 0o777
    {
        return Err(wrong("process.user.umask", format!("{umask:#o} is more than 0777")));
    }
    if process.terminal() != Some(true) && process.console_size().is_some() {
        warnings.push("process.consoleSize: ignored without a terminal".to_owned());
    }
    Ok(())
}

fn rlimits(process: &Process) -> Result<()> {
    let mut seen = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        if seen.contains(&limit.typ()) {
            return Err(wrong("process.rlimits", format!("{} is given twice", limit.typ())));
        }
        seen.push(limit.typ());
        if limit.soft() > limit.hard() {
            let (name, soft, hard) = (limit.typ(), limit.soft(), limit.hard());
            let cause = format!("{name}: the soft limit {soft} exceeds the hard limit {hard}");
            return Err(wrong("process.rlimits", cause));
        }
    }
    Ok(())
}

fn scheduler(process: &Process) -> Result<()> {
    let Some(scheduler) = process.scheduler() else { return Ok(()) };
    let real_time = matches!(
        scheduler.policy(),
        LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr
    );
    if let Some(nice) = scheduler.nice()
        && !(-20..=19).contains(nice)
    {
        return Err(wrong("process.scheduler.nice", format!("{nice} is not within -20 and 19")));
    }
    if scheduler.priority().unwrap_or(0) != 0 && !real_time {
        return Err(wrong("process.scheduler.priority", "only for SCHED_FIFO and SCHED_RR"));
    }
    let deadline = [scheduler.runtime(), scheduler.deadline(), scheduler.period()];
    let asked = deadline.iter().any(|value| value.unwrap_or(0) != 0);
    if asked && *scheduler.policy() != LinuxSchedulerPolicy::SchedDeadline {
        return Err(wrong("process.scheduler.runtime", "only for SCHED_DEADLINE"));
    }
    Ok(())
}

/// Whether the configuration names a namespace of this type, new or joined.
pub fn has_namespace(spec: &Spec, typ: LinuxNamespaceType) -> bool {
    let linux = spec.linux().as_ref();
    linux
        .and_then(|linux| linux.namespaces().as_ref())
        .into_iter()
        .flatten()
        .any(|ns| ns.typ() == typ)
}

fn linux(spec: &Spec) -> Option<&Linux> {
    spec.linux().as_ref()
}

fn namespaces(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let mut seen = Vec::new();
    for ns in linux(spec).and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten() {
        if seen.contains(&ns.typ()) {
            return Err(wrong("linux.namespaces", format!("{} is given twice", name_of(ns.typ()))));
        }
        seen.push(ns.typ());
        if let Some(path) = ns.path()
            && !path.as_os_str().is_empty()
            && !path.is_absolute()
        {
            let cause = format!("{}: path {} must be absolute", name_of(ns.typ()), path.display());
            return Err(wrong("linux.namespaces", cause));
        }
    }
    Ok(())
}

/// The specification's word for a namespace type.
pub fn name_of(typ: LinuxNamespaceType) -> &'static str {
    match typ {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

fn id_mappings(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    let count = |maps: &Option<Vec<LinuxIdMapping>>| maps.as_ref().map_or(0, Vec::len);
    let (uids, gids) = (count(linux.uid_mappings()), count(linux.gid_mappings()));
    let user = linux.namespaces().iter().flatten().find(|ns| ns.typ() == LinuxNamespaceType::User);
    match user {
        None if uids + gids > 0 => {
            Err(wrong("linux.uidMappings", "mappings need a user namespace in linux.namespaces"))
        }
        Some(ns) if ns.path().is_none() && (uids == 0 || gids == 0) => {
            let field = if uids == 0 { "linux.uidMappings" } else { "linux.gidMappings" };
            Err(wrong(field, "a new user namespace needs at least one mapping"))
        }
        _ => {
            mapping_sizes("linux.uidMappings", linux.uid_mappings())?;
            mapping_sizes("linux.gidMappings", linux.gid_mappings())
        }
    }
}

fn mapping_sizes(field: &str, mappings: &Option<Vec<LinuxIdMapping>>) -> Result<()> {
    for map in mappings.iter().flatten() {
        let fits = |first: u32| u64::from(first) + u64::from(map.size()) <= u64::from(u32::MAX);
        if map.size() == 0 {
            return Err(wrong(field, "size must not be 0"));
        }
        if !fits(map.host_id()) || !fits(map.container_id()) {
            return Err(wrong(field, "goes beyond the largest id"));
        }
    }
    Ok(())
}

fn hostname(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let uts = has_namespace(spec, LinuxNamespaceType::Uts);
    let given = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    if given(spec.hostname()) && !uts {
        return Err(wrong("hostname", "unable to set hostname without a private UTS namespace"));
    }
    if given(spec.domainname()) && !uts {
        return Err(wrong(
            "domainname",
            "unable to set domainname without a private UTS namespace",
        ));
    }
    Ok(())
}

fn mounts(spec: &Spec, warnings: &mut Vec<String>) -> Result<()> {
    each_mount(spec.mounts().as_deref().unwrap_or_default(), warnings)
}

/// Checks the entries of `mounts`.
///
/// # Errors
/// The entry, and what is wrong with it.
pub fn each_mount(mounts: &[Mount], warnings: &mut Vec<String>) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        let destination = mount.destination();
        if destination.as_os_str().is_empty() {
            return Err(wrong(&format!("{field}.destination"), "must not be empty"));
        }
        if !destination.is_absolute() {
            let shown = destination.display();
            warnings.push(format!("{field}.destination: {shown} is not absolute; taken from /"));
        }
        let options = || mount.options().iter().flatten().map(String::as_str);
        let bind = options().any(|option| option == "bind" || option == "rbind")
            || mount.typ().as_deref() == Some("bind");
        if bind && mount.source().is_none() {
            return Err(wrong(&format!("{field}.source"), "a bind mount needs a source"));
        }
        if !bind && mount.typ().as_deref().unwrap_or_default().is_empty() {
            return Err(wrong(
                &format!("{field}.type"),
                "must be given for what is not a bind mount",
            ));
        }
        let uids = mount.uid_mappings().is_some();
        if uids != mount.gid_mappings().is_some() {
            let cause = "uidMappings and gidMappings must be given together";
            return Err(wrong(&format!("{field}.uidMappings"), cause));
        }
        if uids && !bind {
            let cause = "id-mapped mounts are only supported for bind mounts";
            return Err(wrong(&format!("{field}.uidMappings"), cause));
        }
        mapping_sizes(&format!("{field}.uidMappings"), mount.uid_mappings())?;
        mapping_sizes(&format!("{field}.gidMappings"), mount.gid_mappings())?;
    }
    Ok(())
}

/// Without a mount namespace of its own a container has the caller's, where its root is a
/// copy of mounts (`launch::callers_mounts`).
fn what_the_callers_mounts_allow(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    if has_namespace(spec, LinuxNamespaceType::Mount) {
        return Ok(());
    }
    if has_namespace(spec, LinuxNamespaceType::User) {
        let cause =
            "a user namespace has no rights in the caller's mount namespace: list \"mount\"";
        return Err(wrong("linux.namespaces", cause));
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let mut options = mount.options().iter().flatten();
        if let Some(option) = options.find(|option| option.ends_with("unbindable")) {
            let cause = format!("{option} needs a mount namespace of the container's own");
            return Err(wrong(&format!("mounts[{index}].options"), cause));
        }
    }
    Ok(())
}

/// Masked and read-only paths are absolute in the container (config-linux.md).
fn restricted_paths(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    let lists = [
        ("linux.maskedPaths", linux.masked_paths()),
        ("linux.readonlyPaths", linux.readonly_paths()),
    ];
    for (field, paths) in lists {
        for (index, path) in paths.iter().flatten().enumerate() {
            if !path.starts_with('/') {
                let cause = format!("{path:?} must be absolute");
                return Err(wrong(&format!("{field}[{index}]"), cause));
            }
        }
    }
    Ok(())
}

/// Sysctls of the IPC namespace (ipc_namespaces(7)).
const IPC_SYSCTLS: &[&str] = &[
    "kernel.auto_msgmni",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg_next_id",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
];

/// Which namespace must be the container's own for a sysctl to be its own.
/// `None`: no namespace owns it.
fn sysctl_owner(key: &str) -> Option<LinuxNamespaceType> {
    if IPC_SYSCTLS.contains(&key) || key.starts_with("fs.mqueue.") {
        Some(LinuxNamespaceType::Ipc)
    } else if key.starts_with("net.") {
        Some(LinuxNamespaceType::Network)
    } else if key.starts_with("user.") {
        // The numbers of namespaces that a user may make (namespaces(7)).
        Some(LinuxNamespaceType::User)
    } else if key == "kernel.domainname" || key == "kernel.hostname" {
        Some(LinuxNamespaceType::Uts)
    } else {
        None
    }
}

/// A sysctl's name with dots: `net/ipv4/conf/eth0.1/forwarding` (slashes
/// first) keeps its dots as part of names, as sysctl(8) reads it.
pub fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']).map(|at| key.as_bytes()[at]) {
        Some(b'/') => key.to_owned(),
        _ => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
    }
}

fn sysctls(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    for key in linux.sysctl().iter().flat_map(|map| map.keys()) {
        let field = format!("linux.sysctl[{key:?}]");
        let path = sysctl_path(key);
        if key.is_empty() || Path::new(&path).components().any(|part| part.as_os_str() == "..") {
            return Err(wrong(&field, "not the name of a sysctl"));
        }
        let dotted = path.replace('/', ".");
        let Some(owner) = sysctl_owner(&dotted) else {
            return Err(wrong(&field, "is not in a separate kernel namespace"));
        };
        // A sysctl of a namespace that is the host's would change the host. A
        // namespace joined by path is somebody's own: the host's are not listed by now
        // (`super::namespaces`).
        if !has_namespace(spec, owner) {
            let cause = format!("not allowed in the host's {} namespace", name_of(owner));
            return Err(wrong(&field, cause));
        }
        if dotted == "kernel.hostname" && spec.hostname().is_some() {
            return Err(wrong(&field, "conflicts with hostname"));
        }
    }
    Ok(())
}

fn time_offsets(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    let offsets = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty());
    let Some(offsets) = offsets else { return Ok(()) };
    let new_ns = linux
        .namespaces()
        .iter()
        .flatten()
        .any(|ns| ns.typ() == LinuxNamespaceType::Time && ns.path().is_none());
    if !new_ns {
        return Err(wrong("linux.timeOffsets", "time offsets need a new time namespace"));
    }
    for clock in offsets.keys() {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(wrong("linux.timeOffsets", format!("unknown clock {clock:?}")));
        }
    }
    Ok(())
}

fn devices(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let devices = linux(spec).and_then(|linux| linux.devices().as_ref());
    for (index, device) in devices.into_iter().flatten().enumerate() {
        if !device.path().is_absolute() {
            return Err(wrong(&format!("linux.devices[{index}].path"), "must be absolute"));
        }
    }
    Ok(())
}

fn hooks(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    #[allow(deprecated)]
    let phases: [(&str, &Option<Vec<Hook>>); 6] = [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (phase, hooks) in phases {
        for (index, hook) in hooks.iter().flatten().enumerate() {
            if !hook.path().is_absolute() {
                let field = format!("hooks.{phase}[{index}].path");
                return Err(wrong(&field, format!("{} must be absolute", hook.path().display())));
            }
            if hook.timeout().is_some_and(|timeout| timeout <= 0) {
                let field = format!("hooks.{phase}[{index}].timeout");
                return Err(wrong(&field, "must be greater than 0"));
            }
        }
    }
    Ok(())
}

fn rootfs_propagation(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    let word = linux(spec).and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or("");
    let known = [
        "",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "private",
        "rprivate",
        "unbindable",
        "runbindable",
    ];
    if known.contains(&word) {
        return Ok(());
    }
    Err(wrong("linux.rootfsPropagation", format!("unknown word {word:?}")))
}

fn annotations(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    match spec.annotations().as_ref().is_some_and(|all| all.contains_key("")) {
        true => Err(wrong("annotations", "a key is empty")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "ociVersion": "1.0.2-dev",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}]}
    }"#;

    /// The error of the good document with `patch` merged into it.
    fn error_with(patch: &str) -> Option<String> {
        let mut value: serde_json::Value = serde_json::from_str(GOOD).unwrap();
        merge(&mut value, serde_json::from_str(patch).unwrap());
        let spec: Spec = serde_json::from_value(value).unwrap();
        validate(&spec, &mut Vec::new()).err().map(|error| error.to_string())
    }

    fn merge(into: &mut serde_json::Value, patch: serde_json::Value) {
        match (into, patch) {
            (serde_json::Value::Object(into), serde_json::Value::Object(patch)) => {
                for (key, value) in patch {
                    merge(into.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (into, patch) => *into = patch,
        }
    }

    #[test]
    fn each_check_names_its_field() {
        assert_eq!(error_with("{}"), None);
        let table = [
            (r#"{"ociVersion": "2.0.0"}"#, "ociVersion: "),
            (r#"{"ociVersion": "one"}"#, "ociVersion: "),
            (r#"{"root": null}"#, "root.path: "),
            (r#"{"process": {"args": []}}"#, "process.args: "),
            (r#"{"process": {"cwd": "tmp"}}"#, "process.cwd: "),
            (r#"{"process": {"env": ["A"]}}"#, "process.env: "),
            (
                r#"{"process": {"user": {"uid": 4294967295}}}"#,
                "process.user.uid: 4294967295 is not",
            ),
            (r#"{"process": {"user": {"gid": 4294967295}}}"#, "process.user.gid: "),
            (
                r#"{"process": {"user": {"additionalGids": [5, 4294967295]}}}"#,
                "process.user.additionalGids: ",
            ),
            (r#"{"process": {"oomScoreAdj": 1001}}"#, "process.oomScoreAdj: "),
            (
                r#"{"process": {"rlimits": [{"type":"RLIMIT_CORE","soft":2,"hard":1}]}}"#,
                "process.rlimits: RLIMIT_CORE: ",
            ),
            (
                r#"{"linux": {"namespaces": [{"type":"user"}],
                "uidMappings": [{"containerID":0,"hostID":0,"size":1}],
                "gidMappings": [{"containerID":0,"hostID":0,"size":1}]}}"#,
                "linux.namespaces: a user namespace has no rights in the caller's",
            ),
            (
                r#"{"linux": {"namespaces": []}, "mounts": [{"destination": "/x",
                "type": "tmpfs", "options": ["ro", "unbindable"]}]}"#,
                "mounts[0].options: unbindable needs",
            ),
            (
                r#"{"linux": {"namespaces": [{"type":"mount"},{"type":"mount"}]}}"#,
                "linux.namespaces: mount is given twice",
            ),
            (
                r#"{"linux": {"namespaces": [{"type":"mount"},{"type":"user"}]}}"#,
                "linux.uidMappings: ",
            ),
            (
                r#"{"linux": {"uidMappings": [{"containerID":0,"hostID":0,"size":1}]}}"#,
                "linux.uidMappings: ",
            ),
            (r#"{"hostname":"a","linux": {"namespaces": [{"type":"mount"}]}}"#, "hostname: "),
            (
                r#"{"linux": {"sysctl": {"vm.swappiness": "1"}}}"#,
                "linux.sysctl[\"vm.swappiness\"]: ",
            ),
            (r#"{"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}}"#, "linux.sysctl[\"net.ipv4"),
            (r#"{"linux": {"sysctl": {"net/../kernel/x": "1"}}}"#, "linux.sysctl[\"net/.."),
            (r#"{"linux": {"timeOffsets": {"monotonic": {"secs": 1}}}}"#, "linux.timeOffsets: "),
            (r#"{"mounts": [{"destination": "/x"}]}"#, "mounts[0].type: "),
            (r#"{"mounts": [{"destination": "/x", "type": "bind"}]}"#, "mounts[0].source: "),
            (r#"{"hooks": {"poststop": [{"path": "x"}]}}"#, "hooks.poststop[0].path: "),
            (
                r#"{"hooks": {"poststop": [{"path": "/x", "timeout": 0}]}}"#,
                "hooks.poststop[0].timeout: ",
            ),
            (r#"{"linux": {"maskedPaths": ["/a", "b"]}}"#, "linux.maskedPaths[1]: \"b\" must"),
            (r#"{"linux": {"readonlyPaths": ["a/b"]}}"#, "linux.readonlyPaths[0]: \"a/b\" must"),
            (r#"{"linux": {"rootfsPropagation": "up"}}"#, "linux.rootfsPropagation: "),
            (r#"{"annotations": {"": "x"}}"#, "annotations: "),
            (r#"{"linux": {"netDevices": {"eth0": {}}}}"#, "linux.netDevices: "),
            (r#"{"linux": {"intelRdt": {"closID": ".."}}}"#, "linux.intelRdt.closID: "),
        ];
        for (patch, start) in table {
            let error = error_with(patch).unwrap_or_else(|| panic!("{patch} was accepted"));
            assert!(error.starts_with(start), "{patch}: {error}");
        }
    }

    #[test]
    fn what_is_started_has_a_process() {
        let mut value: serde_json::Value = serde_json::from_str(GOOD).unwrap();
        let startable_as = |value: &serde_json::Value| {
            startable(&serde_json::from_value(value.clone()).unwrap()).map_err(|e| e.to_string())
        };
        assert_eq!(startable_as(&value), Ok(()));
        value.as_object_mut().unwrap().remove("process");
        assert!(startable_as(&value).unwrap_err().starts_with("process: "));
    }

    #[test]
    fn sysctl_names_with_slashes_keep_their_dots() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/x"), "net/ipv4/conf/eth0.1/x");
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.x"), "net/ipv4/conf/eth0.1/x");
    }
}
