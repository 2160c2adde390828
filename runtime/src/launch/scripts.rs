//! Init scripts: what runs in the container before its payload, at every start.
//!
//! Who they are is `plan::grant`'s to say: the payload, or, for the administrator, the
//! container's root, who prepares what the payload may not (routes, agents, permissions).
//! The first process has given that up when the start comes. So each script
//! gets a process of its own earlier, which becomes exactly what the script
//! needs and then waits for a byte; `start` costs no more than its execve.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions};

use super::payload::Payload;
use super::script_output::{self, Lines, Output, Written};
use super::sync::{ChildEnd, decode_error, encode_error};
use crate::config::landlock::Landlock;
use crate::config::rich::InitScript;
use crate::error::{Error, Result, Step};
use crate::plan::process::ProcessPlan;
use crate::plan::seccomp::{Filter, Flags};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process;
use crate::sys::procfs::Procfs;

/// How long an ended script's output waits for a reader where scripts have no time limit.
const LEFT_OVER: Duration = Duration::from_secs(10);

/// A script whose process waits.
#[derive(Debug)]
pub struct Waiting {
    name: String,
    pidfd: OwnedFd,
    /// Written to: go.
    go: OwnedFd,
    /// What it prints.
    output: Output,
    /// Read from: why it could not be executed, or nothing.
    failed: OwnedFd,
}

/// What a script's process is made of.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The container's root.
    pub root: BorrowedFd<'a>,
    /// The procfs that was mounted for it.
    pub proc: Option<&'a Procfs>,
    /// The conversation with the runtime: only kept from being closed.
    pub channel: &'a ChildEnd,
    /// The container's filter.
    pub seccomp: Option<&'a Filter>,
    /// The container's session keyring: the caller's is none of its.
    pub keyring: Option<&'a CStr>,
    /// What it may not do, as the payload.
    pub landlock: &'a [Landlock],
    /// The OCI state, for standard input.
    pub state: &'a [u8],
}

/// The pipes as the child has them.
struct Ends {
    go: OwnedFd,
    output: Written,
    failed: OwnedFd,
    input: OwnedFd,
}

/// Makes the process of a script: it is all that it will be, and waits.
///
/// # Errors
/// The script is not in the container's root, or cannot be executed.
pub fn prepare(script: &InitScript, plan: &ProcessPlan, ground: Ground<'_>) -> Result<Waiting> {
    let name = script.name();
    if ground.seccomp.is_some_and(|filter| filter.flags.contains(Flags::NEW_LISTENER)) {
        let why = "cannot run under a seccomp profile that notifies an agent";
        return Err(Error::config(format!("{name}: {why}")));
    }
    let pipe = || pipe_with(PipeFlags::CLOEXEC).step(|| format!("{name}: pipe"));
    let (go, failed) = (pipe()?, pipe()?);
    let (output, written) = script_output::pipes(ground.proc).step(|| format!("{name}: pipe"))?;
    let input = input(ground.state).step(|| format!("{name}: standard input"))?;
    let cloned = clone3(0, None).step(|| format!("{name}: clone"))?;
    let ends = Ends { go: go.0, output: written, failed: failed.1, input };
    match cloned {
        Cloned::Child => live(&name, plan, ground, ends),
        Cloned::Parent(_, pidfd) => {
            drop(ends);
            let waiting = Waiting { name, pidfd, go: go.1, output, failed: failed.0 };
            waiting.ready()?;
            Ok(waiting)
        }
    }
}

/// The state as a file, read from its beginning.
fn input(state: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let memory = memfd_create(c"state", MemfdFlags::CLOEXEC)?;
    let mut rest = state;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&memory, rest))?;
        rest = &rest[written..];
    }
    rustix::fs::seek(&memory, rustix::fs::SeekFrom::Start(0))?;
    Ok(memory)
}

