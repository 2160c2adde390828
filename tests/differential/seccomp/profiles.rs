//! The profiles: those of engines, and crafted ones.

use richrun_tests::Kind;
use serde_json::{Value, json};

/// Profiles as engines wrote them into bundles: see `profiles/README.md`.
const ENGINES: [(&str, &str); 3] = [
    ("docker", include_str!("../profiles/docker.json")),
    ("containerd", include_str!("../profiles/containerd.json")),
    ("podman", include_str!("../profiles/podman.json")),
];

const ALL: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// Every comparison operator.
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// Values where 32-bit halves, signs and carries meet.
const CORNERS: [u64; 9] = [
    0,
    1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Calls that a sleeping container does not make, to hang rules on.
pub const IDLE_CALLS: [&str; 12] = [
    "sysinfo",
    "personality",
    "mknodat",
    "syslog",
    "acct",
    "kcmp",
    "socketpair",
    "semget",
    "vhangup",
    "swapon",
    "pkey_alloc",
    "sethostname",
];

/// The engines' profiles.
pub fn engines() -> Vec<(String, Value)> {
    let parse = |text| serde_json::from_str(text).expect("a captured profile");
    ENGINES.iter().map(|(name, text)| (format!("engine_{name}"), parse(text))).collect()
}

/// Docker's profile, to be changed.
pub fn plain() -> Value {
    serde_json::from_str(ENGINES[0].1).expect("docker's profile")
}

/// A profile that lets everything pass but for some rules.
fn rules(architectures: &[&str], rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules})
}

/// One comparison.
fn arg(index: u32, op: &str, value: u64, two: u64) -> Value {
    json!({"index": index, "op": op, "value": value, "valueTwo": two})
}

/// The crafted profiles.
pub fn crafted() -> Vec<(String, Value)> {
    let mut all = vec![
        ("actions".to_owned(), actions()),
        ("errno_values".to_owned(), errno_values()),
        ("several_rules".to_owned(), several_rules()),
        ("several_arguments".to_owned(), several_arguments()),
        ("argument_twice".to_owned(), argument_twice()),
        ("masks".to_owned(), masks()),
        ("unknown_names".to_owned(), unknown_names()),
        ("multiplexed".to_owned(), multiplexed()),
        ("x86_only_calls".to_owned(), x86_only_calls()),
        ("no_rules".to_owned(), rules(&ALL, json!([]))),
        ("same_as_default".to_owned(), same_as_default()),
    ];
    all.extend(operators());
    all.extend(architectures());
    all.extend(defaults());
    all
}

/// Each action on a call of its own.
fn actions() -> Value {
    let names = ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "LOG"];
    let entries = names
        .iter()
        .zip(IDLE_CALLS)
        .map(|(action, call)| json!({"names": [call], "action": format!("SCMP_ACT_{action}")}));
    rules(&ALL, entries.collect())
}

/// errnoRet where it has an effect.
fn errno_values() -> Value {
    let values = [0, 1, 22, 38, 255, 4094];
    let mut entries: Vec<Value> = Vec::new();
    for (call, value) in IDLE_CALLS.iter().zip(values) {
        entries.push(json!({"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": value}));
    }
    for (call, value) in IDLE_CALLS[values.len()..].iter().zip(values) {
        entries.push(json!({"names": [call], "action": "SCMP_ACT_TRACE", "errnoRet": value}));
    }
    rules(&ALL, json!(entries))
}

/// One profile an operator: a corner of the value for each call.
fn operators() -> Vec<(String, Value)> {
    let profile = |op: &&str| {
        let entries = CORNERS.iter().zip(IDLE_CALLS).map(|(value, call)| {
            let args = [arg(0, op, *value, *value)];
            json!({"names": [call], "action": "SCMP_ACT_ERRNO", "args": args})
        });
        let name = op.trim_start_matches("SCMP_CMP_").to_lowercase();
        (format!("operator_{name}"), rules(&ALL, entries.collect()))
    };
    OPERATORS.iter().map(profile).collect()
}

/// Masks and what they are compared with, also what no masked value can be.
fn masks() -> Value {
    let pairs = [
        (0, 0),
        (0, 1),
        (1, 1),
        (0xff00, 0x1200),
        (0xff00, 0x12ff),
        (0x8000_0000, 0x8000_0000),
        (0xffff_ffff, 0x1_0000_0000),
        (0xffff_ffff_0000_0000, 0x1_0000_0000),
        (u64::MAX, 0x8000_0000_0000_0000),
        (0x7e02_0000, 0),
    ];
    let entries = pairs.iter().zip(IDLE_CALLS).map(|((mask, value), call)| {
        let args = [arg(1, "SCMP_CMP_MASKED_EQ", *mask, *value)];
        json!({"names": [call], "action": "SCMP_ACT_ERRNO", "args": args})
    });
    rules(&ALL, entries.collect())
}

