//! What is read of what is written.

use super::super::model::{Handler, Restart, Role, Seccomp, Volume};
use super::*;

const CONTROLLER: &str = include_str!("samples/controller.json");
const WEB: &str = include_str!("samples/web.yaml");

fn read(text: &str) -> Read {
    pods("pod.yaml", text, "pod").unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn wrong(text: &str) -> Vec<String> {
    pods("pod.yaml", text, "pod").expect_err("it was read").0
}

/// A pod with these lines in its one container and those in its spec.
fn with(container: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{spec}\n  containers:\n  \
         - name: c\n    image: oci:box\n{container}\n"
    )
}

#[test]
fn the_controllers_own_example() {
    let Read { pods, warnings } = read(CONTROLLER);
    assert_eq!(warnings, ["pod.yaml: line 6: a comma before a bracket"]);
    let pod = &pods[0];
    let names: Vec<_> = pod.containers.iter().map(|c| (c.name.as_str(), c.role)).collect();
    assert_eq!(names, [("init-0", Role::Init), ("main", Role::Main), ("sidecar", Role::Main)]);
    let probe = pod.containers[2].liveness.as_ref().expect("probe");
    let words = ["/bin/sh", "-c", "sleep 1 && cat /tmp/health"].map(str::to_owned).to_vec();
    assert_eq!(probe.handler, Handler::Exec(words));
    assert_eq!((probe.delay, probe.period, probe.timeout), (1, 2, 2));
    assert_eq!((probe.success, probe.failure), (1, 1));
    assert_eq!(pod.containers[1].liveness.as_ref().map(|p| p.failure), Some(30));
    assert!(pod.containers.iter().all(|one| one.restart == Restart::Never));
}

#[test]
fn a_manifest_with_what_it_refers_to() {
    let Read { pods, warnings } = read(WEB);
    assert_eq!(warnings, ["pod.yaml: line 26: spec.nodeSelector: means nothing on one machine"]);
    let pod = &pods[0];
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.grace), ("web", "default", 5));
    assert!(pod.share_pid && !pod.host_network);
    assert_eq!(pod.host_aliases, [("10.1.2.3".into(), vec!["db.local".into(), "db".into()])]);
    assert_eq!(pod.dns.as_ref().map(|dns| dns.options.clone()), Some(vec!["ndots:2".to_owned()]));
    let roles: Vec<_> = pod.containers.iter().map(|one| (one.role, one.restart)).collect();
    assert_eq!(
        roles,
        [
            (Role::Init, Restart::OnFailure),
            (Role::Sidecar, Restart::Always),
            (Role::Main, Restart::Always)
        ]
    );
    assert_eq!(pod.containers[0].command[2], "echo green");
    let main = &pod.containers[2];
    assert_eq!(main.args, ["hello web", "secret"]);
    assert!(main.env.contains(&("S_COLOUR".into(), "green".into())));
    let live = main.liveness.as_ref().expect("probe");
    let Handler::Http { port: 8080, path, .. } = &live.handler else { panic!("{live:?}") };
    assert_eq!((path.as_str(), live.period, live.timeout, live.failure), ("/health", 10, 1, 3));
    assert_eq!(main.readiness.as_ref().map(|probe| probe.success), Some(2));
    assert_eq!(main.pre_stop, Some(Handler::Sleep(3)));
    assert_eq!((main.resources.memory, main.resources.cpu), (Some(64 << 20), Some(500)));
    assert_eq!((main.security.user, main.security.groups.as_slice()), (Some(1000), &[2000][..]));
    assert_eq!(main.security.add, ["CAP_NET_RAW"]);
    assert_eq!(main.security.seccomp, Seccomp::Unconfined);
    let Volume::Files(files) = &pod.volumes["files"] else { panic!("not files") };
    let names: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.mode)).collect();
    assert_eq!(names, [("www/index.html", 0o600), ("plain", 0o644), ("token", 0o644)]);
    assert_eq!(pod.volumes["scratch"], Volume::EmptyDir { memory: true, size: Some(1 << 20) });
}

