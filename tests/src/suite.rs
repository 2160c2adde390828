//! Registration and running of trials, on libtest-mimic (and so under nextest).

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed};

use crate::case::{User, View};
use crate::runtime::{Kind, Runtime};
use crate::stage::{self, SKIP_MARK, SKIPPED};
use crate::trial::Trial;

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
const PATIENCE: Duration = Duration::from_secs(600);

type Act = Arc<dyn Fn(&Trial) + Send + Sync>;

struct Entry {
    name: String,
    case: Case,
    act: Act,
    patience: Duration,
    /// Which runtime it is about.
    under: Under,
}

/// Whose behaviour a trial looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    /// The runtime under test.
    Test,
    /// The runtime under test, in a trial that a peer has too.
    Compared,
    /// The runtime under test, and its peers beside it.
    Together,
    /// The peer of this name.
    Peer(&'static str),
}

impl Under {
    /// The runtime itself; an error is a reason to ignore a peer's trial.
    fn find(self) -> Result<Runtime, String> {
        match self {
            Under::Test | Under::Compared | Under::Together => Runtime::under_test(),
            Under::Peer(name) => {
                Runtime::peer(name).ok_or_else(|| format!("{name} is not installed"))
            }
        }
    }
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
    pub fn on(
        &mut self,
        cases: &[Case],
        name: &str,
        act: impl Fn(&Trial) + Send + Sync + 'static,
    ) -> &mut Suite {
        self.long(cases, name, PATIENCE.as_secs(), act)
    }

    /// Registers a behaviour three times: for runc, for crun, and for the
    /// runtime under test. All three see the same view of the cgroups.
    pub fn compare(
        &mut self,
        cases: &[Case],
        name: &str,
        act: impl Fn(&Trial) + Send + Sync + 'static,
    ) -> &mut Suite {
        let act: Act = Arc::new(act);
        let all = [("runc", Under::Peer("runc")), ("crun", Under::Peer("crun"))];
        for (word, under) in all.into_iter().chain([("richrun", Under::Compared)]) {
            self.add(cases, &format!("{name}::{word}"), PATIENCE, Arc::clone(&act), under);
        }
        self
    }

    /// Registers a behaviour of the runtime under test that is compared with its peers' on
    /// one stage, which is as the peers need it.
    pub fn together(
        &mut self,
        cases: &[Case],
        name: &str,
        seconds: u64,
        act: impl Fn(&Trial) + Send + Sync + 'static,
    ) -> &mut Suite {
        let patience = Duration::from_secs(seconds);
        self.add(cases, name, patience, Arc::new(act), Under::Together);
        self
    }

    /// As [`Suite::on`], with another time limit, in seconds.
    pub fn long(
        &mut self,
        cases: &[Case],
        name: &str,
        seconds: u64,
        act: impl Fn(&Trial) + Send + Sync + 'static,
    ) -> &mut Suite {
        self.add(cases, name, Duration::from_secs(seconds), Arc::new(act), Under::Test);
        self
    }

    fn add(&mut self, cases: &[Case], name: &str, patience: Duration, act: Act, under: Under) {
        for &case in cases {
            let view = match case.0 {
                View::V1 => "v1-",
                View::V2 => "v2-",
                View::Any => "",
            };
            let user = if case.1 == User::Root { "root" } else { "user" };
            let name = format!("{}::{name}@{view}{user}", self.module);
            self.entries.push(Entry { name, case, act: Arc::clone(&act), patience, under });
        }
    }

    /// The behaviours' names, without view and user.
    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().filter_map(|entry| entry.name.split('@').next()).collect()
    }

    /// The program: either one trial on its stage, or the runner of them all.
    pub fn main(self) -> ExitCode {
        crate::sys::forget_inherited_signals();
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
        let trials = self.entries.into_iter().map(|entry| {
            libtest_mimic::Trial::ignorable_test(entry.name.clone(), move || supervise(&entry))
        });
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    }

    /// Runs one trial on its stage.
    fn perform(self, name: &str, id: &str) -> ! {
        let entry = self.entries.into_iter().find(|entry| entry.name == name);
        let entry = entry.unwrap_or_else(|| panic!("no trial named {name}"));
        let runtime = entry.under.find().expect("the trial's runtime");
        let (view, user) = entry.case;
        let view = view.settled(&runtime);
        let peer = runtime.kind != Kind::Richrun || entry.under == Under::Together;
        // crun refuses a hybrid host whose cgroup2 tree has controllers.
        let pure_v1 = runtime.kind == Kind::Crun || entry.under != Under::Test;
        stage::enter((view, user), peer, pure_v1, id, |dir| {
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
    if case.0 == View::V1 && crate::case::host_is_unified() {
        return Some("this machine has no v1 hierarchies".into());
    }
    if case.1 == User::Ordinary && !std::path::Path::new("/usr/bin/newuidmap").exists() {
        return Some("newuidmap is not installed".into());
    }
    None
}

/// Runs the trial, if the machine has what it needs.
///
/// A peer's trial has a second attempt: peers have races of their own, which show on a
/// busy machine and say nothing of the runtime under test (runc 1.1 gives up removing a
/// cgroup after a third of a second, and forgets it: one in a hundred of its trials of a
/// hook that kills the container). An expectation that a peer never meets still fails.
fn supervise(entry: &Entry) -> Result<Completion, Failed> {
    let case = entry.case;
    let runtime = match (entry.under.find(), entry.under) {
        (Ok(runtime), _) => runtime,
        (Err(reason), Under::Peer(_)) => return Ok(Completion::ignored_with(reason)),
        (Err(error), _) => return Err(error.into()),
    };
    let v2_root = case == (View::V2, User::Root) && !crate::case::host_is_unified();
    if v2_root && !runtime.works_in_v2() {
        return Ok(Completion::ignored_with(
            "crun before 1.9 wants CAP_SYS_RESOURCE in the v2 view",
        ));
    }
    if let Some(reason) = lacking(case) {
        return Ok(Completion::ignored_with(reason));
    }
    attempt(entry).or_else(|first| {
        if !matches!(entry.under, Under::Peer(_)) {
            return Err(first);
        }
        let said = first.message().unwrap_or_default();
        eprintln!("{} failed, and is tried once more: {said}", entry.name);
        attempt(entry)
    })
}

/// Starts the trial's process tree and watches it.
fn attempt(entry: &Entry) -> Result<Completion, Failed> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (name, patience) = (&entry.name, entry.patience);
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
