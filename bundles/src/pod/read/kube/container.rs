//! A container of a Pod object.

use k8s_openapi::api::core::v1 as api;

use super::super::{Object, expand::expand, quantity};
use super::probe::{self, Times};
use super::restart::restart;
use super::{Shelf, env, security, volume};
use crate::pod::model::{Container, Pod, Port, Probe, Resources, Restart, RestartRule, Role};

/// What a container takes from the pod around it.
pub(super) struct Around<'a> {
    pub pod: &'a Pod,
    pub restart: Restart,
    pub security: &'a api::PodSecurityContext,
    pub shelf: &'a Shelf,
}

pub(super) fn container(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::Container,
    init: bool,
    around: &Around<'_>,
) -> Container {
    if !volume::is_name(&typed.name) || typed.name.contains('.') {
        object.error(&format!("{path}.name"), "not lower-case letters, digits and -");
    }
    refuse(object, path, typed);
    let (role, restart) = role(object, path, typed, init, around.restart);
    let env = env::env(object, path, typed, around.pod, around.shelf);
    let expanded = |texts: &Option<Vec<String>>| -> Vec<String> {
        let value =
            |name: &str| env.iter().rev().find(|(key, _)| key == name).map(|(_, v)| v.clone());
        texts.iter().flatten().map(|text| expand(text, value)).collect()
    };
    let ports = ports(object, path, typed);
    let life = typed.lifecycle.clone().unwrap_or_default();
    let mut hook = |name: &str, hook: &Option<api::LifecycleHandler>| {
        let at = format!("{path}.lifecycle.{name}");
        hook.as_ref().and_then(|hook| probe::hook(object, &at, hook, &ports))
    };
    let post_start = hook("postStart", &life.post_start);
    let pre_stop = hook("preStop", &life.pre_stop);
    let mut read = |name: &str, times: Times, typed: &Option<api::Probe>| -> Option<Probe> {
        let at = format!("{path}.{name}");
        typed.as_ref().and_then(|typed| probe::probe(object, &at, typed, times, &ports))
    };
    let startup = read("startupProbe", Times::Kills, &typed.startup_probe);
    let liveness = read("livenessProbe", Times::Kills, &typed.liveness_probe);
    let readiness = read("readinessProbe", Times::Tells, &typed.readiness_probe);
    if role == Role::Init && (startup.is_some() || liveness.is_some() || readiness.is_some()) {
        object.error(path, "probes are for sidecars (restartPolicy: Always) and main containers");
    }
    if role == Role::Init && typed.lifecycle.is_some() {
        object.error(path, "lifecycle is for sidecars (restartPolicy: Always) and main containers");
    }
    Container {
        name: typed.name.clone(),
        role,
        image: typed.image.clone(),
        spec: None,
        command: expanded(&typed.command),
        args: expanded(&typed.args),
        cwd: typed.working_dir.clone(),
        mounts: volume::mounts(object, path, typed, around.pod, &env),
        ports,
        security: security::security(object, path, typed, around.security),
        resources: resources(object, path, typed.resources.as_ref()),
        env,
        startup,
        liveness,
        readiness,
        post_start,
        pre_stop,
        stop_signal: life.stop_signal,
        restart,
        restart_rules: rules(object, path, typed),
        tty: typed.tty == Some(true),
    }
}

fn role(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::Container,
    init: bool,
    pods: Restart,
) -> (Role, Restart) {
    let own = typed.restart_policy.as_deref();
    let path = format!("{path}.restartPolicy");
    let then = match own {
        None => pods,
        own => restart(object, &path, own),
    };
    match (init, own) {
        (true, Some("Always")) => (Role::Sidecar, Restart::Always),
        // An init container runs once: that the pod is kept running does not repeat it.
        (true, None) if pods == Restart::Always => (Role::Init, Restart::OnFailure),
        (true, _) => (Role::Init, then),
        (false, _) => (Role::Main, then),
    }
}

