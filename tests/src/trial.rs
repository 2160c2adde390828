//! One trial: a behaviour, in a view of the cgroups, as a user.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::case::{User, View};
use crate::leftovers;
use crate::runtime::{Kind, Runtime};
use crate::stage::{SKIP_MARK, SKIPPED};

/// What a trial's function works with.
pub struct Trial {
    /// The runtime under test.
    pub runtime: Runtime,
    /// The cgroup view.
    pub view: View,
    /// The caller.
    pub user: User,
    /// A name that nothing else on this machine has.
    pub id: String,
    /// The trial's own directory, on a tmpfs.
    pub dir: PathBuf,
    /// What its files are called, where several runtimes share a stage.
    word: String,
    mounts: RefCell<BTreeSet<String>>,
    processes: RefCell<BTreeSet<i32>>,
    counter: Cell<u32>,
}

impl Trial {
    /// A trial on a prepared stage.
    pub fn new(runtime: Runtime, view: View, user: User, id: &str, dir: PathBuf) -> Trial {
        let trial = Trial {
            runtime,
            view,
            user,
            id: id.to_owned(),
            dir,
            word: String::new(),
            mounts: RefCell::default(),
            processes: RefCell::default(),
            counter: Cell::new(0),
        };
        trial.reachable();
        trial.accept_mounts();
        trial
    }

    /// The same stage for another runtime, with a name, a state directory and bundles of its own.
    pub fn beside(&self, runtime: Runtime) -> Trial {
        let word = format!("-{}", runtime.kind);
        let trial = Trial {
            view: self.view,
            user: self.user,
            id: format!("{}{word}", self.id),
            dir: self.dir.clone(),
            mounts: RefCell::default(),
            processes: RefCell::default(),
            // Bundles are numbered in one directory.
            counter: Cell::new(100_000 * (1 + runtime.kind as u32)),
            runtime,
            word,
        };
        fs::create_dir(trial.root()).expect("make the state directory");
        if trial.user == User::Ordinary {
            let owner = Some(crate::stage::USER_ID);
            std::os::unix::fs::chown(trial.root(), owner, owner).expect("chown it");
        }
        trial.reachable();
        trial.accept_mounts();
        trial
    }

    /// Binds the runtime to a path that an ordinary user can reach.
    fn reachable(&self) {
        if self.user == User::Ordinary {
            let place = self.runtime_path();
            fs::write(&place, "").expect("make the runtime's place");
            nix::mount::mount(
                Some(&self.runtime.path),
                &place,
                None::<&str>,
                nix::mount::MsFlags::MS_BIND,
                None::<&str>,
            )
            .expect("bind the runtime");
        }
    }

    /// The path by which the runtime is called.
    pub fn runtime_path(&self) -> PathBuf {
        match self.user {
            User::Root => self.runtime.path.clone(),
            User::Ordinary => self.dir.join(format!("bin/runtime{}", self.word)),
        }
    }

    /// Takes the present mounts as those that may stay.
    pub fn accept_mounts(&self) {
        *self.mounts.borrow_mut() = leftovers::mounts();
    }

    /// Takes the present processes as those that may stay.
    pub fn accept_processes(&self) {
        *self.processes.borrow_mut() =
            leftovers::processes().into_iter().map(|(pid, _)| pid).collect();
    }

    /// Which runtime answers.
    pub fn kind(&self) -> Kind {
        self.runtime.kind
    }

    /// Whether the project's own runtime is under test.
    pub fn is_richrun(&self) -> bool {
        self.kind() == Kind::Richrun
    }

    /// Whether the caller is the superuser.
    pub fn is_root(&self) -> bool {
        self.user == User::Root
    }

    /// Ends the trial as ignored: the machine, or the peer under test, lacks something.
    pub fn skip(&self, reason: &str) -> ! {
        eprintln!("{SKIP_MARK}{reason}");
        std::process::exit(SKIPPED)
    }

    /// Goes on only with the named runtimes; `why` says what the others lack.
    pub fn only(&self, kinds: &[Kind], why: &str) {
        if !kinds.contains(&self.kind()) {
            self.skip(&format!("{:?}: {why}", self.kind()));
        }
    }

    /// The number of the next file, bundle or container.
    pub fn next(&self) -> u32 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    /// The state directory given with `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.join(format!("root{}", self.word))
    }

    /// A container id of this trial.
    pub fn name(&self, word: &str) -> String {
        format!("{}-{word}", self.id)
    }

    /// Checks that nothing is left behind; panics with the list otherwise.
    pub fn finish(&self) {
        if let Err(left) = self.left_behind() {
            panic!("{left}");
        }
    }

    /// What is left behind, if anything.
    ///
    /// # Errors
    /// The list.
    pub fn left_behind(&self) -> Result<(), String> {
        let (mounts, stay) = (self.mounts.borrow(), self.processes.borrow());
        let before = (&*mounts, &*stay);
        leftovers::check(self.kind(), &self.id, &self.root(), before)
    }

    /// The cgroup directories of a container whose `cgroupsPath` is `/<name>`.
    pub fn cgroup_dirs(&self, name: &str) -> Vec<PathBuf> {
        leftovers::cgroups(name)
    }

    /// The cgroup directory of `name` under a v1 controller, or the only one on v2.
    pub fn cgroup(&self, controller: &str, name: &str) -> PathBuf {
        let base = Path::new("/sys/fs/cgroup");
        match self.view {
            View::V1 => base.join(controller).join(name),
            View::V2 | View::Any => base.join(name),
        }
    }
}
