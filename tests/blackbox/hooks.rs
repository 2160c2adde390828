//! Hooks in a container's life: when each kind runs, where, with which state,
//! and what a failure ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use richrun_tests::bundle::sh;
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "each_at_its_time", each_at_its_time)
        .on(ONE, "each_in_its_namespaces", each_in_its_namespaces)
        .on(ONE, "the_root_is_not_yet_entered", the_root_is_not_yet_entered)
        .on(BOTH, "umask_and_environment", umask_and_environment)
        .on(ONE, "poststart_finds_the_payload", poststart_finds_the_payload)
        .on(ONE, "poststop_finds_nothing", poststop_finds_nothing)
        .on(BOTH, "failure_ends_create", failure_ends_create)
        .on(BOTH, "failure_ends_start", failure_ends_start)
        .on(BOTH, "failure_ends_run", failure_ends_run);
}

/// The kinds that run in `create`, in their order.
const CREATING: [&str; 3] = ["prestart", "createRuntime", "createContainer"];
/// All of them.
const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs a script; `$state` is the state's text, `$pid` its pid.
fn hook(script: &str) -> Value {
    let read = r#"state=$(cat); pid=$(echo "$state" | sed 's/.*"pid": *\([0-9]*\).*/\1/')"#;
    json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("{read}\n{script}")],
            "env": ["PATH=/bin:/usr/bin"]}])
}

/// A bundle with a script for each kind; `FILE` in it becomes the kind's file,
/// which is outside the container but for startContainer's.
fn bundle_with(t: &Trial, kinds: &[&str], script: &str) -> Bundle {
    let bundle = t.bundle(|c| sh(c, IDLE));
    fs::create_dir_all(t.dir.join("run/hooks")).expect("make a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(t.dir.join("run/hooks"), open).expect("chmod");
    bundle.edit(|c| {
        for kind in kinds {
            let file = file_inside(t, kind);
            c["hooks"][*kind] = hook(&script.replace("FILE", &file).replace("KIND", kind));
        }
    });
    bundle
}

/// A kind's file as the hook sees it.
fn file_inside(t: &Trial, kind: &str) -> String {
    match kind {
        "startContainer" => "/tmp/startContainer".to_owned(),
        _ => t.dir.join("run/hooks").join(kind).display().to_string(),
    }
}

/// What the kinds have written, by kind.
fn written(t: &Trial, bundle: &Bundle) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for kind in ALL {
        let file = file_inside(t, kind);
        let file = match kind {
            "startContainer" => bundle.rootfs().join("tmp/startContainer"),
            _ => Path::new(&file).to_path_buf(),
        };
        if let Ok(text) = fs::read_to_string(file) {
            found.insert(kind.to_owned(), text.trim_end().to_owned());
        }
    }
    found
}

fn kinds_of(map: &BTreeMap<String, String>) -> Vec<&str> {
    ALL.into_iter().filter(|kind| map.contains_key(*kind)).collect()
}

fn each_at_its_time(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 runs poststart in create, 1.8 nothing of a bundle's /bin");
    // A number that grows, so that the order shows.
    let counter = t.dir.join("run/hooks/counter").display().to_string();
    let script = format!("echo KIND >> {counter} 2>/dev/null; echo \"$state\" > FILE");
    let bundle = bundle_with(t, &ALL, &script);
    bundle.edit(|c| sh(c, "test -e /tmp/startContainer && echo yes > /tmp/after; sleep 1000"));
    let c = t.create(&bundle);
    assert_eq!(kinds_of(&written(t, &bundle)), CREATING, "after create");
    let order = fs::read_to_string(&counter).expect("the order");
    assert_eq!(order.split_whitespace().collect::<Vec<_>>(), CREATING);
    c.start();
    assert_eq!(kinds_of(&written(t, &bundle)), ALL[..5], "after start");
    let after = bundle.rootfs().join("tmp/after");
    wait_until("the payload to see startContainer's file", || after.exists());
    c.kill("KILL");
    c.wait("stopped");
    assert_eq!(kinds_of(&written(t, &bundle)), ALL[..5], "stopped");
    c.verb("delete", &[]).ok();
    let texts = written(t, &bundle);
    assert_eq!(kinds_of(&texts), ALL, "after delete");
    for (kind, text) in texts {
        let state: Value = serde_json::from_str(&text).expect("a state");
        let status = match kind.as_str() {
            "poststart" => "running",
            "poststop" => "stopped",
            "startContainer" => "created",
            _ => "creating",
        };
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["id"], json!(c.id), "{kind}");
        assert_eq!(state["bundle"], json!(bundle.path()), "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}");
        if kind == "startContainer" {
            assert_eq!(state["pid"], 1, "as the container sees it");
        }
    }
}

