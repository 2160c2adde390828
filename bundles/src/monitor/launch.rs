//! The container's first process, and what is kept of it.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, flock, mknodat, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::network;
use super::terminal::Console;
use crate::error::{At, Error, Result};
use crate::runtime::{Launch, Runtime, Streams};
use crate::store::{Dirs, Network, Record};

/// Bytes that a FIFO holds while nobody reads.
const FIFO_SIZE: usize = 256 << 10;

/// Held by the monitor of a container as long as it lives.
pub struct Lock(#[expect(dead_code, reason = "held")] File);

impl Lock {
    /// Takes it; `None` where there is a monitor.
    ///
    /// # Errors
    /// The file system's.
    pub fn take(dirs: &Dirs) -> Result<Option<Lock>> {
        fs::create_dir_all(&dirs.run).at("make", dirs.run.display())?;
        let path = dirs.run.join("lock");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.at("open", path.display())?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).at("lock", path.display()),
        }
    }
}

/// Whether the container has a monitor.
pub fn is_held(dirs: &Dirs) -> bool {
    let Ok(file) = File::open(dirs.run.join("lock")) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// The two FIFOs of a container, opened to be read without waiting.
pub struct Pipes {
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub errors: OwnedFd,
}

impl Pipes {
    /// Makes them where they are not there, and opens them. They are open for writing too: with
    /// no writer left they would be readable all the time.
    pub fn open(dirs: &Dirs) -> Result<Pipes> {
        let one = |name: &str| {
            let path = dirs.run.join(name);
            match mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).at("make", path.display()),
            }
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fifo = open(&path, flags, Mode::empty()).at("open", path.display())?;
            // Less where the user has no more.
            let _ = fcntl_setpipe_size(&fifo, FIFO_SIZE);
            Ok(fifo)
        };
        Ok(Pipes { output: one("out")?, errors: one("err")? })
    }
}

/// The payload's end: it may read as well, so that it never is without a reader.
fn payload_end(dirs: &Dirs, name: &str) -> Result<OwnedFd> {
    let path = dirs.run.join(name);
    open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at("open", path.display())
}

/// What a keeper has kept.
#[derive(Default)]
pub struct Kept {
    /// The payload.
    pub pidfd: Option<OwnedFd>,
    /// The terminal's master end.
    pub master: Option<OwnedFd>,
    /// Standard input's end.
    pub input: Option<OwnedFd>,
}

/// The container's first process.
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// It.
    pub pidfd: OwnedFd,
    /// When it was made, in the kernel's ticks.
    pub start: u64,
    /// Its control group, as `/proc/PID/cgroup` has it, with the mount of its hierarchy.
    pub cgroup: Option<PathBuf>,
    /// The terminal's master end.
    pub master: Option<OwnedFd>,
    /// Where standard input is written to.
    pub input: Option<OwnedFd>,
}

impl Process {
    /// The process that is recorded, by the pidfd that was kept, else where it still is that one.
    pub fn adopt(pid: i32, start: u64, pidfd: Option<OwnedFd>) -> Option<Process> {
        let found = || {
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            (started(pid) == Some(start)).then_some(pidfd)
        };
        let pidfd = pidfd.or_else(found)?;
        let cgroup = cgroup_of(pid);
        Some(Process { pid, pidfd, start, cgroup, master: None, input: None })
    }
}

/// Sets the container up and starts it.
pub fn launch(record: &Record, dirs: &Dirs, runtime: &dyn Runtime) -> Result<Process> {
    let pid_file = dirs.run.join("pid");
    let _ = fs::remove_file(&pid_file);
    let console = record.terminal.then(|| Console::listen(&dirs.run)).transpose()?;
    let mut asked = Launch {
        id: record.id.clone(),
        bundle: record.bundle.clone(),
        pid_file: pid_file.clone(),
        console_socket: console.as_ref().map(Console::address),
        options: record.launch_options.clone(),
    };
    let mut input = None;
    let streams = if record.terminal {
        Streams::null()
    } else {
        let mut streams = Streams::null();
        if record.interactive {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).at("make", "a pipe")?;
            streams.input = read.into();
            input = Some(write);
        }
        streams.output = payload_end(dirs, "out")?.into();
        streams.error = payload_end(dirs, "err")?.into();
        streams
    };
    asked.options.retain(|option| !option.is_empty());
    if record.network == Network::Pasta {
        runtime.create(&asked, streams)?;
        network::connect(record, dirs, read_pid(&pid_file)?)?;
        runtime.start(&record.id)?;
    } else {
        runtime.run(&asked, streams)?;
    }
    let pid = read_pid(&pid_file)?;
    let raw = Pid::from_raw(pid).ok_or_else(|| Error::system("the first process has no id"))?;
    let pidfd = pidfd_open(raw, PidfdFlags::empty()).at("open process", pid)?;
    if let Some(input) = &input {
        rustix::io::ioctl_fionbio(input.as_fd(), true).at("prepare", "standard input")?;
    }
    let master = console.map(|console| console.receive()).transpose()?;
    let start = started(pid).unwrap_or_default();
    Ok(Process { pid, pidfd, start, cgroup: cgroup_of(pid), master, input })
}

fn read_pid(path: &Path) -> Result<i32> {
    let text = fs::read_to_string(path).at("read", path.display())?;
    text.trim().parse().at("read", path.display())
}

/// When a process was made, in the kernel's ticks since the boot.
pub fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

/// The directory of a process's control group for memory: v1's, else v2's.
pub fn cgroup_of(pid: i32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path_in = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            wanted(names).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let top = Path::new("/sys/fs/cgroup");
    if let Some(path) = path_in(&|names| names.split(',').any(|name| name == "memory")) {
        return Some(top.join("memory").join(path));
    }
    let path = path_in(&str::is_empty)?;
    let whole = top.join("cgroup.controllers").exists();
    Some(if whole { top.join(path) } else { top.join("unified").join(path) })
}
