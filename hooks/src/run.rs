//! Runs the hooks of one phase, one after the other.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::command::{self, Command};
use crate::error::{Cause, Failure, HookError};
use crate::output::{Captured, OutputLine, Stream};
use crate::phase::{Environment, OnFailure, Phase};
use crate::sys::{Ending, Exec, OutputPipe, ReapableChildren, Running, StartError, Step, document};

/// How long after a deadline a subreaper may take to kill everything, before the caller goes on without it.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// What the caller may decide about a phase.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// The hooks' working directory; `None` is the caller's own. (runc's hooks run in the bundle,
    /// its createContainer hooks in the root file system, its startContainer hooks in the process's `cwd`.)
    pub cwd: Option<&'a Path>,
    /// The container's `process.env`, `NAME=VALUE` each, for startContainer hooks without `env`
    /// ([`Environment::Container`]); `None` is an empty environment.
    pub container_env: Option<&'a [String]>,
    /// Gets every line that a hook prints, as it is printed: for the log.
    pub sink: Option<&'a dyn Fn(OutputLine<'_>)>,
    /// The longest that all hooks of the phase together may take.
    pub phase_timeout: Option<Duration>,
    /// Readable when the caller wants to wait no more: the hook is killed, and the phase fails.
    pub interrupt: Option<BorrowedFd<'a>>,
    /// The place of the first hook to run: those before it are passed over.
    pub first: usize,
    /// Is told the place of each hook before it begins, for a record of it: who
    /// goes on after an interruption at the hook behind the last one begun runs each once.
    pub begin: Option<&'a dyn Fn(usize)>,
    /// Is told how long each hook took, from its start to its end, in whatever way it ended.
    pub took: Option<&'a dyn Fn(Took<'_>)>,
}

/// How long a hook took.
#[derive(Debug, Clone, Copy)]
pub struct Took<'a> {
    /// Its phase.
    pub phase: Phase,
    /// Its place in the phase.
    pub index: usize,
    /// Its program.
    pub path: &'a Path,
    /// The time.
    pub time: Duration,
}

/// Runs `hooks` in their order, each with `state` (a JSON document) on its standard input.
///
/// The first failure ends the phase, except where the phase's row says that
/// failures only warn: there all hooks run, and the error holds every failure.
/// Which namespaces and which root the hooks see is the caller's: they are its own.
pub fn run_phase(
    phase: Phase,
    hooks: &[Hook],
    state: &[u8],
    options: &Options<'_>,
) -> Result<(), HookError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let _reapable = ReapableChildren::new();
    let phase_limit = options.phase_timeout.and_then(|limit| Limit::from_now(limit, true));
    let mut failures = Vec::new();
    for (index, hook) in hooks.iter().enumerate().skip(options.first) {
        if let Some(begin) = options.begin {
            begin(index);
        }
        let run = HookRun { phase, index, hook, options };
        let begun = options.took.map(|_| Instant::now());
        let done = run.run(state, phase_limit);
        if let (Some(took), Some(begun)) = (options.took, begun) {
            took(Took { phase, index, path: hook.path(), time: begun.elapsed() });
        }
        if let Err(failure) = done {
            failures.push(*failure);
            if phase.row().on_failure == OnFailure::StopContainer {
                break;
            }
        }
    }
    HookError::of(failures).map_or(Ok(()), Err)
}

/// A point in time that a hook must not pass, and where it comes from.
#[derive(Clone, Copy)]
struct Limit {
    deadline: Instant,
    limit: Duration,
    of_phase: bool,
}

impl Limit {
    /// `None` if it is too far away to be reckoned.
    fn from_now(limit: Duration, of_phase: bool) -> Option<Self> {
        let deadline = Instant::now().checked_add(limit)?;
        Some(Limit { deadline, limit, of_phase })
    }

    fn timed_out(&self, survivors: bool) -> Cause {
        Cause::TimedOut { limit: self.limit, of_phase: self.of_phase, survivors }
    }
}