fn each_in_its_namespaces(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "joins other namespaces for some");
    let script = "for n in net uts ipc mnt; do readlink /proc/self/ns/$n; done > FILE";
    let bundle = bundle_with(t, &ALL[..5], script);
    let c = t.create(&bundle);
    c.start();
    let theirs = |name: &str| {
        fs::read_link(format!("/proc/{}/ns/{name}", c.pid()))
            .expect("readlink")
            .display()
            .to_string()
    };
    let own = |name: &str| {
        fs::read_link(format!("/proc/self/ns/{name}")).expect("readlink").display().to_string()
    };
    let names = ["net", "uts", "ipc", "mnt"];
    for (kind, text) in written(t, &bundle) {
        let expected = match kind.as_str() {
            "createContainer" | "startContainer" => names.map(theirs),
            _ => names.map(own),
        };
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{kind}");
    }
    assert_eq!(kinds_of(&written(t, &bundle)), ALL[..5]);
    c.remove();
}

/// Until createContainer the host's files are there to be seen from the
/// container's process; the namespaces are made already.
fn the_root_is_not_yet_entered(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "has other pids in its states");
    let bundle = t.bundle(|c| sh(c, IDLE));
    let dir = t.dir.join("run").display().to_string();
    let config = format!("{}/config.json", bundle.path());
    bundle.edit(|c| {
        for kind in ["prestart", "createRuntime"] {
            let script = format!(
                "(test -e /proc/$pid/root{config} && echo host; \
                 test \"$(readlink /proc/$pid/ns/net)\" != \"$(readlink /proc/self/ns/net)\" && echo made) \
                 > {dir}/{kind}"
            );
            c["hooks"][kind] = hook(&script);
        }
        let script = format!("(test -e {config} && echo host) > {dir}/createContainer");
        c["hooks"]["createContainer"] = hook(&script);
        let script = format!("(test -e {config} || echo inside; pwd) > /tmp/where");
        c["hooks"]["startContainer"] = hook(&script);
    });
    let c = t.create(&bundle);
    for kind in ["prestart", "createRuntime"] {
        let text = fs::read_to_string(format!("{dir}/{kind}")).expect("what it saw");
        assert_eq!(text, "host\nmade\n", "{kind}");
    }
    let text = fs::read_to_string(format!("{dir}/createContainer")).expect("what it saw");
    assert_eq!(text, "host\n");
    c.start();
    let text = fs::read_to_string(bundle.rootfs().join("tmp/where")).expect("what it saw");
    assert_eq!(text, "inside\n/\n");
    c.remove();
}

/// What a hook makes has the modes that the runtime's caller chose. The environment of an image is no
/// environment for a program of the host.
fn umask_and_environment(t: &Trial) {
    t.only(&[Kind::Richrun], "gives a host's program the container's environment, or no umask");
    let script = "{ umask; /bin/busybox env; } > FILE";
    let bundle = bundle_with(t, &ALL, script);
    bundle.edit(|c| {
        sh(c, "true");
        c["process"]["env"] = json!(["PATH=/bin", "FROM_IMAGE=x"]);
        for kind in ALL {
            c["hooks"][kind][0].as_object_mut().expect("a hook").remove("env");
        }
    });
    let (runtime, root) = (t.runtime_path(), t.root());
    let run = format!(
        "umask 027; FROM_CALLER=x exec {} --root {} run -b {} {}",
        runtime.display(),
        root.display(),
        bundle.path(),
        bundle.id
    );
    t.cmd("/bin/sh", &["-c", &run]).ok();
    let texts = written(t, &bundle);
    assert_eq!(kinds_of(&texts), ALL);
    for (kind, text) in texts {
        let inside = kind == "startContainer";
        assert_eq!(text.lines().next(), Some(if inside { "0022" } else { "0027" }), "{kind}");
        assert_eq!(text.contains("FROM_IMAGE"), inside, "{kind}: {text}");
        let callers = !inside && kind != "createContainer";
        assert_eq!(text.contains("FROM_CALLER"), callers, "{kind}: {text}");
    }
}

