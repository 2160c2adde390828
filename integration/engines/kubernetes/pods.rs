//! What every runtime shows.

use richrun_engines::image;
use richrun_engines::kubernetes::{Kube, Object};
use richrun_engines::terminal::Terminal;
use richrun_engines::{Verdict, ensure, within};
use serde_json::{Value, json};

use crate::Scenario;

pub const PODS: &[Scenario] = &[
    Scenario::new("life", life),
    Scenario::new("delete_terminates", delete_terminates),
    Scenario::new("delete_kills_in_the_end", delete_kills_in_the_end),
    Scenario::new("jobs", jobs),
    Scenario::new("init_containers", init_containers),
    Scenario::new("liveness", liveness),
    Scenario::new("readiness_over_the_network", readiness_over_the_network),
    Scenario::new("orphans", orphans),
    Scenario::new("files", files),
    Scenario::new("security", security),
    Scenario::new("streams", streams),
    Scenario::new("shared_pids", shared_pids),
    Scenario::new("hooks", hooks),
    Scenario::new("deployment", deployment),
    Scenario::new("cannot_start", cannot_start),
    Scenario::new("limits", limits),
    Scenario::new("out_of_memory", out_of_memory),
];

/// A payload that ends with 3 when TERM comes.
pub const OBEDIENT: &str = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";

/// A container of the small image that runs `script`.
pub fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": image::NAME, "imagePullPolicy": "Never",
        "command": ["sh", "-c", script]})
}

/// A pod's `spec` with one container, `main`, that runs `script` once.
pub fn once(script: &str) -> Value {
    json!({"restartPolicy": "Never", "containers": [container("main", script)]})
}

/// The same with `more` in the container.
fn once_with(script: &str, more: Value) -> Value {
    let mut spec = once(script);
    if let (Some(into), Value::Object(more)) = (spec["containers"][0].as_object_mut(), more) {
        into.extend(more);
    }
    spec
}

/// Adds a directory of the sandbox to the first container, at `/shared`.
fn share(kube: &Kube<'_>, what: &str, mut spec: Value) -> (Value, std::path::PathBuf) {
    let dir = kube.sandbox.work.join(kube.unique(what));
    spec["volumes"] =
        json!([{"name": "shared", "hostPath": {"path": dir, "type": "DirectoryOrCreate"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    (spec, dir)
}

/// How a pod's first container ended.
const EXIT_CODE: &str = ".status.containerStatuses[0].state.terminated.exitCode";

/// Waits until a pod has ended with this code.
pub fn ends(pod: &Object<'_>, code: i32) -> Verdict {
    pod.becomes(EXIT_CODE, &code.to_string())
}

/// Whether the container's first process has this name.
pub fn first_is(pod: &Object<'_>, name: &str) -> Verdict {
    pod.exec(&[], &["cat", "/proc/1/comm"])?.prints(name)
}

/// TERM for the first process, whose end may end the command that sends it as well.
pub fn terminate(pod: &Object<'_>) -> Verdict {
    let said = pod.exec(&[], &["kill", "-TERM", "1"])?;
    ensure([0, 137].contains(&said.code), || said.to_string())
}

fn life(kube: &Kube<'_>) -> Verdict {
    let pod = kube.pod("life", json!({}), once(OBEDIENT))?;
    pod.ready()?;
    pod.says("ready")?;
    first_is(&pod, if kube.is_rich() { "rich-init" } else { "sh" })?;
    let said = pod.exec(&[], &["sh", "-c", "echo inside; exit 9"])?.exits(9)?;
    ensure(said.stdout == "inside\n", || said.to_string())?;
    // The payload ends by itself: its code is the pod's.
    terminate(&pod)?;
    ends(&pod, 3)?;
    pod.becomes(".status.phase", "Failed")
}

/// More time than anybody waits for: who is gone before it has obeyed TERM.
fn delete_terminates(kube: &Kube<'_>) -> Verdict {
    let script =
        "trap 'echo term >>/shared/seen; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut spec, dir) = share(kube, "term", once(script));
    spec["terminationGracePeriodSeconds"] = json!(3600);
    let pod = kube.pod("term", json!({}), spec)?;
    pod.says("ready")?;
    pod.delete(&[])?;
    let seen = std::fs::read_to_string(dir.join("seen")).unwrap_or_default();
    ensure(seen == "term\n", || format!("TERM once expected, seen: {seen:?}"))
}

fn delete_kills_in_the_end(kube: &Kube<'_>) -> Verdict {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let pod = kube.pod("kill", json!({}), once(script))?;
    pod.says("ready")?;
    pod.delete(&["--grace-period=2"])
}

/// A Job's pods: one that succeeds, one that does not.
fn jobs(kube: &Kube<'_>) -> Verdict {
    for (name, script, kind, code) in
        [("good", "echo done", "Complete", "0"), ("bad", "echo done; exit 7", "Failed", "7")]
    {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {},
            "spec": {"backoffLimit": 0, "template": {"spec": kube.classed(once(script))}}});
        let job = kube.create("job", name, &job)?;
        job.becomes(&format!(".status.conditions[?(@.type=='{kind}')].status"), "True")?;
        let label = format!("job-name={}", job.name);
        let path = format!("jsonpath={{.items[*]{EXIT_CODE}}}");
        kube.call(&["get", "pods", "-l", &label, "-o", &path])?.prints(code)?;
        kube.call(&["logs", &format!("job/{}", job.name)])?.prints("done")?;
    }
    Ok(())
}

/// One after the other, before the pod's containers.
fn init_containers(kube: &Kube<'_>) -> Verdict {
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    let with = |name: &str, script: &str| {
        let mut one = container(name, script);
        one["volumeMounts"] = mounts.clone();
        one
    };
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "shared", "emptyDir": {}}],
        "initContainers": [with("a", "sleep 0.3; echo a >>/shared/order"), with("b", "echo b >>/shared/order")],
        "containers": [with("main", "echo main >>/shared/order; cat /shared/order")],
    });
    let pod = kube.pod("init", json!({}), spec)?;
    ends(&pod, 0)?;
    let log = pod.logs(&[])?;
    ensure(log == "a\nb\nmain", || format!("the order was {log:?}"))?;
    // One that fails keeps the pod's containers from starting.
    let mut spec = once("echo never");
    spec["initContainers"] = json!([container("a", "exit 5")]);
    let pod = kube.pod("init-fails", json!({}), spec)?;
    pod.becomes(".status.phase", "Failed")?;
    let code = pod.field(".status.initContainerStatuses[0].state.terminated.exitCode")?;
    ensure(code == "5", || format!("the init container's code is {code}"))
}

