//! Effects on real control groups, as root. What this machine cannot run is
//! counted as ignored.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use richrun::cgroup::{Cgroup, CgroupRecord, Killed, Leftovers, layout};
use richrun::plan::cgroup::{CgroupPlan, Mode, plan};
use rustix::process::Signal;

type Outcome = Result<(), Failed>;
type Test = fn(&str) -> Outcome;

/// What holds on every layout: run natively, and in a private view of this
/// machine's unified hierarchy as a v2 host has it.
const EVERYWHERE: &[(&str, Test)] = &[
    ("a_group_is_made_joined_and_removed", made_joined_removed),
    ("a_group_with_processes_is_refused", populated_is_refused),
    ("a_frozen_group_is_refused", frozen_is_refused),
    ("a_frozen_group_is_killed_and_removed", frozen_is_removed),
    ("nested_groups_are_listed_and_removed", nested_are_removed),
    ("deeply_nested_groups_are_removed", deep_are_removed),
    ("removing_waits_for_nobody_without_leave_to_kill", busy_is_refused),
    ("a_signal_reaches_every_process", signal_reaches_all),
    ("a_fork_bomb_is_killed", fork_bomb_is_killed),
    ("a_failure_leaves_nothing", failure_leaves_nothing),
    ("devices_are_denied_but_the_defaults", devices_are_denied),
];

/// What needs v1 hierarchies.
const V1: &[(&str, Test)] = &[
    ("v1_limits_are_written", v1_limits),
    ("v1_limits_of_nested_paths_find_their_cpus", v1_nested_cpuset),
    ("v1_a_limit_that_the_kernel_refuses_is_named", v1_refused),
];

/// What needs the v2 view.
const V2: &[(&str, Test)] = &[
    ("v2_a_child_is_born_in_the_group", v2_born_inside),
    ("v2_the_group_is_given_to_the_containers_user", v2_owner),
    ("v2_controllers_are_passed_on", v2_controllers),
    ("v2_a_missing_controller_is_named", v2_missing_controller),
    ("v2_device_rules_are_replaced", v2_devices_replaced),
];

/// Set for the copy of this program that runs in the v2 view.
const VIEW: &str = "RICHRUN_TEST_V2_VIEW";

fn main() {
    let args = Arguments::from_args();
    if let Ok(name) = std::env::var(VIEW) {
        let test = EVERYWHERE.iter().chain(V2).find(|(known, _)| *known == name);
        match test.map(|(_, test)| test(&name)) {
            Some(Ok(())) => return,
            Some(Err(failed)) => eprintln!("{}", failed.message().unwrap_or("failed")),
            None => eprintln!("no such test: {name}"),
        }
        std::process::exit(1);
    }
    let missing = missing();
    let native = EVERYWHERE
        .iter()
        .chain(V1)
        .map(|&(name, test)| trial(name.to_owned(), missing.0, move || test(name)));
    let view = EVERYWHERE.iter().chain(V2).map(|&(name, _)| {
        trial(format!("in_the_v2_view::{name}"), missing.1, move || in_v2_view(name))
    });
    libtest_mimic::run(&args, native.chain(view).collect()).exit();
}

/// A trial; ignored, with the reason in its kind, where something is missing.
fn trial(
    name: String,
    missing: Option<&str>,
    run: impl FnOnce() -> Outcome + Send + 'static,
) -> Trial {
    let trial = Trial::test(name, run).with_ignored_flag(missing.is_some());
    match missing {
        Some(why) => trial.with_kind(why),
        None => trial,
    }
}

/// What this machine lacks for the native tests, and for the v2 view.
fn missing() -> (Option<&'static str>, Option<&'static str>) {
    if !rustix::process::geteuid().is_root() {
        return (Some("needs root"), Some("needs root"));
    }
    match layout::probe().map(|layout| layout.mode) {
        Ok(Mode::Hybrid) => (None, None),
        Ok(Mode::V1) => (None, Some("needs a cgroup2 mount")),
        Ok(Mode::V2) => (Some("needs cgroup v1"), None),
        _ => (Some("needs control groups"), Some("needs control groups")),
    }
}

