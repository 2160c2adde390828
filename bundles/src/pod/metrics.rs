//! Figures for Prometheus, in its text form (version 0.0.4).

use std::fmt::Write;

use super::machine::{PodPhase, State};
use super::status::PodStatus;

const PHASES: [PodPhase; 4] =
    [PodPhase::Pending, PodPhase::Running, PodPhase::Succeeded, PodPhase::Failed];
const STATES: [State; 7] = [
    State::Created,
    State::Started,
    State::Healthy,
    State::Failing,
    State::Terminal,
    State::Finished,
    State::Failed,
];

/// All figures of these pods.
pub fn metrics(pods: &[PodStatus]) -> String {
    let mut text = Text::default();
    text.family(
        "richctl_pod_healthy",
        "gauge",
        "Every main container is STARTED, HEALTHY or FAILING.",
    );
    for pod in pods {
        text.line(pod, &[], u8::from(pod.healthy));
    }
    text.family("richctl_pod_ready", "gauge", "Every main container and sidecar takes work.");
    for pod in pods {
        text.line(pod, &[], u8::from(pod.ready));
    }
    text.family("richctl_pod_phase", "gauge", "1 for the phase that the pod is in.");
    for pod in pods {
        for phase in PHASES {
            text.line(pod, &[("phase", phase.name())], u8::from(pod.phase == phase));
        }
    }
    text.family("richctl_container_state", "gauge", "1 for the state that the container is in.");
    containers(&mut text, pods, |text, pod, one, name| {
        for state in STATES {
            let labels = [name, ("state", state.name())];
            text.line(pod, &labels, u8::from(one.state == state));
        }
    });
    text.family("richctl_container_ready", "gauge", "The container takes work.");
    containers(&mut text, pods, |text, pod, one, name| {
        text.line(pod, &[name], u8::from(one.ready));
    });
    text.family("richctl_container_restarts_total", "counter", "Starts after the first.");
    containers(&mut text, pods, |text, pod, one, name| text.line(pod, &[name], one.restarts));
    text.family("richctl_container_exit_status", "gauge", "The last end's status.");
    containers(&mut text, pods, |text, pod, one, name| {
        if let Some(status) = one.exit_status {
            text.line(pod, &[name], status);
        }
    });
    text.family("richctl_probe_passed", "gauge", "What the last probe said.");
    containers(&mut text, pods, |text, pod, one, name| {
        for probe in &one.probes {
            if let Some(passed) = probe.passed {
                text.line(pod, &[name, ("probe", &probe.probe)], u8::from(passed));
            }
        }
    });
    text.text
}

fn containers(
    text: &mut Text,
    pods: &[PodStatus],
    each: impl Fn(&mut Text, &PodStatus, &super::status::ContainerStatus, (&'static str, &str)),
) {
    for pod in pods {
        for one in &pod.containers {
            each(text, pod, one, ("container", &one.name));
        }
    }
}

#[derive(Default)]
struct Text {
    text: String,
    name: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, pod: &PodStatus, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let own = [("namespace", pod.namespace.as_str()), ("pod", pod.name.as_str())];
        let all = own.iter().chain(labels);
        let all = all.map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
        let all = all.collect::<Vec<_>>().join(",");
        let _ = writeln!(self.text, "{}{{{all}}} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_figures() {
        let json = r#"{"name": "p", "namespace": "n", "phase": "Running", "healthy": true,
            "ready": false, "over": false, "since": 0, "containers": [{"name": "c", "role": "main",
            "state": "HEALTHY", "ready": true, "running": true, "restarts": 3, "since": 0,
            "probes": [{"probe": "liveness", "passed": true, "inARow": 1}]}]}"#;
        let pod: PodStatus = serde_json::from_str(json).expect("a status");
        let text = metrics(&[pod]);
        for line in [
            "richctl_pod_healthy{namespace=\"n\",pod=\"p\"} 1",
            "richctl_pod_phase{namespace=\"n\",pod=\"p\",phase=\"Running\"} 1",
            "richctl_container_state{namespace=\"n\",pod=\"p\",container=\"c\",state=\"HEALTHY\"} 1",
            "richctl_container_restarts_total{namespace=\"n\",pod=\"p\",container=\"c\"} 3",
            "richctl_probe_passed{namespace=\"n\",pod=\"p\",container=\"c\",probe=\"liveness\"} 1",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
        assert!(!text.contains("exit_status{"));
        assert_eq!(escaped("a\"\\\n"), "a\\\"\\\\\\n");
    }
}
