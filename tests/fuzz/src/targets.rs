//! The targets.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use oci_spec::runtime::{LinuxSeccomp, MountBuilder};
use rich_hooks::hooks_d::Definition;
use rich_init::services::{control, wire};
use richrun::cli;
use richrun::config::Config;
use richrun::config::file::Settings;
use richrun::config::rich::words::split_words;
use richrun::config::services::{Accounts, Services, Source, Surroundings};
use richrun::launch::sync;
use richrun::life::{State, signal};
use richrun::plan::boot::inittab;
use richrun::plan::cgroup::layout::{Hierarchy, Layout, Mode, parse_memberships, parse_mounts};
use richrun::plan::cgroup::limits;
use richrun::plan::cgroup::scope::annotations;
use richrun::plan::cgroup::shared::ZeroPids;
use richrun::plan::dbus::{LONGEST, Message, addresses, frame, greeted};
use richrun::plan::mounts::{From, MountStep, cleaned};
use richrun::plan::seccomp::{Arch, compile};
use richrun::plan::update::Update;
use richrun::plan::{Asked, Host, Plan};
use richrun::sys::inroot;
use rustix::fs::{self, OFlags};

use crate::Target;

/// Every reader of foreign bytes.
pub const TARGETS: &[Target] = &[
    Target { name: "config", run: config },
    Target { name: "process", run: process },
    Target { name: "seccomp", run: seccomp },
    Target { name: "mount_options", run: mount_options },
    Target { name: "hooks_d", run: hooks_d },
    Target { name: "services", run: services },
    Target { name: "accounts", run: accounts },
    Target { name: "inittab", run: sysv_inittab },
    Target { name: "state", run: state },
    Target { name: "launch_channel", run: launch_channel },
    Target { name: "init_plan", run: init_plan },
    Target { name: "init_control", run: init_control },
    Target { name: "cgroup_files", run: cgroup_files },
    Target { name: "bus_message", run: bus_message },
    Target { name: "annotated", run: annotated },
    Target { name: "in_root", run: in_root },
    Target { name: "words", run: words },
    Target { name: "pod", run: pod },
    Target { name: "http_request", run: http_request },
    Target { name: "command_line", run: command_line },
    Target { name: "settings", run: settings },
    Target { name: "resources", run: resources },
];

fn config(bytes: &[u8]) {
    let Ok(config) = Config::of_bytes(PathBuf::from("/bundle"), bytes.to_vec()) else { return };
    for mode in [Mode::V1, Mode::V2, Mode::None] {
        let asked = Asked { id: "fuzz".into(), ..Asked::default() };
        let _either = Plan::new(&config, asked, &host(mode));
    }
}

/// A host with the control groups of that generation.
fn host(mode: Mode) -> Host {
    let hierarchy = |controllers: &[&str], mount: &str| Hierarchy {
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        mount: mount.into(),
        own: "/".into(),
    };
    let names = ["cpu", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb"];
    let v1 = names.iter().map(|name| hierarchy(&[name], &format!("/sys/fs/cgroup/{name}")));
    let cgroups = Layout {
        mode,
        v1: if mode == Mode::V1 { v1.collect() } else { Vec::new() },
        unified: (mode == Mode::V2).then(|| hierarchy(&[], "/sys/fs/cgroup")),
    };
    Host { cgroups, uid: 0, gid: 0, unprivileged: false, administers: true }
}

/// The administrator's file, with what it trusts whom with.
fn settings(bytes: &[u8]) {
    let _either = Settings::parse(Path::new("config.toml"), &String::from_utf8_lossy(bytes));
}

/// What `update` is asked for, on resources that are there: separated by NUL.
fn resources(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0).map(serde_json::from_slice);
    let Some(Ok(asked)) = parts.next() else { return };
    let saved: Option<serde_json::Value> = parts.next().and_then(Result::ok);
    let Ok(update) = Update::new(saved.as_ref(), asked) else { return };
    if richrun::config::check_resources(&update.whole).is_err() {
        return;
    }
    for mode in [Mode::V1, Mode::V2] {
        for zero in [ZeroPids::Unlimited, ZeroPids::Limit] {
            let _either = limits(&update.written, mode, zero);
        }
    }
}

