//! podman with private storage, networks and configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::command::{Outcome, PATIENCE, run};
use crate::image;
use crate::sandbox::Sandbox;
use crate::terminal::Terminal;
use crate::within;

/// Who runs podman.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The superuser.
    Root,
    /// An ordinary user with subordinate ids.
    Ordinary,
}

/// podman in a sandbox, with one runtime.
#[derive(Debug, Clone, Copy)]
pub struct Podman<'a> {
    /// Where it runs.
    pub sandbox: &'a Sandbox,
    /// The runtime's path inside the sandbox.
    pub runtime: &'a Path,
    /// Who runs it.
    pub user: User,
}

/// Writes podman's configuration, and imports the image for one user.
pub fn prepare(sandbox: &Sandbox, archive: &Path, user: User) -> Result<(), String> {
    let home = home(sandbox, user);
    let pids_limit = if sandbox.view.has("pids") { 2048 } else { 0 };
    let parent = &sandbox.cgroup;
    let containers = format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=1000:1000\"]\npids_limit = {pids_limit}\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
         [network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"{home}/networks\"\n",
        home = home.display()
    );
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{home}/storage\"\nrunroot = \"{home}/run\"\n",
        home = home.display()
    );
    let write = |name: &str, text: &str| {
        let path = sandbox.work.join(format!("{}-{name}", label(user)));
        fs::write(&path, text).map_err(|error| format!("{parent}: {error}"))
    };
    write("containers.conf", &containers)?;
    write("storage.conf", &storage)?;
    let podman = Podman { sandbox, runtime: Path::new("/bin/false"), user };
    podman.call(&["import", &archive.to_string_lossy(), image::NAME])?.exits(0).map(drop)
}

