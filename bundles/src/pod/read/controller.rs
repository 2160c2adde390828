//! The pod controller's own JSON: `initContainers` and `containers`, each with a part of
//! a `config.json` and with Kubernetes' probes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use serde::Deserialize;
use serde_json::Value;

use super::Object;
use super::kube::{Times, probe};
use super::tree::Node;
use crate::pod::model::{Container, Pod, Resources, Restart, Role, Security};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    init_containers: Vec<One>,
    containers: Vec<One>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct One {
    name: Option<String>,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    liveness_probe: Option<Value>,
    #[serde(default)]
    readiness_probe: Option<Value>,
    #[serde(default)]
    startup_probe: Option<Value>,
}

/// The pod; containers are not started again, since the controller does not do so.
pub(super) fn pod(notes: &mut super::Notes, tree: &Node, name: &str) -> Option<Pod> {
    let mut object = Object { notes, tree };
    let document: Document = object.typed()?;
    let mut containers = Vec::new();
    for (role, key, list) in [
        (Role::Init, "initContainers", document.init_containers),
        (Role::Main, "containers", document.containers),
    ] {
        for (at, one) in list.into_iter().enumerate() {
            let path = format!("{key}[{at}]");
            let word = if role == Role::Init { "init" } else { "main" };
            let default = format!("{word}-{at}");
            containers.push(container(&mut object, &path, one, role, default));
        }
    }
    if !containers.iter().any(|one| one.role == Role::Main) {
        object.error("containers", "there is none");
    }
    for (at, one) in containers.iter().enumerate() {
        if containers[..at].iter().any(|other| other.name == one.name) {
            object.error("containers", format!("two are named {:?}", one.name));
        }
    }
    Some(Pod {
        name: name.to_owned(),
        namespace: "default".into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        containers,
        volumes: BTreeMap::new(),
        grace: 30,
        deadline: None,
        share_pid: false,
        host_pid: false,
        host_ipc: false,
        host_network: false,
        hostname: name.to_owned(),
        host_aliases: Vec::new(),
        dns: None,
        sysctls: BTreeMap::new(),
        fs_group: None,
    })
}

fn container(
    object: &mut Object<'_>,
    path: &str,
    one: One,
    role: Role,
    default: String,
) -> Container {
    let name = one.name.unwrap_or(default);
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(ok) || name.starts_with('.') {
        object.error(&format!("{path}.name"), "letters, digits, -, _ and . only");
    }
    if !one.spec.is_object() {
        object.error(&format!("{path}.spec"), "a part of a config.json, at least process.args");
    }
    let mut read = |key: &str, times: Times, value: Option<Value>| {
        let path = format!("{path}.{key}");
        let typed = typed(object, &path, value?)?;
        probe(object, &path, &typed, times, &[])
    };
    let startup = read("startupProbe", Times::Kills, one.startup_probe);
    let liveness = read("livenessProbe", Times::Kills, one.liveness_probe);
    let readiness = read("readinessProbe", Times::Tells, one.readiness_probe);
    Container {
        name,
        role,
        image: None,
        spec: Some(one.spec),
        command: Vec::new(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        mounts: Vec::new(),
        ports: Vec::new(),
        security: Security { escalation: true, ..Security::default() },
        resources: Resources::default(),
        startup,
        liveness,
        readiness,
        post_start: None,
        pre_stop: None,
        stop_signal: None,
        restart: Restart::Never,
        restart_rules: Vec::new(),
        tty: false,
    }
}

/// A probe whose `exec` may be the words themselves.
fn typed(object: &mut Object<'_>, path: &str, mut value: Value) -> Option<api::Probe> {
    if let Some(exec) = value.get_mut("exec")
        && exec.is_array()
    {
        *exec = serde_json::json!({ "command": exec.take() });
    }
    let mut unknown = Vec::new();
    let read = serde_ignored::deserialize(value, |field| unknown.push(field.to_string()));
    for field in unknown {
        object.error(&format!("{path}.{field}"), "unknown field");
    }
    read.map_err(|wrong: serde_json::Error| object.error(path, wrong)).ok()
}