/// The script's process, to its end.
fn live(name: &str, plan: &ProcessPlan, ground: Ground<'_>, ends: Ends) -> ! {
    let payload = Payload {
        process: plan,
        owner: plan.user.uid,
        seccomp: ground.seccomp,
        keyring: ground.keyring,
        rich: None,
        services: None,
        record: None,
        descriptors: 0,
        bounded: u64::MAX,
        landlock: ground.landlock,
        ordinary: false,
    };
    let failed = std::mem::ManuallyDrop::new(ends.failed);
    let go = std::mem::ManuallyDrop::new(ends.go);
    let error = (|| {
        let step = || format!("{name}: prepare");
        rustix::process::setsid().step(step)?;
        rustix::stdio::dup2_stdin(&ends.input).step(step)?;
        ends.output.become_streams().step(step)?;
        payload.dress(ground.proc)?;
        let keep = [go.as_raw_fd(), failed.as_raw_fd()];
        let armed = payload
            .arm(ground.root, ground.channel, &keep)
            .map_err(|error| error.within(format!("{name}: in the container's root")))?;
        // Whatever becomes of the first process, nobody waits for ever.
        process::die_with_parent().step(step)?;
        rustix::io::write(&*failed, b"R").step(step)?;
        let mut byte = [0];
        match rustix::io::retry_on_intr(|| rustix::io::read(&*go, &mut byte)).step(step)? {
            0 => process::exit_now(0),
            _ => Err(armed.execute(ground.channel).within(name)),
        }
    })();
    let error: Error = match error {
        Ok(()) => Error::system(format!("{name}: was not executed")),
        Err(error) => error,
    };
    let told = rustix::io::write(&*failed, &encode_error(&error));
    process::exit_now(if told.is_ok() { 127 } else { 126 })
}

impl Waiting {
    /// Its descriptors, which must survive until it has run.
    pub fn descriptors(&self) -> Vec<i32> {
        let own = [&self.pidfd, &self.go, &self.failed].map(AsRawFd::as_raw_fd);
        [&own[..], &self.output.descriptors()].concat()
    }

    /// Whether it waits; or why it does not.
    fn ready(&self) -> Result<()> {
        let mut said = [0; 4096];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&self.failed, &mut said))
            .step(|| format!("{}: listen", self.name))?;
        match &said[..count] {
            b"R" => Ok(()),
            [] => Err(Error::system(format!("{}: its process died", self.name))),
            error => Err(decode_error(error)),
        }
    }

    /// Runs the script to its end. What it prints goes to the standard streams, each line to
    /// `sink` too. Processes that it leaves behind stay, as children of PID 1.
    ///
    /// # Errors
    /// It failed or took longer than `timeout`: with how it ended and its last
    /// lines.
    pub fn run(mut self, timeout: Option<Duration>, sink: &dyn Fn(&str)) -> Result<()> {
        let name = self.name.clone();
        let step = || format!("{name}: run");
        let mut lines = Lines::new(&name, sink);
        rustix::io::write(&self.go, b"g").step(step)?;
        let end = timeout.map(|timeout| Instant::now() + timeout);
        while self.wait(end).step(step)? {
            if end.is_some_and(|end| end <= Instant::now()) {
                self.output.finish(&mut lines);
                let seconds = timeout.unwrap_or_default().as_secs();
                // Where this process may not (it is the payload's user by now),
                // the script ends with it.
                let _denied = crate::sys::signals::send(self.pidfd.as_fd(), libc::SIGKILL);
                return Err(lines.error(&format!("no end after {seconds} s")));
            }
            self.output.step(&mut lines);
        }
        // What it has printed, and not what a daemon of its own goes on to.
        self.output.ended();
        let end = end.unwrap_or_else(|| Instant::now() + LEFT_OVER);
        loop {
            self.output.step(&mut lines);
            if self.output.is_done() || end <= Instant::now() {
                break;
            }
            poll_until(&mut self.output.wants(), Some(end)).step(step)?;
        }
        self.output.finish(&mut lines);
        self.verdict(&lines)
    }

    /// Waits for its output, its end or `end`; whether it lives on.
    fn wait(&self, end: Option<Instant>) -> rustix::io::Result<bool> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
        fds.extend(self.output.wants());
        poll_until(&mut fds, end)?;
        Ok(fds[0].revents().is_empty())
    }

    fn verdict(&self, lines: &Lines<'_>) -> Result<()> {
        let wait =
            || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let status = rustix::io::retry_on_intr(wait).step(|| format!("{}: wait", self.name))?;
        let mut said = [0; 4096];
        if let Ok(count @ 1..) = rustix::io::read(&self.failed, &mut said) {
            return Err(decode_error(&said[..count]));
        }
        match status.map(|status| (status.exit_status(), status.terminating_signal())) {
            Some((Some(0), _)) => Ok(()),
            Some((Some(code), _)) => Err(lines.error(&format!("exit status {code}"))),
            Some((_, Some(signal))) => Err(lines.error(&format!("ended by signal {signal}"))),
            _ => Err(lines.error("nobody knows how it ended")),
        }
    }
}

fn poll_until(fds: &mut [PollFd<'_>], end: Option<Instant>) -> rustix::io::Result<()> {
    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
    let wait = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(fds, wait.as_ref()) {
        Ok(_) | Err(Errno::INTR | Errno::AGAIN) => Ok(()),
        Err(errno) => Err(errno),
    }
}
