//! A machine with systemd in charge: a Debian with engines, booted as a rich container by
//! richrun itself, its cgroup2 tree delegated. Engines in it run with their packages'
//! defaults, and one runtime is the default of all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{Outcome, PATIENCE, run};
use crate::host::Host;
use crate::sandbox::Sandbox;
use crate::system::System;
use crate::{Verdict, ensure, within};

/// The ordinary user inside, with subordinate ids and lingering.
pub const USER: &str = "keeper";

/// How long one scenario may take: a bound against hanging.
const SCENARIO: Duration = Duration::from_secs(400);

/// Where the machine has the sandbox's directory.
const SHARE: &str = "/srv/share";

/// The capabilities of the machine: all that a host's administrator has, but
/// `CAP_SYS_RESOURCE`, which the hosts of these tests may lack, and `CAP_SYS_MODULE`.
const CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

/// Who runs a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The superuser, as a service.
    Root,
    /// The ordinary user, in a login session.
    User,
}

impl Who {
    /// As trial names have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "rootful",
            Self::User => "rootless",
        }
    }
}

/// A booted machine. It ends with its sandbox.
#[derive(Debug)]
pub struct Machine {
    name: String,
    runtime: &'static str,
    richrun: PathBuf,
    root: PathBuf,
}

impl Machine {
    /// Boots a host in which `runtime` (crun, runc or richrun) is the default of every engine.
    pub fn boot(
        sandbox: &Sandbox,
        host: Host,
        richrun: &Path,
        runtime: &'static str,
        setup: &str,
    ) -> Result<Self, String> {
        let name = format!("{}-{runtime}", host.name());
        let debian = host.root()?;
        let dir = sandbox.private().join(&name);
        let mut make = sandbox.command("sh");
        make.args(["-c", include_str!("machine.sh"), "machine"]);
        make.arg(debian).arg(&dir).arg(richrun);
        run(make, b"", PATIENCE)?.exits(0)?;
        let bundle = sandbox.work.join(&name);
        let config = config(sandbox, &name, &dir.join("root"));
        fs::create_dir_all(&bundle)
            .and_then(|()| fs::write(bundle.join("config.json"), config.to_string()))
            .map_err(|error| format!("{}: {error}", bundle.display()))?;
        let root = sandbox.private().join("machines");
        let machine = Self { name, runtime, richrun: richrun.to_owned(), root };
        let mut boot = machine.richrun(sandbox, &["run", "--detach", "--bundle"]);
        boot.arg(&bundle).arg(&machine.name);
        run(boot, b"", PATIENCE)?.exits(0)?;
        let state = within("the machine is up", || {
            let ask = ["systemctl", "is-system-running", "--wait"];
            let said = machine.exec(sandbox, &ask).ok()?.stdout;
            ["running", "degraded"].contains(&said.trim()).then_some(said)
        })?;
        ensure(state.trim() == "running", || {
            let failed = machine.exec(sandbox, &["systemctl", "--failed", "--no-legend"]);
            format!("the machine is not up: {state} {failed:?}")
        })?;
        machine.script(sandbox, Who::Root, setup, &[])?;
        Ok(machine)
    }

    /// What `script` prints, run in the machine by bash: as a service of the
    /// system, or in a session of the ordinary user.
    pub fn script(
        &self,
        sandbox: &Sandbox,
        who: Who,
        script: &str,
        words: &[&str],
    ) -> Result<String, String> {
        let mut line = vec!["systemd-run", "--quiet", "--pipe", "--wait", "--collect"];
        let (user, runtime) = (format!("User={USER}"), format!("RUNTIME={}", self.runtime));
        let who_it_is = format!("WHO={}", who.name());
        line.extend(["--setenv", &runtime, "--setenv", &who_it_is]);
        match who {
            Who::Root => line.extend(["--setenv", "HOME=/root", "--working-directory=/root"]),
            Who::User => {
                line.extend(["-p", &user, "-p", "PAMName=login", "-p", "WorkingDirectory=~"]);
            }
        }
        // A file, so that the journal does not have all of it.
        let name = format!("{}-{}-{}.sh", self.name, who.name(), words.join("-"));
        fs::write(sandbox.work.join(&name), script).map_err(|error| format!("{name}: {error}"))?;
        let inside = format!("{SHARE}/{name}");
        line.extend(["bash", &inside]);
        line.extend(words);
        let outcome = run(self.command(sandbox, &line), b"", SCENARIO)?;
        if outcome.code == 0 {
            return Ok(outcome.stdout);
        }
        let tail: Vec<&str> = outcome.stderr.lines().rev().take(60).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(format!("exit status {}\n{}\n{}", outcome.code, outcome.stdout, tail.join("\n")))
    }

