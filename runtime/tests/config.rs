//! Reading configurations: what is required, and that no document, however
//! broken, is more than an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use richrun::config::{Config, validate};
use richrun::plan::cgroup::{Hierarchy, Layout, Mode};
use richrun::plan::{Asked, Host, Plan};
use serde_json::{Value, json};

/// A configuration in which every field of the specification for Linux is set.
const EVERYTHING: &str = include_str!("everything.json");
/// The configuration of the black-box tests.
const STOCK: &str = include_str!("../../tests/src/stock.json");

fn everything() -> Value {
    serde_json::from_str(EVERYTHING).expect("everything.json")
}

/// Everything that this runtime supports, on a host that has only these
/// controllers.
fn supported(gone: &[&str]) -> Value {
    let mut document = everything();
    document["linux"].as_object_mut().expect("linux").remove("netDevices");
    for name in gone {
        document["linux"]["resources"].as_object_mut().expect("resources").remove(*name);
    }
    document
}

/// A host with the given control groups, as root or not.
fn host(mode: Mode, unprivileged: bool) -> Host {
    let hierarchy = |controllers: &[&str], mount: &str| Hierarchy {
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        mount: mount.to_owned(),
        own: "/user".to_owned(),
    };
    let all = ["cpu", "cpuset", "memory", "pids", "blkio", "io", "hugetlb", "devices", "freezer"];
    let v1 = all.iter().map(|name| hierarchy(&[name], &format!("/sys/fs/cgroup/{name}")));
    let cgroups = match mode {
        Mode::V2 => {
            let unified = Some(hierarchy(&all, "/sys/fs/cgroup"));
            Layout { mode, v1: Vec::new(), unified }
        }
        _ => Layout { mode, v1: v1.collect(), unified: None },
    };
    let id = if unprivileged { 1000 } else { 0 };
    Host { cgroups, uid: id, gid: id, unprivileged, administers: !unprivileged }
}

/// Reads, validates and plans: what `create` does before it touches anything.
fn digest(bytes: &[u8], host: &Host) -> Result<(), String> {
    let config = Config::from_saved(Path::new("/bundle"), bytes.to_vec());
    let config = config.map_err(|error| error.to_string())?;
    validate::validate(&config.spec, &mut Vec::new()).map_err(|error| error.to_string())?;
    let asked = Asked { id: "box".to_owned(), ..Asked::default() };
    Plan::new(&config, asked, host).map(drop).map_err(|error| error.to_string())
}

fn read(document: &Value) -> Result<(), String> {
    digest(document.to_string().as_bytes(), &host(Mode::V1, false))
}

#[test]
fn everything_is_read() {
    // Each layout lacks something that the other one has.
    for (mode, gone) in [(Mode::V1, "unified"), (Mode::V2, "network")] {
        let bytes = supported(&[gone, "rdma", "network"]).to_string();
        assert_eq!(digest(bytes.as_bytes(), &host(mode, false)), Ok(()), "{mode:?}");
    }
    let mut document: Value = serde_json::from_str(STOCK).expect("stock.json");
    assert_eq!(read(&document), Ok(()));
    document["process"]["cwd"] = json!(7);
    assert!(read(&document).is_err_and(|error| error.contains("line 1 column")));
}

/// Fields that the specification calls REQUIRED, each taken away in turn.
#[test]
fn required_fields_are_required() {
    let required = [
        "/ociVersion",
        "/root",
        "/root/path",
        "/process/cwd",
        "/process/args",
        "/process/rlimits/0/type",
        "/process/rlimits/0/hard",
        "/process/scheduler/policy",
        "/mounts/0/destination",
        "/mounts/3/uidMappings",
        "/mounts/3/gidMappings",
        "/hooks/poststop/0/path",
        "/linux/namespaces/0/type",
        "/linux/uidMappings/0/size",
        "/linux/devices/0/type",
        "/linux/devices/0/path",
        "/linux/personality/domain",
        "/linux/memoryPolicy/mode",
        "/linux/resources/hugepageLimits/0/pageSize",
        "/linux/resources/network/priorities/0/name",
        "/linux/seccomp/defaultAction",
        "/linux/seccomp/syscalls/0/names",
        "/linux/seccomp/syscalls/0/action",
        "/linux/seccomp/syscalls/1/args/0/index",
        "/linux/seccomp/syscalls/1/args/0/value",
        "/linux/seccomp/syscalls/1/args/0/op",
    ];
    let accepted = accepted_without(&required);
    assert!(accepted.is_empty(), "accepted without {accepted:#?}");
}

