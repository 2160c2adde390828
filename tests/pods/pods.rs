//! What runs, in which order, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use richrun_tests::bundle::make_rootfs;
use richrun_tests::command::{Cmd, Output, wait_until};
use richrun_tests::suite::{ONE, ROOT, V1};
use richrun_tests::{Suite, Trial};
use serde_json::Value;

/// The pod controller's own example, word for word.
const CONTROLLER: &str = include_str!("../../bundles/src/pod/read/samples/controller.json");

pub fn register(suite: &mut Suite) {
    suite.on(ONE, "the_controllers_own_example", controller);
    suite.on(ROOT, "containers_share_what_a_pod_shares", shared);
    suite.on(ONE, "a_shared_pid_namespace_has_richruns_init", shared_pids);
    suite.on(ONE, "volumes_environment_and_order", volumes);
    suite.on(ONE, "exit_statuses_and_restarts", statuses);
    suite.on(ONE, "probes_decide_on_ready_and_restart", probes);
    suite.on(ONE, "probes_by_programs_go_on_whoever_runs_them", exec_probes);
    suite.on(ONE, "hooks_and_sidecars_at_the_end", hooks);
    suite.on(ONE, "a_killed_supervisor_is_replaced", killed);
    suite.on(ONE, "taken_over_it_ends_by_its_images_signal", images_signal);
    suite.on(V1, "users_capabilities_and_limits", security);
    suite.on(V1, "who_is_killed_for_memory_is_said_to_be", memory);
    suite.on(ONE, "what_is_wrong_is_said_and_nothing_is_left", refused);
    suite.on(ONE, "pods_end_with_the_machine", restarted);
    suite.on(ONE, "long_logs_are_shown_whole", long_logs);
    suite.on(ONE, "lists_and_exec_know_them", listed);
    suite.on(ONE, "several_pods_of_three_containers", several);
}

/// The program under test.
pub fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("RICHCTL") {
        return Some(path.into());
    }
    let here = std::env::current_exe().ok()?;
    let profiles = here.ancestors().nth(3)?.to_owned();
    let each = ["bundles", "release", "debug"].into_iter();
    let each = each.map(|profile| profiles.join(profile).join("richctl"));
    // The newest: one that was built once and forgotten says nothing of today's code.
    each.filter(|path| path.exists())
        .max_by_key(|path| fs::metadata(path).and_then(|d| d.modified()).ok())
}

/// `richctl --root ... --runtime ...`.
pub fn ctl<'t>(t: &'t Trial, words: &[&str]) -> Cmd<'t> {
    ctl_over(t, &t.runtime_path().display().to_string(), words)
}

/// The same with another runtime.
fn ctl_over<'t>(t: &'t Trial, runtime: &str, words: &[&str]) -> Cmd<'t> {
    let Some(program) = program() else {
        t.skip("richctl is not built: cargo build -p rich-bundles")
    };
    let root = t.dir.join("ctl").display().to_string();
    Cmd::new(t, &program).args(&["--root", &root, "--runtime", runtime]).args(words)
}

/// A root file system that all containers of a trial are made of.
pub fn box_of(t: &Trial) -> String {
    let root = t.dir.join("box");
    if !root.exists() {
        make_rootfs(&root);
    }
    root.display().to_string()
}

/// A file of the trial's.
pub fn file(t: &Trial, name: &str, text: &str) -> String {
    let path = t.dir.join(name);
    fs::write(&path, text).expect("write a manifest");
    path.display().to_string()
}

/// A pod's status.
pub fn status(t: &Trial, pod: &str) -> Value {
    ctl(t, &["pod", "status", "--format", "json", pod]).ok().json()
}

/// A container of a status.
pub fn one<'s>(status: &'s Value, name: &str) -> &'s Value {
    let list = status["containers"].as_array().expect("containers");
    list.iter().find(|one| one["name"] == name).expect("the container")
}

