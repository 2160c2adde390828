//! What the file may say, what it may not, and what PID 1 gets of it.

use rich_init::services::rules::Rules;
use rich_init::services::wire::{self, Field, Head, Plan, ProbeField};

use super::*;

fn accounts() -> Accounts {
    Accounts::new("app:x:1000:100::/home/app:/bin/sh\n".into(), "extra:x:7:app\n".into())
}

fn read(text: &str) -> Result<Services> {
    Services::read(&[Source::of_text("s.toml", text.to_owned())], &accounts())
}

fn plan(text: &str) -> Vec<u8> {
    let around = Surroundings { owner: 5, root: 6, descriptors: 2 };
    read(text).unwrap().encode(around).unwrap()
}

const FULL: &str = r#"
shutdown-timeout = "30s"
[service.db]
command = ["db", "--port", "5432"]
user = "app"
groups = ["extra", 9]
env = { A = "b", N = 3 }
cwd = "/srv"
umask = "077"
limits = { nofile = "10:20", core = "unlimited" }
ready = "fd:5"
log = "keep"
log-size = 8
ports = { db = 5432 }
watch = ["/etc/db"]
success = [0, 143]
restart = "always"
stop-signal = "INT"
[service.setup]
command = "mkdir -p /x"
type = "oneshot"
finish = ["rm", "/x"]
[service.web]
command = ["web"]
needs = ["db"]
wants = ["setup"]
start = "needed"
[service.web.liveness]
httpGet = { port = 80, path = "health", httpHeaders = [{ name = "X-A", value = "b" }] }
[service.web.readiness]
tcpSocket = { port = 81, host = "::1" }
periodSeconds = 2
successThreshold = 2
[service.main]
finish = "true"
"#;