impl Podman<'_> {
    /// The command `podman ARGS`, in the sandbox.
    pub fn command(&self, args: &[&str]) -> Command {
        let (sandbox, home) = (self.sandbox, home(self.sandbox, self.user));
        let mut command = match self.user {
            User::Root => sandbox.command("env"),
            User::Ordinary => sandbox.command_as_user("env"),
        };
        let conf = |name: &str| sandbox.work.join(format!("{}-{name}", label(self.user)));
        command.arg("--chdir").arg(&home).args([
            "-u",
            "XDG_CONFIG_HOME",
            "-u",
            "DBUS_SESSION_BUS_ADDRESS",
        ]);
        command.arg(format!("CONTAINERS_CONF={}", conf("containers.conf").display()));
        command.arg(format!("CONTAINERS_STORAGE_CONF={}", conf("storage.conf").display()));
        command.arg(format!("HOME={}", home.display()));
        command.arg(match self.user {
            User::Root => "XDG_RUNTIME_DIR=/run".to_owned(),
            User::Ordinary => {
                format!("XDG_RUNTIME_DIR={}", sandbox.user_runtime_dir().display())
            }
        });
        command.args(["podman", "--runtime"]).arg(self.runtime).args(args);
        command
    }

    /// Runs `podman ARGS`.
    pub fn call(&self, args: &[&str]) -> Result<Outcome, String> {
        run(self.command(args), b"", PATIENCE)
    }

    /// Runs `podman ARGS` with `input` on its standard input.
    pub fn call_with(&self, args: &[&str], input: &str) -> Result<Outcome, String> {
        run(self.command(args), input.as_bytes(), PATIENCE)
    }

    /// Runs `podman run --rm OPTIONS IMAGE PAYLOAD`.
    pub fn run(&self, options: &[&str], payload: &[&str]) -> Result<Outcome, String> {
        self.call(
            &self
                .run_line(&["--rm"], options, payload)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    /// Starts a container in the background.
    pub fn detached(
        &self,
        name: &str,
        options: &[&str],
        payload: &[&str],
    ) -> Result<Container<'_>, String> {
        let line = self.run_line(&["-d", "--name", name], options, payload);
        self.call(&line.iter().map(String::as_str).collect::<Vec<_>>())?.exits(0)?;
        Ok(Container { podman: self, name: name.to_owned() })
    }

    /// Starts `podman run --rm -it OPTIONS IMAGE PAYLOAD` on a terminal.
    pub fn terminal(&self, options: &[&str], payload: &[&str]) -> Result<Terminal, String> {
        let line = self.run_line(&["--rm", "-it"], options, payload);
        Terminal::start(&self.command(&line.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// A name that no other trial of this sandbox uses.
    pub fn unique(&self, what: &str) -> String {
        let runtime = self.runtime.file_name().unwrap_or_default().to_string_lossy();
        format!("{}-{runtime}-{what}", label(self.user))
    }

    /// A directory that the host and a container share, as `-v` wants it: on the container's `/shared`.
    pub fn shared(&self, what: &str) -> Result<String, String> {
        let dir = self.shared_dir(what);
        let open = fs::Permissions::from_mode(0o777);
        fs::create_dir_all(&dir)
            .and_then(|()| fs::set_permissions(&dir, open))
            .map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(format!("{}:/shared", dir.display()))
    }

    /// That directory, where the host sees it.
    pub fn shared_dir(&self, what: &str) -> PathBuf {
        self.sandbox.work.join(self.unique(what))
    }

    /// A port of the sandbox that no other trial uses.
    pub fn port(&self) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// `run FIRST [--cgroup-parent ...] OPTIONS IMAGE PAYLOAD`.
    fn run_line(&self, first: &[&str], options: &[&str], payload: &[&str]) -> Vec<String> {
        let parent = format!("/{}", self.sandbox.cgroup);
        let mut line = vec!["run"];
        line.extend(first);
        if self.user == User::Root && !options.contains(&"--pod") {
            line.extend(["--cgroup-parent", &parent]);
        }
        line.extend(options);
        line.push(image::NAME);
        line.extend(payload);
        line.into_iter().map(str::to_owned).collect()
    }
}

/// A container that runs in the background; removed when dropped.
#[derive(Debug)]
pub struct Container<'a> {
    podman: &'a Podman<'a>,
    /// The container's name.
    pub name: String,
}

impl Container<'_> {
    /// One field of `podman inspect`, by its template.
    pub fn field(&self, template: &str) -> Result<String, String> {
        self.podman
            .call(&["inspect", "--format", &format!("{{{{{template}}}}}"), &self.name])?
            .text()
    }

    /// The first process, as the sandbox numbers it; 0 when there is none.
    pub fn pid(&self) -> Result<i32, String> {
        self.field(".State.Pid")?.parse().map_err(|error| format!("pid: {error}"))
    }

    /// Waits until `podman logs` holds `text`.
    pub fn logs(&self, text: &str) -> Result<String, String> {
        within(15, &format!("{text:?} in the logs of {}", self.name), || {
            let outcome = self.podman.call(&["logs", &self.name]).ok()?;
            let all = outcome.stdout + &outcome.stderr;
            all.contains(text).then_some(all)
        })
    }

    /// `podman wait`: the exit code, once it has ended.
    pub fn wait(&self) -> Result<i32, String> {
        let text = run(self.podman.command(&["wait", &self.name]), b"", Duration::from_secs(20))?
            .text()?;
        text.parse().map_err(|error| format!("podman wait printed {text:?}: {error}"))
    }

    /// `podman exec OPTIONS NAME PAYLOAD`.
    pub fn exec(&self, options: &[&str], payload: &[&str]) -> Result<Outcome, String> {
        let mut line = vec!["exec"];
        line.extend(options);
        line.push(&self.name);
        line.extend(payload);
        self.podman.call(&line)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.podman.call(&["rm", "-f", "-t", "0", "-i", &self.name]);
    }
}

fn label(user: User) -> &'static str {
    match user {
        User::Root => "root",
        User::Ordinary => "user",
    }
}

fn home(sandbox: &Sandbox, user: User) -> PathBuf {
    sandbox.private().join(label(user))
}
