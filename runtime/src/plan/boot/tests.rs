use super::*;
use crate::config::rich::{Origin, Request};

fn spec(edit: impl FnOnce(&mut serde_json::Value)) -> Spec {
    let text = r#"{"ociVersion":"1.3.0","root":{"path":"rootfs"},
        "process":{"cwd":"/w","user":{"uid":1000,"gid":5,"additionalGids":[7]},
          "args":["cat","$x %b"],"env":["A=1","LANG=C"],"oomScoreAdj":5,
          "rlimits":[{"type":"RLIMIT_NOFILE","soft":10,"hard":20}],
          "capabilities":{"bounding":["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_KILL",
            "CAP_SETGID","CAP_SETUID","CAP_AUDIT_WRITE"],"effective":["CAP_KILL"]}},
        "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
          {"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","rw"]},
          {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro"]},
          {"destination":"/run/secrets","type":"bind","source":"/s"},
          {"destination":"/tmp","type":"tmpfs","source":"tmpfs"}],
        "linux":{"namespaces":[{"type":"pid"},{"type":"mount"}]}}"#;
    let mut value = serde_json::from_str(text).unwrap();
    edit(&mut value);
    serde_json::from_value(value).unwrap()
}

fn rich() -> RichConfig {
    let request =
        Request { rich: Some(true), mode: Some("systemd".to_owned()), ..Request::default() };
    RichConfig::resolve(vec![(Origin::CommandLine, request)], &[]).unwrap().unwrap()
}

fn found(family: Family) -> FoundInit {
    FoundInit { path: "/sbin/init".into(), family, inittab: None }
}

fn booted(spec: &Spec, family: Family, mode: Mode) -> Result<(Spec, BootPlan)> {
    boot(spec, &rich(), &found(family), "web", mode, &BootHost::default())
}

fn options(spec: &Spec, place: &str) -> Vec<String> {
    let mounts = spec.mounts().as_deref().unwrap();
    let mount = mounts.iter().find(|mount| mount.destination() == Path::new(place)).unwrap();
    mount.options().clone().unwrap_or_default()
}

#[test]
fn mounts_are_added_where_nothing_is_and_in_the_right_place() {
    let (spec, _) = booted(&spec(|_| {}), Family::Systemd, Mode::V2).unwrap();
    let places: Vec<&str> =
        spec.mounts().iter().flatten().map(|m| m.destination().to_str().unwrap()).collect();
    let expected = [
        "/proc",
        "/sys",
        "/sys/fs/cgroup",
        "/run",
        "/run/secrets",
        "/tmp",
        "/run/lock",
        "/var/log/journal",
        "/run/richrun",
    ];
    assert_eq!(places, expected);
    assert!(!options(&spec, "/run").contains(&"noexec".to_owned()));
    assert!(options(&spec, "/tmp").is_empty());
    assert_eq!(options(&spec, "/sys"), ["nosuid", "ro"]);
}

#[test]
fn the_groups_are_writable_on_v2_only() {
    let (v2, _) = booted(&spec(|_| {}), Family::Systemd, Mode::V2).unwrap();
    assert_eq!(options(&v2, "/sys/fs/cgroup"), ["rw"]);
    let namespaces = v2.linux().as_ref().unwrap().namespaces().as_deref().unwrap();
    assert!(namespaces.iter().any(|ns| ns.typ() == Kind::Cgroup));
    let (v1, _) = booted(&spec(|_| {}), Family::Systemd, Mode::Hybrid).unwrap();
    assert_eq!(options(&v1, "/sys/fs/cgroup"), ["ro"]);
    let bare = spec(|v| drop(v["mounts"].as_array_mut().unwrap().remove(2)));
    let (made, _) = booted(&bare, Family::Systemd, Mode::V2).unwrap();
    assert!(options(&made, "/sys/fs/cgroup").contains(&"rw".to_owned()));
    let (none, _) = booted(&bare, Family::Busybox, Mode::V2).unwrap();
    let mounts = none.mounts().as_deref().unwrap();
    assert!(!mounts.iter().any(|mount| mount.destination().ends_with("cgroup")));
}

#[test]
fn the_init_is_root_and_the_payload_who_it_was() {
    let (spec, plan) = booted(&spec(|_| {}), Family::Systemd, Mode::V2).unwrap();
    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.args().as_deref().unwrap(), ["/sbin/init", "--show-status=no"]);
    assert_eq!((process.user().uid(), process.cwd().to_str()), (0, Some("/")));
    let env = process.env().as_deref().unwrap();
    assert!(env[0] == "container=richrun" && env[1].starts_with("container_uuid="));
    assert!(env.contains(&"LANG=C".to_owned()) && !env.contains(&"A=1".to_owned()));
    let sets = process.capabilities().as_ref().unwrap();
    assert_eq!(sets.effective(), sets.bounding());
    let effective = sets.effective().as_ref().unwrap();
    assert_eq!(effective.len(), 6, "all but the audit: {effective:?}");
    assert_eq!(plan.stop, 37);
    let payload = plan.payload.unwrap();
    let bytes = payload_file(&payload, &["A=1".to_owned()], Family::Systemd).bytes;
    let text = String::from_utf8(bytes).unwrap().replace('\0', "|");
    assert_eq!(text, "1|/w|1000|5|7||0|eb,20,0,0,0|/run/richrun/status|0|0|2|1|cat|$x %b|A=1|");
}

