//! One life of a container at the OCI runtime.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use rustix::process::{pidfd_open, pidfd_send_signal, waitid};

use super::prober::Prober;
use super::trial;
use super::volumes::Held;
use crate::error::{At, Error, Result};
use crate::monitor;
use crate::pod::plugin::{Container, End};
use crate::runtime::{Launch, Program, Runtime, Streams};
use crate::sys;

pub struct Life {
    runtime: Program,
    id: String,
    dir: PathBuf,
    log: PathBuf,
    signal: Option<String>,
    /// Its processes are not alone in their pid namespace: killing the first one leaves others.
    shared: bool,
    /// Mounts that config.json names, until it has started.
    held: Mutex<Vec<Held>>,
    net: Option<PathBuf>,
    process: Mutex<Option<Process>>,
    prober: Prober,
}

struct Process {
    pidfd: OwnedFd,
    /// Where its memory is counted.
    cgroup: Option<PathBuf>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Life {
    pub fn new(
        runtime: Program,
        id: String,
        dir: PathBuf,
        log: PathBuf,
        signal: Option<String>,
        shared: bool,
        held: Vec<Held>,
    ) -> Life {
        let (held, process) = (Mutex::new(held), Mutex::new(None));
        let prober = Prober::default();
        Life { runtime, id, dir, log, signal, shared, held, net: None, process, prober }
    }

    pub fn in_network(self, net: Option<PathBuf>) -> Life {
        Life { net, ..self }
    }

    /// Takes hold of a process that runs; false if it has ended.
    pub fn adopt(&self, pid: Option<i32>) -> bool {
        let state = self.runtime.state(&self.id).ok();
        let alive = state.filter(|state| state.status == "running" || state.status == "paused");
        let Some(state) = alive.filter(|state| pid.is_none_or(|pid| pid == state.pid)) else {
            let _ = self.runtime.delete(&self.id, true);
            return false;
        };
        self.hold(state.pid).is_ok()
    }

    fn hold(&self, pid: i32) -> Result<()> {
        let id = Pid::from_raw(pid).ok_or_else(|| Error::system("no process id"))?;
        let pidfd = pidfd_open(id, PidfdFlags::empty()).at("open a process", pid)?;
        *lock(&self.process) = Some(Process { pidfd, cgroup: monitor::cgroup_of(pid) });
        Ok(())
    }

    fn output(&self) -> Result<File> {
        if let Some(dir) = self.log.parent() {
            fs::create_dir_all(dir).at("make", dir.display())?;
        }
        let mut options = OpenOptions::new();
        // The payload writes to the file itself: no process between them can be lost.
        options.append(true).create(true).mode(0o640);
        options.open(&self.log).at("open", self.log.display())
    }

    fn pidfd(&self) -> Option<OwnedFd> {
        lock(&self.process).as_ref().and_then(|process| process.pidfd.try_clone().ok())
    }
}

/// How long whoever must may take to reap a process that has ended.
const REAPED: Duration = Duration::from_secs(5);

/// The exit status of a process that is this one's child, or by the kernel's word.
fn status_of(pidfd: &OwnedFd) -> Option<i32> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
        Ok(Some(status)) => Some(of_waitid(&status)),
        _ => {
            // A supervisor that was killed is not the parent any more: another reaps it.
            let raw = sys::reaped_exit_of(pidfd.as_fd(), REAPED)?;
            let status = std::process::ExitStatus::from_raw(raw);
            Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
        }
    }
}

fn of_waitid(status: &WaitIdStatus) -> i32 {
    let signal = status.terminating_signal().unwrap_or(0);
    status.exit_status().unwrap_or(128 + signal)
}

impl Container for Life {
    fn start(&self) -> Result<Option<i32>> {
        let _ = self.runtime.delete(&self.id, true);
        let output = self.output()?;
        let error = output.try_clone().at("open", self.log.display())?;
        let streams = Streams { input: Stdio::null(), output: output.into(), error: error.into() };
        let pid_file = self.dir.join("pid");
        let launch = Launch {
            id: self.id.clone(),
            bundle: self.dir.clone(),
            pid_file: pid_file.clone(),
            ..Launch::default()
        };
        self.runtime.create(&launch, streams)?;
        let text = fs::read_to_string(&pid_file).at("read", pid_file.display())?;
        let pid: i32 = text.trim().parse().at("read", pid_file.display())?;
        // Held before it runs: whatever happens then, its end is seen.
        let started = self.hold(pid).and_then(|()| self.runtime.start(&self.id));
        lock(&self.held).clear();
        if started.is_err() {
            let _ = self.runtime.delete(&self.id, true);
        }
        started.map(|()| Some(pid))
    }

    fn wait(&self) -> End {
        let status = self.pidfd().and_then(|pidfd| status_of(&pidfd));
        self.prober.end();
        let cgroup = lock(&self.process).as_mut().and_then(|process| process.cgroup.take());
        let kills = cgroup.as_deref().map_or(0, monitor::oom_kills);
        let killed = status == Some(137) && kills > 0;
        if let Err(error) = self.runtime.delete(&self.id, true) {
            eprintln!("container {}: {error}", self.id);
        }
        let reason = match status {
            None => Some("ContainerStatusUnknown".to_owned()),
            Some(_) if killed => Some("OOMKilled".to_owned()),
            Some(_) => None,
        };
        End { status: status.unwrap_or(137), reason }
    }

    fn kill(&self, signal: &str) -> Result<()> {
        let signal = match signal {
            "" => self.signal.as_deref().unwrap_or("TERM"),
            signal => signal,
        };
        let direct = match signal.strip_prefix("SIG").unwrap_or(signal) {
            "KILL" if self.shared => return self.runtime.kill(&self.id, "KILL", true),
            "KILL" => Some(Signal::KILL),
            "TERM" => Some(Signal::TERM),
            _ => None,
        };
        match (direct, self.pidfd()) {
            (Some(signal), Some(pidfd)) => match pidfd_send_signal(pidfd, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(error).at("signal", &self.id),
            },
            _ => self.runtime.kill(&self.id, signal, false),
        }
    }

    fn exec(&self, words: &[String], limit: Duration) -> Result<i32> {
        let mut command = Command::new(&self.runtime.path);
        command.arg("--root").arg(&self.runtime.root).arg("exec").arg(&self.id).args(words);
        trial::run(command, limit)
    }

    fn probe(&self, words: &[String], limit: Duration) -> Result<i32> {
        let asked = self.prober.ask(&self.runtime, &self.id, words, limit);
        asked.unwrap_or_else(|| self.exec(words, limit))
    }

    fn network(&self) -> Option<PathBuf> {
        self.net.clone()
    }
}
