//! What a container's life looks like from outside.

use richrun_tests::bundle::{caps, sh, user_namespace};
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{ALL, BOTH, ONE};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite.compare(BOTH, "state_document", state_document);
    suite.compare(BOTH, "list_document", list_document);
    suite.compare(ALL, "life", life);
    suite.compare(BOTH, "exec_status", exec_status);
    suite.compare(ONE, "the_machines_null_device", the_machines_null_device);
}

/// The commands that the trials of this module use.
fn all_commands(t: &Trial) {
    for verb in ["create", "start", "state", "kill", "delete", "exec", "list"] {
        super::needs(t, verb);
    }
}

fn keys(document: &Value) -> Vec<&str> {
    let mut keys: Vec<_> =
        document.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Whatever a runtime does with its streams, the machine's own devices stay as they are.
fn the_machines_null_device(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "true");
        user_namespace(c);
    });
    // The machine's, whatever is mounted over it here.
    let devices = t.dir.join("devices");
    std::fs::create_dir(&devices).expect("make a directory");
    let kind = Some("devtmpfs");
    nix::mount::mount(kind, &devices, kind, nix::mount::MsFlags::empty(), None::<&str>)
        .expect("mount a devtmpfs");
    let owner = || {
        use std::os::unix::fs::MetadataExt;
        let null = std::fs::metadata(devices.join("null")).expect("a null device");
        (null.uid(), null.gid(), null.mode())
    };
    let before = owner();
    t.run(&bundle);
    let after = owner();
    if before != after {
        // Not for whoever comes next.
        let _ours = std::os::unix::fs::chown(devices.join("null"), Some(before.0), Some(before.1));
    }
    nix::mount::umount(&devices).expect("unmount the devtmpfs");
    assert_eq!(after, before);
}

/// The keys of `state` and those of its values that the configuration decides.
fn state_document(t: &Trial) {
    all_commands(t);
    let bundle = t.bundle(|c| {
        sh(c, IDLE);
        c["annotations"] = json!({"org.example.key": "value"});
    });
    let container = t.create(&bundle);
    let state = container.state();
    // crun keeps two more for itself.
    let mut found = keys(&state);
    found.retain(|key| t.kind() != Kind::Crun || !["owner", "systemd-scope"].contains(key));
    let mut wanted = vec![
        "annotations",
        "bundle",
        "created",
        "id",
        "ociVersion",
        "owner",
        "pid",
        "rootfs",
        "status",
    ];
    wanted.retain(|key| t.kind() != Kind::Crun || *key != "owner");
    assert_eq!(found, wanted);
    assert_eq!(state["id"], json!(container.id));
    assert_eq!(state["bundle"], json!(bundle.path()));
    match t.kind() {
        Kind::Crun => assert_eq!(state["rootfs"], "rootfs", "as the configuration has it"),
        _ => assert_eq!(state["rootfs"], json!(bundle.rootfs())),
    }
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert_eq!(state["status"], "created");
    assert!(state["pid"].as_i64().is_some_and(|pid| pid > 1), "{state}");
    let created = state["created"].as_str().expect("a time");
    assert!(created.len() >= 20 && created.ends_with('Z') && created.contains('T'), "{created}");
    container.remove();
}

/// The keys of `list --format json`.
fn list_document(t: &Trial) {
    all_commands(t);
    let empty = t.rt(&["list", "--format", "json"]).ok().json();
    assert!(empty.is_null() || empty == json!([]), "{empty}");
    let container = t.idle();
    let list = t.rt(&["list", "--format", "json"]).ok().json();
    let [entry] = list.as_array().expect("an array").as_slice() else { panic!("{list}") };
    for key in ["id", "pid", "status", "bundle", "created", "owner"] {
        assert!(entry.get(key).is_some(), "{key} in {entry}");
    }
    assert_eq!(entry["status"], "running");
    let quiet = t.rt(&["list", "-q"]).ok();
    quiet.prints(&container.id);
    container.remove();
}

/// From created over running to stopped and gone.
fn life(t: &Trial) {
    all_commands(t);
    let bundle = t.bundle(|c| sh(c, IDLE));
    let container = t.create(&bundle);
    assert_eq!(container.status(), "created");
    container.start();
    assert_eq!(container.status(), "running");
    // A first process without a handler does not notice the signal.
    // Its name first: before it is the shell's, the handlers are the runtime's own.
    wait_until("the trap", || {
        let is_shell = container.proc_file("comm").trim() == "sh";
        let status = container.proc_file("status");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap_or("0");
        is_shell && u64::from_str_radix(mask, 16).is_ok_and(|bits| bits & 0x4000 != 0)
    });
    container.kill("TERM");
    container.wait("stopped");
    let state = container.state();
    let pid = state.get("pid").and_then(Value::as_i64).unwrap_or(0);
    assert_eq!(pid, 0, "{state}");
    container.verb("delete", &[]).ok();
    let gone = if t.kind() == Kind::Crun { "No such file or directory" } else { "does not exist" };
    container.verb("state", &[]).run().fails().says(gone);
}

/// What `exec` prints and returns.
fn exec_status(t: &Trial) {
    all_commands(t);
    // Without ambient capabilities, which runtimes may warn of on standard error.
    let container = t.idle_with(|c| caps(c, &["CAP_KILL"]));
    let out = container.exec("echo out; echo err >&2; exit 5").exits(5);
    assert_eq!((out.out.as_str(), out.err.as_str()), ("out\n", "err\n"));
    container.exec("kill -KILL $$").exits(137);
    // crun has no PATH then.
    let words = ["/bin/sh", "-c", "echo $A; pwd"];
    let out = container.exec_cmd(&["--env", "A=b", "--cwd", "/tmp"], &words);
    out.ok().prints("b\n/tmp");
    container.remove();
}
