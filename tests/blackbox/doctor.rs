//! `doctor`: what the host can do, and what to paste.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use richrun_tests::suite::BOTH;
use richrun_tests::{Kind, Suite, Trial};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "this_host_can_run_containers", this_host_can_run_containers)
        .on(BOTH, "engines_and_what_to_paste", engines_and_what_to_paste)
        .on(BOTH, "a_state_directory_that_is_none", a_state_directory_that_is_none);
}

const WHY: &str = "has no such command";

fn this_host_can_run_containers(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    t.rt(&["doctor"]).ok().shows("good  kernel").shows("cgroups").shows("user namespaces");
    let document = t.rt(&["doctor", "--format", "json"]).ok().json();
    assert_eq!(document["canRun"], true, "{document}");
    let features = document["kernel"]["features"].as_array().expect("a list");
    let calls = features.iter().find(|row| row["name"] == "pidfd_getfd").expect("a row");
    assert_eq!(calls["present"], true, "{calls}");
    assert!(features.len() > 40, "{}", features.len());
}

fn engines_and_what_to_paste(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let home = t.bundle(|_| ()).dir;
    let bin = home.join("bin");
    let settings = home.join(".config/containers/containers.conf.d");
    fs::create_dir_all(&bin).expect("make bin");
    fs::create_dir_all(&settings).expect("make settings");
    let podman = bin.join("podman");
    fs::write(&podman, "#!/bin/sh\n").expect("write");
    fs::set_permissions(&podman, fs::Permissions::from_mode(0o755)).expect("chmod");
    let doctor = || {
        let [path, home] = [&bin, &home].map(|path| path.to_str().expect("utf-8"));
        t.rt(&["doctor"]).env("PATH", path).env("HOME", home).ok()
    };
    // Pasted as it is printed, it is known.
    let out = doctor().shows("podman: does not know richrun; write ");
    let lines = out.out.lines().skip_while(|line| !line.contains("50-richrun.conf")).skip(1);
    let text: String = lines
        .take_while(|line| line.is_empty() || line.starts_with("        "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let named = t.runtime_path();
    assert!(text.contains(named.to_str().expect("utf-8")), "{text}");
    fs::write(
        settings.join("50-richrun.conf"),
        text.replace(named.to_str().expect("utf-8"), "/x/richrun"),
    )
    .expect("write");
    doctor().shows("podman: knows richrun (");
}

fn a_state_directory_that_is_none(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|_| ());
    let file = bundle.dir.join("config.json");
    let path = t.runtime_path();
    let root = file.to_str().expect("utf-8");
    let out = t.cmd(path.to_str().expect("utf-8"), &["--root", root, "doctor"]).run().exits(1);
    out.says("containers cannot run here: 1 finding is bad").shows("not a directory");
}