/// The first start is sick, the second one is not.
fn liveness(kube: &Kube<'_>) -> Verdict {
    let script = "trap 'echo term >>/shared/ends; exit 0' TERM; \
                  [ -e /shared/starts ] || touch /tmp/sick; echo start >>/shared/starts; \
                  while :; do sleep 0.05; done";
    let probe = json!({"exec": {"command": ["test", "!", "-e", "/tmp/sick"]},
        "periodSeconds": 1, "timeoutSeconds": 60, "failureThreshold": 1});
    let (mut spec, dir) =
        share(kube, "liveness", once_with(script, json!({"livenessProbe": probe})));
    spec["restartPolicy"] = json!("Always");
    spec["terminationGracePeriodSeconds"] = json!(3600);
    let pod = kube.pod("liveness", json!({}), spec)?;
    pod.becomes(".status.containerStatuses[0].restartCount", "1")?;
    pod.ready()?;
    let of = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap_or_default();
    within("the second start", || (of("starts") == "start\nstart\n").then_some(()))?;
    ensure(of("ends") == "term\n", || format!("the first one's end: {:?}", of("ends")))
}

/// The kubelet asks the pod's own address, as does a neighbour.
fn readiness_over_the_network(kube: &Kube<'_>) -> Verdict {
    let probe = json!({"httpGet": {"path": "/index.html", "port": 8080},
        "periodSeconds": 1, "timeoutSeconds": 60});
    let more = json!({"readinessProbe": probe});
    let pod = kube.pod("web", json!({}), once_with("exec httpd -f -p 8080 -h /srv", more))?;
    pod.ready()?;
    let address = pod.field(".status.podIP")?;
    ensure(address.starts_with("10.86."), || format!("the pod's address is {address}"))?;
    let script = format!("wget -q -O - http://{address}:8080/index.html");
    let neighbour = kube.pod("neighbour", json!({}), once(&script))?;
    ends(&neighbour, 0)?;
    let log = neighbour.logs(&[])?;
    ensure(log == "served", || format!("the neighbour got {log:?}"))
}