/// Runs a test of this program in a mount namespace of its own, where the unified
/// hierarchy is what `/sys/fs/cgroup` shows.
fn in_v2_view(name: &str) -> Outcome {
    let script = "mount --make-rprivate / && \
        if mountpoint -q /sys/fs/cgroup/unified; then \
        mount --move /sys/fs/cgroup/unified /sys/fs/cgroup; fi && exec /proc/self/exe";
    let script = script.replace("/proc/self/exe", &std::env::current_exe()?.display().to_string());
    let output =
        Command::new("unshare").args(["-m", "sh", "-c", &script]).env(VIEW, name).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// A plan for a group that no one else has.
fn plan_for(name: &str) -> Result<CgroupPlan, Failed> {
    plan_with(name, "{}")
}

/// The same with `linux.resources`.
fn plan_with(name: &str, resources: &str) -> Result<CgroupPlan, Failed> {
    let id = format!("rrcg-{}-{name}", std::process::id());
    let spec = format!(
        r#"{{"ociVersion":"1.0.2","linux":{{"cgroupsPath":"/{id}","resources":{resources}}}}}"#
    );
    Ok(plan(&serde_json::from_str(&spec)?, &id, &layout::probe()?, false)?)
}

/// A shell that waits on its standard input, put into the groups.
struct Payload(Child);

impl Payload {
    fn start(cgroup: &Cgroup, script: &str) -> Result<Self, Failed> {
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut payload = Payload(child);
        cgroup.add(payload.pid())?;
        payload.0.stdin.as_mut().ok_or("no stdin")?.write_all(b"go\n")?;
        Ok(payload)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap_or_default()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn directories(record: &CgroupRecord) -> Vec<String> {
    record.v1.iter().chain(&record.unified).map(|place| place.directory()).collect()
}

fn assert_gone(record: &CgroupRecord) -> Outcome {
    match directories(record).iter().find(|path| Path::new(path).exists()) {
        Some(path) => Err(format!("{path} is left").into()),
        None => Ok(()),
    }
}

fn reopened(record: &CgroupRecord) -> Result<Cgroup, Failed> {
    let stored = serde_json::to_string(record)?;
    Ok(Cgroup::open(&serde_json::from_str(&stored)?)?)
}

fn made_joined_removed(name: &str) -> Outcome {
    let cgroup = Cgroup::create(&plan_for(name)?)?;
    let record = cgroup.record();
    for path in directories(&record) {
        assert!(Path::new(&path).is_dir(), "{path} is not there");
    }
    let files: Vec<OwnedFd> = cgroup.join_files()?;
    let v2 = cgroup.v2_join_file()?;
    // The shell writes its own membership: `0` means the writer.
    let script = "for fd in $FDS; do echo 0 >&$fd || exit 9; done; cat /proc/self/cgroup";
    let mut numbers = Vec::new();
    for file in files.iter().chain(&v2) {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
        numbers.push(std::os::fd::AsRawFd::as_raw_fd(file).to_string());
    }
    // dash knows descriptors of one digit only.
    let output =
        Command::new("/bin/bash").args(["-c", script]).env("FDS", numbers.join(" ")).output()?;
    let text = String::from_utf8(output.stdout)?;
    for place in record.v1.iter().chain(&record.unified) {
        let line = format!(":{}:{}", place.controllers.join(","), place.path);
        assert!(text.lines().any(|l| l.ends_with(&line)), "{line} not in {text}");
    }
    assert_eq!(cgroup.pids()?, Vec::<i32>::new());
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&record)?;
    cgroup.remove(Leftovers::Refuse)?;
    assert!(reopened(&record)?.is_none());
    Ok(())
}

fn populated_is_refused(name: &str) -> Outcome {
    let plan = plan_for(name)?;
    let cgroup = Cgroup::create(&plan)?;
    let payload = Payload::start(&cgroup, "sleep 100")?;
    let error = Cgroup::create(&plan).unwrap_err().to_string();
    assert!(error.starts_with("container's cgroup is not empty: "), "{error}");
    assert!(cgroup.pids()?.contains(&payload.pid()));
    drop(payload);
    cgroup.remove(Leftovers::Kill)?;
    assert_gone(&cgroup.record())
}

fn frozen_is_refused(name: &str) -> Outcome {
    let plan = plan_for(name)?;
    let cgroup = Cgroup::create(&plan)?;
    cgroup.freeze()?;
    let error = Cgroup::create(&plan).unwrap_err().to_string();
    assert_eq!(error, "container's cgroup unexpectedly frozen");
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&cgroup.record())
}

fn frozen_is_removed(name: &str) -> Outcome {
    let cgroup = Cgroup::create(&plan_for(name)?)?;
    let _payload = Payload::start(&cgroup, "sleep 100 & wait")?;
    cgroup.freeze()?;
    assert!(cgroup.is_frozen()?);
    let again = reopened(&cgroup.record())?;
    assert!(again.is_frozen()?);
    again.remove(Leftovers::Kill)?;
    assert_gone(&cgroup.record())
}

fn nested_are_removed(name: &str) -> Outcome {
    let cgroup = Cgroup::create(&plan_for(name)?)?;
    let record = cgroup.record();
    for path in directories(&record) {
        for below in ["a/b/c", "d"] {
            std::fs::create_dir_all(format!("{path}/{below}"))?;
        }
    }
    let payload = Payload::start(&cgroup, "sleep 100")?;
    for path in directories(&record).iter().filter(|path| !path.contains("cpuset")) {
        std::fs::write(format!("{path}/a/b/c/cgroup.procs"), payload.pid().to_string())?;
    }
    assert!(cgroup.pids()?.contains(&payload.pid()), "a nested process is not listed");
    cgroup.remove(Leftovers::Kill)?;
    assert_gone(&record)
}

fn busy_is_refused(name: &str) -> Outcome {
    let cgroup = Cgroup::create(&plan_for(name)?)?;
    let payload = Payload::start(&cgroup, "sleep 100")?;
    let error = cgroup.remove(Leftovers::Refuse).unwrap_err().to_string();
    assert!(error.ends_with("device or resource busy"), "{error}");
    assert!(error.contains(&payload.pid().to_string()), "{error}");
    drop(payload);
    cgroup.remove(Leftovers::Kill)?;
    assert_gone(&cgroup.record())
}

fn signal_reaches_all(name: &str) -> Outcome {
    let cgroup = Cgroup::create(&plan_for(name)?)?;
    assert_eq!(cgroup.kill(Signal::TERM)?, Killed::Nobody);
    let mut payload = Payload::start(&cgroup, "sleep 100 & sleep 100 & wait")?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while cgroup.pids()?.len() < 3 && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(cgroup.pids()?.len(), 3);
    assert_eq!(cgroup.kill(Signal::TERM)?, Killed::Some);
    let status = payload.0.wait()?;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert!(!cgroup.is_frozen()?);
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&cgroup.record())
}