#[test]
fn the_same_in_json() {
    let text = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
 "spec": {"containers": [{"name": "c", "image": "oci:box",}],}}"#;
    let Read { pods, warnings } = read(text);
    assert_eq!(pods[0].containers[0].image.as_deref(), Some("oci:box"));
    assert_eq!(warnings.len(), 2);
    let unknown = text.replace("\"image\"", "\"imago\"");
    assert_eq!(wrong(&unknown), ["pod.yaml: line 2: spec.containers[0].imago: unknown field"]);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (container, spec, expected) in [
        ("    ports: 7", "", "line 9: spec.containers[0].ports: invalid type"),
        ("    livenes: {}", "", "line 9: spec.containers[0].livenes: unknown field"),
        ("    livenessProbe: {exec: {command: [a]}, grpc: {port: 1}}", "", "not supported here"),
        ("    livenessProbe: {}", "", "exactly one of exec, httpGet and tcpSocket"),
        ("    livenessProbe: {exec: {command: [a]}, successThreshold: 2}", "", "must be 1"),
        (
            "    readinessProbe: {exec: {command: [a]}, terminationGracePeriodSeconds: 1}",
            "",
            "a readiness probe ends nothing",
        ),
        ("    livenessProbe: {httpGet: {port: none}}", "", "nor the name of a port"),
        ("    volumeMounts: [{name: v, mountPath: /v}]", "", "there is no volume \"v\""),
        (
            "    volumeMounts: [{name: v, mountPath: /v, subPath: ../x}]",
            "  volumes: [{name: v}]",
            "without ..",
        ),
        ("    env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]", "", "named \"s\""),
        ("", "  volumes: [{name: v, nfs: {server: a, path: b}}]", "not supported here"),
        ("", "  volumes: [{name: v, configMap: {name: none}}]", "named \"none\""),
        ("", "  volumes: [{name: v, hostPath: {path: /a/../b}}]", "without .."),
        ("", "  restartPolicy: Sometimes", "Always, OnFailure or Never"),
        ("", "  hostUsers: false", "spec.hostUsers: not supported here"),
        ("", "  ephemeralContainers: []", "spec.ephemeralContainers: not supported"),
        ("    resources: {limits: {memory: lots}}", "", "\"lots\": not a quantity"),
        ("    securityContext: {runAsUser: -1}", "", "not a user or group number"),
        (
            "    securityContext: {capabilities: {add: [net_admin, NO_SUCH]}}",
            "",
            "nobody knows the capability \"NO_SUCH\"",
        ),
        ("    stdin: true", "", "not supported here"),
        ("  - {name: c, image: x}", "", "two containers are named \"c\""),
        (
            "",
            "  initContainers: [{name: i, image: x, livenessProbe: {exec: {command: [a]}}}]",
            "probes are for sidecars",
        ),
    ] {
        let found = wrong(&with(container, spec)).join("\n");
        assert!(found.contains(expected), "{container}{spec}: {found}");
    }
}

#[test]
fn what_is_no_pod() {
    for (text, expected) in [
        ("", "no pod in it"),
        ("[1, 2", "pod.yaml: "),
        ("{\"containers\": [", "pod.yaml: "),
        ("{\"containers\": []}", "there is none"),
        (
            "{\"containers\": [{\"spec\": {}, \"colour\": 1}]}",
            "containers[0].colour: unknown field",
        ),
        ("{\"containers\": [{}]}", "a part of a config.json"),
        ("apiVersion: apps/v1\nkind: Deployment\n", "apps/v1 Deployment: only"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: ../x}\nspec: {containers: []}",
            "metadata.name",
        ),
        ("kind: Pod\nkind: Pod\n", "pod.yaml: "),
        ("a: &a [*a]\n", "pod.yaml: "),
    ] {
        let found = wrong(text).join("\n");
        assert!(found.contains(expected), "{text}: {found}");
    }
}
