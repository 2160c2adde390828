//! Probes and hooks.

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::Object;
use crate::pod::model::{Handler, Port, Probe};

/// What a probe is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Times {
    /// Startup, liveness: a failure ends the container, one success is enough.
    Kills,
    /// Readiness: it only tells.
    Tells,
}

/// A probe with Kubernetes' defaults and bounds.
pub(in super::super) fn probe(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::Probe,
    times: Times,
    ports: &[Port],
) -> Option<Probe> {
    let api::Probe {
        exec,
        failure_threshold,
        grpc,
        http_get,
        initial_delay_seconds,
        period_seconds,
        success_threshold,
        tcp_socket,
        termination_grace_period_seconds,
        timeout_seconds,
    } = typed;
    object.refuse(&format!("{path}.grpc"), grpc);
    let handler = handler(object, path, exec, http_get, tcp_socket, ports)?;
    // 0 is "not set" for Kubernetes: its default counts.
    let mut seconds = |name: &str, value: &Option<i32>, default: u32| {
        u32::try_from(value.unwrap_or(0)).map_or_else(
            |_| {
                object.error(&format!("{path}.{name}"), "must not be negative");
                default
            },
            |value| if value == 0 { default } else { value },
        )
    };
    let probe = Probe {
        handler,
        delay: seconds("initialDelaySeconds", initial_delay_seconds, 0).into(),
        period: seconds("periodSeconds", period_seconds, 10).into(),
        timeout: seconds("timeoutSeconds", timeout_seconds, 1).into(),
        success: seconds("successThreshold", success_threshold, 1),
        failure: seconds("failureThreshold", failure_threshold, 3),
        grace: termination_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok()),
    };
    if times == Times::Kills && probe.success != 1 {
        object.error(&format!("{path}.successThreshold"), "must be 1 for this probe");
    }
    let grace = format!("{path}.terminationGracePeriodSeconds");
    match (times, termination_grace_period_seconds) {
        (Times::Tells, Some(_)) => object.error(&grace, "a readiness probe ends nothing"),
        (Times::Kills, Some(..=0)) => object.error(&grace, "must be above 0"),
        _ => {}
    }
    Some(probe)
}

/// A hook.
pub(super) fn hook(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::LifecycleHandler,
    ports: &[Port],
) -> Option<Handler> {
    let api::LifecycleHandler { exec, http_get, sleep, tcp_socket } = typed;
    object.refuse(&format!("{path}.tcpSocket"), tcp_socket);
    match sleep {
        Some(sleep) => Some(Handler::Sleep(u64::try_from(sleep.seconds).unwrap_or(0))),
        None => handler(object, path, exec, http_get, &None, ports),
    }
}

/// The one action that is asked for.
fn handler(
    object: &mut Object<'_>,
    path: &str,
    exec: &Option<api::ExecAction>,
    http: &Option<api::HTTPGetAction>,
    tcp: &Option<api::TCPSocketAction>,
    ports: &[Port],
) -> Option<Handler> {
    match (exec, http, tcp) {
        (Some(exec), None, None) => {
            let words = exec.command.clone().unwrap_or_default();
            if words.is_empty() {
                object.error(&format!("{path}.exec"), "no command");
                return None;
            }
            Some(Handler::Exec(words))
        }
        (None, Some(http), None) => {
            let path = format!("{path}.httpGet");
            if http.scheme.as_deref().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
                object.error(&format!("{path}.scheme"), "TLS is for exec");
            }
            let headers = http.http_headers.iter().flatten();
            let headers: Vec<(String, String)> =
                headers.map(|header| (header.name.clone(), header.value.clone())).collect();
            let page = http.path.clone().filter(|path| !path.is_empty());
            let page = page.unwrap_or_else(|| "/".into());
            let odd = |text: &str| text.chars().any(char::is_control);
            if odd(&page) || headers.iter().any(|(name, value)| odd(name) || odd(value)) {
                object.error(&path, "control characters in path or headers");
            }
            let page = if page.starts_with('/') { page } else { format!("/{page}") };
            let port = port(object, &path, &http.port, ports)?;
            let host = http.host.clone().filter(|host| !host.is_empty());
            Some(Handler::Http { host, port, path: page.replace(' ', "%20"), headers })
        }
        (None, None, Some(tcp)) => {
            let port = port(object, &format!("{path}.tcpSocket"), &tcp.port, ports)?;
            Some(Handler::Tcp { host: tcp.host.clone().filter(|host| !host.is_empty()), port })
        }
        _ => {
            object.error(path, "exactly one of exec, httpGet and tcpSocket");
            None
        }
    }
}

fn port(object: &mut Object<'_>, path: &str, port: &IntOrString, ports: &[Port]) -> Option<u16> {
    let named = |name: &str| {
        let port = ports.iter().find(|port| port.name.as_deref() == Some(name));
        port.map(|port| port.container).or_else(|| name.parse().ok())
    };
    let found = match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => named(name),
    };
    let found = found.filter(|port| *port > 0);
    if found.is_none() {
        object.error(&format!("{path}.port"), "neither 1 to 65535 nor the name of a port");
    }
    found
}
