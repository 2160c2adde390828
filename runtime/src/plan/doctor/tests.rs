use super::*;
use crate::plan::kernel::FEATURES;

/// A host where all is well, as root sees it.
fn good() -> Facts {
    Facts {
        program: "/opt/richrun".into(),
        uid: 0,
        unprivileged: false,
        release: "6.12.0".into(),
        absent: Vec::new(),
        mode: Mode::V2,
        controllers: CONTROLLERS.map(str::to_owned).to_vec(),
        no_group: None,
        systemd: true,
        user_namespaces: UserNamespaces::default(),
        subordinate: None,
        modules: vec!["apparmor".into()],
        seccomp: true,
        state: ("/run/richrun".into(), None),
        engines: Vec::new(),
    }
}

/// The findings that are not good: level and text, with what to do.
fn told(facts: &Facts) -> Vec<(Level, String, String)> {
    let wrong = findings(facts).into_iter().filter(|finding| finding.level != Level::Good);
    wrong.map(|f| (f.level, f.what, f.way_out.unwrap_or_default())).collect()
}

fn one(facts: &Facts, level: Level, what: &str, way_out: &str) {
    let found = told(facts);
    let [(is, text, way)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*is, level, "{text}");
    assert!(text.contains(what), "{text}");
    assert!(way.contains(way_out) && way.is_empty() == way_out.is_empty(), "{way}");
}

#[test]
fn a_good_host_has_only_good_findings() {
    assert_eq!(told(&good()), []);
    assert!(findings(&good()).len() >= 6);
}

#[test]
fn an_old_kernel_cannot_run_containers() {
    let facts = Facts { release: "4.19.0-27".into(), ..good() };
    one(&facts, Level::Bad, "older than 5.4", "newer kernel");
}

#[test]
fn what_the_kernel_lacks_is_named_with_what_happens_instead() {
    let feature = FEATURES.iter().find(|f| f.name == "`mount_setattr`").unwrap();
    let facts = Facts { absent: vec![(feature, true)], ..good() };
    one(&facts, Level::Note, "mount_setattr is absent: since Linux 5.12", "");
    let facts = Facts { absent: vec![(feature, false)], ..good() };
    one(&facts, Level::Note, "absent (by the release)", "");
}

#[test]
fn groups_that_cannot_be_limited_are_a_note_with_a_way_out() {
    one(&Facts { mode: Mode::None, ..good() }, Level::Note, "no control groups", "disabled");
    let few = Facts { controllers: vec!["memory".into(), "pids".into()], ..good() };
    one(&few, Level::Note, "no controller cpu cpuset io:", "");
    let user = Facts { unprivileged: true, uid: 1000, ..few };
    one(&user, Level::Note, "no controller cpu cpuset io:", "Delegate=cpu cpuset io memory pids");
    let closed = Facts { no_group: Some("permission denied".into()), ..user };
    one(&closed, Level::Note, "no group can be made: permission denied", "systemd-run --user");
}

#[test]
fn user_namespaces_matter_to_ordinary_users() {
    let refused = UserNamespaces {
        refused: Some("operation not permitted".into()),
        restricted: true,
        ..UserNamespaces::default()
    };
    let facts = Facts { user_namespaces: refused, ..good() };
    let way = "sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    one(&facts, Level::Note, "cannot be made: operation not permitted", way);
    one(&Facts { unprivileged: true, ..facts }, Level::Bad, "cannot be made", way);
}

#[test]
fn subordinate_ids_need_lines_and_programs() {
    let found = Subordinate { user: "ann".into(), ids: [65536; 2], helpers: [Helper::Works; 2] };
    let with = |found| Facts { subordinate: Some(found), ..good() };
    assert_eq!(told(&with(found.clone())), []);
    let none = Subordinate { ids: [65536, 0], ..found.clone() };
    one(&with(none), Level::Note, "ann has none", "usermod --add-subuids 100000-165535");
    let absent = Subordinate { helpers: [Helper::Works, Helper::Absent], ..found.clone() };
    one(&with(absent), Level::Note, "newgidmap is not installed", "uidmap");
    let weak = Subordinate { helpers: [Helper::Powerless, Helper::Works], ..found };
    one(&with(weak), Level::Note, "newuidmap has no right", "chmod u+s $(command -v newuidmap)");
}

#[test]
fn an_engine_is_given_the_lines_for_this_very_program() {
    let podman = Engine {
        name: "podman",
        program: "/usr/bin/podman".into(),
        known_in: None,
        file: "/etc/x.conf",
        snippet: "richrun = [\"/usr/local/bin/richrun\"]",
    };
    let facts = Facts { engines: vec![podman.clone()], ..good() };
    one(&facts, Level::Note, "write /etc/x.conf", "richrun = [\"/opt/richrun\"]");
    let knows = Engine { known_in: Some("/etc/x.conf".into()), ..podman };
    assert_eq!(told(&Facts { engines: vec![knows], ..good() }), []);
}

#[test]
fn a_state_directory_that_cannot_be_used_is_bad() {
    let facts = Facts { state: ("/run/x".into(), Some("belongs to user 7".into())), ..good() };
    one(&facts, Level::Bad, "/run/x: belongs to user 7", "--root");
}