#[test]
fn a_full_file_reads_back_from_the_plan() {
    let bytes = plan(FULL);
    let plan = Plan::new(&bytes).unwrap();
    assert_eq!((plan.count(), plan.head(Head::Main), plan.head(Head::Shutdown)), (4, 3, 30_000));
    assert_eq!([plan.head(Head::Owner), plan.head(Head::Root)], [5, 6]);
    let list = |field| -> Vec<String> {
        plan.list(0, field).map(|text| text.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(plan.text(0, Field::Name), b"db");
    assert_eq!(list(Field::Command), ["db", "--port", "5432"]);
    assert_eq!(list(Field::Env), ["A=b", "N=3", "HOME=/home/app"]);
    assert_eq!((plan.field(0, Field::User), plan.field(0, Field::Group)), (1000, 100));
    assert_eq!(plan.blob(plan.field(0, Field::Groups)), [7, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(plan.blob(plan.field(0, Field::Limits)).len(), 48);
    assert_eq!(plan.text(0, Field::Ports), b"db: 5432");
    assert_eq!((plan.field(0, Field::Ready), plan.field(0, Field::ReadyFd)), (wire::READY_FD, 5));
    let rules = Rules::read(&plan, 0);
    assert!(rules.expects(143) && rules.expects(0) && !rules.expects(1));
    assert_eq!((rules.stop_signal, rules.stop_timeout, rules.tries), (2, 10_000, 5));
    let setup = Rules::read(&plan, 1);
    assert!(setup.oneshot && setup.finish && setup.restart == wire::RESTART_NEVER);
    let web = Rules::read(&plan, 2);
    assert_eq!((web.needs, web.wants, web.auto, web.ready), (1, 2, false, wire::READY_PROBE));
    assert_eq!(
        (web.probes[2].period, web.probes[2].success, web.probes[1].timeout),
        (2000, 2, 1000)
    );
    let request = plan.probe_blob(2, 1, ProbeField::Request);
    let request = std::str::from_utf8(request).unwrap();
    assert!(request.starts_with("GET /health HTTP/1.1\r\nX-A: b\r\nHost: 127.0.0.1:80\r\n"));
    assert!(request.ends_with("Connection: close\r\n\r\n\0"));
    assert_eq!(plan.probe_blob(2, 2, ProbeField::Address).len(), 28);
    let main = Rules::read(&plan, 3);
    assert_eq!(plan.field(3, Field::Command), 0);
    // What starts with the container, and the payload's own patience.
    assert_eq!((main.needs, main.stop_timeout), (3, rich_init::time::FOREVER));
}

#[test]
fn the_main_service_may_be_another_one() {
    let bytes = plan("main = \"web\"\n[service.web]\ncommand = [\"web\"]\n");
    let plan = Plan::new(&bytes).unwrap();
    assert_eq!((plan.count(), plan.head(Head::Main)), (1, 0));
}

#[test]
fn what_waits_for_the_payload_is_not_needed_by_it() {
    let text = "[service.a]\ncommand=[\"a\"]\nafter=[\"main\"]\n[service.main]\n\
                [service.b]\ncommand=[\"b\"]\n";
    let bytes = plan(text);
    let plan = Plan::new(&bytes).unwrap();
    assert_eq!((plan.set(1, Field::Needs), plan.set(0, Field::After)), (0b100, 0b010));
}

/// Text, and how the error ends after `s.toml: line N: `.
const WRONG: &[(&str, &str)] = &[
    ("main = 3", "line 1: main: must be a text, not a number"),
    ("main = \"x\"", "line 1: main: no service is named \"x\""),
    ("what = 1", "line 1: what: no such field"),
    ("[service.a]\ncommand = \" \"", "line 2: service.a.command: must name a program"),
    ("[service.a]\ncommand = []", "line 2: service.a.command: must name a program"),
    (
        "[service.a]\ncommand = [\n\"a\",\n3]",
        "line 4: service.a.command[1]: must be a text, not a number",
    ),
    ("[service.a]\n\nneeds = []", "line 1: service.a: command: missing"),
    (
        "[service.a]\ncommand = \"a\"\ncomand = 1",
        "line 3: service.a.comand: no such field; did you mean command?",
    ),
    (
        "[service.\"a b\"]\ncommand = \"a\"",
        "line 1: service.a b: a name is made of up to 48 letters, digits and _ . -",
    ),
    (
        "[service.a]\ncommand = \"a\"\nneeds = [\n\"b\"]",
        "line 4: service.a.needs: no service is named \"b\"",
    ),
    (
        "[service.a]\ncommand = \"a\"\nneeds = [\"b\"]\n[service.b]\ncommand = \"b\"\nafter = [\"c\"]\n\
         [service.c]\ncommand = \"c\"\nwants = [\"a\"]",
        "line 1: service.a: waits for itself: a -> b -> c -> a",
    ),
    (
        "[service.a]\ncommand = \"a\"\nneeds = [\"a\"]",
        "line 1: service.a: waits for itself: a -> a",
    ),
    (
        "[service.a]\ncommand = \"a\"\nneeds = [\"b\"]\n[service.b]\ncommand = \"b\"\nstart = \"manual\"",
        "line 3: service.a.needs: \"b\" is started by hand only (start = \"manual\")",
    ),
    (
        "[service.a]\ncommand = \"a\"\nstart = \"now\"",
        "line 3: service.a.start: \"now\" is not one of auto, needed, manual",
    ),
    (
        "[service.a]\ncommand = \"a\"\nuser = \"bob\"",
        "line 3: service.a.user: no such user in the image: \"bob\"",
    ),
    (
        "[service.a]\ncommand = \"a\"\ncwd = \"x\"",
        "line 3: service.a.cwd: \"x\" is not an absolute path",
    ),
    (
        "[service.a]\ncommand = \"a\"\nready = \"fd:2\"",
        "line 3: service.a.ready: the descriptor must be between 3 and 1023",
    ),
    (
        "[service.a]\ncommand = \"a\"\nstop-signal = \"BUSY\"",
        "line 3: service.a.stop-signal: no such signal: BUSY",
    ),
    (
        "[service.a]\ncommand = \"a\"\nstop-timeout = \"5 s\"",
        "line 3: service.a.stop-timeout: not a time: seconds, or a number with ms, s, m or h, or forever",
    ),
    (
        "[service.a]\ncommand = \"a\"\nsuccess = [256]",
        "line 3: service.a.success[0]: must be between 0 and 255, not 256",
    ),
    (
        "[service.a]\ncommand = \"a\"\nlimits = { nofil = 3 }",
        "line 3: service.a.limits.nofil: no such limit",
    ),
    (
        "[service.a]\ncommand = \"a\"\nlimits = { nofile = \"4:3\" }",
        "line 3: service.a.limits.nofile: the soft limit is above the hard one",
    ),
    (
        "[service.a]\ncommand = \"a\"\nliveness = {}",
        "line 3: service.a.liveness: must have one of exec, httpGet and tcpSocket",
    ),
    (
        "[service.a]\ncommand = \"a\"\nliveness = { exec = \"x\", successThreshold = 2 }",
        "line 3: service.a.liveness.successThreshold: must be between 0 and 1, not 2",
    ),
    (
        "[service.a]\ncommand = \"a\"\nreadiness = { httpGet = { port = 1, scheme = \"HTTPS\" } }",
        "line 3: service.a.readiness.httpGet.scheme: PID 1 speaks no TLS: use exec",
    ),
    (
        "[service.a]\ncommand = \"a\"\ntype = \"oneshot\"\nready = \"notify\"",
        "line 1: service.a: ready: a one-shot is ready when it has succeeded",
    ),
    (
        "[service.main]\ntype = \"oneshot\"",
        "line 1: service.main: type: the main service is no one-shot",
    ),
    (
        "{\"service\": {\n\"a\": {\"command\": [\"x\"],\n\"umask\": \"9\"}}}",
        "line 3: service.a.umask: not a mask: octal digits in quotes, such as \"022\"",
    ),
];

#[test]
fn errors_name_line_and_field() {
    for (text, want) in WRONG {
        let error = read(text).unwrap_err().to_string();
        let error = error.strip_prefix("s.toml: ").unwrap_or(&error);
        assert_eq!(error, *want, "{text}");
    }
}

#[test]
fn documents_complete_each_other_and_do_not_repeat() {
    let one = |name: &str, text: &str| Source::of_text(name, text.to_owned());
    let a = one("a.toml", "[service.a]\ncommand = \"a\"\nneeds = [\"b\"]\n");
    let b = one("b.json", "{\"service\": {\"b\": {\"command\": [\"b\"]}}}");
    let both = Services::read(&[a.clone(), b], &accounts()).unwrap();
    assert_eq!(both.all.len(), 3);
    let again = one("c.toml", "\n[service.a]\ncommand = \"a\"\n");
    let error = Services::read(&[a, again], &accounts()).unwrap_err().to_string();
    assert_eq!(error, "c.toml: line 2: service.a: given twice, also in a.toml, line 1");
}

#[test]
fn only_root_becomes_another_user() {
    let services = read("\n[service.a]\ncommand = \"a\"\nuser = \"app\"\n").unwrap();
    services.check_users(Runner { uid: 0, lacks: None }).unwrap();
    services.check_users(Runner { uid: 1000, lacks: None }).unwrap();
    let error = services.check_users(Runner { uid: 7, lacks: None }).unwrap_err().to_string();
    assert!(
        error.starts_with("s.toml: line 2: service.a.user: rich-init runs as user 7"),
        "{error}"
    );
}

/// Zeros are Kubernetes' defaults; a port may be a name of the service's own.
#[test]
fn probes_are_read_as_kubernetes_does() {
    let text = "[service.a]\ncommand = \"x\"\nports = { web = 8000 }\n\
                startup = { tcpSocket = { port = \"web\" }, periodSeconds = 10, failureThreshold = 30, initialDelaySeconds = 5, terminationGracePeriodSeconds = 7 }\n\
                readiness = { httpGet = { port = \"web\", path = \"/a b/\u{e9}?c=%20\" }, initialDelaySeconds = 0, periodSeconds = 0, timeoutSeconds = 0, successThreshold = 0, failureThreshold = 0 }\n";
    let explicit = plan(&text.replace("ports", "start-timeout = 9\nports"));
    assert_eq!(Rules::read(&Plan::new(&explicit).unwrap(), 0).start_timeout, 9000);
    let bytes = plan(text);
    let plan = Plan::new(&bytes).unwrap();
    let rules = Rules::read(&plan, 0);
    let [startup, _, readiness] = rules.probes;
    assert_eq!((readiness.initial_delay, readiness.period, readiness.timeout), (0, 10_000, 1000));
    assert_eq!((readiness.success, readiness.failure, readiness.grace), (1, 3, 0));
    assert_eq!(plan.probe_blob(0, 0, ProbeField::Address)[2..4], 8000_u16.to_be_bytes());
    let request = plan.probe_blob(0, 2, ProbeField::Request);
    assert!(request.starts_with(b"GET /a%20b/%C3%A9?c=%20 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"));
    // A startup probe has its own bound, which the default of start-timeout does not cut.
    assert_eq!((startup.grace, rules.start_timeout), (7000, 305_000 + 60_000));
    for (from, to, says) in [
        ("port = \"web\"", "port = \"http\"", "\"http\" is not a name in the service's ports"),
        ("failureThreshold = 0", "terminationGracePeriodSeconds = 1", "no such field"),
        ("failureThreshold = 0", "failureThreshold = -1", "failureThreshold"),
    ] {
        let error = read(&text.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn too_many_are_refused() {
    let many: String = (0..65).map(|i| format!("[service.s{i}]\ncommand = \"x\"\n")).collect();
    let error = read(&many).unwrap_err().to_string();
    assert_eq!(error, "services: 65 are too many, at most 64 can be");
}

/// The published schema and the reader know the same fields.
#[test]
fn the_schema_names_exactly_the_known_fields() {
    let text = include_str!("../../../../docs/services.schema.json");
    let schema: serde_json::Value = serde_json::from_str(text).unwrap();
    let names = |pointer: &str| -> Vec<String> {
        schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    let unknown = |text: &str| read(text).unwrap_err().to_string().contains("no such field");
    for name in names("/$defs/service/properties") {
        assert!(!unknown(&format!("[service.a]\ncommand = \"x\"\n\"{name}\" = 1.5\n")), "{name}");
    }
    for name in names("/properties") {
        assert!(
            name == "service" || read(&format!("\"{name}\" = 1.5")).is_err() || name == "$schema"
        );
        assert!(name == "service" || !unknown_at(&name), "{name}");
    }
    for name in names("/$defs/probe/properties") {
        let text = format!("[service.a]\ncommand = \"x\"\nliveness = {{ {name} = 1.5 }}\n");
        assert!(!unknown(&text), "{name}");
    }
    assert!(unknown("[service.a]\ncommand = \"x\"\nother = 1\n"));
    // And the other way: a full file has no field that the schema lacks.
    let known = names("/$defs/service/properties");
    let fields = FULL.lines().filter_map(|line| line.split_once(" = ")).map(|row| row.0);
    let all = ["shutdown-timeout", "httpGet", "tcpSocket", "periodSeconds", "successThreshold"];
    for field in fields.filter(|field| !all.contains(field)) {
        assert!(known.iter().any(|name| name == field), "{field}");
    }
}

fn unknown_at(name: &str) -> bool {
    read(&format!("\"{name}\" = 1.5"))
        .is_err_and(|error| error.to_string().contains("no such field"))
}
