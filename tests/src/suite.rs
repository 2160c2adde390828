//! Registration and running of trials, on libtest-mimic (and so under nextest).

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed};

use crate::runtime::{Kind, Runtime};
use crate::stage::{self, SKIP_MARK, SKIPPED};
use crate::trial::{Trial, User, View};

/// A view and a user.
pub type Case = (View, User);

/// Both views, both users.
pub const ALL: &[Case] = &[
    (View::V1, User::Root),
    (View::V2, User::Root),
    (View::V1, User::Ordinary),
    (View::V2, User::Ordinary),
];
/// Both views, the superuser.
pub const ROOT: &[Case] = &[(View::V1, User::Root), (View::V2, User::Root)];
/// Both users, for what has nothing to do with cgroups.
pub const BOTH: &[Case] = &[(View::Any, User::Root), (View::Any, User::Ordinary)];
/// Both views, the ordinary user.
pub const ROOTLESS: &[Case] = &[(View::V1, User::Ordinary), (View::V2, User::Ordinary)];
/// The superuser, for what has nothing to do with cgroups.
pub const ONE: &[Case] = &[(View::Any, User::Root)];
/// The superuser in the v1 view.
pub const V1: &[Case] = &[(View::V1, User::Root)];
/// The superuser in the v2 view.
pub const V2: &[Case] = &[(View::V2, User::Root)];
/// The ordinary user, for what has nothing to do with cgroups.
pub const USER: &[Case] = &[(View::Any, User::Ordinary)];

/// How long a trial may take unless registered with another time.
const PATIENCE: Duration = Duration::from_secs(90);

struct Entry {
    name: String,
    case: Case,
    act: fn(&Trial),
    patience: Duration,
}

/// All the trials of one test binary.
#[derive(Default)]
pub struct Suite {
    entries: Vec<Entry>,
    module: &'static str,
}

impl Suite {
    /// Names the module of the trials that follow.
    pub fn module(&mut self, name: &'static str) -> &mut Suite {
        self.module = name;
        self
    }

    /// Registers a behaviour for each of the cases.
    pub fn on(&mut self, cases: &[Case], name: &str, act: fn(&Trial)) -> &mut Suite {
        self.long(cases, name, PATIENCE.as_secs(), act)
    }

    /// The same with another time limit, in seconds.
    pub fn long(
        &mut self,
        cases: &[Case],
        name: &str,
        seconds: u64,
        act: fn(&Trial),
    ) -> &mut Suite {
        for &case in cases {
            let view = match case.0 {
                View::V1 => "v1-",
                View::V2 => "v2-",
                View::Any => "",
            };
            let user = if case.1 == User::Root { "root" } else { "user" };
            let name = format!("{}::{name}@{view}{user}", self.module);
            let patience = Duration::from_secs(seconds);
            self.entries.push(Entry { name, case, act, patience });
        }
        self
    }

    /// The behaviours' names, without view and user.
    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().filter_map(|entry| entry.name.split('@').next()).collect()
    }

    /// The program: either one trial on its stage, or the runner of them all.
    pub fn main(self) -> ExitCode {
        let words: Vec<String> = std::env::args().collect();
        if words.get(1).is_some_and(|word| word == "__trial") {
            self.perform(&words[2], &words[3]);
        }
        let mut arguments = Arguments::from_args();
        if arguments.test_threads.is_none() {
            arguments.test_threads = Some(2);
        }
        let runtime = Runtime::under_test();
        if !arguments.list {
            match &runtime {
                Ok(found) => eprintln!("runtime: {} ({:?})", found.path.display(), found.kind),
                Err(error) => eprintln!("runtime: {error}"),
            }
        }
        let runtime = Arc::new(runtime);
        let trials = self.entries.into_iter().map(|entry| {
            let runtime = Arc::clone(&runtime);
            libtest_mimic::Trial::ignorable_test(entry.name.clone(), move || {
                supervise(&entry.name, entry.case, entry.patience, &runtime)
            })
        });
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    }

    /// Runs one trial on its stage.
    fn perform(self, name: &str, id: &str) -> ! {
        let entry = self.entries.into_iter().find(|entry| entry.name == name);
        let entry = entry.unwrap_or_else(|| panic!("no trial named {name}"));
        let runtime = Runtime::under_test().expect("the runtime under test");
        let (view, user) = entry.case;
        let view = view.settled(runtime.kind);
        stage::enter(view, user, runtime.kind, id, |dir| {
            let trial = Trial::new(runtime, view, user, id, dir);
            (entry.act)(&trial);
            trial.finish();
        })
    }
}

/// What the machine lacks for a case, if anything.
fn lacking(case: Case) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs the superuser, to make the trial's namespaces".into());
    }
    if case.0 == View::V1 && crate::trial::host_is_unified() {
        return Some("this machine has no v1 hierarchies".into());
    }
    if case.1 == User::Ordinary && !std::path::Path::new("/usr/bin/newuidmap").exists() {
        return Some("newuidmap is not installed".into());
    }
    None
}

/// Starts the trial's process tree and watches it.
fn supervise(
    name: &str,
    case: Case,
    patience: Duration,
    runtime: &Result<Runtime, String>,
) -> Result<Completion, Failed> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    if let Err(error) = runtime {
        return Err(error.into());
    }
    let crun = runtime.as_ref().is_ok_and(|found| found.kind == Kind::Crun);
    if crun && case == (View::V2, User::Root) && !crate::trial::host_is_unified() {
        return Ok(Completion::ignored_with("crun 1.8 wants CAP_SYS_RESOURCE in the v2 view"));
    }
    if let Some(reason) = lacking(case) {
        return Ok(Completion::ignored_with(reason));
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let id = format!("rrt{}x{number}z", std::process::id());
    let log = std::env::temp_dir().join(format!("{id}.log"));
    let file = File::options().create(true).append(true).open(&log)?;
    let own = std::env::current_exe()?;
    let mut child = Command::new(own)
        .args(["__trial", name, &id])
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let end = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    fs::remove_file(&log)?;
    let Some(status) = status else {
        crate::leftovers::remove_groups(&id);
        return Err(format!("watchdog: {} s passed\n{said}", patience.as_secs()).into());
    };
    match status.code() {
        Some(0) => Ok(Completion::Completed),
        Some(SKIPPED) => {
            let reason = said.lines().rev().find_map(|line| line.strip_prefix(SKIP_MARK));
            Ok(Completion::ignored_with(reason.unwrap_or("no reason given")))
        }
        code => Err(format!("{code:?} {:?}\n{said}", status.signal()).into()),
    }
}
