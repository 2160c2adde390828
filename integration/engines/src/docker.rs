//! Docker's daemon on a private socket, and its client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::command::{PATIENCE, find, run};
use crate::runtimes::peers;
use crate::sandbox::Sandbox;
use crate::within;

/// A dockerd of its own in a sandbox, with a containerd that it starts itself;
/// both end with the value.
#[derive(Debug)]
pub struct Dockerd {
    daemon: Child,
}

/// The directory of Docker's programs: the unpacked ones of
/// `integration/peers.sh docker`, or those that are installed.
pub fn programs() -> Option<PathBuf> {
    let unpacked = peers().join("docker");
    if unpacked.join("dockerd").is_file() {
        return unpacked.canonicalize().ok();
    }
    find("dockerd")?.parent().map(Path::to_owned)
}

/// Why containers cannot be given annotations: `docker run --annotation` is of Docker 24.
pub fn lacks_annotations() -> Option<String> {
    let mut ask = Command::new(programs()?.join("docker"));
    ask.arg("--version");
    let said = run(ask, b"", PATIENCE).ok()?.stdout;
    major(&said)
        .is_some_and(|major| major < 24)
        .then(|| format!("no --annotation in {}: integration/peers.sh docker", said.trim()))
}

/// Of `Docker version 26.1.5+dfsg1, build a72d7cd`: 26.
fn major(said: &str) -> Option<u32> {
    said.strip_prefix("Docker version ")?.split('.').next()?.parse().ok()
}

impl Dockerd {
    /// Starts dockerd with these runtimes besides runc, each by the name of its file.
    pub fn start(sandbox: &Sandbox, runtimes: &[PathBuf]) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("dockerd: {error}");
        let home = sandbox.private().join("docker");
        let table: serde_json::Map<_, _> = runtimes
            .iter()
            .map(|path| (name_of(path), serde_json::json!({"path": path})))
            .collect();
        let config = serde_json::json!({
            "data-root": home.join("data"),
            "exec-root": "/run/docker",
            "pidfile": "/run/docker.pid",
            "deprecated-key-path": home.join("key.json"),
            "hosts": [socket()],
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": format!("/{}", sandbox.cgroup),
            "runtimes": table,
        });
        let file = sandbox.work.join("daemon.json");
        fs::write(&file, config.to_string()).map_err(told)?;
        let log = fs::File::create(sandbox.work.join("dockerd.log")).map_err(told)?;
        let mut command = in_sandbox(sandbox, "dockerd");
        command.arg("--config-file").arg(&file).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(told)?).stderr(log);
        let dockerd = Self { daemon: command.spawn().map_err(told)? };
        within("dockerd answers", || {
            let mut ask = in_sandbox(sandbox, "docker");
            ask.arg("version");
            run(ask, b"", PATIENCE).ok().filter(|outcome| outcome.code == 0)
        })?;
        Ok(dockerd)
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The command `docker ARGS`, in the sandbox; `run` and `create` get the runtime.
pub fn command(sandbox: &Sandbox, runtime: &Path, args: &[&str]) -> Command {
    let mut command = in_sandbox(sandbox, "docker");
    match args {
        [verb @ ("run" | "create"), rest @ ..] => {
            command.args([verb, "--runtime", &name_of(runtime)]).args(rest)
        }
        _ => command.args(args),
    };
    command
}

/// A program of Docker's, inside: its neighbours are found first, and its
/// settings are not the superuser's own.
fn in_sandbox(sandbox: &Sandbox, program: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let own = programs().unwrap_or_default();
    let mut command = sandbox.command("env");
    command.arg(format!("PATH={}:{path}:/usr/sbin:/sbin", own.display()));
    command.arg(format!("HOME={}", sandbox.private().display()));
    command.arg(format!("DOCKER_HOST={}", socket())).arg(program);
    command
}

/// `/run` is the sandbox's own.
fn socket() -> &'static str {
    "unix:///run/docker.sock"
}

fn name_of(runtime: &Path) -> String {
    runtime.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("Docker version 26.1.5+dfsg1, build a72d7cd"), Some(26));
        assert_eq!(major("Docker version 20.10.24+dfsg1, build 297e128"), Some(20));
        assert_eq!(major("podman version 4.3.1"), None);
    }
}