fn run(t: &Trial, words: &[&str]) -> Output {
    let root = box_of(t);
    let mut all = vec!["pod", "run", "--network", "none", "--source", &root];
    all.extend(words);
    ctl(t, &all).run()
}

/// A manifest of one pod whose containers are all made of the box.
fn manifest(t: &Trial, word: &str, spec: &str) -> (String, String) {
    let name = t.name(word);
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{spec}");
    (file(t, &format!("{word}.yaml"), &text), name)
}

/// Runs a program in a pod's container.
fn inside(t: &Trial, pod: &str, container: &str, script: &str) -> Output {
    let state = t.dir.join("ctl/run/runtime").display().to_string();
    let id = format!("default_{pod}_{container}");
    Cmd::new(t, &t.runtime_path()).args(&["--root", &state, "exec", &id, "sh", "-c", script]).run()
}

fn remove(t: &Trial, pod: &str) {
    ctl(t, &["pod", "rm", "--force", pod]).ok();
    let left: Vec<PathBuf> =
        files(&t.dir.join("ctl")).into_iter().filter(|p| !p.is_dir()).collect();
    assert!(left.is_empty(), "left: {left:?}");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}

fn controller(t: &Trial) {
    let path = file(t, "demo.json", CONTROLLER);
    let name = t.name("demo");
    run(t, &["--detach", "--name", &name, &path]).ok().says("line 6: a comma before a bracket");
    wait_until("the first runs", || one(&status(t, &name), "init-0")["state"] == "STARTED");
    let first = status(t, &name);
    assert_eq!(one(&first, "main")["state"], "CREATED");
    assert_eq!(first["healthy"], false);
    wait_until("both healthy", || {
        let now = status(t, &name);
        one(&now, "main")["state"] == "HEALTHY" && one(&now, "sidecar")["state"] == "HEALTHY"
    });
    let now = status(t, &name);
    assert_eq!((&now["healthy"], &now["phase"]), (&true.into(), &"Running".into()));
    assert_eq!(one(&now, "init-0")["state"], "FINISHED");
    ctl(t, &["pod", "health", &name]).ok().prints(&format!("{name}: healthy"));
    // As the demonstration has it: the file is removed, and the pod's bit flips. One may fail
    // thirty times, the other once.
    inside(t, &name, "main", "rm /tmp/health").ok();
    wait_until("main fails", || one(&status(t, &name), "main")["state"] == "FAILING");
    assert_eq!(status(t, &name)["healthy"], true);
    inside(t, &name, "sidecar", "rm /tmp/health").ok();
    wait_until("the bit flips", || status(t, &name)["healthy"] == false);
    ctl(t, &["pod", "health", &name]).run().exits(1);
    ctl(t, &["pod", "stop", "--time", "0", &name]).ok();
    assert_eq!(status(t, &name)["phase"], "Failed");
    remove(t, &name);
}

fn shared(t: &Trial) {
    let spec = "  containers:\n  - {name: a, command: [sleep, '1000']}\n  - {name: b, command: [sleep, '1000']}\n";
    let (path, name) = manifest(t, "shared", spec);
    run(t, &["--wait", &path]).ok();
    let links = |kind: &str| -> Vec<String> {
        let names = ["a", "b"].iter();
        names
            .map(|name_of| {
                let pid = one(&status(t, &name), name_of)["pid"].as_i64().expect("a pid");
                fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("link").display().to_string()
            })
            .collect()
    };
    for kind in ["net", "ipc", "uts"] {
        let all = links(kind);
        assert_eq!(all[0], all[1], "{kind}");
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).expect("link");
        assert_ne!(all[0], own.display().to_string(), "{kind} is the host's");
    }
    for kind in ["pid", "mnt"] {
        let all = links(kind);
        assert_ne!(all[0], all[1], "{kind}");
    }
    inside(t, &name, "a", "hostname").ok().prints(&name);
    inside(t, &name, "b", "cat /etc/hostname; grep -c localhost /etc/hosts").ok().shows(&name);
    // They see each other over the loopback interface and in shared memory.
    inside(t, &name, "a", "echo seen > /dev/shm/x").ok();
    inside(t, &name, "b", "cat /dev/shm/x").ok().prints("seen");
    inside(t, &name, "a", "busybox ip addr show lo").ok().shows("UP");
    // Each has a root of its own, and what is written is nobody else's.
    inside(t, &name, "a", "echo mine > /tmp/x").ok();
    inside(t, &name, "b", "test ! -e /tmp/x").ok();
    assert!(!t.dir.join("box/tmp/x").exists(), "the source was written to");
    // No process holds the namespaces: the supervisor and two containers are all there is.
    let ours = fs::read_dir("/proc").expect("/proc").flatten().filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("supervise") || line.starts_with(b"sleep\x001000")
    });
    assert_eq!(ours.count(), 3);
    remove(t, &name);
}