fn rules(object: &mut Object<'_>, path: &str, typed: &api::Container) -> Vec<RestartRule> {
    let path = format!("{path}.restartPolicyRules");
    let mut rules = Vec::new();
    for rule in typed.restart_policy_rules.iter().flatten() {
        let codes = rule.exit_codes.as_ref();
        match (rule.action.as_str(), codes.map(|codes| codes.operator.as_str())) {
            ("Restart", Some(operator @ ("In" | "NotIn"))) => rules.push(RestartRule {
                within: operator == "In",
                codes: codes.and_then(|codes| codes.values.clone()).unwrap_or_default(),
            }),
            _ => object.error(&path, "only action Restart with exitCodes In or NotIn"),
        }
    }
    rules
}

fn ports(object: &mut Object<'_>, path: &str, typed: &api::Container) -> Vec<Port> {
    let mut ports = Vec::new();
    for (at, port) in typed.ports.iter().flatten().enumerate() {
        let path = format!("{path}.ports[{at}]");
        let number = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
        let api::ContainerPort { container_port, host_ip, host_port, name, protocol } = port;
        let protocol = protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
        if protocol != "tcp" && protocol != "udp" {
            object.error(&path, format!("{protocol}: only TCP and UDP"));
        }
        let Some(container) = number(*container_port) else {
            object.error(&path, "containerPort is 1 to 65535");
            continue;
        };
        let host = host_port.and_then(number);
        if host.is_none() && host_port.is_some_and(|port| port != 0) {
            object.error(&path, "hostPort is 1 to 65535");
        }
        ports.push(Port {
            name: name.clone(),
            container,
            host,
            host_ip: host_ip.clone(),
            protocol,
        });
    }
    ports
}

fn resources(
    object: &mut Object<'_>,
    path: &str,
    typed: Option<&api::ResourceRequirements>,
) -> Resources {
    let mut resources = Resources::default();
    let Some(typed) = typed else { return resources };
    object.refuse(&format!("{path}.resources.claims"), &typed.claims);
    for (name, quantity) in typed.limits.iter().flatten() {
        let at = format!("{path}.resources.limits.{name}");
        let text = quantity.0.as_str();
        match name.strip_prefix("hugepages-") {
            Some(size) => match quantity::whole(text) {
                Some(bytes) => resources.hugepages.push((size.to_owned(), bytes)),
                None => object.error(&at, format!("{text:?}: not a quantity")),
            },
            None if name == "cpu" => resources.cpu = amount(object, &at, text, true),
            None if name == "memory" => resources.memory = amount(object, &at, text, false),
            None if name == "ephemeral-storage" => object.warn(&at, "is not kept"),
            None => object.error(&at, "nobody here has such a resource"),
        }
    }
    for (name, quantity) in typed.requests.iter().flatten() {
        let at = format!("{path}.resources.requests.{name}");
        let known = amount(object, &at, &quantity.0, true);
        if name == "cpu" {
            resources.cpu_request = known;
        }
    }
    resources
}

fn amount(object: &mut Object<'_>, path: &str, text: &str, thousandths: bool) -> Option<u64> {
    let amount = match thousandths {
        true => quantity::thousandths(text),
        false => quantity::whole(text),
    };
    if amount.is_none() {
        object.error(path, format!("{text:?}: not a quantity"));
    }
    amount.filter(|amount| *amount > 0)
}

/// What of a container is not honoured.
fn refuse(object: &mut Object<'_>, path: &str, typed: &api::Container) {
    // Every field stands here by name: a new one of Kubernetes does not compile.
    let api::Container {
        args: _,
        command: _,
        env: _,
        env_from: _,
        image: _,
        image_pull_policy: _,
        lifecycle: _,
        liveness_probe: _,
        name: _,
        ports: _,
        readiness_probe: _,
        resize_policy,
        resources: _,
        restart_policy: _,
        restart_policy_rules: _,
        security_context: _,
        startup_probe: _,
        stdin,
        stdin_once,
        termination_message_path: _,
        termination_message_policy: _,
        tty: _,
        volume_devices,
        volume_mounts: _,
        working_dir: _,
    } = typed;
    object.idle(&format!("{path}.resizePolicy"), resize_policy);
    object.refuse(&format!("{path}.stdin"), &stdin.filter(|wanted| *wanted));
    object.refuse(&format!("{path}.stdinOnce"), &stdin_once.filter(|wanted| *wanted));
    object.refuse(&format!("{path}.volumeDevices"), volume_devices);
}
