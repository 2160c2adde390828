use super::*;
use crate::config::rich::InitScript;
use crate::config::trust::{Origin, Rights};

fn payload() -> ProcessPlan {
    let text = r#"{"cwd":"/w","user":{"uid":5,"gid":6,"additionalGids":[7],"umask":63},
        "args":["x"],"env":["A=1"],"noNewPrivileges":true,"oomScoreAdj":9,
        "rlimits":[{"type":"RLIMIT_NOFILE","soft":10,"hard":20}],
        "scheduler":{"policy":"SCHED_IDLE"},
        "capabilities":{"bounding":["CAP_KILL","CAP_CHOWN"],"ambient":["CAP_KILL"],
            "inheritable":["CAP_KILL"],"permitted":["CAP_KILL"],"effective":[]}}"#;
    ProcessPlan::new(&serde_json::from_str(text).unwrap()).unwrap()
}

fn script(as_root: bool) -> ProcessPlan {
    let what = InitScript::Command("echo hi".to_owned());
    script_process(&Script { what, as_root }, &payload()).unwrap()
}

#[test]
fn a_script_is_the_payload_in_every_respect() {
    let plan = script(false);
    assert_eq!(plan.args, [c"/bin/sh", c"-c", c"echo hi"].map(std::ffi::CStr::to_owned));
    let user = UserPlan { umask: Some(0o022), ..payload().user };
    let payload = ProcessPlan { args: plan.args.clone(), cwd: "/".into(), user, ..payload() };
    assert_eq!(plan, payload);
}

#[test]
fn an_administrators_script_is_the_containers_root_and_no_more() {
    let plan = script(true);
    assert_eq!((plan.user.uid, plan.user.groups.len(), plan.cwd.to_str()), (0, 0, Some("/")));
    assert!(plan.no_new_privs && plan.env == ["A=1"] && plan.rlimits.len() == 1);
    let caps = plan.caps;
    assert_eq!(caps.effective, caps.bounding);
    assert!(caps.ambient.is_empty() && caps.effective.len() == 2);
}

#[test]
fn places_are_as_writable_as_the_deepest_mount_above_them() {
    let text = r#"{"ociVersion":"1.0.0","root":{"path":"r","readonly":true},"mounts":[
        {"destination":"/var","type":"tmpfs"},{"destination":"/run","type":"tmpfs","options":["ro","rw"]},
        {"destination":"/var/log","type":"bind","source":"/l","options":["rbind","rro"]}]}"#;
    let spec: Spec = serde_json::from_str(text).unwrap();
    for (place, writable) in [
        ("/tmp", false),
        ("/var/tmp", true),
        ("/var/log/journal", false),
        ("/run/lock", true),
        ("/runner", false),
    ] {
        assert_eq!(is_writable(&spec, Path::new(place)), writable, "{place}");
    }
}

#[test]
fn only_whom_a_word_of_trust_would_help_is_told_of_it() {
    let lacks = [Lack { what: "user 0".to_owned(), right: Some(Right::Root) }, Lack::of("x")];
    let rich = |asked_by| RichConfig {
        mode: crate::config::rich::RichMode::Systemd,
        asked_by,
        granted: Rights::default(),
        scripts: Vec::new(),
        init_timeout: 0,
        environment_file: false,
        stop_signal: None,
    };
    assert_eq!(refusal(&lacks, &rich(Origin::File)), "user 0, x");
    let told = refusal(&lacks, &rich(Origin::Command));
    assert!(told.ends_with("trust = [\"command:root\"]"), "{told}");
    assert_eq!(refusal(&lacks[1..], &rich(Origin::Command)), "x");
}