fn shared_pids(t: &Trial) {
    let spec = "  shareProcessNamespace: true\n  containers:\n  - {name: a, command: [sleep, '1001']}\n  - {name: b, command: [sh, -c, 'sleep 1002 & sleep 1003']}\n";
    let (path, name) = manifest(t, "pids", spec);
    run(t, &["--wait", &path]).ok();
    wait_until("all in sight", || {
        let seen = inside(t, &name, "a", "ps").ok().out;
        ["sleep 1001", "sleep 1002", "sleep 1003"].iter().all(|word| seen.contains(word))
    });
    inside(t, &name, "a", "cat /proc/1/comm").ok().prints("rich-init");
    // What a container leaves is ended with it, and reaped by that init.
    ctl(t, &["pod", "stop", "--time", "1", &name]).ok();
    remove(t, &name);
}

fn volumes(t: &Trial) {
    let host = t.dir.join("host");
    fs::create_dir(&host).expect("make");
    let name = t.name("volumes");
    let text = format!(
        r#"apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{COLOUR: green, page.html: hello}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{token: s3cret}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}}}
spec:
  restartPolicy: Never
  hostAliases: [{{ip: 10.1.2.3, hostnames: [db.local]}}]
  dnsPolicy: None
  dnsConfig: {{nameservers: [9.9.9.9], options: [{{name: ndots, value: "2"}}]}}
  initContainers:
  - name: first
    command: [sh, -c, "echo one >> /scratch/order"]
    volumeMounts: [{{name: scratch, mountPath: /scratch}}]
  - name: second
    command: [sh, -c, "echo two >> /scratch/order"]
    volumeMounts: [{{name: scratch, mountPath: /scratch}}]
  containers:
  - name: main
    command: [sh, -c]
    args:
    - |
      cat /scratch/order /files/www/index.html /files/token /claim/kept
      echo $(NAME) $COLOUR $TOKEN
      grep db.local /etc/hosts; cat /etc/resolv.conf; cat /labels/labels
      stat -c %a /files/token; grep ' /mem ' /proc/mounts | cut -d' ' -f3
      echo out > /host/out; echo sub > /sub/file
      echo x 2>/dev/null > /files/token || echo read-only
    env:
    - {{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    - {{name: TOKEN, valueFrom: {{secretKeyRef: {{name: keys, key: token}}}}}}
    envFrom: [{{configMapRef: {{name: settings}}}}]
    volumeMounts:
    - {{name: scratch, mountPath: /scratch}}
    - {{name: scratch, mountPath: /sub, subPath: a/b}}
    - {{name: files, mountPath: /files}}
    - {{name: host, mountPath: /host}}
    - {{name: claim, mountPath: /claim}}
    - {{name: mem, mountPath: /mem}}
    - {{name: labels, mountPath: /labels}}
  volumes:
  - {{name: scratch, emptyDir: {{}}}}
  - {{name: mem, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}
  - {{name: host, hostPath: {{path: {host}, type: Directory}}}}
  - {{name: claim, persistentVolumeClaim: {{claimName: kept}}}}
  - {{name: labels, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}
  - name: files
    projected:
      sources:
      - configMap: {{name: settings, items: [{{key: page.html, path: www/index.html}}]}}
      - secret: {{name: keys, items: [{{key: token, path: token, mode: 0400}}]}}
"#,
        host = host.display()
    );
    let claim = t.dir.join("ctl/data/claims/default/kept");
    fs::create_dir_all(&claim).expect("make a claim");
    fs::write(claim.join("kept"), "kept\n").expect("write");
    let path = file(t, "volumes.yaml", &text);
    let out = run(t, &[&path]).ok();
    let lines: Vec<&str> = out.out.lines().map(|line| line.trim_start_matches("main: ")).collect();
    let expected = [
        "one",
        "two",
        "hellos3cretkept",
        &format!("{name} green s3cret"),
        "10.1.2.3\tdb.local",
        "nameserver 9.9.9.9",
        "options ndots:2",
        "app=\"web\"",
        "400",
        "tmpfs",
        "read-only",
    ];
    assert_eq!(lines, expected);
    assert_eq!(fs::read_to_string(host.join("out")).expect("read"), "out\n");
    let sub = t.dir.join(format!("ctl/data/pods/default/{name}/volumes/scratch/a/b/file"));
    assert_eq!(fs::read_to_string(sub).expect("read"), "sub\n");
    fs::remove_dir_all(&claim).expect("remove");
    remove(t, &name);
}

fn statuses(t: &Trial) {
    for (policy, script, code, phase) in [
        ("Never", "exit 0", 0, "Succeeded"),
        ("Never", "exit 7", 7, "Failed"),
        ("OnFailure", "test -e /v/x || { touch /v/x; exit 3; }", 0, "Succeeded"),
    ] {
        let spec = format!(
            "  restartPolicy: {policy}\n  containers:\n  - name: c\n    command: [sh, -c, '{script}']\n    \
             volumeMounts: [{{name: v, mountPath: /v}}]\n  volumes: [{{name: v, emptyDir: {{}}}}]\n"
        );
        let (path, name) = manifest(t, "code", &spec);
        run(t, &[&path]).exits(code);
        let end = status(t, &name);
        assert_eq!((&end["phase"], end["over"].as_bool()), (&phase.into(), Some(true)), "{end}");
        ctl(t, &["pod", "wait", &name]).run().exits(code).prints(&code.to_string());
        if policy == "OnFailure" {
            assert_eq!(one(&end, "c")["restarts"], 1);
        }
        remove(t, &name);
    }
}

fn memory(t: &Trial) {
    let spec = "  restartPolicy: Never\n  containers:\n  - name: c\n    command: [sh, -c, 'exec tail /dev/zero']\n    resources: {limits: {memory: 16Mi}}\n";
    let (path, name) = manifest(t, "memory", spec);
    run(t, &[&path]).exits(137);
    assert_eq!(one(&status(t, &name), "c")["reason"], "OOMKilled");
    remove(t, &name);
}

fn probes(t: &Trial) {
    let spec = r#"  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    command: [sh, -c, "mkdir /www; echo ok > /www/live; touch /www/wait; sleep 1; echo ok > /www/ready; exec busybox httpd -f -p 8080 -h /www"]
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {tcpSocket: {port: http}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 60}
    livenessProbe: {httpGet: {port: http, path: /live}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
    readinessProbe: {httpGet: {port: 8080, path: ready}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
"#;
    let (path, name) = manifest(t, "probes", spec);
    run(t, &["--wait", &path]).ok();
    assert_eq!(status(t, &name)["ready"], true);
    wait_until("healthy", || one(&status(t, &name), "web")["state"] == "HEALTHY");
    inside(t, &name, "web", "rm /www/ready").ok();
    wait_until("not ready", || status(t, &name)["ready"] == false);
    // On a busy machine a probe before may have taken too long.
    wait_until("the server's answer", || {
        let probe = one(&status(t, &name), "web")["probes"].as_array().expect("probes")[2].clone();
        probe["passed"] == false && probe["message"] == "HTTP status 404"
    });
    let now = status(t, &name);
    assert_eq!(
        (now["healthy"].as_bool(), one(&now, "web")["restarts"].as_i64()),
        (Some(true), Some(0))
    );
    inside(t, &name, "web", "rm /www/live").ok();
    wait_until("started again", || one(&status(t, &name), "web")["restarts"] == 1);
    wait_until("ready again", || status(t, &name)["ready"] == true);
    remove(t, &name);
}

/// Who lets them in is killed; and a runtime that has only a plain `exec`.
fn exec_probes(t: &Trial) {
    let spec = r#"  containers:
  - name: c
    command: [sleep, '1000']
    readinessProbe:
      exec: {command: [sh, -c, 'test -e /ready || { echo not yet; exit 4; }']}
      periodSeconds: 1
      failureThreshold: 1
"#;
    let plain = file(
        t,
        "plain",
        &format!(
            "#!/bin/sh\ncase \" $* \" in *' --serve '*) exit 1;; esac\nexec {} \"$@\"\n",
            t.runtime_path().display()
        ),
    );
    fs::set_permissions(&plain, PermissionsExt::from_mode(0o755)).expect("chmod");
    for runtime in [t.runtime_path().display().to_string(), plain] {
        let (path, name) = manifest(t, "exec-probes", spec);
        let root = box_of(t);
        ctl_over(t, &runtime, &["pod", "run", "--detach", "--network", "none"])
            .args(&["--source", &root, &path])
            .ok();
        let message = |word: &str| {
            let now = status(t, &name);
            let probe = one(&now, "c")["probes"].as_array().expect("probes")[0].clone();
            probe["message"].as_str().unwrap_or_default() == word
        };
        wait_until("why it is not ready", || message("exit status 4: not yet"));
        let servers = serving();
        assert_eq!(servers.len(), usize::from(t.runtime_path().display().to_string() == runtime));
        for server in servers {
            richrun_tests::sys::kill(server, 9);
        }
        inside(t, &name, "c", "touch /ready").ok();
        wait_until("ready", || status(t, &name)["ready"] == true);
        inside(t, &name, "c", "rm /ready").ok();
        wait_until("not ready again", || message("exit status 4: not yet"));
        ctl(t, &["pod", "stop", "--time", "0", &name]).ok();
        wait_until("nobody serves", || serving().is_empty());
        remove(t, &name);
    }
}

/// Those who let probes in.
fn serving() -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let all = all.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let pid = entry.file_name().to_str()?.parse().ok()?;
        line.contains("\0exec\0--serve\0").then_some(pid)
    });
    all.collect()
}

fn hooks(t: &Trial) {
    let spec = r#"  terminationGracePeriodSeconds: 20
  initContainers:
  - name: side
    restartPolicy: Always
    command: [sh, -c, "trap 'echo side >> /v/log; exit 0' TERM; : > /v/side; while :; do sleep 0.1; done"]
    volumeMounts: [{name: v, mountPath: /v}]
  containers:
  - name: main
    command: [sh, -c, "trap 'echo main >> /v/log; exit 0' TERM; : > /v/main; while :; do sleep 0.1; done"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo begun >> /v/log"]}}
      preStop: {exec: {command: [sh, -c, "echo before >> /v/log"]}}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, hostPath: {path: HOST}}]
"#;
    let host = t.dir.join("log-dir");
    fs::create_dir(&host).expect("make");
    let (path, name) = manifest(t, "hooks", &spec.replace("HOST", &host.display().to_string()));
    run(t, &["--wait", &path]).ok();
    wait_until("the traps", || ["side", "main"].iter().all(|file| host.join(file).exists()));
    ctl(t, &["pod", "stop", &name]).ok();
    let log = fs::read_to_string(host.join("log")).expect("the log");
    assert_eq!(log, "begun\nbefore\nmain\nside\n");
    assert_eq!(status(t, &name)["phase"], "Succeeded");
    remove(t, &name);
}

fn killed(t: &Trial) {
    let spec = "  restartPolicy: Never\n  containers:\n  - name: c\n    command: [sh, -c, 'n=0; while [ ! -e /v/end ]; do n=$((n+1)); echo line $n; sleep 0.01; done; echo last $n; exit 9']\n    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, hostPath: {path: HOST}}]\n";
    let host = t.dir.join("v");
    fs::create_dir(&host).expect("make");
    let (path, name) = manifest(t, "killed", &spec.replace("HOST", &host.display().to_string()));
    run(t, &["--wait", &path]).ok();
    let pid = one(&status(t, &name), "c")["pid"].clone();
    for round in 0..3 {
        kill_supervisor();
        wait_until("more lines", || {
            let logs = ctl(t, &["pod", "logs", &name]).ok().out;
            logs.lines().count() > 5 * (round + 1)
        });
        // Whoever asks next says so and takes it over; the container has noticed nothing.
        let asked = ctl(t, &["pod", "status", "--format", "json", &name]).ok();
        let asked = asked.says("another takes over");
        assert_eq!(one(&asked.json(), "c")["pid"], pid);
    }
    fs::write(host.join("end"), "").expect("write");
    ctl(t, &["pod", "wait", &name]).run().exits(9);
    let logs = ctl(t, &["pod", "logs", &name]).ok().out;
    let last = logs.lines().last().expect("a line").replace("last ", "");
    let count: usize = last.parse().expect("a number");
    let expected: Vec<String> = (1..=count).map(|n| format!("line {n}")).collect();
    assert_eq!(logs.lines().take(count).collect::<Vec<_>>(), expected, "a line is lost");
    remove(t, &name);
}

/// Who takes a pod over ends its containers by the signal that the image has.
fn images_signal(t: &Trial) {
    let ground = t.dir.join("image");
    fs::create_dir(&ground).expect("make a directory");
    make_rootfs(&ground.join("rootfs"));
    richrun_tests::layout::make(&ground, r#"{"StopSignal": "SIGUSR1"}"#);
    let layout = ground.join("layout").display().to_string();
    let spec = "  restartPolicy: Never\n  terminationGracePeriodSeconds: 100\n  containers:\n  - name: c\n    image: oci:LAYOUT\n    command: [sh, -c, \"trap 'exit 5' USR1; trap '' TERM; : > /v/up; while :; do sleep 0.1; done\"]\n    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, hostPath: {path: HOST}}]\n";
    let host = t.dir.join("v");
    fs::create_dir(&host).expect("make");
    let spec = spec.replace("LAYOUT", &layout).replace("HOST", &host.display().to_string());
    let (path, name) = manifest(t, "signal", &spec);
    ctl(t, &["pod", "run", "--network", "none", "--wait", &path]).ok();
    wait_until("the trap", || host.join("up").exists());
    kill_supervisor();
    ctl(t, &["pod", "status", &name]).ok().says("another takes over");
    ctl(t, &["pod", "stop", &name]).ok();
    assert_eq!(one(&status(t, &name), "c")["exitStatus"], 5);
    ctl(t, &["image", "prune", "--all"]).run();
    ctl(t, &["pod", "rm", "--force", &name]).ok();
}

fn kill_supervisor() {
    let supervisors = fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&line).into_owned();
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        words.contains("\0supervise\0").then_some(pid)
    });
    let mut found = 0;
    for pid in supervisors {
        richrun_tests::sys::kill(pid, 9);
        wait_until("it is gone", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
        found += 1;
    }
    assert_eq!(found, 1);
}

fn security(t: &Trial) {
    let spec = r#"  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 1001, fsGroup: 2000, supplementalGroups: [3000]}
  containers:
  - name: c
    command: [sh, -c, "id -u; id -g; id -G; grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\t'; touch /x 2>/dev/null || echo no; stat -c %g /v"]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
      seccompProfile: {type: Localhost, localhostProfile: PROFILE}
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {}}]
"#;
    let profile = file(t, "profile.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    let (path, name) = manifest(t, "secure", &spec.replace("PROFILE", &profile));
    let out = run(t, &[&path]).ok();
    let lines: Vec<&str> = out.out.lines().collect();
    let expected = [
        "1000",
        "1001",
        "1001 2000 3000",
        "CapEff:0000000000000000",
        "CapBnd:0000000000000400",
        "NoNewPrivs:1",
        "Seccomp:2",
        "no",
        "2000",
    ];
    assert_eq!(lines[..2], expected[..2]);
    let mut groups: Vec<&str> = lines[2].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups.join(" "), expected[2]);
    assert_eq!(lines[3..], expected[3..]);
    remove(t, &name);
}