fn process(bytes: &[u8]) {
    let _either =
        richrun::config::process_of_bytes(bytes, Path::new("process.json"), &mut Vec::new());
}

fn seccomp(bytes: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(bytes) else { return };
    for arch in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
        if let Ok(filter) = compile(&profile, arch) {
            assert!(filter.program.len() <= 4096, "the kernel takes no longer program");
        }
    }
}

/// A type, a source, a destination, and options: a line each.
fn mount_options(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (kind, source, destination) = (next(), next(), next());
    let options: Vec<String> = lines.map(str::to_owned).collect();
    let mount = MountBuilder::default()
        .typ(kind)
        .source(source)
        .destination(destination)
        .options(options)
        .build()
        .expect("every field is there");
    let from = From { bundle: Path::new("/bundle"), root: Path::new("/bundle/fs"), label: None };
    if let Ok(step) = MountStep::new(0, &mount, &from) {
        let clean = cleaned(&step.destination);
        assert!(clean.is_absolute(), "{}", clean.display());
        assert!(!clean.components().any(|part| part.as_os_str() == ".."), "{}", clean.display());
    }
}

fn hooks_d(bytes: &[u8]) {
    let _either = Definition::parse(Path::new("fuzz.json"), bytes);
}

fn services(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let source = Source::of_text("fuzz", text);
    let Ok(services) = Services::read(&[source], &Accounts::default()) else { return };
    let around = Surroundings { owner: 0, root: 0, descriptors: 0 };
    if let Ok(plan) = services.encode(around) {
        assert!(wire::Plan::new(&plan).is_some(), "PID 1 refuses what the runtime wrote");
    }
}

/// Who is asked for, passwd, group: separated by NUL.
fn accounts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (who, passwd, group) = (next(), next(), next());
    let accounts = Accounts::new(passwd, group);
    for known in [accounts.user(&who).map(|user| user.uid), accounts.group(&who)] {
        assert_ne!(known, Ok(u32::MAX), "the kernel takes it for no change");
    }
}

fn sysv_inittab(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for beside in [false, true] {
        inittab::busybox(Some(&text), beside);
        inittab::sysv(Some(&text), beside, Path::new("/sbin/init"));
    }
}

fn state(bytes: &[u8]) {
    let _either = serde_json::from_slice::<State>(bytes);
}

fn launch_channel(bytes: &[u8]) {
    let _either = sync::decode(bytes);
    let _error = sync::decode_error(bytes);
}

fn init_plan(bytes: &[u8]) {
    let Some(plan) = wire::Plan::new(bytes) else { return };
    for service in 0..plan.count() {
        for word in 0..wire::RECORD_WORDS {
            plan.list(service, wire::Field::Name).is_empty();
            let offset = plan.beyond(service, wire::Field::Name, word);
            assert!(plan.blob(offset).len() <= bytes.len());
        }
        for probe in 0..3 {
            plan.probe_command(service, probe).is_empty();
        }
    }
}

fn init_control(bytes: &[u8]) {
    if let Ok(request) = control::Request::read(bytes) {
        assert!(request.names().count() <= bytes.len());
    }
}

fn cgroup_files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    parse_memberships(&text);
    parse_mounts(&text);
}

/// What a bus says: first the answer to the greeting, then messages one after the other.
fn bus_message(bytes: &[u8]) {
    let _either = (greeted(bytes), addresses(&String::from_utf8_lossy(bytes)));
    let mut rest = bytes;
    while let Ok(Some(length)) = frame(rest) {
        assert!((16..=LONGEST).contains(&length), "a message of {length} bytes");
        let Some(message) = rest.get(..length) else { break };
        if let Ok(message) = Message::decode(message) {
            assert!(message.texts().iter().map(|text| text.len()).sum::<usize>() <= length);
        }
        rest = &rest[length..];
    }
}

/// The value of an annotation `org.systemd.property.`, in seconds and otherwise.
fn annotated(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let names = ["TimeoutStopSec", "Description"];
    let map = names.map(|name| (format!("org.systemd.property.{name}"), text.clone()));
    let allowed = names.map(str::to_owned);
    if let Ok((properties, warnings)) = annotations::properties(Some(&map.into()), &allowed) {
        assert_eq!((properties.len(), warnings.len()), (2, 0));
        assert_eq!(properties[1].name, "TimeoutStopUSec");
    }
}

