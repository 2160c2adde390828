//! Containers as the trials use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bundle::{Bundle, sh};
use crate::command::{Cmd, Output, PATIENCE, wait_until};
use crate::trial::Trial;

/// What keeps a container running until a `TERM`, which ends it with status 7.
pub const IDLE: &str = "trap 'exit 7' TERM; while :; do sleep 0.05; done";

/// Whether the container's payload has its handler for `TERM`: a first process without one
/// does not even notice the signal. Behind rich-init it is one of the children.
fn obeys(first: &str) -> bool {
    let comm = fs::read_to_string(format!("/proc/{first}/comm")).unwrap_or_default();
    match comm.trim() {
        "sh" | "busybox" => catches_term(first),
        comm if comm.starts_with("rich-init") => {
            let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
            children.unwrap_or_default().split_whitespace().any(obeys)
        }
        _ => false, // still the runtime's own program, which may catch everything
    }
}

fn catches_term(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|bits| bits & 0x4000 != 0)
}

/// A container that was created or started.
pub struct Container<'t> {
    trial: &'t Trial,
    /// Its bundle.
    pub bundle: Bundle,
    /// Its id.
    pub id: String,
}

impl Trial {
    /// Runs a container in the foreground with a shell script, and its deletion checked.
    pub fn sh(&self, script: &str) -> Output {
        self.sh_with(script, |_| {})
    }

    /// The same with a changed configuration.
    pub fn sh_with(&self, script: &str, edit: impl FnOnce(&mut Value)) -> Output {
        let bundle = self.bundle(|config| {
            sh(config, script);
            edit(config);
        });
        self.run(&bundle)
    }

    /// Runs a bundle in the foreground.
    pub fn run(&self, bundle: &Bundle) -> Output {
        self.run_cmd(bundle, &[]).run()
    }

    /// The foreground `run` of a bundle, options added, not yet started.
    pub fn run_cmd(&self, bundle: &Bundle, options: &[&str]) -> Cmd<'_> {
        self.rt(&["run", "--bundle", bundle.path()]).args(options).arg(&bundle.id)
    }

    /// Creates a container of a bundle.
    pub fn create(&self, bundle: &Bundle) -> Container<'_> {
        self.rt(&["create", "--bundle", bundle.path(), &bundle.id]).ok();
        self.take(bundle)
    }

    /// A container of the bundle, whatever was done to it.
    pub fn take(&self, bundle: &Bundle) -> Container<'_> {
        Container { trial: self, bundle: bundle.clone(), id: bundle.id.clone() }
    }

    /// Runs a bundle detached.
    pub fn detach(&self, bundle: &Bundle) -> Container<'_> {
        self.rt(&["run", "-d", "--bundle", bundle.path(), &bundle.id]).ok();
        self.take(bundle)
    }

    /// A running container that idles, its configuration changed.
    pub fn idle_with(&self, edit: impl FnOnce(&mut Value)) -> Container<'_> {
        let bundle = self.bundle(|config| {
            sh(config, IDLE);
            edit(config);
        });
        let file = self.dir.join("run").join(&bundle.id);
        let file = file.to_str().expect("utf-8 path");
        self.rt(&["run", "-d", "--pid-file", file, "-b", bundle.path(), &bundle.id]).ok();
        let pid = fs::read_to_string(file).expect("the pid file");
        if bundle.config()["process"]["args"][2] == IDLE {
            let (pid, end) = (pid.trim(), Instant::now() + PATIENCE / 6);
            while !obeys(pid) && Path::new("/proc").join(pid).exists() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.take(&bundle)
    }

    /// A running container that idles.
    pub fn idle(&self) -> Container<'_> {
        self.idle_with(|_| {})
    }
}

impl Container<'_> {
    /// Whether a payload that [`IDLE`]s would obey a `TERM` by now.
    pub fn obeys(&self) -> bool {
        obeys(&self.pid().to_string())
    }

    /// The document of `state`.
    pub fn state(&self) -> Value {
        self.trial.rt(&["state", &self.id]).ok().json()
    }

    /// Its status.
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status").to_owned()
    }

    /// The pid of its first process, as the trial sees it.
    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().expect("pid") as i32
    }

    /// Waits for a status.
    pub fn wait(&self, status: &str) {
        wait_until(&format!("{} to be {status}", self.id), || self.status() == status);
    }

    /// Any command about it: `verb [options] ID [args]`.
    pub fn verb(&self, verb: &str, args: &[&str]) -> Cmd<'_> {
        self.trial.rt(&[verb, &self.id]).args(args)
    }

    /// Starts it.
    pub fn start(&self) {
        self.verb("start", &[]).ok();
    }

    /// Runs a script inside.
    pub fn exec(&self, script: &str) -> Output {
        self.exec_cmd(&[], &["sh", "-c", script]).run()
    }

    /// The `exec` command with options and a command line, not yet started.
    pub fn exec_cmd(&self, options: &[&str], words: &[&str]) -> Cmd<'_> {
        self.trial.rt(&["exec"]).args(options).arg(&self.id).args(words)
    }

    /// Sends a signal by name or number.
    pub fn kill(&self, signal: &str) {
        self.verb("kill", &[signal]).ok();
    }

    /// Kills and deletes it.
    pub fn remove(&self) {
        self.trial.rt(&["delete", "--force", &self.id]).ok();
    }

    /// A file of `/proc/<its pid>`.
    pub fn proc_file(&self, name: &str) -> String {
        let path = PathBuf::from(format!("/proc/{}/{name}", self.pid()));
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}
