//! A private world for engines: namespaces, directories, cgroups.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use crate::command::{PATIENCE, run};
use crate::view::{View, hierarchies};

/// The beginning of the name of everything a sandbox makes outside itself; the pid follows.
const PREFIX: &str = "richrun-engines-";

/// The ordinary user of the rootless scenarios.
pub fn ordinary_user() -> String {
    std::env::var("TEST_USER").unwrap_or_else(|_| "richrun-test".into())
}

/// Private mount, network, pid and ipc namespaces, held by a shell as PID 1.
#[derive(Debug)]
pub struct Sandbox {
    /// The cgroup layout seen inside.
    pub view: View,
    /// A directory of its own. `private` in it is a tmpfs that only the inside sees.
    pub work: PathBuf,
    /// The name of the cgroup, in every hierarchy, under which engines put containers.
    pub cgroup: String,
    staging: Mutex<()>,
    holder: Child,
    /// PID 1 of the sandbox, as the host numbers it.
    init: i32,
}

/// What [`Sandbox::trusting`] is called.
pub const TRUSTING: &str = "richrun-trusting";

impl Sandbox {
    /// Starts a sandbox. Needs root.
    pub fn start(view: View) -> Result<Self, String> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), view.name());
        let work = std::env::temp_dir().join(&name);
        fs::create_dir_all(work.join("private"))
            .map_err(|error| format!("{}: {error}", work.display()))?;
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--pid",
            "--ipc",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command
            .args(["sh", "-c", include_str!("sandbox.sh"), "sandbox", view.name()])
            .arg(&work)
            .arg(ordinary_user());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut ready = String::new();
        if let Some(stdout) = holder.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut ready);
        }
        let init = only_child(holder.id());
        let mut sandbox =
            Self { view, work, cgroup: name, staging: Mutex::new(()), holder, init: 0 };
        if ready.trim() != "ready" {
            return Err(format!("the sandbox of view {} did not come up", sandbox.view.name()));
        }
        sandbox.init = init.ok_or("the sandbox has no first process")?;
        Ok(sandbox)
    }

    /// `program` inside the sandbox.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--mount", "--net", "--pid", "--ipc", "--"])
            .arg(program);
        command
    }

    /// `program` inside the sandbox, as the ordinary user.
    pub fn command_as_user(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let user = ordinary_user();
        let mut command = self.command("setpriv");
        command
            .args(["--reuid", &user, "--regid", &user, "--init-groups", "--inh-caps=-all", "--"])
            .arg(program);
        command
    }

    /// The ordinary user's runtime directory, inside.
    pub fn user_runtime_dir(&self) -> PathBuf {
        Path::new("/run/user").join(uid(&ordinary_user()).to_string())
    }

    /// The directory that only the inside sees.
    pub fn private(&self) -> PathBuf {
        self.work.join("private")
    }

    /// Copies a program, once, to where everybody inside, the ordinary user too, can start it.
    pub fn stage(&self, name: &str, program: &Path) -> Result<PathBuf, String> {
        let _one_at_a_time = self.staging.lock().map_err(|error| error.to_string())?;
        let target = self.work.join(name);
        if target.exists() {
            return Ok(target);
        }
        fs::copy(program, &target).map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(target)
    }

    /// richrun where the administrator has made everything rich and given a directory of
    /// hooks, in `/etc/richrun/config.toml`. The sandbox has the host's `/etc`: this is a
    /// script that names another file.
    pub fn configured(&self, richrun: &Path) -> Result<PathBuf, String> {
        let _one_at_a_time = self.staging.lock().map_err(|error| error.to_string())?;
        let script = self.work.join("richrun-configured");
        if !script.exists() {
            self.configure(richrun, &script)
                .map_err(|error| format!("{}: {error}", script.display()))?;
        }
        Ok(script)
    }

    fn configure(&self, richrun: &Path, script: &Path) -> std::io::Result<()> {
        let hooks = self.work.join("hooks.d");
        fs::create_dir(&hooks)?;
        fs::write(self.noted(), "")?;
        fs::set_permissions(self.noted(), fs::Permissions::from_mode(0o666))?;
        let note = format!("cat >>{}", self.noted().display());
        let hook = serde_json::json!({
            "version": "1.0.0",
            "hook": {"path": "/bin/sh", "args": ["sh", "-c", note]},
            "when": {"annotations": {"^org\\.example\\.note$": "."}},
            "stages": ["createRuntime"],
        });
        fs::write(hooks.join("note.json"), hook.to_string())?;
        let rich = "[rich]\nrich = true\ninitcmd = \"echo by file >/tmp/order\"\n";
        let settings = format!("hooks_dirs = [\"{}\"]\n{rich}", hooks.display());
        self.with_settings(richrun, script, &settings)
    }

    /// richrun where the administrator trusts whoever has a say in a container's
    /// configuration: an init of the image's gets what its payload lacks.
    pub fn trusting(&self, richrun: &Path) -> Result<PathBuf, String> {
        let _one_at_a_time = self.staging.lock().map_err(|error| error.to_string())?;
        let script = self.work.join(TRUSTING);
        if !script.exists() {
            let settings = "[rich]\ntrust = [\"annotations\", \"environment\", \"command\"]\n";
            self.with_settings(richrun, &script, settings)
                .map_err(|error| format!("{}: {error}", script.display()))?;
        }
        Ok(script)
    }

    fn with_settings(&self, richrun: &Path, script: &Path, text: &str) -> std::io::Result<()> {
        let [settings, new] = ["toml", "new"].map(|end| script.with_extension(end));
        fs::write(&settings, text)?;
        let (settings, richrun) = (settings.display(), richrun.display());
        fs::write(&new, format!("#!/bin/sh\nRICHRUN_CONFIG={settings} exec {richrun} \"$@\"\n"))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, script)
    }

    /// Where that one's hook writes the state of every container with an annotation `org.example.note`.
    pub fn noted(&self) -> PathBuf {
        self.work.join("noted")
    }

    /// The file of a knob of a process's cgroup, where the host sees it.
    /// `pid` is its number inside; `controller` the v1 hierarchy.
    pub fn knob(&self, pid: i32, controller: &str, file: &str) -> Result<PathBuf, String> {
        let mut command = self.command("cat");
        command.arg(format!("/proc/{pid}/cgroup"));
        let table = run(command, b"", PATIENCE)?.text()?;
        Ok(self.view.knob(&self.view.path_in(&table, controller)?, controller, file))
    }

    /// A new cgroup2 group, where the host sees it, in a group that is the
    /// ordinary user's: as a login session has it.
    pub fn delegated(&self, name: &str) -> Result<PathBuf, String> {
        let top = self.view.knob(&format!("{}/delegated", self.cgroup), "", "");
        let own = top.join(name);
        let told = |error: std::io::Error| format!("{}: {error}", own.display());
        fs::create_dir_all(&own).map_err(told)?;
        let owner = Some(uid(&ordinary_user()));
        for dir in [&top, &own] {
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                chown(dir.join(file), owner, owner).map_err(told)?;
            }
        }
        Ok(own)
    }

    /// Ends everything and checks that nothing is left.
    pub fn close(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        if self.holder.stdin.take().is_none() {
            return Ok(());
        }
        let _ = crate::command::wait(&mut self.holder, PATIENCE);
        let left = remove_cgroups(&self.cgroup);
        let removed = fs::remove_dir_all(&self.work);
        if left.is_empty() {
            removed.map_err(|error| error.to_string())
        } else {
            Err(format!("cgroups left: {left:?}"))
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(reason) = self.end() {
            eprintln!("sandbox {}: {reason}", self.cgroup);
        }
    }
}

