//! CRIU as another process, which is asked over a socket (`criu swrk`): checkpoint and restore.
//!
//! The runtime opens the directories of images and log, and CRIU has them by their descriptors. A
//! restore has a mount namespace of its own for CRIU, so that nothing is mounted on
//! the host, and CRIU stands in the container's control groups, so that whatever a failure
//! leaves is found there.

pub mod dump;
pub mod restore;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions};

use super::child::join_groups;
use super::intermediate::into_cgroup;
use super::rootfs::Root;
use super::{console, host_path};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, Step};
use crate::log;
use crate::plan::RootPlan;
use crate::plan::criu::{self, Act, Answer, Feature};
use crate::plan::mount_attr::propagation;
use crate::plan::mounts::MountStep;
use crate::shown::shown;
use crate::sys::clone::{Cloned, flags};
use crate::sys::{datagram, interrupt, mount, process, signals};

/// The longest answer.
const ANSWER: usize = 64 * 1024;
/// How much of the end of CRIU's log is looked at, in bytes.
const LOG_END: u64 = 256 * 1024;
/// How much of a line of it is shown, in letters.
const LINE: usize = 400;
/// How long CRIU may take to end when it has said its last word, or was told to give up.
const ENDING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// What the process that becomes CRIU says before: it is ready, or it has failed. No message
/// of CRIU's begins so.
const READY: u8 = 0xfe;
const FAILED: u8 = 0xff;

/// The program, as it is found by the runtime's `PATH`.
///
/// # Errors
/// It is not there.
pub fn program() -> Result<CString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("criu"))
        .find(|file| {
            let found = host_path::open(file, OFlags::PATH).and_then(fstat);
            found.is_ok_and(|stat| {
                let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                plain && stat.st_mode & 0o111 != 0
            })
        })
        .and_then(|file| CString::new(file.as_os_str().as_bytes()).ok())
        .ok_or_else(|| {
            Error::system(
                "exec: \"criu\": executable file not found in $PATH (checkpoint and restore are CRIU's work: package criu)",
            )
        })
}

/// What CRIU gets at its start.
pub struct Start<'a> {
    /// The groups that it is in.
    pub cgroup: &'a Cgroup,
    /// The root to be restored into, and what will be mounted in it.
    pub root: Option<(&'a RootPlan, &'a [MountStep])>,
    /// Descriptors that it has by the same numbers.
    pub passed: &'a [BorrowedFd<'a>],
    /// The directories of images and log, which it has by the same numbers, in its own mount
    /// namespace.
    pub directories: Vec<OwnedFd>,
    /// It has our standard streams.
    pub streams: bool,
}

/// CRIU at work.
pub struct Criu {
    pid: i32,
    pidfd: OwnedFd,
    socket: OwnedFd,
}

/// What CRIU tells while it works.
pub struct Notice<'a> {
    /// Its name for it.
    pub script: &'a str,
    /// The container's first process, where there is one.
    pub pid: Option<i32>,
    /// What came along.
    pub fds: Vec<OwnedFd>,
}