fn refused(t: &Trial) {
    for (spec, word) in [
        ("  containers: [{name: c, comand: [a]}]\n", "spec.containers[0].comand: unknown field"),
        (
            "  containers: [{name: c, command: [a]}]\n  hostUsers: false\n",
            "hostUsers: not supported",
        ),
        (
            "  containers: [{name: c}]\n  volumes: [{name: v, nfs: {server: a, path: b}}]\n",
            "line 6",
        ),
    ] {
        let (path, _) = manifest(t, "wrong", spec);
        run(t, &["--detach", &path]).exits(125).says(word);
    }
    // What cannot be made when it begins.
    let spec = "  containers: [{name: c, command: [a]}]\n  volumes: [{name: v, hostPath: {path: /no/such, type: Directory}}]\n";
    let (path, _) = manifest(t, "missing", spec);
    run(t, &["--detach", &path]).exits(125).says("hostPath /no/such");
    let spec = "  restartPolicy: Never\n  containers: [{name: c, command: [/no/such]}]\n";
    let (path, name) = manifest(t, "command", spec);
    run(t, &[&path]).exits(128);
    let now = status(t, &name);
    assert!(one(&now, "c")["reason"].as_str().expect("a reason").contains("/no/such"), "{now}");
    ctl(t, &["pod", "rm", &name]).ok();
    ctl(t, &["pod", "status", &name]).run().exits(1).says("no pod is named");
    let left: Vec<PathBuf> =
        files(&t.dir.join("ctl")).into_iter().filter(|p| !p.is_dir()).collect();
    assert!(left.is_empty(), "left: {left:?}");
}