/// The value of a knob in the group that has its controller.
fn read(record: &CgroupRecord, file: &str) -> Result<String, Failed> {
    let controller = file.split('.').next().unwrap_or(file);
    let place = match record.mode {
        Mode::V2 => record.unified.as_ref(),
        _ => record.v1.iter().find(|place| place.has(controller)),
    };
    let path = format!("{}/{file}", place.ok_or("no such hierarchy")?.directory());
    Ok(std::fs::read_to_string(&path)
        .map_err(|error| format!("{path}: {error}"))?
        .trim()
        .to_owned())
}

fn deep_are_removed(name: &str) -> Outcome {
    let cgroup = Cgroup::create(&plan_for(name)?)?;
    let record = cgroup.record();
    let place = record.unified.as_ref().or(record.v1.first()).ok_or("no group")?;
    // Deeper than descriptors and longer than paths may be.
    let mut here = rustix::fs::open(place.directory(), rustix::fs::OFlags::PATH, 0.into())?;
    for _ in 0..1500 {
        rustix::fs::mkdirat(&here, "nested", 0o755.into())?;
        here = rustix::fs::openat(&here, "nested", rustix::fs::OFlags::PATH, 0.into())?;
    }
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&record)
}

fn fork_bomb_is_killed(name: &str) -> Outcome {
    let cgroup =
        Cgroup::create(&plan_with(name, r#"{"pids":{"limit":-1}}"#).or_else(|_| plan_for(name))?)?;
    let _payload = Payload::start(
        &cgroup,
        "b() { for i in 1 2 3; do (sleep 0.01; b) & done; wait; }; \
        n() { while :; do (exec sleep 0.02) & (exec sleep 0.02) & wait; done; }; n & n & n & n & wait",
    )?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    cgroup.remove(Leftovers::Kill)?;
    assert_gone(&cgroup.record())
}

fn failure_leaves_nothing(name: &str) -> Outcome {
    let mut plan = plan_for(name)?;
    // The last group cannot be made: its parent is a file.
    let place = plan.unified.as_mut().filter(|_| plan.mode == Mode::V2);
    let place = place.or(plan.v1.last_mut()).ok_or("no group")?;
    let group = place.path.clone();
    place.path = format!("{group}/cgroup.procs/x");
    let error = Cgroup::create(&plan).unwrap_err().to_string();
    assert!(error.contains("/cgroup.procs"), "{error}");
    for place in plan.v1.iter().chain(&plan.unified) {
        let path = format!("{}{group}", place.mount);
        assert!(!Path::new(&path).exists(), "{path} is left");
    }
    Ok(())
}

/// Whether a process in the groups may use devices: null, and the first console.
fn devices_are_denied(name: &str) -> Outcome {
    let plan = plan_for(name)?;
    let cgroup = Cgroup::create(&plan)?;
    cgroup.apply(&plan)?;
    let dir = std::env::temp_dir().join(format!("rrcg-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let script = format!(
        "cd {} && mknod n c 1 3 && mknod t c 4 0 && echo x > n && ! echo x 2>/dev/null > t",
        dir.display()
    );
    let mut payload = Payload::start(&cgroup, &script)?;
    let status = payload.0.wait()?;
    std::fs::remove_dir_all(&dir)?;
    cgroup.remove(Leftovers::Refuse)?;
    assert!(status.success(), "the device rules do not hold: {status}");
    assert_gone(&cgroup.record())
}

fn v1_limits(name: &str) -> Outcome {
    let plan = plan_with(
        name,
        r#"{"memory":{"limit":33554432,"swap":67108864,"reservation":16777216,"swappiness":10,
        "disableOOMKiller":true,"kernel":1},"cpu":{"shares":512,"quota":50000,"period":200000,"burst":1000,
        "cpus":"0","mems":"0"},"pids":{"limit":7},
        "devices":[{"allow":false},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]}"#,
    )?;
    let cgroup = Cgroup::create(&plan)?;
    cgroup.apply(&plan)?;
    let record = cgroup.record();
    for (file, value) in [
        ("memory.limit_in_bytes", "33554432"),
        ("memory.memsw.limit_in_bytes", "67108864"),
        ("memory.soft_limit_in_bytes", "16777216"),
        ("memory.swappiness", "10"),
        ("cpu.shares", "512"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.cfs_period_us", "200000"),
        ("cpu.cfs_burst_us", "1000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "7"),
    ] {
        assert_eq!(read(&record, file)?, value, "{file}");
    }
    assert!(read(&record, "memory.oom_control")?.contains("oom_kill_disable 1"));
    let devices = read(&record, "devices.list")?;
    assert!(devices.contains("c 10:229 rw") && !devices.contains("a *:*"), "{devices}");
    // Written again, smaller and larger: no order of two knobs is refused.
    for (limit, swap, period) in
        [(16_777_216, 16_777_216, 100_000), (134_217_728, 268_435_456, 400_000)]
    {
        let resources = format!(
            r#"{{"memory":{{"limit":{limit},"swap":{swap}}},"cpu":{{"period":{period},"quota":40000,"burst":40000}}}}"#
        );
        let plan = plan_with(name, &resources)?;
        Cgroup::open(&record)?.apply(&plan)?;
        assert_eq!(read(&record, "memory.memsw.limit_in_bytes")?, swap.to_string());
        assert_eq!(read(&record, "cpu.cfs_period_us")?, period.to_string());
    }
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&record)
}

fn v1_nested_cpuset(name: &str) -> Outcome {
    let id = format!("rrcg-{}-{name}", std::process::id());
    let spec = format!(r#"{{"ociVersion":"1.0.2","linux":{{"cgroupsPath":"/{id}/a/b"}}}}"#);
    let plan = plan(&serde_json::from_str(&spec)?, &id, &layout::probe()?, false)?;
    let cgroup = Cgroup::create(&plan)?;
    let record = cgroup.record();
    let top = |file: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/cpuset/{file}"));
    for file in ["cpuset.cpus", "cpuset.mems"] {
        assert_eq!(read(&record, file)?, top(file)?.trim(), "{file}");
    }
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&record)?;
    for place in record.v1.iter().chain(&record.unified) {
        std::fs::remove_dir(format!("{}/{id}/a", place.mount))?;
        std::fs::remove_dir(format!("{}/{id}", place.mount))?;
    }
    Ok(())
}

fn v1_refused(name: &str) -> Outcome {
    for (resources, words) in [
        (
            r#"{"cpu":{"cpus":"900"}}"#,
            "linux.resources.cpu.cpus: write 900 to cpuset.cpus: numerical result out of range",
        ),
        (
            r#"{"cpu":{"quota":1}}"#,
            "linux.resources.cpu.quota: write 1 to cpu.cfs_quota_us: invalid argument",
        ),
        (
            r#"{"memory":{"swappiness":1000}}"#,
            "linux.resources.memory.swappiness: write 1000 to memory.swappiness: invalid argument",
        ),
    ] {
        let plan = plan_with(name, resources)?;
        let cgroup = Cgroup::create(&plan)?;
        let error = cgroup.apply(&plan).unwrap_err().to_string();
        cgroup.remove(Leftovers::Refuse)?;
        assert_eq!(error, words);
    }
    let error = plan_with(name, r#"{"network":{"classID":5}}"#).unwrap_err();
    assert_eq!(
        error.message(),
        Some(
            "linux.resources.network.classID: no cgroup controller net_cls is mounted on this host"
        )
    );
    Ok(())
}

fn v2_born_inside(name: &str) -> Outcome {
    let cgroup = Cgroup::create(&plan_for(name)?)?;
    let record = cgroup.record();
    assert_eq!(record.mode, Mode::V2);
    assert!(cgroup.v2_fd().is_some());
    assert!(cgroup.join_files()?.is_empty());
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&record)
}

fn v2_owner(name: &str) -> Outcome {
    let id = format!("rrcg-{}-{name}", std::process::id());
    let spec = format!(
        r#"{{"ociVersion":"1.0.2","process":{{"cwd":"/","user":{{"uid":0,"gid":0}}}},
        "mounts":[{{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["rw"]}}],
        "linux":{{"cgroupsPath":"/{id}","namespaces":[{{"type":"cgroup"}},{{"type":"user"}}],
        "uidMappings":[{{"containerID":0,"hostID":123456,"size":10}}]}}}}"#
    );
    let plan = plan(&serde_json::from_str(&spec)?, &id, &layout::probe()?, false)?;
    let cgroup = Cgroup::create(&plan)?;
    cgroup.apply(&plan)?;
    let record = cgroup.record();
    let directory = record.unified.as_ref().ok_or("no unified group")?.directory();
    let owner = |file: &str| {
        std::fs::metadata(format!("{directory}/{file}"))
            .map(|meta| std::os::unix::fs::MetadataExt::uid(&meta))
    };
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        assert_eq!(owner(file)?, 123_456, "{file}");
    }
    for file in ["cgroup.freeze", "cgroup.kill", "cgroup.max.depth"] {
        assert_eq!(owner(file)?, 0, "{file}");
    }
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&record)
}