impl Criu {
    /// Starts it; it waits for a request then.
    ///
    /// # Errors
    /// It is not there, or cannot be started.
    pub fn start(mut start: Start<'_>) -> Result<Criu> {
        let program = program()?;
        let (socket, theirs) = socket_pair()?;
        let mut groups = start.cgroup.join_files()?;
        let (cloned, outside) = into_cgroup(0, start.cgroup, &mut groups)?;
        match cloned {
            Cloned::Child => start.live(&program, &theirs, &groups),
            Cloned::Parent(pid, pidfd) => {
                drop(theirs);
                let criu = Criu { pid, pidfd, socket };
                let begun = match outside {
                    true => start.cgroup.attach(pid).and_then(|()| criu.begin()),
                    false => criu.begin(),
                };
                match begun {
                    Ok(socket) => Ok(Criu { socket, ..criu }),
                    Err(error) => Err(criu.give_up(error)),
                }
            }
        }
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The socket for requests, which it makes itself: CRIU looks for the directories among the
    /// descriptors of who has made it (unix(7), `SO_PEERCRED`).
    fn begin(&self) -> Result<OwnedFd> {
        let (bytes, mut fds) = self.hear()?;
        match (bytes.split_first(), fds.pop()) {
            (Some((&READY, _)), Some(socket)) => Ok(socket),
            (Some((&FAILED, text)), _) => Err(Error::system(String::from_utf8_lossy(text))),
            _ => Err(Error::system("criu: cannot be started")),
        }
    }

    /// Asks, and answers what CRIU tells meanwhile by what `notice` makes of it, until all is done:
    /// the pid of what was restored.
    ///
    /// # Errors
    /// CRIU's, or that of `notice`; CRIU has ended then.
    pub fn ask(
        self,
        act: Act,
        request: &[u8],
        notice: &mut dyn FnMut(Notice<'_>) -> Result<()>,
    ) -> Result<Answer> {
        match self.converse(request, notice) {
            Ok(answer) => self.see_the_end(act).map(|()| answer),
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn converse(
        &self,
        request: &[u8],
        notice: &mut dyn FnMut(Notice<'_>) -> Result<()>,
    ) -> Result<Answer> {
        self.say(request)?;
        loop {
            let (bytes, fds) = self.hear()?;
            // A program that could not be executed.
            if let Some((&FAILED, text)) = bytes.split_first() {
                return Err(Error::system(String::from_utf8_lossy(text)));
            }
            match criu::answer(&bytes)? {
                Answer::Notify { script, pid } => {
                    log::debug(|| format!("criu: {script}"));
                    let done = notice(Notice { script: &script, pid, fds });
                    self.say(&criu::noted(done.is_ok()))?;
                    done?;
                }
                Answer::Failed { kind, errno, text } => {
                    // What it adds is the beginning of its log, which says more at its end.
                    log::debug(|| format!("criu: {}", shown(&text)));
                    return Err(Error::system(format!("criu failed: type {kind} errno {errno}")));
                }
                answer => return Ok(answer),
            }
        }
    }

    fn say(&self, bytes: &[u8]) -> Result<()> {
        let send = || rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL);
        rustix::io::retry_on_intr(send).map(drop).step(|| "criu: ask it")
    }

    fn hear(&self) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut buffer = vec![0; ANSWER];
        loop {
            interrupt::until_readable(self.socket.as_fd())?;
            match datagram::receive(self.socket.as_fd(), &mut buffer) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(Error::os("criu: hear its answer", errno)),
                Ok(received) if received.bytes == 0 => {
                    return Err(Error::system("criu ended without an answer"));
                }
                Ok(received) if received.cut => {
                    return Err(Error::system("criu: its answer is too long"));
                }
                Ok(received) => {
                    buffer.truncate(received.bytes);
                    return Ok((buffer, received.fds));
                }
            }
        }
    }

    /// It has said its last word.
    fn see_the_end(self, act: Act) -> Result<()> {
        let Criu { pid, pidfd, socket } = self;
        // After a pre-dump it would wait for more.
        drop(socket);
        if !interrupt::until(pidfd.as_fd(), PollFlags::IN, Some(ENDING))? {
            kill(pid, &pidfd);
        }
        let wait = || rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        let status = rustix::io::retry_on_intr(wait).step(|| "criu: wait for its end")?;
        let good = status.is_none_or(|status| status.exit_status() == Some(0));
        match good || matches!(act, Act::PreDump | Act::Features) {
            true => Ok(()),
            false => Err(Error::system("criu failed: it ended otherwise than it said")),
        }
    }

    /// Lets it undo what it has done, and ends it. Returns `error`, the reason.
    fn give_up(self, error: Error) -> Error {
        let Criu { pid, pidfd, socket } = self;
        drop(socket);
        // Who asked for the end does not wait twice.
        let bound = if interrupt::status().is_some() { Timespec::default() } else { ENDING };
        if !interrupt::until(pidfd.as_fd(), PollFlags::IN, Some(bound)).unwrap_or(false) {
            kill(pid, &pidfd);
        }
        if let Err(errno) = super::reap(&pidfd) {
            log::warn(Error::os(format!("wait for {pid}"), errno));
        }
        error
    }
}

fn kill(pid: i32, pidfd: &OwnedFd) {
    match signals::send(pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => log::warn(Error::os(format!("kill {pid}"), errno)),
    }
}

fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).step(|| "criu: socketpair")
}

impl Start<'_> {
    /// Becomes CRIU, or says why not.
    fn live(&mut self, program: &CStr, channel: &OwnedFd, groups: &[OwnedFd]) -> ! {
        log::collect();
        interrupt::ignore();
        let (socket, error) = match self.prepare(channel, groups) {
            Err(error) => (None, error),
            Ok(socket) => {
                let error = execute(program, &socket);
                (Some(socket), error)
            }
        };
        let text = [&[FAILED], error.to_string().as_bytes()].concat();
        // If the runtime has gone, nobody is left to tell.
        let told = socket.as_ref().unwrap_or(channel);
        let _gone = rustix::net::send(told, &text, SendFlags::NOSIGNAL);
        process::exit_now(1)
    }

    /// CRIU's end of the conversation; the runtime has been sent the other.
    fn prepare(&mut self, channel: &OwnedFd, groups: &[OwnedFd]) -> Result<OwnedFd> {
        process::reset_signals();
        join_groups(groups)?;
        if let Some((root, steps)) = self.root {
            enter_namespace(root, steps)?;
            self.directories.iter_mut().try_for_each(open_here)?;
        }
        if !self.streams {
            let null = host_path::open("/dev/null", OFlags::RDWR).step(|| "open /dev/null")?;
            rustix::stdio::dup2_stdin(&null)
                .and_then(|()| rustix::stdio::dup2_stdout(&null))
                .and_then(|()| rustix::stdio::dup2_stderr(&null))
                .step(|| "criu: standard streams")?;
        }
        let (socket, theirs) = socket_pair()?;
        console::send(channel.as_fd(), &[READY], theirs.as_fd())
            .step(|| "criu: tell that it begins")?;
        process::cloexec_from(3).step(|| "criu: close descriptors")?;
        let directories = self.directories.iter().map(AsFd::as_fd);
        for fd in self.passed.iter().copied().chain(directories).chain([socket.as_fd()]) {
            process::set_cloexec(fd.as_raw_fd(), false).step(|| "criu: pass a descriptor")?;
        }
        Ok(socket)
    }
}

