//! What every trial here begins with: the programs side by side, and a root file system.

use std::fs;
use std::path::{Path, PathBuf};

use richrun_tests::Trial;
use richrun_tests::bundle::Bundle;
use richrun_tests::command::{Cmd, wait_until};
use serde_json::Value;

/// The programs and one place for containers.
pub struct Direct<'t> {
    pub trial: &'t Trial,
    pub bundle: Bundle,
    pub bin: PathBuf,
    pub place: PathBuf,
}

/// Where richctl and rich-monitor are.
fn built(trial: &Trial) -> PathBuf {
    if let Some(path) = std::env::var_os("RICHCTL") {
        return Path::new(&path).parent().expect("a directory").to_owned();
    }
    let here = std::env::current_exe().expect("the test's own path");
    let profiles = here.ancestors().nth(3).expect("a target directory");
    let dir = profiles.join("bundles");
    if !dir.join("richctl").exists() {
        trial.skip("no richctl: cargo build --profile bundles --package rich-bundles --bins");
    }
    dir
}

impl<'t> Direct<'t> {
    /// The programs in the trial's directory, where the ordinary user can reach them.
    pub fn new(trial: &'t Trial) -> Direct<'t> {
        let from = built(trial);
        let bin = trial.dir.join("bin/direct");
        fs::create_dir_all(&bin).expect("make the programs' directory");
        for name in ["richctl", "rich-monitor"] {
            fs::copy(from.join(name), bin.join(name)).expect("copy a program");
        }
        fs::copy(&trial.runtime.path, bin.join("richrun")).expect("copy the runtime");
        let bundle = trial.bundle(|_| {});
        let place = trial.dir.join("run/place");
        Direct { trial, bundle, bin, place }
    }

    /// A root file system as a SOURCE.
    pub fn rootfs(&self) -> String {
        self.bundle.rootfs().display().to_string()
    }

    /// A command of richctl.
    pub fn ctl<S: AsRef<str>>(&self, args: &[S]) -> Cmd<'t> {
        let richctl = self.bin.join("richctl");
        let command = self.trial.cmd(richctl.to_str().expect("utf-8"), &["--root"]);
        command.arg(self.place.to_str().expect("utf-8")).args(args)
    }

    /// `run -d --name NAME OPTIONS... ROOTFS sh -c SCRIPT`.
    pub fn background(&self, name: &str, options: &[&str], script: &str) {
        let rootfs = self.rootfs();
        let words = [&["run", "-d", "--name", name], options, &[&rootfs, "sh", "-c", script]];
        self.ctl(&words.concat()).ok();
    }

    /// `inspect NAME`.
    pub fn inspect(&self, name: &str) -> Value {
        let text = self.ctl(&["inspect", name]).ok().out;
        let all: Value = serde_json::from_str(&text).expect("JSON");
        all[0].clone()
    }

    /// Waits until the logs hold `word`.
    pub fn wait_for_log(&self, name: &str, word: &str) {
        wait_until(&format!("{word:?} in the log of {name}"), || {
            self.ctl(&["logs", name]).run().out.contains(word)
        });
    }

    /// Kills a process and waits until it is gone.
    pub fn kill(&self, pid: i64) {
        richrun_tests::sys::kill(pid as i32, 9);
        wait_until("the end of a killed process", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
        });
    }

    /// Forgets everything; the trial's own check for leftovers follows.
    pub fn clean(&self) {
        self.ctl(&["rm", "--all", "--force"]).ok();
        wait_until("the end of the monitors", || {
            !richrun_tests::leftovers::processes().iter().any(|(_, stat)| stat.contains("(rich-"))
        });
    }
}