/// Required too, but runc takes Go's zero value where they are left out, and
/// what works with runc has to work here.
#[test]
fn what_runc_takes_as_zero_may_be_left_out() {
    let zero = [
        "/process/user",
        "/process/user/uid",
        "/process/user/gid",
        "/process/consoleSize/height",
        "/process/consoleSize/width",
        "/process/rlimits/0/soft",
        "/process/ioPriority/class",
        "/process/ioPriority/priority",
        "/linux/uidMappings/0/containerID",
        "/linux/uidMappings/0/hostID",
        "/linux/devices/0/major",
        "/linux/devices/0/minor",
        "/linux/resources/devices/0/allow",
        "/linux/resources/blockIO/weightDevice/0/major",
        "/linux/resources/blockIO/throttleReadBpsDevice/0/minor",
        "/linux/resources/blockIO/throttleReadBpsDevice/0/rate",
        "/linux/resources/hugepageLimits/0/limit",
        "/linux/resources/network/priorities/0/priority",
    ];
    assert_eq!(accepted_without(&zero), zero);
}

/// Those of the fields without which the whole configuration is accepted.
fn accepted_without<'a>(fields: &[&'a str]) -> Vec<&'a str> {
    // As it is read where every controller is: what is refused is refused for the field.
    let whole = supported(&["unified"]);
    let mut host = host(Mode::V1, false);
    for name in ["net_cls", "net_prio", "rdma"] {
        host.cgroups.v1.push(Hierarchy {
            controllers: vec![name.to_owned()],
            mount: format!("/sys/fs/cgroup/{name}"),
            own: "/user".to_owned(),
        });
    }
    let read = |document: &Value| digest(document.to_string().as_bytes(), &host);
    assert_eq!(read(&whole), Ok(()));
    let accepts = |path: &&&str| {
        let mut document = whole.clone();
        let (parent, name) = path.rsplit_once('/').expect("a pointer");
        let parent = document.pointer_mut(parent).and_then(Value::as_object_mut);
        assert!(parent.expect(path).remove(name).is_some(), "{path}");
        read(&document).is_ok()
    };
    fields.iter().filter(accepts).copied().collect()
}

#[test]
fn annotations_are_strings() {
    for annotations in [json!({"a": 1}), json!({"a": null}), json!(["a"]), json!("a")] {
        let mut document: Value = serde_json::from_str(STOCK).expect("stock.json");
        document["annotations"] = annotations;
        assert!(read(&document).is_err(), "{document}");
    }
}

/// xorshift64*: the same documents in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit.max(1)
    }
}

/// Values that programs stumble over.
fn odd_value(random: &mut Random) -> Value {
    match random.below(24) {
        0 => json!(null),
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(i64::MAX),
        7 => json!(u32::MAX),
        8 => json!(1u64 << 32),
        9 => json!(0.5),
        10 => json!(1e300),
        11 => json!(""),
        12 => json!("/"),
        13 => json!("a\0b"),
        14 => json!("../../.."),
        15 => json!("\u{1F4A9}".repeat(70)),
        16 => json!("x".repeat(5000)),
        17 => json!("18446744073709551616"),
        18 => json!("4294967295-0,,-"),
        19 => json!([]),
        20 => json!({}),
        21 => json!([null, {"a": []}]),
        22 => json!({"": {"type": "pid"}}),
        _ => json!(random.next()),
    }
}