/// Opens a directory anew in this mount namespace: CRIU mounts in it. It is the same one.
fn open_here(directory: &mut OwnedFd) -> Result<()> {
    let path = host_path::name_of(directory.as_fd()).step(|| "criu: find its directory")?;
    let step = || format!("criu: open {}", path.display());
    let here = host_path::open(&path, OFlags::RDONLY | OFlags::DIRECTORY).step(step)?;
    let (is, should) = (fstat(&here).step(step)?, fstat(&*directory).step(step)?);
    if (is.st_dev, is.st_ino) != (should.st_dev, should.st_ino) {
        return Err(Error::os(step(), Errno::XDEV));
    }
    rustix::io::dup2(&here, directory).step(step)
}

/// Returns only when that failed.
fn execute(program: &CStr, socket: &OwnedFd) -> Error {
    let number = CString::new(socket.as_raw_fd().to_string()).unwrap_or_default();
    let variables: Vec<CString> = std::env::vars_os()
        .filter_map(|(name, value)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        })
        .collect();
    let variables: Vec<&CStr> = variables.iter().map(CString::as_c_str).collect();
    let errno = process::execve(program, &[program, c"swrk", &number], &variables);
    Error::os(format!("exec {}", program.to_string_lossy()), errno)
}

/// Has CRIU's root where CRIU wants it, a mount of its own, and in it the places of all mounts
/// that CRIU does not bring along. The host sees none of the mounts.
fn enter_namespace(root: &RootPlan, steps: &[MountStep]) -> Result<()> {
    process::unshare(flags::NEWNS).step(|| "criu: a mount namespace")?;
    let root = RootPlan { propagation: (propagation::SLAVE, true), ..root.clone() };
    let first = Root::open(&root, None)?;
    first.make_mount_points(steps)?;
    // With all that had to be mounted to reach the deeper ones.
    mount::detach(first.as_fd()).step(|| "criu: take the mounts away")?;
    drop(first);
    Root::open(&root, None).map(drop)
}

/// Asks whether CRIU can do something on this kernel.
///
/// # Errors
/// It cannot; in runc's words.
pub fn check(feature: Feature) -> Result<()> {
    let start = Start {
        cgroup: &Cgroup::none(),
        root: None,
        passed: &[],
        directories: Vec::new(),
        streams: false,
    };
    let request = criu::question(Act::Features, feature);
    let answer = Criu::start(start)?.ask(Act::Features, &request, &mut |_| Ok(()));
    match (answer.map_err(|error| error.within("CRIU feature check failed"))?, feature) {
        (Answer::Features(true, _), Feature::MemTrack) => Ok(()),
        (Answer::Features(_, true), Feature::LazyPages) => Ok(()),
        _ => Err(feature.lacking()),
    }
}

/// Opens a directory for images or the log; `make`: it is made if it is not there.
///
/// # Errors
/// The option and the path.
pub fn directory(option: &str, path: &std::path::Path, make: bool) -> Result<OwnedFd> {
    let step = || format!("{option} {}", path.display());
    if make {
        host_path::make_directory(path, Mode::from_raw_mode(0o700)).step(step)?;
    }
    host_path::open(path, OFlags::RDONLY | OFlags::DIRECTORY).step(step)
}

/// Copies of the directories of images and log, to be given to CRIU, and their numbers.
fn given(images: &OwnedFd, work: Option<&OwnedFd>) -> Result<(Vec<OwnedFd>, i32, Option<i32>)> {
    let copy = |fd: &OwnedFd| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3).step(|| "criu: copy a descriptor to pass it")
    };
    let mut all = vec![copy(images)?];
    all.extend(work.map(copy).transpose()?);
    let numbers: Vec<i32> = all.iter().map(AsRawFd::as_raw_fd).collect();
    Ok((all, numbers[0], numbers.get(1).copied()))
}

/// The error with CRIU's own reason, by its log in this directory.
fn with_reason(error: Error, directory: BorrowedFd<'_>, name: &str) -> Error {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, name, flags, Mode::empty()) else { return error };
    let size = fstat(&file).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or_default());
    let mut end = vec![0; LOG_END.min(size) as usize];
    let read = rustix::io::pread(&file, &mut end, size.saturating_sub(LOG_END)).unwrap_or(0);
    let text = String::from_utf8_lossy(&end[..read]).into_owned();
    let Some(reason) = criu::reason(&text) else { return error };
    let line: String = reason.chars().take(LINE).collect();
    let place = host_path::name_of(directory).unwrap_or_default().join(name);
    Error::system(format!("{error}: {} (log: {})", shown(&line), place.display()))
}
