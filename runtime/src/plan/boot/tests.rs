use super::*;
use crate::config::rich::Request;
use crate::config::trust::Origin;

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
    asked_by(Origin::CommandLine)
}

fn asked_by(origin: Origin) -> RichConfig {
    let request =
        Request { rich: Some(true), mode: Some("systemd".to_owned()), ..Request::default() };
    RichConfig::resolve(vec![(origin, request)], &[], 0).unwrap().unwrap()
}

fn found(family: Family) -> FoundInit {
    FoundInit { path: "/sbin/init".into(), family, inittab: None, version: None }
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
    assert_eq!(
        process.args().as_deref().unwrap(),
        ["/sbin/init", "--show-status=no", "--unit=richrun.target"]
    );
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

/// A configuration whose payload has all that systemd needs.
fn given(edit: impl FnOnce(&mut serde_json::Value)) -> Spec {
    spec(|v| {
        v["process"]["user"] = serde_json::json!({"uid": 0, "gid": 0});
        let caps = v["process"]["capabilities"]["bounding"].clone();
        v["process"]["capabilities"]["permitted"] = caps;
        v["mounts"][2]["options"] = serde_json::json!(["rw"]);
        edit(v);
    })
}

/// What the error of a request by annotation names; none: it boots.
fn refused(spec: &Spec, family: Family, mode: Mode) -> Option<String> {
    let rich = asked_by(Origin::Annotations);
    let booted = boot(spec, &rich, &found(family), "web", mode, &BootHost::default());
    let text = booted.err().map(|error| error.to_string());
    text.map(|text| text.split_once("missing ").unwrap().1.to_owned())
}

#[test]
fn an_image_that_asks_gets_what_its_payload_has() {
    assert_eq!(refused(&given(|_| {}), Family::Systemd, Mode::V2), None);
    let who = " asked for by an annotation, it gets no more than the payload: give that to the \
               container itself (--privileged, user 0), or in [rich] of \
               /etc/richrun/config.toml: trust = ";
    type Edit = fn(&mut serde_json::Value);
    let rows: [(Edit, &str, &str); 6] = [
        (
            |v| v["process"]["user"]["uid"] = 1000.into(),
            "user 0 (process.user.uid is 1000);",
            "[\"annotations:root\"]",
        ),
        (
            |v| v["process"]["user"]["gid"] = 5.into(),
            "group 0 (process.user.gid is 5);",
            "[\"annotations:root\"]",
        ),
        (
            |v| v["mounts"][2]["options"] = serde_json::json!(["rw", "ro"]),
            "control groups that can be written to (mounts: /sys/fs/cgroup);",
            "[\"annotations:cgroups\"]",
        ),
        (
            |v| v["linux"]["readonlyPaths"] = serde_json::json!(["/sys/fs"]),
            "control groups that can be written to (mounts: /sys/fs/cgroup);",
            "[\"annotations:cgroups\"]",
        ),
        (
            |v| v["root"]["readonly"] = true.into(),
            "a /run that can be written to (mounts, root.readonly);",
            "[\"annotations:mounts\"]",
        ),
        (
            |v| {
                v["process"]["noNewPrivileges"] = true.into();
                v["process"]["capabilities"]["permitted"] = serde_json::json!(["CAP_KILL"]);
            },
            "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETGID CAP_SETUID \
             (process.capabilities.permitted);",
            "[\"annotations:root\"]",
        ),
    ];
    for (edit, what, words) in rows {
        let poor = given(edit);
        assert_eq!(refused(&poor, Family::Systemd, Mode::V2), Some(format!("{what}{who}{words}")));
        assert!(booted(&poor, Family::Systemd, Mode::V2).is_ok(), "the administrator: {what}");
    }
    // What nobody could give is no matter of trust.
    let bound = given(|v| v["process"]["capabilities"]["bounding"] = serde_json::json!([]));
    let told = refused(&bound, Family::SysV, Mode::V2).unwrap();
    assert!(told.ends_with("CAP_SETUID (process.capabilities.bounding)"), "{told}");
    // Groups of its own are systemd's need only.
    let read_only = given(|v| v["mounts"][2]["options"] = serde_json::json!(["ro"]));
    assert_eq!(refused(&read_only, Family::Busybox, Mode::V2), None);
    // On v1 an engine may mount the one hierarchy apart.
    assert!(refused(&read_only, Family::Systemd, Mode::Hybrid).is_some());
    let apart = given(|v| {
        v["mounts"][2]["options"] = serde_json::json!(["ro"]);
        v["mounts"].as_array_mut().unwrap().push(serde_json::json!(
            {"destination": "/sys/fs/cgroup/systemd", "type": "bind", "source": "/s", "options": ["rbind", "rw"]}));
    });
    assert_eq!(refused(&apart, Family::Systemd, Mode::Hybrid), None);
    assert!(refused(&apart, Family::Systemd, Mode::V2).is_some());
    // Groups of others than a user namespace's own are mounted read-only.
    let foreign = given(|v| {
        v["linux"]["namespaces"] =
            serde_json::json!([{"type": "pid"}, {"type": "mount"}, {"type": "user"}]);
        let map = serde_json::json!([{"containerID": 0, "hostID": 9, "size": 1}]);
        (v["linux"]["uidMappings"], v["linux"]["gidMappings"]) = (map.clone(), map);
    });
    assert!(refused(&foreign, Family::Systemd, Mode::V2).unwrap().starts_with("control groups"));
}

#[test]
fn an_init_that_an_image_asks_for_is_the_payload() {
    let poor = given(|v| {
        v["process"]["user"]["additionalGids"] = serde_json::json!([7]);
        v["process"]["capabilities"]["effective"] = serde_json::json!(["CAP_KILL"]);
        v["process"]["noNewPrivileges"] = true.into();
        v["root"]["readonly"] = true.into();
        let run = serde_json::json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"});
        v["mounts"].as_array_mut().unwrap().insert(3, run);
    });
    let rich = asked_by(Origin::Environment);
    let init = found(Family::Systemd);
    let (changed, _) = boot(&poor, &rich, &init, "web", Mode::V2, &BootHost::default()).unwrap();
    let process = changed.process().as_ref().unwrap();
    assert_eq!(process.user().additional_gids().as_deref(), Some(&[7][..]));
    assert_eq!(process.no_new_privileges(), Some(true));
    assert_eq!(process.rlimits().as_ref().map(Vec::len), Some(1));
    assert_eq!(process.oom_score_adj(), Some(5));
    let sets = process.capabilities().as_ref().unwrap();
    assert_eq!(sets.effective().as_ref().map(|set| set.len()), Some(1));
    assert_eq!(sets.permitted().as_ref().map(|set| set.len()), Some(6), "all but the audit");
    let places: Vec<_> = changed.mounts().iter().flatten().map(|m| m.destination()).collect();
    assert!(places.contains(&&PathBuf::from("/run/lock")));
    assert!(!places.contains(&&PathBuf::from("/var/log/journal")), "in a read-only root");
}

#[test]
fn an_old_systemd_is_asked_to_end_by_its_own_command() {
    let unit_of = |version| {
        let init = FoundInit { version, ..found(Family::Systemd) };
        let host = BootHost::default();
        let (_, plan) = boot(&spec(|_| {}), &rich(), &init, "web", Mode::V2, &host).unwrap();
        let unit = plan.files.iter().find(|file| file.path.ends_with(UNIT)).unwrap().clone();
        let BootWhat::Text(text) = unit.what else { panic!() };
        text
    };
    let asks = "\nExecStopPost=/bin/sh -c 'exec systemctl --no-block exit \"$EXIT_STATUS\"'\n";
    for (version, old) in [(Some(237), true), (Some(239), true), (Some(240), false), (None, false)]
    {
        assert_eq!(unit_of(version).contains(asks), old, "{version:?}");
    }
}

#[test]
fn a_systemd_that_is_known_not_to_work_is_refused() {
    let refused = |version, mode| {
        let init = FoundInit { version: Some(version), ..found(Family::Systemd) };
        let host = BootHost::default();
        boot(&spec(|_| {}), &rich(), &init, "web", mode, &host).err().map(|e| e.to_string())
    };
    assert!(refused(229, Mode::V2).unwrap().ends_with("systemd 232 or later (the image has 229)"));
    let told = refused(262, Mode::Hybrid).unwrap();
    assert!(told.contains("cgroup v2 (systemd 262 of the image no longer runs"), "{told}");
    for (version, mode) in [(262, Mode::V2), (257, Mode::V1), (232, Mode::V2)] {
        assert_eq!(refused(version, mode), None, "{version}");
    }
}
