//! A directory of its own for each test, one test at a time: the tests look at
//! descriptors, children and signals, which all tests of a process share.
#![allow(dead_code)] // each test file uses its part

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal};
use oci_spec::runtime::Hook;
use rich_hooks::{HookError, Options, Phase, run_phase};

/// A state document as a runtime writes it.
pub const STATE: &[u8] =
    br#"{"ociVersion":"1.3.0","id":"stage","status":"creating","pid":42,"bundle":"/b"}"#;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The directory; removed at the end.
pub struct Stage {
    directory: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub fn new() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // The pid alone would not do: tests that run as PID 1 share the directory.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let directory =
            std::env::temp_dir().join(format!("rich-hooks-{}-{now}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Stage { directory, _turn: turn }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn exists(&self, name: &str) -> bool {
        std::fs::metadata(self.path(name)).is_ok_and(|file| file.len() > 0)
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    pub fn pids(&self, name: &str) -> Vec<i32> {
        self.read(name).lines().map(|line| line.trim().parse().unwrap()).collect()
    }

    /// An executable file of that text; returns its path.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn run(&self, phase: Phase, hooks: &[Hook]) -> Result<(), HookError> {
        run_phase(phase, hooks, STATE, &Options::default())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub fn hook(json: &str) -> Hook {
    serde_json::from_str(json).unwrap()
}

/// A hook that is a line of shell.
pub fn shell(script: &str) -> Hook {
    hook(&serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]}).to_string())
}

/// Running: a zombie is not.
pub fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many children of this process there are, zombies included.
pub fn children() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let lists = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")));
    lists.map(|list| list.unwrap_or_default().split_whitespace().count()).sum()
}

pub fn is_subreaper() -> bool {
    rustix::process::child_subreaper().unwrap().is_some()
}

pub fn with_subreaper(body: impl FnOnce()) {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    body();
    rustix::process::set_child_subreaper(None).unwrap();
}

/// Runs `test` of this test program again, in a process whose shell has ignored `signals`
/// first; there, and only there, it returns true.
pub fn ignoring(signals: &str, test: &str) -> bool {
    below(&["sh", "-c", &format!("trap '' {signals}; exec \"$0\" \"$@\"")], test)
}

/// Runs `test` of this test program again, as the command of `wrapper`; there, and only there,
/// it returns true.
pub fn below(wrapper: &[&str], test: &str) -> bool {
    if std::env::var_os("RICH_HOOKS_BELOW").is_some() {
        return true;
    }
    let mut command = std::process::Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(std::env::current_exe().unwrap()).args(["--exact", test]);
    assert!(command.env("RICH_HOOKS_BELOW", "1").status().unwrap().success(), "see above");
    false
}

/// `SigBlk` and `SigIgn` of this thread.
pub fn signals() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let own = |line: &&str| ["SigBlk:", "SigIgn:"].iter().any(|s| line.starts_with(s));
    status.lines().filter(own).map(|line| format!("{line}\n")).collect()
}

/// Blocks USR1 in this thread.
pub fn block_one_signal() {
    let mut one = SigSet::empty();
    one.add(Signal::SIGUSR1);
    one.thread_block().unwrap();
}