/// A tree of directories, files and links, then a path: each line makes one entry
/// (`dNAME`, `fNAME`, `lNAME TARGET`), the last one is looked up.
fn in_root(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2048)]);
    let tree = Tree::new();
    let mut lines: Vec<&str> = text.split('\n').filter(|line| !line.contains('\0')).collect();
    let path = PathBuf::from(lines.pop().unwrap_or_default());
    lines.iter().take(40).for_each(|line| tree.add(line));
    for flags in [OFlags::PATH, OFlags::PATH | OFlags::NOFOLLOW] {
        let kernels = inroot::open(tree.root.as_fd(), &path, flags).map(|fd| identity(&fd));
        let ours = inroot::walk(tree.root.as_fd(), &path, flags).map(|fd| identity(&fd));
        // The kernel may have several reasons to refuse, and name another first.
        assert_eq!(kernels.ok(), ours.ok(), "{path:?}: {kernels:?}, {ours:?}");
    }
}

fn identity(file: &OwnedFd) -> (u64, u64) {
    let stat = fs::fstat(file).expect("fstat");
    (stat.st_dev, stat.st_ino)
}

/// A directory that is removed in the end.
struct Tree {
    path: PathBuf,
    root: OwnedFd,
}

impl Tree {
    fn new() -> Tree {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("richrun-fuzz-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("make the tree's directory");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(&path, flags, fs::Mode::empty()).expect("open it");
        Tree { path, root }
    }

    /// Makes one entry, inside: by names of the tree's own, which are no links.
    fn add(&self, line: &str) {
        let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
        let (name, target) = rest.split_once(' ').unwrap_or((rest, "."));
        let place = Path::new(name);
        let plain = place.components().all(|part| matches!(part, Component::Normal(_)));
        let parent = self.path.join(place.parent().unwrap_or(Path::new("")));
        if !plain || name.is_empty() || parent.canonicalize().ok() != Some(parent.clone()) {
            return;
        }
        let place = self.path.join(place);
        // What is there already, or cannot be there, is left alone.
        let _made = match kind {
            "d" => std::fs::create_dir(place),
            "f" => std::fs::File::create_new(place).map(drop),
            _ => std::os::unix::fs::symlink(target, place),
        };
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).expect("remove the tree");
    }
}

/// The words of a command line that stand for something: a line.
fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for word in text.lines() {
        if let Ok(id) = cli::values::id(word) {
            assert_ne!(id, u32::MAX, "the kernel takes it for no change");
        }
        if let Ok(number) = signal::number(word) {
            assert!((0..=64).contains(&number), "{word:?} is signal {number}");
        }
        let _either = cli::values::user(word);
        let _either = cli::values::seconds(word);
        let _either = split_words(word);
    }
}

/// Arguments separated by NUL, as in /proc/PID/cmdline.
fn command_line(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let (_, _either) = cli::parse(&words.collect::<Vec<_>>());
}

/// A pod's file; what is read is driven a little.
fn pod(bytes: &[u8]) {
    use rich_bundles::pod::machine::{Act, Machine};
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = rich_bundles::pod::read::pods("pod", text, "pod") else { return };
    for pod in read.pods {
        let kept = serde_json::to_vec(&pod).expect("a pod is kept");
        assert!(serde_json::from_slice::<rich_bundles::pod::model::Pod>(&kept).is_ok());
        let mut machine = Machine::new(&pod, 0);
        for _ in 0..100 {
            match machine.next(0) {
                Some(Act::Start(at)) => machine.started(at, 0),
                Some(Act::Stop(at) | Act::Kill(at)) => machine.ended(at, 1, None, 0),
                Some(Act::Probe(at, which)) => machine.probed(at, which, false, 0),
                Some(Act::PostStart(at)) => machine.post_started(at, true, 0),
                Some(Act::PreStop(at)) => machine.pre_stopped(at),
                None => machine.stop("fuzz", None, 0),
            }
        }
    }
}

fn http_request(bytes: &[u8]) {
    let _either = rich_bundles::pod::serve::request(bytes);
}
