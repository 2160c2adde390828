//! containerd on a private socket, and `ctr` as its client.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::command::{Outcome, PATIENCE, run};
use crate::image;
use crate::runtimes::{RICH_NAME, is_richrun};
use crate::sandbox::Sandbox;
use crate::system::System;
use crate::terminal::Terminal;
use crate::within;

/// A containerd of its own in a sandbox; it ends with the value.
#[derive(Debug)]
pub struct Containerd {
    daemon: Child,
    address: String,
}

impl Containerd {
    /// Starts containerd and imports the image.
    pub fn start(sandbox: &Sandbox, archive: &Path) -> Result<Self, String> {
        let home = sandbox.private().join("containerd");
        let address = home.join("sock").to_string_lossy().into_owned();
        let config = format!(
            "version = 2\nroot = \"{home}/root\"\nstate = \"{home}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{address}\"\n[ttrpc]\naddress = \"{address}.ttrpc\"\n",
            home = home.display()
        );
        let file = sandbox.work.join("containerd.toml");
        let told = |error: std::io::Error| format!("containerd: {error}");
        fs::write(&file, config).map_err(told)?;
        let log = fs::File::create(sandbox.work.join("containerd.log")).map_err(told)?;
        let mut command = sandbox.command("containerd");
        command
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(told)?)
            .stderr(log);
        let daemon = command.spawn().map_err(told)?;
        let containerd = Self { daemon, address };
        within("containerd answers", || {
            containerd.call(sandbox, &["version"]).ok().filter(|out| out.code == 0)
        })?;
        let import = ["image", "import", "--snapshotter", "native", &archive.to_string_lossy()];
        containerd.call(sandbox, &import)?.exits(0)?;
        Ok(containerd)
    }

    fn command(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = sandbox.command("ctr");
        // The namespace's name is the first component of the container's cgroup path.
        command.args(["--address", &self.address, "--namespace", &sandbox.cgroup]).args(args);
        command
    }

    fn call(&self, sandbox: &Sandbox, args: &[&str]) -> Result<Outcome, String> {
        run(self.command(sandbox, args), b"", PATIENCE)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// `ctr` against a containerd, with one runtime.
#[derive(Debug, Clone, Copy)]
pub struct Ctr<'a> {
    /// Where it runs.
    pub sandbox: &'a Sandbox,
    /// The daemon.
    pub containerd: &'a Containerd,
    /// The runtime's path inside the sandbox.
    pub runtime: &'a Path,
}