/// Removes what an earlier run, ended by force, has left.
pub fn sweep() {
    let dead = |name: &str| {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| dead(name))
            .collect()
    };
    for name in hierarchies().iter().flat_map(|root| names(root)) {
        remove_cgroups(&name);
    }
    for name in names(&std::env::temp_dir()) {
        let _ = fs::remove_dir_all(std::env::temp_dir().join(name));
    }
}

/// The groups of podman's own default parent that are not there: it makes them beside
/// the parent that it is told, and [`remove_empty`] takes them away at the end.
pub fn absent_default_groups() -> Vec<PathBuf> {
    let groups = hierarchies().into_iter().map(|root| root.join("libpod_parent"));
    groups.filter(|group| !group.exists()).collect()
}

/// Removes groups in which nothing lives.
pub fn remove_empty(groups: &[PathBuf]) {
    groups.iter().for_each(|group| remove_tree(group));
}

/// Removes the cgroup `name` from every hierarchy; gives those that stay.
fn remove_cgroups(name: &str) -> Vec<PathBuf> {
    let tops: Vec<PathBuf> = hierarchies().iter().map(|root| root.join(name)).collect();
    // Processes that were just killed leave their cgroup a moment later.
    for _ in 0..1500 {
        tops.iter().for_each(|top| remove_tree(top));
        if tops.iter().all(|top| !top.exists()) {
            return Vec::new();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    tops.into_iter().filter(|top| top.exists()).collect()
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn only_child(pid: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The number of a user of this machine.
fn uid(user: &str) -> u32 {
    let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = table.lines().find(|line| line.split(':').next() == Some(user));
    entry.and_then(|line| line.split(':').nth(2)?.parse().ok()).unwrap_or(65534)
}