#[test]
fn the_unit_has_numbers_only_of_the_configuration() {
    let (_, plan) = booted(&spec(|_| {}), Family::Systemd, Mode::V2).unwrap();
    let find = |name: &str| {
        let file = plan.files.iter().find(|file| file.path.ends_with(name)).unwrap();
        file.what.clone()
    };
    let BootWhat::Text(unit) = find(UNIT) else { panic!() };
    assert!(unit.contains("\nOOMScoreAdjust=5\nLimitNOFILE=10:20\n"), "{unit}");
    for part in ["SuccessAction=exit", "FailureAction=exit", "Type=exec", "KillMode=mixed"] {
        assert!(unit.contains(part), "{part}");
    }
    assert!(!unit.contains('$') && !unit.contains("cat"));
    assert_eq!(find("console-getty.service"), BootWhat::Link("/dev/null".to_owned()));
    let wants = PathBuf::from("/run/systemd/system/default.target.wants").join(UNIT);
    assert!(plan.files.iter().any(|file| file.path == wants));
}

#[test]
fn a_command_that_is_an_init_is_the_init() {
    let own = spec(|v| v["process"]["args"] = serde_json::json!(["/sbin/init", "3"]));
    let (changed, plan) = booted(&own, Family::Systemd, Mode::V2).unwrap();
    let args = changed.process().as_ref().unwrap().args().clone().unwrap();
    assert_eq!(args, ["/sbin/init", "3", "--show-status=no"]);
    assert!(plan.payload.is_none());
    assert!(!plan.files.iter().any(|file| file.path.ends_with(UNIT)));
}

#[test]
fn what_is_missing_is_named() {
    let poor = spec(|v| {
        v["process"]["capabilities"]["bounding"] = serde_json::json!(["CAP_KILL"]);
        v["linux"] = serde_json::json!({"namespaces": [{"type": "mount"},
            {"type": "pid", "path": "/p"}, {"type": "user"}],
            "uidMappings": [{"containerID": 5, "hostID": 5, "size": 1}]});
    });
    let error = booted(&poor, Family::Systemd, Mode::None).unwrap_err().to_string();
    assert_eq!(
        error,
        "must using privileged mode when create systemd rich container: missing a new pid \
         namespace (linux.namespaces), user and group 0 in the user namespace \
         (linux.uidMappings), control groups, CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETGID \
         CAP_SETUID (process.capabilities.bounding)"
    );
}

#[test]
fn more_groups_than_the_payloads_file_has_room_for_are_refused() {
    let many = |count: u32| {
        spec(|v| v["process"]["user"]["additionalGids"] = (1..=count).collect::<Vec<_>>().into())
    };
    assert!(booted(&many(256), Family::Systemd, Mode::V2).is_ok());
    let error = booted(&many(257), Family::SysV, Mode::V2).unwrap_err().to_string();
    let what = "process.user.additionalGids: 257 groups, beside an init at most 256";
    assert_eq!(error, what);
}

#[test]
fn busyboxs_inittab_keeps_the_images_lines() {
    let own = "# comment\n::sysinit:/etc/rc\n::askfirst:-/bin/sh\n::restart:/sbin/init\n";
    let init = FoundInit { inittab: Some(own.to_owned()), ..found(Family::Busybox) };
    let host = BootHost::default();
    let (_, plan) = boot(&spec(|_| {}), &rich(), &init, "web", Mode::V2, &host).unwrap();
    let text = "::sysinit:/etc/rc\n\
                ::once:/run/richrun/rich-init --payload /run/richrun/payload\n\
                ::restart:/run/richrun/rich-init --exit-as /run/richrun/status\n";
    assert_eq!(plan.files[0].what, BootWhat::Text(text.to_owned()));
    assert_eq!(plan.stop, 3);
    let own = spec(|v| v["process"]["args"] = serde_json::json!(["/sbin/init"]));
    let (_, plan) = boot(&own, &rich(), &init, "web", Mode::V2, &host).unwrap();
    let text = "::sysinit:/etc/rc\n\
                ::askfirst:-/bin/sh\n\
                ::restart:/run/richrun/rich-init --exit-as /run/richrun/status\n";
    assert_eq!(plan.files[0].what, BootWhat::Text("0".to_owned()), "an init's own end");
    assert_eq!(plan.files[1].what, BootWhat::Text(text.to_owned()));
}