/// How the wait for a hook ended.
#[derive(Clone, Copy, PartialEq)]
enum Followed {
    /// It is over.
    ToItsEnd,
    /// It is not, long after its deadline.
    TooLong,
    /// The caller wants to wait no more.
    Interrupted,
}

/// One hook of a phase.
struct HookRun<'a> {
    phase: Phase,
    index: usize,
    hook: &'a Hook,
    options: &'a Options<'a>,
}

impl HookRun<'_> {
    fn run(&self, state: &[u8], phase_limit: Option<Limit>) -> Result<(), Box<Failure>> {
        let mut output = [Captured::default(), Captured::default()];
        self.run_captured(state, phase_limit, &mut output).map_err(|cause| {
            let path = self.hook.path().clone();
            let [stdout, stderr] = output.map(|captured| captured.quoted());
            Box::new(Failure { phase: self.phase, index: self.index, path, cause, stdout, stderr })
        })
    }

    fn run_captured(
        &self,
        state: &[u8],
        phase_limit: Option<Limit>,
        output: &mut [Captured; 2],
    ) -> Result<(), Cause> {
        let command = Command::new(self.hook, || self.inherited()).map_err(Cause::Invalid)?;
        let own_limit = command::limit(self.hook).map_err(Cause::Invalid)?;
        let own_limit = own_limit.and_then(|limit| Limit::from_now(limit, false));
        let limit = [own_limit, phase_limit].into_iter().flatten().min_by_key(|l| l.deadline);
        // A phase that is over must not start another hook only to kill it.
        if let Some(limit) = limit.filter(|limit| limit.deadline <= Instant::now()) {
            return Err(limit.timed_out(false));
        }
        let (mut running, pipes) = self.start(&command, state, limit)?;
        let followed = self.follow(&running, &pipes, limit, output);
        if followed == Followed::Interrupted {
            running.give_up();
            // One that cannot die is not waited for.
            let grace = Timespec::try_from(KILL_GRACE).ok();
            let mut over = [PollFd::from_borrowed_fd(running.over(), PollFlags::IN)];
            let _unless = poll(&mut over, grace.as_ref());
            return Err(Cause::Interrupted);
        }
        let ending = match followed {
            Followed::ToItsEnd => running.ending(),
            _ => Ending::TimedOut { survivors: true },
        };
        for (at, pipe) in pipes.iter().enumerate() {
            self.drain(pipe, at, output);
            output[at].finish(|line| self.print(at, line));
        }
        match ending {
            Ending::Exited(0) => Ok(()),
            Ending::Exited(status) => Err(Cause::Exited(status)),
            Ending::Signaled { signal, core } => Err(Cause::Signaled { signal, core }),
            Ending::TimedOut { survivors } => {
                Err(limit.map_or(Cause::Unknown, |limit| limit.timed_out(survivors)))
            }
            Ending::NotStarted(error) => Err(self.not_started(error)),
            Ending::Unknown => Err(Cause::Unknown),
        }
    }

    /// Makes its descriptors and starts it; returns the reading ends of its output and error.
    fn start(
        &self,
        command: &Command,
        state: &[u8],
        limit: Option<Limit>,
    ) -> Result<(Running, [OwnedFd; 2]), Cause> {
        let failed = |step: &str| {
            let step = format!("{step} of {}", self.hook.path().display());
            move |errno: Errno| Cause::Start { step, errno: errno.raw_os_error() }
        };
        let stdin = document(state).map_err(failed("standard input"))?;
        let out = OutputPipe::new().map_err(failed("standard output"))?;
        let err = OutputPipe::new().map_err(failed("standard error"))?;
        let cwd = match self.options.cwd.map(|cwd| CString::new(cwd.as_os_str().as_bytes())) {
            Some(Err(_)) => return Err(Cause::Invalid("cwd: contains a NUL byte".into())),
            Some(Ok(cwd)) => Some(cwd),
            None => None,
        };
        let exec = Exec {
            path: &command.path,
            argv: &command.argv,
            envp: &command.envp,
            cwd: cwd.as_deref(),
            stdin: stdin.as_fd(),
            stdout: out.write.as_fd(),
            stderr: err.write.as_fd(),
            orphaned: libc::SIGCONT,
        };
        let running = Running::start(&exec, limit.map(|limit| limit.deadline));
        let running = running.map_err(|error| self.not_started(error))?;
        Ok((running, [out.read, err.read]))
    }

    /// Reads its output until it is over, or its deadline is long past.
    fn follow(
        &self,
        running: &Running,
        pipes: &[OwnedFd; 2],
        limit: Option<Limit>,
        output: &mut [Captured; 2],
    ) -> Followed {
        let give_up = limit.and_then(|limit| limit.deadline.checked_add(KILL_GRACE));
        let mut open = [true; 2];
        loop {
            let left = give_up.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = vec![PollFd::from_borrowed_fd(running.over(), PollFlags::IN)];
            let watched: Vec<usize> = (0..2).filter(|at| open[*at]).collect();
            fds.extend(watched.iter().map(|at| PollFd::new(&pipes[*at], PollFlags::IN)));
            let interrupt = self.options.interrupt;
            fds.extend(interrupt.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Followed::TooLong,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Followed::ToItsEnd, // cannot wait here; `ending` can
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                return Followed::ToItsEnd;
            }
            if interrupt.is_some() && ready.last() == Some(&true) {
                return Followed::Interrupted;
            }
            for (at, ready) in watched.into_iter().zip(&ready[1..]) {
                if *ready {
                    open[at] = self.read(pipes[at].as_fd(), at, output).is_some();
                }
            }
        }
    }

    /// Reads once; the number of bytes, or `None` at the end of the stream.
    fn read(&self, pipe: BorrowedFd<'_>, at: usize, output: &mut [Captured; 2]) -> Option<usize> {
        let mut bytes = [0; 16 * 1024];
        match rustix::io::read(pipe, &mut bytes) {
            Ok(0) => None,
            Ok(count) => {
                output[at].take(&bytes[..count], |line| self.print(at, line));
                Some(count)
            }
            Err(Errno::INTR | Errno::AGAIN) => Some(0),
            Err(_) => None,
        }
    }

    /// Reads what was written before its end, and no more: a daemon may write for ever.
    fn drain(&self, pipe: &OwnedFd, at: usize, output: &mut [Captured; 2]) {
        let mut left = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
        while left > 0 {
            match self.read(pipe.as_fd(), at, output) {
                None | Some(0) => return,
                Some(count) => left = left.saturating_sub(count as u64),
            }
        }
    }

    fn print(&self, at: usize, text: &str) {
        let Some(sink) = self.options.sink else { return };
        let stream = if at == 0 { Stream::Stdout } else { Stream::Stderr };
        let hook = self.hook.path().file_name().unwrap_or_default().to_string_lossy();
        sink(OutputLine { phase: self.phase, index: self.index, hook: &hook, stream, text });
    }

    /// What it gets for an environment when its definition has none.
    fn inherited(&self) -> Vec<CString> {
        match self.phase.row().environment {
            Environment::Empty => Vec::new(),
            Environment::Runtime => std::env::vars_os()
                .filter_map(|(name, value)| {
                    let mut entry = name.into_vec();
                    entry.push(b'=');
                    entry.extend(value.into_vec());
                    CString::new(entry).ok()
                })
                .collect(),
            Environment::Container => {
                let env = self.options.container_env.unwrap_or_default();
                env.iter().filter_map(|entry| CString::new(entry.as_bytes()).ok()).collect()
            }
        }
    }

    fn not_started(&self, error: StartError) -> Cause {
        let path = self.hook.path().display();
        let step = match error.step {
            Step::Clone => format!("fork for {path}"),
            Step::Prepare => format!("prepare {path}"),
            Step::Chdir => {
                format!("chdir {}", self.options.cwd.unwrap_or(Path::new("")).display())
            }
            Step::Exec => format!("fork/exec {path}"),
        };
        Cause::Start { step, errno: error.errno }
    }
}