/// An orphan whose new parent is a payload that does not care: without an init it stays.
/// It ends when the payload is there, since the shell before it would care.
/// (Kubernetes makes one `$` of two.)
fn orphans(kube: &Kube<'_>) -> Verdict {
    let orphan = "echo $$$$ >/tmp/orphan; while [ ! -e /tmp/go ]; do sleep 0.05; done";
    let pod =
        kube.pod("orphans", json!({}), once(&format!("(sh -c '{orphan}' &); exec nc -l -p 9")))?;
    pod.ready()?;
    let look = "cat /proc/[0-9]*/comm | grep -qx nc && touch /tmp/go && read pid </tmp/orphan && \
                if [ -e /proc/$pid ]; then grep State /proc/$pid/status; else echo gone; fi";
    let wanted = if kube.is_rich() { "gone" } else { "State:\tZ (zombie)" };
    within(&format!("the orphan is {wanted:?}"), || {
        pod.exec(&[], &["sh", "-c", look]).ok().filter(|said| said.stdout.trim() == wanted)
    })
    .map(drop)
}

/// Settings and secrets, as files and as environment; the account's token; a tmpfs.
fn files(kube: &Kube<'_>) -> Verdict {
    let object = |kind: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {}});
    let mut settings = object("ConfigMap");
    settings["data"] = json!({"key": "from the map"});
    let mut secret = object("Secret");
    secret["stringData"] = json!({"key": "from the secret"});
    let settings = kube.create("configmap", "files", &settings)?;
    let secret = kube.create("secret", "files", &secret)?;
    let script = "cat /map/key; echo; cat /secret/key; echo; echo $KEY; echo $POD; stat -f -c %T /fast; \
                  test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token; \
                  (echo x >/map/no) 2>/dev/null || echo read-only";
    let key = json!({"configMapKeyRef": {"name": settings.name, "key": "key"}});
    let pod_name = json!({"fieldRef": {"fieldPath": "metadata.name"}});
    let mut spec = once_with(
        script,
        json!({
            "env": [{"name": "KEY", "valueFrom": key}, {"name": "POD", "valueFrom": pod_name}],
            "volumeMounts": [{"name": "map", "mountPath": "/map"}, {"name": "fast", "mountPath": "/fast"},
                {"name": "secret", "mountPath": "/secret/key", "subPath": "key"}],
        }),
    );
    spec["volumes"] = json!([{"name": "map", "configMap": {"name": settings.name}},
        {"name": "secret", "secret": {"secretName": secret.name}},
        {"name": "fast", "emptyDir": {"medium": "Memory"}}]);
    let pod = kube.pod("files", json!({}), spec)?;
    ends(&pod, 0)?;
    let (log, name) = (pod.logs(&[])?, &pod.name);
    let wanted =
        format!("from the map\nfrom the secret\nfrom the map\n{name}\ntmpfs\ntoken\nread-only");
    ensure(log == wanted, || format!("{wanted:?} expected, {log:?} found"))
}

