//! Effects on resctrl, the kernel's classes of cache and memory bandwidth (`linux.intelRdt`),
//! by the descriptor of its root.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, flock, mkdirat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::file;
use super::walk::open_dir;
use crate::error::{Error, Result};
use crate::log;
use crate::plan::rdt::{Act, Class, RdtPlan, mount_point, text};
use crate::plan::rdt_stats::IntelRdt;

/// The tasks of a class or monitoring group.
const TASKS: &str = "tasks";
/// What a class or monitoring group counts.
const DATA: &str = "mon_data";
/// What a class may use.
const SCHEMATA: &str = "schemata";
/// How long others may keep resctrl locked (flock(2) on its root, as the kernel's documentation
/// asks of all who change it).
const LOCK_BOUND: Duration = Duration::from_secs(10);

/// What `state.json` keeps of a container's class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdtRecord {
    /// Where resctrl is mounted.
    pub root: String,
    /// The class's directory; empty: the root, the default class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// The directory was made for this container.
    #[serde(default)]
    pub made: bool,
    /// Others may be in it: `closID` named it.
    #[serde(default)]
    pub shared: bool,
    /// The monitoring group in it that was made for this container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<String>,
}

/// The root of resctrl.
#[derive(Debug)]
pub struct Resctrl {
    root: OwnedFd,
    path: String,
}

impl Resctrl {
    /// Where this mount namespace has it.
    ///
    /// # Errors
    /// No resctrl is mounted.
    pub fn find() -> Result<Resctrl> {
        let step = |errno| Error::os("read /proc/self/mountinfo", errno);
        let mounts = file::open(CWD, "/proc/self/mountinfo", OFlags::RDONLY).map_err(step)?;
        let mounts = file::read_all(&mounts).map_err(step)?;
        let path = mount_point(&mounts)
            .ok_or_else(|| Error::config("linux.intelRdt: no resctrl file system is mounted"))?;
        Resctrl::at(path)
    }

