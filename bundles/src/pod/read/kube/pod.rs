//! A Pod object.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as api;

use super::super::Object;
use super::container::{Around, container};
use super::restart::restart;
use super::{Shelf, volume};
use crate::pod::model::{Container, Dns, Pod, Restart};

/// Kubernetes' default.
const GRACE: u64 = 30;

pub(super) fn pod(object: &mut Object<'_>, typed: api::Pod, shelf: &Shelf) -> Option<Pod> {
    let api::Pod { metadata, spec, status: _ } = typed;
    let Some(spec) = spec else {
        object.error("spec", "missing");
        return None;
    };
    let name = metadata.name.clone().unwrap_or_default();
    if !volume::is_name(&name) {
        object.error("metadata.name", "missing, or not lower-case letters, digits, - and .");
    }
    let namespace = metadata.namespace.clone().unwrap_or_else(|| "default".into());
    if !volume::is_name(&namespace) {
        object.error("metadata.namespace", "not lower-case letters, digits, - and .");
    }
    cluster_only(object, &spec);
    let restart = restart(object, "spec.restartPolicy", spec.restart_policy.as_deref());
    let grace = spec.termination_grace_period_seconds;
    let deadline = spec.active_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let security = spec.security_context.clone().unwrap_or_default();
    let mut pod = Pod {
        hostname: spec.hostname.clone().unwrap_or_else(|| name.chars().take(63).collect()),
        name,
        namespace,
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        containers: Vec::new(),
        volumes: BTreeMap::new(),
        grace: grace.map_or(GRACE, |seconds| u64::try_from(seconds).unwrap_or(1)),
        deadline,
        share_pid: spec.share_process_namespace == Some(true),
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        host_network: spec.host_network == Some(true),
        host_aliases: aliases(&spec),
        dns: dns(object, &spec),
        sysctls: security
            .sysctls
            .iter()
            .flatten()
            .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
            .collect(),
        fs_group: security.fs_group.and_then(|group| u32::try_from(group).ok()),
    };
    if pod.share_pid && pod.host_pid {
        object.error("spec.shareProcessNamespace", "not together with hostPID");
    }
    pod.volumes = volume::volumes(object, spec.volumes.as_deref().unwrap_or_default(), shelf, &pod);
    containers(object, &mut pod, &spec, restart, &security, shelf);
    Some(pod)
}

fn containers(
    object: &mut Object<'_>,
    pod: &mut Pod,
    spec: &api::PodSpec,
    restart: Restart,
    security: &api::PodSecurityContext,
    shelf: &Shelf,
) {
    let mut made: Vec<Container> = Vec::new();
    let around = Around { pod, restart, security, shelf };
    for (at, one) in spec.init_containers.iter().flatten().enumerate() {
        made.push(container(object, &format!("spec.initContainers[{at}]"), one, true, &around));
    }
    for (at, one) in spec.containers.iter().enumerate() {
        made.push(container(object, &format!("spec.containers[{at}]"), one, false, &around));
    }
    if spec.containers.is_empty() {
        object.error("spec.containers", "there is none");
    }
    let mut names = BTreeSet::new();
    for one in &made {
        if !names.insert(one.name.clone()) {
            object.error("spec", format!("two containers are named {:?}", one.name));
        }
    }
    if pod.host_network && made.iter().any(|one| one.ports.iter().any(odd_host_port)) {
        object.error("spec.hostNetwork", "hostPort has to be the containerPort");
    }
    pod.containers = made;
}

fn odd_host_port(port: &crate::pod::model::Port) -> bool {
    port.host.is_some_and(|host| host != port.container)
}

fn aliases(spec: &api::PodSpec) -> Vec<(String, Vec<String>)> {
    let each = spec.host_aliases.iter().flatten();
    each.map(|alias| (alias.ip.clone(), alias.hostnames.clone().unwrap_or_default())).collect()
}

fn dns(object: &mut Object<'_>, spec: &api::PodSpec) -> Option<Dns> {
    let policy = spec.dns_policy.as_deref();
    if !matches!(
        policy,
        None | Some("Default" | "ClusterFirst" | "ClusterFirstWithHostNet" | "None")
    ) {
        object.error("spec.dnsPolicy", "Default, ClusterFirst or None");
    }
    let config = spec.dns_config.clone();
    if config.is_none() && policy == Some("None") {
        object.error("spec.dnsConfig", "dnsPolicy None needs it");
    }
    let api::PodDNSConfig { nameservers, options, searches } = config?;
    let options = options.unwrap_or_default().into_iter().filter_map(|option| {
        let name = option.name?;
        Some(option.value.map_or(name.clone(), |value| format!("{name}:{value}")))
    });
    Some(Dns {
        with_host: policy != Some("None"),
        nameservers: nameservers.unwrap_or_default(),
        searches: searches.unwrap_or_default(),
        options: options.collect(),
    })
}

/// Fields of the pod that are not honoured: those of a cluster mean nothing here, the
/// others would change what the pod is.
fn cluster_only(object: &mut Object<'_>, spec: &api::PodSpec) {
    // Every field stands here by name: a new one of Kubernetes does not compile.
    let api::PodSpec {
        active_deadline_seconds: _,
        affinity,
        automount_service_account_token: _,
        containers: _,
        dns_config: _,
        dns_policy: _,
        enable_service_links: _,
        ephemeral_containers,
        host_aliases: _,
        host_ipc: _,
        host_network: _,
        host_pid: _,
        host_users,
        hostname: _,
        hostname_override,
        image_pull_secrets,
        init_containers: _,
        node_name,
        node_selector,
        os,
        overhead,
        preemption_policy,
        priority,
        priority_class_name,
        readiness_gates,
        resource_claims,
        resources,
        restart_policy: _,
        runtime_class_name,
        scheduler_name,
        scheduling_gates,
        scheduling_group,
        security_context: _,
        service_account,
        service_account_name,
        set_hostname_as_fqdn,
        share_process_namespace: _,
        subdomain,
        termination_grace_period_seconds: _,
        tolerations,
        topology_spread_constraints,
        volumes: _,
    } = spec;
    object.idle("spec.affinity", affinity);
    object.idle("spec.nodeName", node_name);
    object.idle("spec.nodeSelector", node_selector);
    object.idle("spec.overhead", overhead);
    object.idle("spec.preemptionPolicy", preemption_policy);
    object.idle("spec.priority", priority);
    object.idle("spec.priorityClassName", priority_class_name);
    object.idle("spec.schedulerName", scheduler_name);
    object.idle("spec.schedulingGroup", scheduling_group);
    object.idle("spec.serviceAccount", service_account);
    object.idle("spec.serviceAccountName", service_account_name);
    object.idle("spec.subdomain", subdomain);
    object.idle("spec.tolerations", tolerations);
    object.idle("spec.topologySpreadConstraints", topology_spread_constraints);
    object.idle("spec.imagePullSecrets", image_pull_secrets);
    object.refuse("spec.ephemeralContainers", ephemeral_containers);
    object.refuse("spec.hostUsers", &host_users.filter(|shared| !shared));
    object.refuse("spec.hostnameOverride", hostname_override);
    object.refuse("spec.os", &os.as_ref().filter(|os| os.name != "linux"));
    object.refuse("spec.readinessGates", readiness_gates);
    object.refuse("spec.resourceClaims", resource_claims);
    object.refuse("spec.resources", resources);
    object.refuse("spec.runtimeClassName", runtime_class_name);
    object.refuse("spec.schedulingGates", scheduling_gates);
    object.refuse("spec.setHostnameAsFQDN", &set_hostname_as_fqdn.filter(|wanted| *wanted));
}
