//! Effects on real control groups, as root. What this machine cannot run is
//! counted as ignored.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use richrun::cgroup::{Cgroup, CgroupRecord, Killed, Leftovers, layout};
use richrun::plan::cgroup::{CgroupPlan, plan};
use rustix::process::Signal;

type Outcome = Result<(), Failed>;
type Test = fn(&str) -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("a_group_is_made_joined_and_removed", made_joined_removed),
    ("a_group_with_processes_is_refused", populated_is_refused),
    ("a_frozen_group_is_refused", frozen_is_refused),
    ("a_frozen_group_is_killed_and_removed", frozen_is_removed),
    ("nested_groups_are_listed_and_removed", nested_are_removed),
    ("removing_waits_for_nobody_without_leave_to_kill", busy_is_refused),
    ("a_signal_reaches_every_process", signal_reaches_all),
];

fn main() {
    let args = Arguments::from_args();
    let root = rustix::process::geteuid().is_root();
    let trials = TESTS
        .iter()
        .map(|&(name, test)| {
            // `cargo test` has no way to say why: the name does.
            let shown = if root { name.to_owned() } else { format!("{name} (needs root)") };
            Trial::test(shown, move || test(name)).with_ignored_flag(!root)
        })
        .collect();
    libtest_mimic::run(&args, trials).exit();
}

/// A plan for a group that no one else has.
fn plan_for(name: &str) -> Result<CgroupPlan, Failed> {
    let id = format!("rrcg-{}-{name}", std::process::id());
    let mut spec = oci_spec::runtime::Spec::default();
    let linux = spec.linux_mut().as_mut().ok_or("no linux in the default spec")?;
    linux.set_cgroups_path(Some(format!("/rrcg/{id}").into())).set_resources(None);
    Ok(plan(&spec, &id, &layout::probe()?, false)?)
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
    let mut command = Command::new("/bin/cat");
    command.arg("/proc/self/cgroup");
    // The shell writes its own membership: `0` means the writer.
    let script = "for fd in $FDS; do echo 0 >&$fd || exit 9; done; cat /proc/self/cgroup";
    let mut numbers = Vec::new();
    for file in files.iter().chain(&v2) {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
        numbers.push(std::os::fd::AsRawFd::as_raw_fd(file).to_string());
    }
    // dash knows descriptors of one digit only: use bash's rules where needed.
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