    fn at(path: String) -> Result<Resctrl> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(path.as_str(), flags, Mode::empty())
            .map_err(|errno| Error::os(format!("linux.intelRdt: open {path}"), errno))?;
        Ok(Resctrl { root, path })
    }

    /// What [`Resctrl::make`] has made by this plan, where nobody has kept it. A class that
    /// `closID` names may have been there: that is left, and its monitoring group is not.
    pub fn made_by(&self, plan: &RdtPlan) -> RdtRecord {
        let (class, shared) = place(&plan.class);
        let monitoring = plan.monitoring.clone();
        RdtRecord { root: self.path.clone(), class, made: !shared, shared, monitoring }
    }

    /// Makes what is asked for, or sees that it is there. What is to be made is given to `keep`
    /// before it is, and whenever that changes: after a failure that is what is to be removed.
    ///
    /// # Errors
    /// The class is not as it must be; the kernel's answer, with its own words for it.
    pub fn make(
        &self,
        plan: &RdtPlan,
        keep: &mut dyn FnMut(&RdtRecord) -> Result<()>,
    ) -> Result<()> {
        self.lock()?;
        let done = self.make_locked(plan, keep);
        self.unlock();
        done
    }

    fn make_locked(
        &self,
        plan: &RdtPlan,
        keep: &mut dyn FnMut(&RdtRecord) -> Result<()>,
    ) -> Result<()> {
        let (class, shared) = place(&plan.class);
        let mut record =
            RdtRecord { root: self.path.clone(), class, made: false, shared, monitoring: None };
        let there = self.schemata(&record.class)?;
        if plan.act(there.as_deref())? == Act::Make {
            record.made = true;
            keep(&record)?;
            if let Err(errno) = mkdirat(&self.root, record.class.as_str(), Mode::from(0o755)) {
                if errno == Errno::EXIST {
                    // Somebody made it who takes no lock.
                    record.made = false;
                    keep(&record)?;
                }
                return Err(self.error(format!("make class {}", record.class), errno));
            }
            self.write_schemata(&record.class, &plan.lines)?;
        }
        let features = self.get("info/L3_MON/mon_features").unwrap_or_default();
        plan.missing(&features).iter().for_each(log::warn);
        if let Some(name) = &plan.monitoring {
            record.monitoring = Some(name.clone());
            keep(&record)?;
            if let Err(errno) = mkdirat(&self.root, record.monitor(name), Mode::from(0o755)) {
                if errno == Errno::EXIST {
                    record.monitoring = None;
                    keep(&record)?;
                }
                let step = format!("enableMonitoring: make {}", record.monitor(name));
                return Err(self.error(step, errno));
            }
        }
        keep(&record)
    }

    /// What a class has in its `schemata`; `None`: there is no such class.
    fn schemata(&self, class: &str) -> Result<Option<String>> {
        let name = below(class, SCHEMATA);
        match self.get(&name) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT) => match open_dir(&self.root, below(class, ".").as_str()) {
                // It is somebody's, without anything to compare (monitoring alone).
                Ok(_) => Ok(Some(String::new())),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(self.error(format!("open {class}"), errno)),
            },
            Err(errno) => Err(self.error(format!("read {name}"), errno)),
        }
    }

    fn write_schemata(&self, class: &str, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let name = below(class, SCHEMATA);
        file::put(&self.root, &name, &text(lines))
            .map_err(|errno| self.error(format!("write {:?} to {name}", lines.join("\n")), errno))
    }

    fn get(&self, name: &str) -> std::result::Result<String, Errno> {
        file::get(&self.root, name)
    }

    /// The error of a step, with what the kernel says of its last command.
    fn error(&self, step: String, errno: Errno) -> Error {
        let words = self.get("info/last_cmd_status").unwrap_or_default();
        let words = match words.trim() {
            "" | "ok" => String::new(),
            words => format!(" ({})", words.replace('\n', "; ")),
        };
        Error::os(format!("linux.intelRdt: {step} in {}{words}", self.path), errno)
    }

    fn lock(&self) -> Result<()> {
        let end = Instant::now() + LOCK_BOUND;
        let mut pause = Duration::from_millis(1);
        loop {
            match flock(&self.root, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => {}
                Err(errno) => return Err(self.error("lock it".to_owned(), errno)),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn unlock(&self) {
        // A lock that was taken can be given back; the end of the process would do it, too.
        let _ = flock(&self.root, FlockOperation::Unlock);
    }
}

/// The names in a directory, in their order; none where it cannot be read.
fn names(root: &OwnedFd, directory: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let listing = fs::openat(root, directory, flags, Mode::empty());
    let entries = listing.ok().and_then(|dir| Dir::new(dir).ok());
    let names = entries.into_iter().flatten().flatten();
    let mut names: Vec<String> =
        names.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).collect();
    names.sort();
    names
}

/// Whether a task is there and has not ended: one that nobody has waited for is still listed.
fn lives(task: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{task}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The directory of a class, and whether others may be in it.
fn place(class: &Class) -> (String, bool) {
    match class {
        Class::Default => (String::new(), true),
        Class::Own(name) => (name.clone(), false),
        Class::Named(name) => (name.clone(), true),
    }
}

/// A file of a class, from the root.
fn below(class: &str, name: &str) -> String {
    if class.is_empty() { name.to_owned() } else { format!("{class}/{name}") }
}

impl RdtRecord {
    /// The directory of a monitoring group of the class.
    fn monitor(&self, name: &str) -> String {
        below(&self.class, &format!("mon_groups/{name}"))
    }

    /// Brings process `pid`, of one thread, into the class, and then into the monitoring group.
    /// What it starts from then on is there, too.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn join(&self, pid: i32) -> Result<()> {
        let resctrl = Resctrl::at(self.root.clone())?;
        for group in self.groups() {
            let tasks = below(&group, TASKS);
            file::put(&resctrl.root, &tasks, &pid.to_string())
                .map_err(|errno| resctrl.error(format!("write {pid} to {tasks}"), errno))?;
        }
        Ok(())
    }

    /// The same for who enters later: where somebody has taken the class away the container is
    /// in the default one, and so is he.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn join_later(&self, pid: i32) -> Result<()> {
        match self.join(pid) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
            joined => joined,
        }
    }

    /// The class and the monitoring group, from the root.
    fn groups(&self) -> impl Iterator<Item = String> {
        let monitor = self.monitoring.as_deref().map(|name| self.monitor(name));
        std::iter::once(self.class.clone()).chain(monitor)
    }

    /// Takes away what was made for the container: its monitoring group, and its class, unless
    /// others are in one that `closID` names. Repeatable.
    ///
    /// # Errors
    /// What is left.
    pub fn remove(&self) -> Result<()> {
        if !self.made && self.monitoring.is_none() {
            return Ok(());
        }
        let resctrl = match Resctrl::at(self.root.clone()) {
            Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(()),
            resctrl => resctrl?,
        };
        resctrl.lock()?;
        let removed = self.remove_locked(&resctrl);
        resctrl.unlock();
        removed
    }

    fn remove_locked(&self, resctrl: &Resctrl) -> Result<()> {
        let remove =
            |directory: &str| match unlinkat(resctrl.root.as_fd(), directory, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(resctrl.error(format!("remove {directory}"), errno)),
            };
        if let Some(name) = &self.monitoring {
            remove(&self.monitor(name))?;
        }
        let others = || {
            let tasks = resctrl.get(&below(&self.class, TASKS)).unwrap_or_default();
            tasks.lines().any(lives)
        };
        if !self.made || self.shared && others() {
            return Ok(());
        }
        remove(&self.class)
    }

    /// What the container's class may use and its groups count, for `events`; nothing of what
    /// cannot be read (resctrl is mounted no longer).
    pub fn stats(&self) -> IntelRdt {
        let Ok(resctrl) = Resctrl::at(self.root.clone()) else { return IntelRdt::default() };
        let counted = self.groups().last().unwrap_or_default();
        let domains = names(&resctrl.root, &below(&counted, DATA));
        let read = |name: &str| resctrl.get(name).ok();
        let schemata = read(&below(&self.class, SCHEMATA)).unwrap_or_default();
        IntelRdt::new(&read, &schemata, &below(&counted, DATA), &domains)
    }

    /// Writes other lines into the class's `schemata`; returns what it had.
    ///
    /// # Errors
    /// The kernel's answer, and nothing has changed; the class is gone.
    pub fn update(&self, lines: &[String]) -> Result<Vec<String>> {
        let resctrl = Resctrl::at(self.root.clone())?;
        resctrl.lock()?;
        let before = resctrl.schemata(&self.class);
        let done = before.and_then(|before| {
            resctrl.write_schemata(&self.class, lines)?;
            Ok(before.unwrap_or_default().lines().map(|line| line.trim().to_owned()).collect())
        });
        resctrl.unlock();
        done
    }
}