/// What is in memory goes with the machine, as a restart takes it; nothing starts by itself.
fn restarted(t: &Trial) {
    let spec = "  restartPolicy: Never\n  containers: [{name: c, command: ['true']}]\n";
    let (path, name) = manifest(t, "boot", spec);
    run(t, &[&path]).ok();
    fs::remove_dir_all(t.dir.join("ctl/run/pods")).expect("remove");
    let now = status(t, &name);
    assert_eq!((&now["over"], &now["reason"]), (&true.into(), &"MachineRestarted".into()));
    let list = ctl(t, &["pod", "list", "--format", "json"]).ok().json();
    assert_eq!(list[0]["phase"], "Failed");
    ctl(t, &["pod", "stop", &name]).ok();
    ctl(t, &["pod", "wait", &name]).run().exits(128);
    remove(t, &name);
}

fn several(t: &Trial) {
    many(t, 8);
}

/// So many pods of three containers in one file, then gone without a trace.
pub fn many(t: &Trial, count: usize) {
    let each = (0..count).map(|number| {
        let name = t.name(&format!("n{number}"));
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - {{name: a, command: [sleep, '1000']}}\n  - {{name: b, command: [sleep, '1000'], \
             readinessProbe: {{exec: {{command: [/bin/true]}}}}}}\n  - {{name: c, command: [sleep, '1000']}}\n"
        )
    });
    let text = each.collect::<Vec<_>>().join("---\n");
    let path = file(t, "many.yaml", &text);
    run(t, &["--wait", &path]).ok();
    let list = ctl(t, &["pod", "list", "--format", "json"]).ok().json();
    let ready = list.as_array().expect("pods").iter().filter(|pod| pod["ready"] == true).count();
    assert_eq!(ready, count);
    for number in 0..count {
        ctl(t, &["pod", "rm", "--force", &t.name(&format!("n{number}"))]).ok();
    }
    let left: Vec<PathBuf> =
        files(&t.dir.join("ctl")).into_iter().filter(|p| !p.is_dir()).collect();
    assert!(left.is_empty(), "left: {left:?}");
}