    /// Where the sandbox sees the machine's files.
    ///
    /// # Errors
    /// The machine does not run.
    pub fn files(&self, sandbox: &Sandbox) -> Result<PathBuf, String> {
        let state = run(self.richrun(sandbox, &["state", &self.name]), b"", PATIENCE)?.text()?;
        let state: Value = serde_json::from_str(&state).map_err(|error| error.to_string())?;
        Ok(PathBuf::from(format!("/proc/{}/root", state["pid"])))
    }

    fn exec(&self, sandbox: &Sandbox, line: &[&str]) -> Result<Outcome, String> {
        run(self.command(sandbox, line), b"", PATIENCE)
    }

    fn command(&self, sandbox: &Sandbox, line: &[&str]) -> Command {
        let mut command = self.richrun(sandbox, &["exec", &self.name]);
        command.args(line);
        command
    }

    fn richrun(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = sandbox.command(&self.richrun);
        command.arg("--root").arg(&self.root).args(args);
        command
    }

    /// Says whether systemd has nothing failed: for scenarios that must leave nothing.
    pub fn is_well(&self, sandbox: &Sandbox) -> Verdict {
        let failed = self.exec(sandbox, &["systemctl", "--failed", "--no-legend"])?;
        ensure(failed.stdout.trim().is_empty(), || format!("{failed}"))
    }
}

/// The machine as a bundle: its own namespaces, a cgroup of its own, every device that the
/// host's administrator has, and no seccomp filter, no masked path: engines start inside.
fn config(sandbox: &Sandbox, name: &str, root: &Path) -> Value {
    let namespaces = ["pid", "mount", "network", "ipc", "uts", "cgroup"];
    let device = |path: &str, minor: u32| {
        json!({"path": path, "type": "c", "major": 10, "minor": minor,
            "fileMode": 0o666, "uid": 0, "gid": 0})
    };
    json!({
        "ociVersion": "1.2.0",
        "hostname": "machine",
        "process": {
            "args": ["/sbin/init"], "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
        },
        "root": {"path": root},
        "annotations": {"io.richrun.rich": "true", "io.richrun.mode": "systemd"},
        "mounts": mounts(sandbox),
        "linux": {
            "cgroupsPath": format!("/{}/{name}", sandbox.cgroup),
            "namespaces": namespaces.map(|kind| json!({"type": kind})),
            "rootfsPropagation": "shared",
            "resources": {"devices": [{"allow": true, "access": "rwm"}]},
            "devices": [device("/dev/fuse", 229), device("/dev/net/tun", 200)],
        },
    })
}

/// overlayfs does not nest: where engines keep their layers there is a tmpfs.
fn mounts(sandbox: &Sandbox) -> Value {
    let bind = |from: &Path, to: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["bind", "ro"]});
    let special = |kind: &str, to: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    // What a rich container boots, as a root file system.
    let booted = System::Systemd.root().and_then(|root| root.canonicalize().ok());
    let booted = booted.map(|root| bind(&root, "/srv/debian"));
    let mounts = [
        special("proc", "/proc", &[]),
        special("tmpfs", "/dev", &["mode=755", "nosuid"]),
        special("devpts", "/dev/pts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        special("tmpfs", "/dev/shm", &["mode=1777", "nosuid", "nodev"]),
        special("mqueue", "/dev/mqueue", &[]),
        special("sysfs", "/sys", &["nosuid", "noexec", "nodev"]),
        special("cgroup", "/sys/fs/cgroup", &["rw"]),
        special("tmpfs", "/var/lib", &["mode=755", "tmpcopyup"]),
        special("tmpfs", "/var/tmp", &["mode=1777"]),
        special("tmpfs", "/home", &["mode=755"]),
        special("tmpfs", "/zfs", &["mode=755"]),
        bind(&sandbox.work, SHARE),
    ];
    Value::Array(mounts.into_iter().chain(booted).collect())
}