/// The text of a file of the plan, and what it covers.
fn covering(plan: &BootPlan, place: &str) -> (String, PathBuf) {
    let cover = plan.covers.iter().find(|cover| cover.place == Path::new(place)).unwrap();
    let file = plan.files.iter().find(|file| file.path == cover.source);
    let text = file.map(|file| match &file.what {
        BootWhat::Text(text) | BootWhat::Script(text) => text.clone(),
        other => panic!("{other:?}"),
    });
    (text.unwrap_or_default(), cover.source.clone())
}

#[test]
fn sysvs_inittab_keeps_what_can_work_here() {
    let own = "# comment\n\nid:3:initdefault:\nsi::sysinit:/etc/init.d/rcS\n\
               l0:0:wait:/etc/init.d/rc 0\n~~:S:wait:/sbin/sulogin --force\n\
               pf::powerwait:/etc/init.d/powerfail start\nca::ctrlaltdel:/sbin/shutdown -r\n\
               1:23:respawn:/sbin/getty 38400 tty1\nsv:23:respawn:/usr/bin/runsvdir a:b\n";
    let init = FoundInit { inittab: Some(own.to_owned()), ..found(Family::SysV) };
    let host = BootHost::default();
    let (changed, plan) = boot(&spec(|_| {}), &rich(), &init, "web", Mode::None, &host).unwrap();
    let (text, _) = covering(&plan, "/etc/inittab");
    let kept = "id:3:initdefault:\nsi::sysinit:/etc/init.d/rcS\nl0:0:wait:/etc/init.d/rc 0\n\
                sv:23:respawn:/usr/bin/runsvdir a:b\n";
    let ours = "rr01::ctrlaltdel:/sbin/init -t 3600 0\n\
                rr02::powerfail:/sbin/init -t 3600 0\n\
                rr03:12345:once:/run/richrun/rich-init --payload /run/richrun/payload\n\
                rr04:06:wait:/bin/sh -c \": >>/run/richrun/status; exec /sbin/init u\"\n";
    assert_eq!(text, format!("{kept}{ours}"));
    assert_eq!(plan.stop, 30);
    // The init is reached by another name, and at its own is the end.
    let process = changed.process().as_ref().unwrap();
    assert_eq!(process.args().as_deref().unwrap(), ["/run/richrun/init"]);
    assert!(process.rlimits().is_some(), "there are no units with limits of their own");
    assert_eq!(covering(&plan, "/run/richrun/init").1, Path::new("/sbin/init"));
    assert_eq!(covering(&plan, "/sbin/init").0, "#!/run/richrun/rich-init --stand-in\n");
    assert!(covering(&plan, "/etc/init.d/halt").0.ends_with("\nexit 0\n"));
}

#[test]
fn a_sysv_init_that_is_the_command_ends_with_zero() {
    let own = spec(|v| v["process"]["args"] = serde_json::json!(["/sbin/init", "3"]));
    let (changed, plan) = booted(&own, Family::SysV, Mode::V2).unwrap();
    let args = changed.process().as_ref().unwrap().args().clone().unwrap();
    assert_eq!(args, ["/run/richrun/init", "3"]);
    let (text, _) = covering(&plan, "/etc/inittab");
    assert!(text.starts_with("id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\nl0:0:wait:"));
    assert!(!text.contains("--payload") && text.contains("\"echo 0 >>/run/richrun/status; "));
}

#[test]
fn the_init_is_told_of_its_host_and_its_credentials() {
    let mut own = spec(|_| {});
    let process = own.process_mut().as_mut().unwrap();
    process.set_env(Some(vec!["CREDENTIALS_DIRECTORY=/run/host/credentials".to_owned()]));
    let release = "NAME=\"A B\"\nID=debian\nVERSION_ID=\"13\"\nVARIANT_ID=\n".to_owned();
    let host = BootHost { os_release: Some(release) };
    let init = found(Family::Systemd);
    let (changed, _) = boot(&own, &rich(), &init, "web", Mode::V2, &host).unwrap();
    let env = changed.process().as_ref().unwrap().env().clone().unwrap();
    let told = [
        "CREDENTIALS_DIRECTORY=/run/host/credentials",
        "container_host_id=debian",
        "container_host_version_id=13",
    ];
    assert_eq!(env[2..], told);
}

#[test]
fn machines_have_stable_ids() {
    let engine = "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_eq!(uuid(engine), "01234567-89ab-cdef-0123-456789abcdef");
    assert_eq!(uuid("web"), uuid("web"));
    assert_ne!(uuid("web"), uuid("wed"));
    assert_eq!(uuid("web").len(), 36);
}