/// More than a piece of a log at a time.
fn long_logs(t: &Trial) {
    let spec =
        "  restartPolicy: Never\n  containers:\n  - {name: a, command: [seq, '1', '400000']}\n";
    let (path, name) = manifest(t, "long", spec);
    let wanted: String = (1..=400_000).map(|number| format!("{number}\n")).collect();
    let shown = run(t, &[&path]).ok().out;
    assert!(shown == wanted, "{} bytes of {}", shown.len(), wanted.len());
    let shown = ctl(t, &["pod", "logs", &name]).ok().out;
    assert!(shown == wanted, "{} bytes of {}", shown.len(), wanted.len());
    ctl(t, &["pod", "logs", "-n", "2", &name]).ok().prints("399999\n400000");
    remove(t, &name);
}

/// `list` has pods' containers too, and `exec` reaches them.
fn listed(t: &Trial) {
    let spec = "  restartPolicy: Never\n  initContainers:\n  - {name: i, command: ['true']}\n  containers:\n  - {name: a, command: [sleep, '1000']}\n  - {name: b, command: [sh, -c, 'exit 3']}\n";
    let (path, name) = manifest(t, "listed", spec);
    run(t, &["--detach", &path]).ok();
    wait_until("the end of b", || one(&status(t, &name), "b")["state"] == "FAILED");
    let format = ["list", "--filter", &format!("pod={name}"), "--format"].map(str::to_owned);
    let list = |with: &str| {
        let words: Vec<&str> = format.iter().map(String::as_str).chain([with]).collect();
        ctl(t, &words).ok().out
    };
    let shown = list("{{.Name}} {{.Pod}} {{.Status}} {{.ExitCode}}");
    let wanted =
        format!("{name}/a {name} running \n{name}/b {name} exited 3\n{name}/i {name} exited 0\n");
    assert_eq!(shown, wanted);
    let table = ctl(t, &["list"]).ok().out;
    assert!(table.contains(&format!("{name}/a")) && table.contains("sleep 1000"), "{table}");
    ctl(t, &["--namespace", "other", "list", "-q"]).ok().prints("");
    // By the pod, by both names, by the id that a list shows.
    let hostname = |words: &[&str]| ctl(t, &[words, &["hostname"]].concat()).ok().prints(&name);
    hostname(&["pod", "exec", &name]);
    hostname(&["pod", "exec", "-c", "a", &name]);
    hostname(&["exec", &format!("{name}/a")]);
    hostname(&["exec", &format!("default_{name}_a")]);
    ctl(t, &["pod", "exec", "-e", "A=7", &name, "sh", "-c", "exit $A"]).run().exits(7);
    ctl(t, &["pod", "exec", "-i", &name, "cat"]).input("typed").ok().prints("typed");
    ctl(t, &["pod", "exec", "-c", "b", &name, "true"]).run().exits(125).says("does not run");
    ctl(t, &["exec", &format!("{name}/x"), "true"]).run().exits(125).says("it has i, a, b");
    ctl(t, &["exec", "nothing", "true"]).run().exits(125).says("no container nothing");
    remove(t, &name);
}