/// Several rules for one call, the actions different, the ranges overlapping.
fn several_rules() -> Value {
    let rule = |action: &str, errno: Option<u32>, args: Value| {
        let mut entry = json!({"names": ["personality", "kcmp"], "action": action, "args": args});
        if let Some(errno) = errno {
            entry["errnoRet"] = json!(errno);
        }
        entry
    };
    rules(
        &ALL,
        json!([
            rule("SCMP_ACT_ERRNO", Some(1), json!([arg(0, "SCMP_CMP_EQ", 8, 0)])),
            rule("SCMP_ACT_ERRNO", Some(2), json!([arg(0, "SCMP_CMP_GT", 0xffff, 0)])),
            rule("SCMP_ACT_TRAP", None, json!([arg(0, "SCMP_CMP_EQ", 0x2_0000, 0)])),
            rule("SCMP_ACT_LOG", None, json!([arg(1, "SCMP_CMP_MASKED_EQ", 0xf0, 0x10)])),
            rule("SCMP_ACT_ERRNO", Some(5), json!([arg(0, "SCMP_CMP_LT", 4, 0)])),
            rule("SCMP_ACT_KILL_PROCESS", None, json!([arg(0, "SCMP_CMP_EQ", 1 << 40, 0)])),
        ]),
    )
}

/// Conditions on several arguments: all must hold.
fn several_arguments() -> Value {
    rules(
        &ALL,
        json!([
            {"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3, "args": [
                arg(0, "SCMP_CMP_EQ", 16, 0), arg(2, "SCMP_CMP_EQ", 9, 0)]},
            {"names": ["kcmp"], "action": "SCMP_ACT_TRAP", "args": [arg(2, "SCMP_CMP_NE", 9, 0)]},
            {"names": ["mknodat"], "action": "SCMP_ACT_ERRNO", "args": [
                arg(5, "SCMP_CMP_GE", 0x1_0000_0000, 0), arg(0, "SCMP_CMP_LE", 7, 0)]},
        ]),
    )
}

/// An argument twice in one entry: runc and crun make a rule of each condition.
fn argument_twice() -> Value {
    rules(
        &ALL,
        json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [
            arg(0, "SCMP_CMP_EQ", 3, 0), arg(0, "SCMP_CMP_EQ", 5, 0),
            arg(1, "SCMP_CMP_EQ", 7, 0)]}]),
    )
}

/// Names that nobody knows, and that not every libseccomp knows.
fn unknown_names() -> Value {
    let mut profile = plain();
    let list = profile["syscalls"].as_array_mut().expect("syscalls");
    let names = ["no_such_call", "futex_waitv", "mseal", "futex_requeue", "Read", "file_getattr"];
    list.push(json!({"names": names, "action": "SCMP_ACT_ALLOW"}));
    list.push(json!({"names": ["nothing_here"], "action": "SCMP_ACT_KILL_PROCESS"}));
    profile
}

