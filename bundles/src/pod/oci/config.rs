//! A container's `config.json`.

use std::path::Path;

use serde_json::{Value, json};

use super::ground::Ground;
use super::seccomp;
use crate::error::{At, Error, Kind, Result};
use crate::pod::model::{Container, Pod, Seccomp, Security};
use crate::pod::setup::Setup;
use crate::source::PreparedRoot;
use crate::spec::{Identity, rights};
use crate::users;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What ends a container, as the image specification writes it into config.json (conversion.md).
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";
/// A scheduler period in microseconds.
const PERIOD: u64 = 100_000;

/// The whole of it.
///
/// # Errors
/// A user that the image does not know, a filter that is not there.
pub fn config(
    setup: &Setup,
    pod: &Pod,
    place: usize,
    root: &PreparedRoot,
    ground: &Ground,
    volumes: Vec<Value>,
) -> Result<Value> {
    let own = &pod.containers[place];
    let base = root.base.clone().unwrap_or_default();
    let mut spec = serde_json::to_value(base).at("write", "config.json")?;
    spec["root"] = json!({
        "path": root.root,
        "readonly": root.readonly || own.security.read_only_root,
    });
    let words = words(own, root, &spec);
    spec["process"] = process(setup, pod, own, root, &spec["process"], words)?;
    spec["hostname"] = Value::Null;
    spec["annotations"] = json!({ "io.richctl.pod": pod.name });
    if let Some(signal) = own.stop_signal.as_ref().or(root.config.stop_signal.as_ref()) {
        spec["annotations"][STOP_SIGNAL] = json!(signal);
    }
    mounts(&mut spec, own, ground, volumes);
    if let Some(all) = spec["mounts"].as_array_mut() {
        // An image's layers, on which all others are mounted.
        all.splice(0..0, root.mounts.iter().map(|mount| json!(mount)));
    }
    linux(&mut spec, setup, pod, own, ground)?;
    if let Some(part) = &own.spec {
        let mut part = part.clone();
        // The root was the source; the rest is laid over.
        part.as_object_mut().map(|part| part.remove("root"));
        lay_over(&mut spec, part);
    }
    Ok(without_nulls(spec))
}

/// The signal that ends the container of a configuration; an image may have said it.
#[must_use]
pub fn stop_signal(spec: &Value) -> Option<String> {
    spec["annotations"][STOP_SIGNAL].as_str().map(str::to_owned)
}

/// Entry point and arguments, by Kubernetes' rules.
fn words(own: &Container, root: &PreparedRoot, base: &Value) -> Vec<String> {
    let image = &root.config;
    let mut words = match own.command.is_empty() {
        true => image.entrypoint.clone(),
        false => own.command.clone(),
    };
    words.extend(own.args.iter().cloned());
    if own.command.is_empty() && own.args.is_empty() {
        words.extend(image.command.iter().cloned());
    }
    if words.is_empty() && root.base.is_some() {
        let list = base.pointer("/process/args").and_then(Value::as_array);
        words.extend(list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    words
}

fn process(
    setup: &Setup,
    pod: &Pod,
    own: &Container,
    root: &PreparedRoot,
    base: &Value,
    words: Vec<String>,
) -> Result<Value> {
    let is_given = own.spec.as_ref().is_some_and(|spec| spec.pointer("/process/args").is_some());
    if words.is_empty() && !is_given {
        let what = format!("container {}: no command: neither it nor its image says one", own.name);
        return Err(Error::usage(what));
    }
    let security = &own.security;
    let image = match root.config.user.as_deref().filter(|user| !user.is_empty()) {
        Some(user) => users::look_up(&root.files(), user)?,
        None => Identity::default(),
    };
    let uid = security.user.unwrap_or(image.uid);
    if security.non_root && uid == 0 {
        let what = format!("container {}: runAsNonRoot, and its image's user is root", own.name);
        return Err(Error::new(Kind::Refused, what));
    }
    let gid = security.group.unwrap_or(if security.user.is_some() { 0 } else { image.gid });
    // Those of the image that list the user count too (the policy Merge).
    let of_image = users::look_up(&root.files(), &uid.to_string())?.groups;
    let mut groups = security.groups.clone();
    groups.extend(of_image.into_iter().filter(|group| !security.groups.contains(group)));
    let capabilities = capabilities(security);
    // As in Kubernetes, a user other than root has them only in the bounding set.
    let held: Vec<&String> = if uid == 0 { capabilities.iter().collect() } else { Vec::new() };
    let mut process = json!({
        "terminal": false,
        "user": { "uid": uid, "gid": gid, "additionalGids": groups },
        "args": words,
        "env": env(setup, pod, own, root, base),
        "cwd": own.cwd.clone().or(root.config.cwd.clone()).filter(|cwd| !cwd.is_empty())
            .or(base["cwd"].as_str().map(str::to_owned)).unwrap_or("/".into()),
        "capabilities": { "bounding": capabilities, "effective": held, "permitted": held },
        "noNewPrivileges": !security.escalation,
        "rlimits": base["rlimits"],
    });
    if let Some(profile) = &security.apparmor {
        process["apparmorProfile"] = json!(profile);
    }
    if let Some(label) = &security.selinux {
        process["selinuxLabel"] = json!(label);
    }
    Ok(process)
}

fn capabilities(security: &Security) -> Vec<String> {
    rights::names(&match security.privileged {
        true => rights::all(),
        false => rights::granted(&rights::USUAL, &security.add, &security.drop),
    })
}

fn env(
    setup: &Setup,
    pod: &Pod,
    own: &Container,
    root: &PreparedRoot,
    base: &Value,
) -> Vec<String> {
    let mut env: Vec<String> = vec![PATH.into(), format!("HOSTNAME={}", hostname(setup, pod))];
    let list = base["env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let of_base: Vec<String> = match root.base.is_some() {
        true => list.map(str::to_owned).collect(),
        false => Vec::new(),
    };
    let own = own.env.iter().map(|(key, value)| format!("{key}={value}"));
    for line in of_base.into_iter().chain(root.config.env.iter().cloned()).chain(own) {
        let key = line.split('=').next().unwrap_or_default().to_owned();
        // The last one counts.
        env.retain(|there| there.split('=').next() != Some(key.as_str()));
        env.push(line);
    }
    env
}

fn hostname(setup: &Setup, pod: &Pod) -> String {
    match setup.network {
        super::super::setup::Network::Host => {
            rustix::system::uname().nodename().to_string_lossy().into_owned()
        }
        _ => pod.hostname.clone(),
    }
}

fn mounts(spec: &mut Value, own: &Container, ground: &Ground, volumes: Vec<Value>) {
    let list = spec["mounts"].as_array().cloned().unwrap_or_default();
    let mut mounts: Vec<Value> = list
        .into_iter()
        .filter(|mount| {
            let target = mount["destination"].as_str().unwrap_or_default();
            target != "/dev/shm" || ground.shm.is_none()
        })
        .collect();
    if own.security.privileged {
        for mount in &mut mounts {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "ro");
            }
        }
    }
    let bind = |source: &Path, target: &str| json!({ "destination": target, "source": source, "type": "bind", "options": ["bind", "rw"] });
    mounts.extend(ground.shm.as_ref().map(|shm| bind(shm, "/dev/shm")));
    for (source, target) in &ground.files {
        // A volume that is mounted there is meant.
        if !own.mounts.iter().any(|mount| mount.path == *target) {
            mounts.push(bind(source, target));
        }
    }
    mounts.extend(volumes);
    spec["mounts"] = mounts.into();
}