/// The pointers of all values of a document.
fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                pointers(value, &format!("{here}/{}", name.replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                pointers(value, &format!("{here}/{at}"), found);
            }
        }
        _ => {}
    }
}

/// Changes one value: replaced, taken out, repeated, or exchanged for another.
fn mutate(document: &mut Value, random: &mut Random) {
    let mut all = Vec::new();
    pointers(document, "", &mut all);
    let path = all[random.below(all.len())].clone();
    let other = document.pointer(&all[random.below(all.len())]).cloned().unwrap_or_default();
    let odd = odd_value(random);
    match random.below(5) {
        0 | 1 => *document.pointer_mut(&path).expect("listed") = odd,
        2 => *document.pointer_mut(&path).expect("listed") = other,
        3 => {
            if let Some((parent, name)) = path.rsplit_once('/') {
                match document.pointer_mut(parent) {
                    Some(Value::Object(map)) => drop(map.remove(name)),
                    Some(Value::Array(list)) => drop(list.pop()),
                    _ => {}
                }
            }
        }
        _ => match document.pointer_mut(&path) {
            Some(Value::Array(list)) => {
                let again = list.get(random.below(list.len())).cloned().unwrap_or(odd);
                list.push(again);
            }
            Some(Value::Object(map)) => drop(map.insert(format!("x{}", random.below(9)), odd)),
            Some(value) => *value = odd,
            None => {}
        },
    }
}

/// Digests a document; panics with the document when that panics.
fn survives(bytes: &[u8], hosts: &[Host]) -> usize {
    let fine = |host: &&Host| {
        let outcome = catch_unwind(AssertUnwindSafe(|| digest(bytes, host)));
        let outcome = outcome.unwrap_or_else(|_| {
            panic!("panicked on {host:?} over {}", String::from_utf8_lossy(bytes))
        });
        if let Err(error) = &outcome {
            assert!(!error.is_empty() && !error.contains('\n'), "not one line: {error:?}");
        }
        outcome.is_ok()
    };
    hosts.iter().filter(fine).count()
}

/// Time for each of the tests below; the seed is fixed, so a slow machine does
/// less of the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many documents there are at most.
const ROUNDS: usize = 6000;

fn hosts() -> Vec<Host> {
    vec![host(Mode::V1, false), host(Mode::V2, false), host(Mode::V2, true)]
}

#[test]
fn changed_values_never_panic() {
    let (hosts, end) = (hosts(), Instant::now() + PATIENCE);
    let mut random = Random(0x5EED);
    let (mut rounds, mut accepted) = (0, 0);
    while rounds < ROUNDS && Instant::now() < end {
        let mut document: Value = match rounds % 3 {
            0 => serde_json::from_str(STOCK).expect("stock.json"),
            1 => everything(),
            _ => supported(&["rdma", "network", "unified"]),
        };
        for _ in 0..=random.below(3) {
            mutate(&mut document, &mut random);
        }
        accepted += survives(document.to_string().as_bytes(), &hosts);
        rounds += 1;
    }
    println!("{rounds} documents");
    assert!(rounds > 50, "only {rounds} documents");
    assert!(accepted > 0 && accepted < rounds * hosts.len(), "{accepted} of {rounds}");
}

#[test]
fn changed_bytes_never_panic() {
    let (hosts, end) = (hosts(), Instant::now() + PATIENCE);
    let mut random = Random(0xB17E5);
    let (mut rounds, mut accepted) = (0, 0);
    while rounds < ROUNDS && Instant::now() < end {
        let mut bytes = if rounds % 2 == 0 { STOCK } else { EVERYTHING }.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, b"{}[]\",:0-e\\\0\xff"[random.below(13)]),
                _ => drop(bytes.remove(at)),
            }
        }
        accepted += survives(&bytes, &hosts[..1]);
        rounds += 1;
    }
    assert!(rounds > 50, "only {rounds} documents");
    assert!(accepted < rounds, "{accepted} of {rounds}");
}