/// hugetlb is the one controller that the unified hierarchy has here.
fn v2_controllers(name: &str) -> Outcome {
    let all = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    if !all.split_whitespace().any(|controller| controller == "hugetlb") {
        return Err("this machine's unified hierarchy has no hugetlb".into());
    }
    let resources = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],
        "unified":{"hugetlb.2MB.max":"8388608"}}"#;
    let plan = plan_with(name, resources)?;
    let cgroup = Cgroup::create(&plan)?;
    cgroup.apply(&plan)?;
    let record = cgroup.record();
    assert_eq!(read(&record, "cgroup.controllers")?, all.trim());
    assert_eq!(read(&record, "hugetlb.2MB.max")?, "8388608");
    assert_eq!(read(&record, "hugetlb.2MB.rsvd.max")?, "4194304");
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&record)
}

fn v2_missing_controller(name: &str) -> Outcome {
    let plan = plan_with(name, r#"{"memory":{"limit":4194304}}"#)?;
    let cgroup = Cgroup::create(&plan)?;
    let directory = directories(&cgroup.record()).concat();
    let error = cgroup.apply(&plan).unwrap_err().to_string();
    cgroup.remove(Leftovers::Refuse)?;
    assert_eq!(
        error,
        format!(
            "linux.resources.memory.limit: write 4194304 to memory.max: \
            the controller memory is not available in {directory}"
        )
    );
    Ok(())
}

fn v2_devices_replaced(name: &str) -> Outcome {
    let strict = plan_for(name)?;
    let cgroup = Cgroup::create(&strict)?;
    cgroup.apply(&strict)?;
    let wide =
        plan_with(name, r#"{"devices":[{"allow":true,"type":"c","major":4,"access":"rw"}]}"#)?;
    let again = reopened(&cgroup.record())?;
    again.apply(&wide)?;
    again.apply(&wide)?;
    let group = again.v2_fd().ok_or("no unified group")?;
    assert_eq!(richrun::sys::bpf::device_programs(group)?.len(), 1);
    cgroup.remove(Leftovers::Refuse)?;
    assert_gone(&cgroup.record())
}