fn linux(
    spec: &mut Value,
    setup: &Setup,
    pod: &Pod,
    own: &Container,
    ground: &Ground,
) -> Result<()> {
    let security = &own.security;
    let mut namespaces = vec![json!({ "type": "mount" })];
    let shared = [("network", &ground.net), ("ipc", &ground.ipc), ("uts", &ground.uts)];
    for (kind, file) in shared {
        namespaces.extend(file.as_ref().map(|file| json!({ "type": kind, "path": file })));
    }
    match (&ground.pid, pod.host_pid) {
        (Some(file), _) => namespaces.push(json!({ "type": "pid", "path": file })),
        (None, true) => {}
        (None, false) => namespaces.push(json!({ "type": "pid" })),
    }
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    let linux = &mut spec["linux"];
    linux["namespaces"] = namespaces.into();
    linux["cgroupsPath"] = json!(format!("/{}", setup.id_of(&own.name)));
    linux["resources"] = resources(own, &linux["resources"]);
    if security.privileged || security.unmasked_proc {
        linux["maskedPaths"] = json!([]);
        linux["readonlyPaths"] = json!([]);
    }
    let capabilities = capabilities(security);
    linux["seccomp"] = match &security.seccomp {
        _ if security.privileged => Value::Null,
        Seccomp::Unconfined => linux["seccomp"].take(),
        Seccomp::RuntimeDefault => seccomp::default(&capabilities)?,
        Seccomp::File(file) => {
            // As the kubelet: a relative one is below its own directory.
            let path = Path::new("/var/lib/kubelet/seccomp").join(file);
            seccomp::from_file(&path, &capabilities)?
        }
    };
    Ok(())
}

fn resources(own: &Container, base: &Value) -> Value {
    let asked = &own.resources;
    let mut all = if base.is_object() { base.clone() } else { json!({}) };
    if own.security.privileged {
        all["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    }
    if let Some(bytes) = asked.memory {
        all["memory"] = json!({ "limit": bytes });
    }
    let shares = asked.cpu_request.or(asked.cpu).map(|cpu| (cpu * 1024 / 1000).max(2));
    match (asked.cpu, shares) {
        (Some(cpu), shares) => {
            // Linux takes no less than a millisecond.
            let quota = (cpu.saturating_mul(PERIOD) / 1000).max(1000);
            all["cpu"] = json!({ "quota": quota, "period": PERIOD, "shares": shares });
        }
        (None, Some(shares)) => all["cpu"] = json!({ "shares": shares }),
        (None, None) => {}
    }
    let pages = asked.hugepages.iter().map(|(size, bytes)| {
        let size = size.replace("Ki", "KB").replace("Mi", "MB").replace("Gi", "GB");
        json!({ "pageSize": size, "limit": bytes })
    });
    let pages: Vec<Value> = pages.collect();
    if !pages.is_empty() {
        all["hugepageLimits"] = pages.into();
    }
    all
}

/// Lays a part of a configuration over the whole: objects are merged, the rest replaced.
fn lay_over(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                lay_over(whole.entry(key).or_insert(Value::Null), value);
            }
        }
        (whole, part) => *whole = part,
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_laid_over() {
        let mut whole = json!({"process": {"args": ["a"], "cwd": "/"}, "x": 1});
        lay_over(&mut whole, json!({"process": {"args": ["b", "c"]}, "y": {"z": 2}}));
        let expected = json!({"process": {"args": ["b", "c"], "cwd": "/"}, "x": 1, "y": {"z": 2}});
        assert_eq!(whole, expected);
        assert_eq!(without_nulls(json!({"a": null, "b": [{"c": null}]})), json!({"b": [{}]}));
    }
}