/// User, groups, capabilities, a root nobody writes to, and a seccomp profile.
fn security(kube: &Kube<'_>) -> Verdict {
    let script = "id -u; id -g; id -G; touch /x 2>/dev/null || echo read-only; \
                  grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";
    let mut spec = once_with(
        script,
        json!({"securityContext": {"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}),
    );
    spec["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true,
        "supplementalGroups": [2000], "fsGroup": 3000, "seccompProfile": {"type": "RuntimeDefault"}});
    let pod = kube.pod("security", json!({}), spec)?;
    ends(&pod, 0)?;
    let log = pod.logs(&[])?.replace('\t', " ");
    let status =
        ["CapEff: 0000000000000000", "CapBnd: 0000000000000400", "NoNewPrivs: 1", "Seccomp: 2"];
    let rest = status.into_iter().all(|line| log.lines().any(|found| found == line));
    ensure(rest && log.starts_with("1000\n1000\n"), || format!("found {log:?}"))?;
    let groups = log.lines().nth(2).unwrap_or_default();
    ensure(groups == "1000 2000 3000", || format!("groups: {groups:?}"))?;
    ensure(log.lines().nth(3) == Some("read-only"), || format!("found {log:?}"))
}

/// Input, both outputs and a terminal.
fn streams(kube: &Kube<'_>) -> Verdict {
    let pod = kube.pod("streams", json!({}), once("echo out; echo err >&2; exec sleep 100000"))?;
    pod.ready()?;
    pod.says("err")?;
    let line = pod.exec_line(&["-i"], &["sh", "-c", "cat; echo err >&2"]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let said = kube.call_with(&line, "to it\n")?.exits(0)?;
    ensure(said.stdout == "to it\n" && said.stderr.contains("err"), || said.to_string())?;
    let line = pod.exec_line(&["-it"], &["sh"]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let mut terminal = Terminal::start(&kube.command(&line))?;
    terminal.types("tty; exit 4\n")?;
    terminal.shows("/dev/pts/")?;
    let code = terminal.ends()?;
    ensure(code == 4, || format!("exit code 4 expected, {code} got"))
}

/// One pid namespace for the pod's containers, in which its holder is the first.
fn shared_pids(kube: &Kube<'_>) -> Verdict {
    let containers =
        [container("main", "exec sleep 100000"), container("other", "exec sleep 100001")];
    let spec = json!({"restartPolicy": "Never", "shareProcessNamespace": true, "containers": containers,
        "terminationGracePeriodSeconds": 2});
    let pod = kube.pod("pids", json!({}), spec)?;
    pod.ready()?;
    first_is(&pod, "sleep")?;
    let said = pod.exec(&["-c", "main"], &["ps"])?.exits(0)?;
    ensure(said.stdout.contains("sleep 100001"), || said.to_string())
}

/// After the start and before the stop.
fn hooks(kube: &Kube<'_>) -> Verdict {
    let says = |word: &str| json!({"exec": {"command": ["sh", "-c", format!("echo {word} >>/shared/seen")]}});
    let script =
        "trap 'echo term >>/shared/seen; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let more = json!({"lifecycle": {"postStart": says("started"), "preStop": says("stopping")}});
    let (mut spec, dir) = share(kube, "hooks", once_with(script, more));
    spec["terminationGracePeriodSeconds"] = json!(3600);
    let pod = kube.pod("hooks", json!({}), spec)?;
    pod.ready()?;
    pod.says("ready")?;
    pod.delete(&[])?;
    let seen = std::fs::read_to_string(dir.join("seen")).unwrap_or_default();
    ensure(seen == "started\nstopping\nterm\n", || format!("seen: {seen:?}"))
}

/// Two pods of a Deployment, scaled and rolled on.
fn deployment(kube: &Kube<'_>) -> Verdict {
    let app = kube.unique("deployment");
    let label = json!({"app": app});
    let mut spec = once(OBEDIENT);
    spec["restartPolicy"] = json!("Always");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {},
        "spec": {"replicas": 2, "selector": {"matchLabels": label},
            "template": {"metadata": {"labels": label}, "spec": kube.classed(spec)}}});
    let deployment = kube.create("deployment", "deployment", &deployment)?;
    deployment.becomes(".status.readyReplicas", "2")?;
    let name = format!("deployment/{}", deployment.name);
    kube.call(&["set", "env", &name, "NEW=1"])?.exits(0)?;
    kube.call(&["rollout", "status", &name, "--timeout=170s"])?.exits(0)?;
    kube.call(&["scale", &name, "--replicas=1"])?.exits(0)?;
    let selector = format!("app={app}");
    let left = within("one pod", || {
        let list = kube.call(&["get", "pods", "-l", &selector, "-o", "name"]).ok()?.text().ok()?;
        (list.lines().count() == 1).then_some(list)
    })?;
    kube.call(&["exec", &left, "--", "sh", "-c", "echo $NEW"])?.prints("1")
}

/// What is not in the image is said where people look.
fn cannot_start(kube: &Kube<'_>) -> Verdict {
    let more = json!({"command": ["/not/there"]});
    let pod = kube.pod("absent", json!({}), once_with("", more))?;
    let state = ".status.containerStatuses[0].state";
    within("the reason", || {
        let said = pod.field(state).ok()?;
        (said.contains("/not/there") && said.contains("no such file")).then_some(())
    })
    .map_err(|error| format!("{error}: {:?}", pod.field(state)))
}

/// Where the limits of a pod's container arrive.
fn limits(kube: &Kube<'_>) -> Verdict {
    let more = json!({"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}});
    let pod = kube.pod("limits", json!({}), once_with(OBEDIENT, more))?;
    pod.says("ready")?;
    let look = "cd /sys/fs/cgroup; if [ -e memory.max ]; then cat memory.max cpu.max; else \
                cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us; fi";
    let said = pod.exec(&[], &["sh", "-c", look])?.text()?;
    let numbers: Vec<&str> = said.split_whitespace().collect();
    ensure(numbers == ["67108864", "50000", "100000"], || said.clone())
}

fn out_of_memory(kube: &Kube<'_>) -> Verdict {
    let more = json!({"resources": {"limits": {"memory": "32Mi"}}});
    let script = "exec dd if=/dev/zero of=/dev/null bs=256M count=1";
    let pod = kube.pod("memory", json!({}), once_with(script, more))?;
    ends(&pod, 137)?;
    pod.becomes(".status.containerStatuses[0].state.terminated.reason", "OOMKilled")
}