fn poststart_finds_the_payload(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 runs it in create");
    let bundle = bundle_with(t, &["poststart"], "tr '\\0' ' ' < /proc/$pid/cmdline > FILE");
    bundle.edit(|c| c["process"]["args"] = json!(["sleep", "1000"]));
    let c = t.create(&bundle);
    c.start();
    assert_eq!(written(t, &bundle)["poststart"], "sleep 1000");
    c.remove();
}

fn poststop_finds_nothing(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "removes the cgroup afterwards");
    let bundle = t.bundle(|c| sh(c, IDLE));
    let file = t.dir.join("run/left").display().to_string();
    let script = format!("find /sys/fs/cgroup -name '{}' > {file}", bundle.id);
    bundle.edit(|c| c["hooks"]["poststop"] = hook(&script));
    let c = t.detach(&bundle);
    let pid = c.pid();
    c.remove();
    assert_eq!(fs::read_to_string(&file).expect("what it saw"), "", "a cgroup was left");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

/// A failing hook of a kind, and a poststop hook that leaves a file.
fn failing(t: &Trial, kind: &str) -> Bundle {
    let bundle = bundle_with(t, &["poststop"], "echo ran > FILE");
    bundle.edit(|c| {
        c["hooks"][kind] = json!([{"path": "/bin/false"}]);
        sh(c, "echo ran > /tmp/payload; sleep 1000");
    });
    bundle
}

fn failure_ends_create(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "has words of its own");
    for kind in CREATING {
        let bundle = failing(t, kind);
        let out = t.rt(&["create", "-b", bundle.path(), &bundle.id]).run().exits(1);
        if t.is_richrun() {
            let words = format!("error running {kind} hook #0: exit status 1");
            assert!(out.err.contains(&words), "{kind}: {}", out.err);
        }
        t.rt(&["state", &bundle.id]).run().fails();
        assert_eq!(kinds_of(&written(t, &bundle)), ["poststop"], "{kind}: poststop runs");
        t.finish();
        fs::remove_file(file_inside(t, "poststop")).expect("remove");
    }
}

fn failure_ends_start(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 goes on after a failed poststart");
    for kind in ["startContainer", "poststart"] {
        let bundle = failing(t, kind);
        let c = t.create(&bundle);
        let out = c.verb("start", &[]).run().exits(1);
        let words = format!("error running {kind} hook #0: exit status 1");
        assert!(out.err.contains(&words), "{kind}: {}", out.err);
        let ran = bundle.rootfs().join("tmp/payload").exists();
        assert!(kind == "poststart" || !ran, "{kind}: the payload ran");
        match kind {
            // Stopped and destroyed (runtime.md, "Lifecycle", step 9).
            "poststart" => c.verb("state", &[]).run().fails().says("does not exist"),
            _ => c.verb("delete", &[]).ok(),
        };
        assert_eq!(kinds_of(&written(t, &bundle)), ["poststop"], "{kind}");
        fs::remove_file(file_inside(t, "poststop")).expect("remove");
    }
}

/// The whole way: an error, the container stopped and destroyed, poststop run.
fn failure_ends_run(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 goes on after a failed poststart");
    for kind in &ALL[..5] {
        let bundle = failing(t, kind);
        let out = t.run(&bundle).exits(1);
        let words = format!("error running {kind} hook #0: exit status 1");
        assert!(out.err.contains(&words), "{kind}: {}", out.err);
        let ran = bundle.rootfs().join("tmp/payload").exists();
        assert!(*kind == "poststart" || !ran, "{kind}: the payload ran");
        t.rt(&["state", &bundle.id]).run().fails();
        assert_eq!(kinds_of(&written(t, &bundle)), ["poststop"], "{kind}");
        t.finish();
        fs::remove_file(file_inside(t, "poststop")).expect("remove");
    }
}