impl Ctr<'_> {
    /// Whether the runtime is another than richrun.
    pub fn is_peer(&self) -> bool {
        let name = self.runtime.file_name().and_then(|name| name.to_str());
        !name.is_some_and(is_richrun)
    }

    /// Whether the runtime makes everything rich.
    pub fn is_rich(&self) -> bool {
        self.runtime.file_name() == Some(std::ffi::OsStr::new(RICH_NAME))
    }

    /// Runs `ctr ARGS`.
    pub fn call(&self, args: &[&str]) -> Result<Outcome, String> {
        self.containerd.call(self.sandbox, args)
    }

    /// Runs `ctr run --rm OPTIONS IMAGE ID PAYLOAD`.
    pub fn run(&self, id: &str, options: &[&str], payload: &[&str]) -> Result<Outcome, String> {
        run(self.run_command("--rm", id, options, payload), b"", PATIENCE)
    }

    /// The same with `input` on standard input.
    pub fn run_with(
        &self,
        id: &str,
        options: &[&str],
        payload: &[&str],
        input: &str,
    ) -> Result<Outcome, String> {
        run(self.run_command("--rm", id, options, payload), input.as_bytes(), PATIENCE)
    }

    /// The same on a terminal.
    pub fn terminal(&self, id: &str, payload: &[&str]) -> Result<Terminal, String> {
        Terminal::start(&self.run_command("--rm", id, &["--tty"], payload))
    }

    /// Starts a task in the background.
    pub fn detached(
        &self,
        id: &str,
        options: &[&str],
        payload: &[&str],
    ) -> Result<Task<'_>, String> {
        run(self.run_command("--detach", id, options, payload), b"", PATIENCE)?.exits(0)?;
        Ok(Task { ctr: self, id: id.to_owned() })
    }

    /// A system's root file system that containers may write to: the image
    /// below, a directory of the sandbox above.
    pub fn root_of(&self, system: System, what: &str) -> Result<String, String> {
        let lower = system.root().ok_or_else(|| system.lacks().unwrap_or_default())?;
        let dir = self.sandbox.private().join(format!("{}-{what}", system.name()));
        let mut command = self.sandbox.command("sh");
        let script = "mkdir -p $1/upper $1/work $1/root && \
                      mount -t overlay -o lowerdir=$2,upperdir=$1/upper,workdir=$1/work overlay $1/root";
        command.args(["-ec", script, "sh"]).arg(&dir).arg(lower);
        run(command, b"", PATIENCE)?.exits(0)?;
        Ok(dir.join("root").to_string_lossy().into_owned())
    }

    /// The same in a root file system of the sandbox: runs in the foreground.
    pub fn run_in(
        &self,
        root: &str,
        id: &str,
        options: &[&str],
        payload: &[&str],
    ) -> Result<Outcome, String> {
        run(self.command_of("--rm", &["--rootfs", root], id, options, payload), b"", PATIENCE)
    }

    /// The same in the background.
    pub fn detached_in(
        &self,
        root: &str,
        id: &str,
        options: &[&str],
        payload: &[&str],
    ) -> Result<Task<'_>, String> {
        let command = self.command_of("--detach", &["--rootfs", root], id, options, payload);
        run(command, b"", PATIENCE)?.exits(0)?;
        Ok(Task { ctr: self, id: id.to_owned() })
    }

    fn run_command(&self, first: &str, id: &str, options: &[&str], payload: &[&str]) -> Command {
        self.command_of(first, &[image::NAME], id, options, payload)
    }

    /// `ctr run FIRST OPTIONS SOURCE ID PAYLOAD`.
    fn command_of(
        &self,
        first: &str,
        source: &[&str],
        id: &str,
        options: &[&str],
        payload: &[&str],
    ) -> Command {
        let mut command = self
            .containerd
            .command(self.sandbox, &["run", first, "--snapshotter", "native", "--runc-binary"]);
        command.arg(self.runtime).args(options).args(source).arg(id).args(payload);
        command
    }
}

/// A task in the background; removed with its container when dropped.
#[derive(Debug)]
pub struct Task<'a> {
    ctr: &'a Ctr<'a>,
    /// The container's id.
    pub id: String,
}

impl Task<'_> {
    /// Runs `ctr task VERB OPTIONS ID`.
    pub fn does(&self, verb: &str, options: &[&str]) -> Result<Outcome, String> {
        let mut line = vec!["task", verb];
        line.extend(options);
        line.push(&self.id);
        self.ctr.call(&line)
    }

    /// `ctr task exec`.
    pub fn exec(&self, options: &[&str], payload: &[&str]) -> Result<Outcome, String> {
        let mut line = vec!["task", "exec", "--exec-id", "e1"];
        line.extend(options);
        line.push(&self.id);
        line.extend(payload);
        self.ctr.call(&line)
    }

    /// The task's pid, as the sandbox numbers it, and its state in containerd's word.
    pub fn status(&self) -> Result<(i32, String), String> {
        let list = self.ctr.call(&["task", "ls"])?.text()?;
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(&self.id));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        match words[..] {
            [_, pid, state] => {
                Ok((pid.parse().map_err(|error| format!("{error}: {list}"))?, state.to_owned()))
            }
            _ => Err(format!("no task {} in {list}", self.id)),
        }
    }

    /// Waits for a state.
    pub fn becomes(&self, state: &str) -> Result<(), String> {
        within(&format!("{} is {state}", self.id), || {
            self.status().ok().filter(|(_, now)| now == state)
        })
        .map(drop)
    }

    /// `ctr task delete`: the exit code of a task that has stopped.
    pub fn delete(&self) -> Result<i32, String> {
        let outcome = run(
            self.ctr.containerd.command(self.ctr.sandbox, &["task", "rm", &self.id]),
            b"",
            PATIENCE,
        )?;
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        match said.split("exit code ").nth(1) {
            Some(rest) => rest
                .trim_end_matches(['"', '\n', ' '])
                .parse()
                .map_err(|error| format!("{error}: {said}")),
            None => outcome.exits(0).map(|_| 0),
        }
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let _ = self.ctr.call(&["task", "rm", "-f", &self.id]);
        let _ = self.ctr.call(&["container", "rm", &self.id]);
    }
}
