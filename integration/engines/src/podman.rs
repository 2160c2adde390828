//! podman with private storage, networks and configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kind::Kind;
use crate::runtimes::RICH_NAME;
use crate::sandbox::Sandbox;

/// Writes podman's configuration for the superuser or the ordinary user.
pub fn configure(sandbox: &Sandbox, kind: Kind) -> Result<(), String> {
    let home = home(sandbox, kind);
    let pids_limit = if sandbox.view.has("pids") { 2048 } else { 0 };
    let parent = &sandbox.cgroup;
    let containers = format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=1000:1000\"]\npids_limit = {pids_limit}\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
         [network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"{home}/networks\"\n",
        home = home.display()
    );
    // By name, as containers.conf has them; by path in most scenarios.
    let runtimes: String = ["richrun", RICH_NAME]
        .map(|name| format!("{name} = [\"{}\"]\n", sandbox.work.join(name).display()))
        .concat();
    let containers = format!("{containers}[engine.runtimes]\n{runtimes}");
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{home}/storage\"\nrunroot = \"{home}/run\"\n",
        home = home.display()
    );
    let write = |name: &str, text: &str| {
        let path = sandbox.work.join(format!("{}-{name}", kind.name()));
        fs::write(&path, text).map_err(|error| format!("{parent}: {error}"))
    };
    write("containers.conf", &containers)?;
    write("storage.conf", &storage)
}

/// The command `podman ARGS` with a runtime, in the sandbox.
pub fn command(sandbox: &Sandbox, kind: Kind, runtime: &Path, args: &[&str]) -> Command {
    let home = home(sandbox, kind);
    let (mut command, runtime_dir) = match kind {
        Kind::Rootless => (sandbox.command_as_user("env"), sandbox.user_runtime_dir()),
        _ => (sandbox.command("env"), PathBuf::from("/run")),
    };
    let conf = |name: &str| sandbox.work.join(format!("{}-{name}", kind.name()));
    command.arg("--chdir").arg(&home).args([
        "-u",
        "XDG_CONFIG_HOME",
        "-u",
        "DBUS_SESSION_BUS_ADDRESS",
    ]);
    command.arg(format!("CONTAINERS_CONF={}", conf("containers.conf").display()));
    command.arg(format!("CONTAINERS_STORAGE_CONF={}", conf("storage.conf").display()));
    command.arg(format!("HOME={}", home.display()));
    command.arg(format!("XDG_RUNTIME_DIR={}", runtime_dir.display()));
    command.args(["podman", "--runtime"]).arg(runtime).args(args);
    command
}

/// `sandbox.sh` makes it.
fn home(sandbox: &Sandbox, kind: Kind) -> PathBuf {
    sandbox.private().join(if kind == Kind::Rootless { "user" } else { "root" })
}
