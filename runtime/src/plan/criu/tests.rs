use super::wire::{Value, fields};
use super::*;
use crate::config::Config;
use crate::plan::cgroup::Layout;
use crate::plan::{Asked, Host, Plan};

/// A plan without mounts.
pub(super) fn plan() -> Plan {
    let text =
        br#"{"ociVersion":"1.0.0","root":{"path":"r"},"linux":{"namespaces":[{"type":"mount"}]},
        "process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0}}}"#;
    let config = Config::of_bytes("/b".into(), text.to_vec()).unwrap();
    let host =
        Host { cgroups: Layout::none(), uid: 0, gid: 0, unprivileged: false, administers: true };
    Plan::new(&config, Asked { id: "c".into(), ..Asked::default() }, &host).unwrap()
}

fn request(act: Act, options: &Options) -> Request<'_> {
    Request {
        act,
        options,
        images: 7,
        work: None,
        root: "/r".into(),
        pid: None,
        freezer: None,
        external: vec!["net[5]:extRootNetNS".into()],
        inherited: Vec::new(),
        joined: Vec::new(),
        groups: Vec::new(),
        config: None,
    }
}

/// The options of an encoded request.
fn opts(bytes: &[u8]) -> Vec<(u32, Value<'_>)> {
    let all = fields(bytes).unwrap();
    let Some((2, Value::Bytes(opts))) = all.get(1) else { panic!("{all:?}") };
    fields(opts).unwrap()
}

fn has(bytes: &[u8], field: u32, value: Value<'_>) -> bool {
    opts(bytes).contains(&(field, value))
}

#[test]
fn every_option_has_its_field() {
    let on = Value::Number(1);
    let flag = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        options
    };
    type Row = (u32, fn(&mut Options));
    let rows: [Row; 10] = [
        (3, |o| o.leave_running = true),
        (4, |o| o.ext_unix_sk = true),
        (5, |o| o.tcp_established = true),
        (7, |o| o.shell_job = true),
        (8, |o| o.file_locks = true),
        (15, |o| o.parent = Some("../one".into())),
        (16, |o| o.auto_dedup = true),
        (18, |o| o.link_remap = true),
        (46, |o| o.tcp_skip_in_flight = true),
        (48, |o| o.lazy_pages = true),
    ];
    for (field, change) in rows {
        let options = flag(change);
        assert!(has(&request(Act::Dump, &options).encoded(), field, on), "{field}");
        let plain = Options::default();
        assert!(!has(&request(Act::Dump, &plain).encoded(), field, on), "{field}");
    }
    let options = Options {
        empty_network: true,
        cgroups: CgroupMode::Ignore,
        page_server: Some(("10.0.0.1".into(), 27)),
        lsm_profile: Some("apparmor:x".into()),
        lsm_mount_context: Some("c".into()),
        ..Options::default()
    };
    let bytes = request(Act::Restore, &options).encoded();
    assert!(has(&bytes, 38, Value::Number(0x4000_0000)));
    assert!(has(&bytes, 34, Value::Number(0)));
    assert!(has(&bytes, 53, Value::Bytes(b"apparmor:x")));
    assert!(has(&bytes, 63, Value::Bytes(b"c")));
    assert!(has(&bytes, 11, Value::Bytes(b"\x0a\x0810.0.0.1\x10\x1b")));
}

#[test]
fn a_dump_and_a_restore_differ() {
    let options = Options::default();
    let dump = Request { pid: Some(9), ..request(Act::Dump, &options) }.encoded();
    let restore = Request {
        inherited: vec![("pipe:[3]".into(), 4)],
        joined: vec![JoinNs { kind: "ipc", file: "/f".into() }],
        groups: vec![("cpu".into(), "/c".into())],
        ..request(Act::Restore, &options)
    }
    .encoded();
    assert_eq!(fields(&dump).unwrap()[0], (1, Value::Number(1)));
    assert_eq!(fields(&restore).unwrap()[0], (1, Value::Number(2)));
    assert!(has(&dump, 2, Value::Number(9)) && has(&dump, 10, Value::Bytes(b"dump.log")));
    // The restored process is a sibling: the runtime's own child.
    assert!(has(&restore, 26, Value::Number(1)) && !has(&dump, 26, Value::Number(1)));
    assert!(has(&restore, 27, Value::Bytes(b"\x0a\x08pipe:[3]\x10\x04")));
    assert!(has(&restore, 39, Value::Bytes(b"\x0a\x03ipc\x12\x02/f")));
    assert!(has(&restore, 25, Value::Bytes(b"\x0a\x03cpu\x12\x02/c")));
    assert!(has(&restore, 37, Value::Bytes(b"net[5]:extRootNetNS")));
    assert!(has(&request(Act::PreDump, &options).encoded(), 15, Value::Number(1)));
}

#[test]
fn answers_are_read() {
    let notify = b"\x08\x06\x10\x01\x2a\x0e\x0a\x0apost-dump!\x10\x07";
    let told = Answer::Notify { script: "post-dump!".into(), pid: Some(7) };
    assert_eq!(answer(notify).unwrap(), told);
    assert_eq!(answer(b"\x08\x02\x10\x01\x22\x02\x08\x2a").unwrap(), Answer::Done(Some(42)));
    assert_eq!(answer(b"\x08\x01\x10\x01").unwrap(), Answer::Done(None));
    assert_eq!(answer(b"\x08\x09\x10\x01\x42\x02\x10\x01").unwrap(), Answer::Features(false, true));
    let failed = Answer::Failed { kind: "DUMP", errno: 3, text: "why".into() };
    assert_eq!(answer(b"\x08\x01\x10\x00\x38\x03\x4a\x03why").unwrap(), failed);
    assert!(answer(b"\x08").is_err());
}

#[test]
fn the_reason_is_the_last_that_says_something() {
    let log = "(0.1) Error (criu/util.c:15): rlimit: Can't setup RLIMIT_NOFILE for self\n\
        (0.2) Error (criu/files-reg.c:17): Can't lookup mount=24 for fd=0 path=/x\n\
        (0.2) Error (criu/cr-dump.c:15): Dump files (pid: 9) failed with -1\n(0.3) Unlock\n\
        (0.4) Error (criu/cr-dump.c:19): Dumping FAILED.\n\
        (0.5) Error (criu/cgroup.c:20): cg: cgroupd: recv req error\n";
    assert_eq!(
        reason(log),
        Some("Error (criu/files-reg.c:17): Can't lookup mount=24 for fd=0 path=/x")
    );
    assert_eq!(
        reason("(0.4) Error (criu/cr-dump.c:19): Dumping FAILED."),
        Some("Error (criu/cr-dump.c:19): Dumping FAILED.")
    );
    assert_eq!(reason("all is well"), None);
}

#[test]
fn a_configuration_of_criu_is_the_administrators_to_allow() {
    let spec = |json: serde_json::Value| -> Spec {
        let document = serde_json::json!({"ociVersion": "1.0.0", "annotations": json});
        serde_json::from_value(document).unwrap()
    };
    let asked = spec(serde_json::json!({CRIU_CONFIG: "/etc/x"}));
    assert_eq!(config_file(&asked, &[CRIU_CONFIG.into()]), (Some("/etc/x".into()), None));
    let (file, told) = config_file(&asked, &[]);
    assert!(file.is_none() && told.unwrap().contains("annotations.allow"));
    let none = spec(serde_json::json!({CRIU_CONFIG: ""}));
    assert_eq!(config_file(&none, &[]), (Some(String::new()), None));
    assert_eq!(config_file(&spec(serde_json::json!({})), &[]), (None, None));
}