/// What x86 offers through socketcall and ipc, with and without conditions.
fn multiplexed() -> Value {
    rules(
        &ALL,
        json!([
            {"names": ["socketpair", "shmget"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["semget"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": [
                arg(0, "SCMP_CMP_EQ", 5, 0)]},
            {"names": ["msgget"], "action": "SCMP_ACT_TRAP", "args": [arg(1, "SCMP_CMP_EQ", 6, 0)]},
        ]),
    )
}

/// Calls that one architecture alone has.
fn x86_only_calls() -> Value {
    let names = ["vm86", "ugetrlimit", "socketcall", "modify_ldt", "stat64", "olduname"];
    rules(&ALL, json!([{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 9}]))
}

/// Rules that say what the default says.
fn same_as_default() -> Value {
    rules(
        &ALL,
        json!([
            {"names": ["sysinfo"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "args": [arg(0, "SCMP_CMP_EQ", 1, 0)]},
            {"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "args": [arg(0, "SCMP_CMP_EQ", 2, 0)]},
        ]),
    )
}

/// Every choice of architectures, under a default that denies.
fn architectures() -> Vec<(String, Value)> {
    let choices: [(&str, &[&str]); 6] = [
        ("none", &[]),
        ("x86_64", &ALL[..1]),
        ("x86", &ALL[1..2]),
        ("x32", &ALL[2..]),
        ("x86_64_x86", &ALL[..2]),
        ("x86_64_x32", &["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]),
    ];
    let profile = |(name, list): (&str, &[&str])| {
        let mut profile = plain();
        profile["architectures"] = json!(list);
        (format!("architectures_{name}"), profile)
    };
    choices.into_iter().map(profile).collect()
}

/// Docker's profile with each other default.
fn defaults() -> Vec<(String, Value)> {
    let profile = |(name, errno): (&str, Option<u32>)| {
        let mut profile = plain();
        profile["defaultAction"] = json!(format!("SCMP_ACT_{name}"));
        if let Some(errno) = errno {
            profile["defaultErrnoRet"] = json!(errno);
        }
        (format!("default_{}", name.to_lowercase()), profile)
    };
    [
        ("KILL", None),
        ("KILL_THREAD", None),
        ("KILL_PROCESS", None),
        ("TRAP", None),
        ("LOG", None),
        ("TRACE", Some(7)),
        ("ERRNO", Some(13)),
    ]
    .into_iter()
    .map(profile)
    .collect()
}

/// A profile that is refused.
pub struct Refused {
    /// What is wrong with it.
    pub name: &'static str,
    /// The profile.
    pub profile: Value,
    /// The peers that accept it, and why.
    pub accepted: &'static [(Kind, &'static str)],
}

/// Profiles that are refused.
pub fn refused() -> Vec<Refused> {
    let entry = |name: &str, action: &str, args: Value| json!({"names": [name], "action": action, "args": args});
    let one = |name, action, args| rules(&ALL, json!([entry(name, action, args)]));
    let notify = |name| one(name, "SCMP_ACT_NOTIFY", json!([]));
    let row = |name, profile, accepted| Refused { name, profile, accepted };
    let default = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/none"});
    let mut write = notify("write");
    write["listenerPath"] = json!("/none");
    let mut metadata = rules(&ALL, json!([]));
    metadata["listenerMetadata"] = json!("words");
    vec![
        row("default_notify", default, &[]),
        row("notify_without_listener", notify("kcmp"), &[(Kind::Crun, "it closes the listener")]),
        row("notify_write", write, &[]),
        row(
            "metadata_without_listener",
            metadata,
            &[
                (Kind::Runc, "metadata is not looked at unless a rule notifies"),
                (Kind::Crun, "metadata is not looked at unless a rule notifies"),
            ],
        ),
        row("index", one("kcmp", "SCMP_ACT_ERRNO", json!([arg(6, "SCMP_CMP_EQ", 1, 0)])), &[]),
        row(
            "empty_name",
            one("", "SCMP_ACT_ERRNO", json!([])),
            &[(Kind::Crun, "it is passed over like any unknown name")],
        ),
        row(
            "contradiction",
            rules(
                &ALL,
                json!([
                    entry("kcmp", "SCMP_ACT_ERRNO", json!([arg(0, "SCMP_CMP_EQ", 1, 0)])),
                    entry("kcmp", "SCMP_ACT_TRAP", json!([arg(0, "SCMP_CMP_EQ", 1, 0)])),
                ]),
            ),
            &[],
        ),
    ]
}

/// Flags and what seccomp(2) is then given.
pub struct Flags {
    /// `linux.seccomp.flags`.
    pub asked: Option<&'static [&'static str]>,
    /// The kernel's names, in alphabetical order.
    pub passed: &'static [&'static str],
}

const LOG: &str = "SECCOMP_FILTER_FLAG_LOG";
const SPEC_ALLOW: &str = "SECCOMP_FILTER_FLAG_SPEC_ALLOW";
const TSYNC: &str = "SECCOMP_FILTER_FLAG_TSYNC";

/// Flag lists by name. Without any list, the peers ask for SPEC_ALLOW.
pub const FLAGS: [(&str, &Flags); 6] = [
    ("absent", &Flags { asked: None, passed: &[SPEC_ALLOW] }),
    ("none", &Flags { asked: Some(&[]), passed: &[] }),
    ("log", &Flags { asked: Some(&[LOG]), passed: &[LOG] }),
    ("spec_allow", &Flags { asked: Some(&[SPEC_ALLOW]), passed: &[SPEC_ALLOW] }),
    ("tsync", &Flags { asked: Some(&[TSYNC]), passed: &[TSYNC] }),
    ("all", &Flags { asked: Some(&[TSYNC, LOG, SPEC_ALLOW]), passed: &[LOG, SPEC_ALLOW, TSYNC] }),
];
