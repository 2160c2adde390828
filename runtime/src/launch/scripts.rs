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
use super::sync::{ChildEnd, decode_error, encode_error};
use crate::config::rich::InitScript;
use crate::error::{Error, Result, Step};
use crate::plan::process::ProcessPlan;
use crate::plan::seccomp::{Filter, Flags};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process;
use crate::sys::procfs::Procfs;

/// How many of the last lines an error tells.
const TOLD: usize = 5;
/// Longer lines are cut (bytes).
const LONGEST: usize = 1024;

/// A script whose process waits.
#[derive(Debug)]
pub struct Waiting {
    name: String,
    pidfd: OwnedFd,
    /// Written to: go.
    go: OwnedFd,
    /// Read from: what it prints.
    output: OwnedFd,
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
    /// The OCI state, for standard input.
    pub state: &'a [u8],
}

/// The pipes as the child has them.
struct Ends {
    go: OwnedFd,
    output: OwnedFd,
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
    let (go, output, failed) = (pipe()?, pipe()?, pipe()?);
    let input = input(ground.state).step(|| format!("{name}: standard input"))?;
    let cloned = clone3(0, None).step(|| format!("{name}: clone"))?;
    let ends = Ends { go: go.0, output: output.1, failed: failed.1, input };
    match cloned {
        Cloned::Child => live(&name, plan, ground, ends),
        Cloned::Parent(_, pidfd) => {
            drop(ends);
            let waiting = Waiting { name, pidfd, go: go.1, output: output.0, failed: failed.0 };
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
        descriptors: 0,
    };
    let failed = std::mem::ManuallyDrop::new(ends.failed);
    let go = std::mem::ManuallyDrop::new(ends.go);
    let error = (|| {
        let step = || format!("{name}: prepare");
        rustix::process::setsid().step(step)?;
        rustix::stdio::dup2_stdin(&ends.input).step(step)?;
        rustix::stdio::dup2_stdout(&ends.output).step(step)?;
        rustix::stdio::dup2_stderr(&ends.output).step(step)?;
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
    pub fn descriptors(&self) -> [i32; 4] {
        [&self.pidfd, &self.go, &self.output, &self.failed].map(AsRawFd::as_raw_fd)
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

    /// Runs the script to its end. Each line that it prints goes to `sink`.
    /// Processes that it leaves behind stay, as children of PID 1.
    ///
    /// # Errors
    /// It failed or took longer than `timeout`: with how it ended and its last
    /// lines.
    pub fn run(self, timeout: Option<Duration>, sink: &dyn Fn(&str)) -> Result<()> {
        let step = || format!("{}: run", self.name);
        let mut lines = Lines { name: &self.name, sink, rest: Vec::new(), last: Vec::new() };
        rustix::io::write(&self.go, b"g").step(step)?;
        let end = timeout.map(|timeout| Instant::now() + timeout);
        let mut open = true;
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                lines.finish();
                let seconds = timeout.unwrap_or_default().as_secs();
                // Where this process may not (it is the payload's user by now),
                // the script ends with it.
                let _denied = crate::sys::signals::send(self.pidfd.as_fd(), libc::SIGKILL);
                return Err(lines.error(&format!("no end after {seconds} s")));
            }
            let wait = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = vec![PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
            if open {
                fds.push(PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN));
            }
            match poll(&mut fds, wait.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(errno) => return Err(Error::os(step(), errno)),
            }
            let ended = !fds[0].revents().is_empty();
            if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
                open = lines.read(self.output.as_fd());
            }
            if ended {
                break;
            }
        }
        // What it has printed, and not what a daemon of its own goes on to.
        let mut left = rustix::io::ioctl_fionread(&self.output).unwrap_or(0);
        while left > 0 && lines.read(self.output.as_fd()) {
            left = rustix::io::ioctl_fionread(&self.output).unwrap_or(0);
        }
        lines.finish();
        self.verdict(&lines)
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

/// What a script prints, line by line.
struct Lines<'a> {
    name: &'a str,
    sink: &'a dyn Fn(&str),
    rest: Vec<u8>,
    last: Vec<String>,
}

impl Lines<'_> {
    /// Reads once; whether more may come.
    fn read(&mut self, pipe: BorrowedFd<'_>) -> bool {
        let mut bytes = [0; 4096];
        match rustix::io::read(pipe, &mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.take(&bytes[..count]);
                true
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.finish(),
                _ if self.rest.len() < LONGEST => self.rest.push(*byte),
                _ => {}
            }
        }
    }

    fn finish(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).trim().to_owned();
        if line.is_empty() {
            return;
        }
        (self.sink)(&format!("{}: {line}", self.name));
        if self.last.len() == TOLD {
            self.last.remove(0);
        }
        self.last.push(line);
    }

    fn error(&self, what: &str) -> Error {
        let name = self.name;
        match self.last.is_empty() {
            true => Error::system(format!("{name}: {what}")),
            false => Error::system(format!("{name}: {what}: {}", self.last.join("; "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn an_error_tells_the_last_lines() {
        let seen = RefCell::new(Vec::new());
        let sink = |line: &str| seen.borrow_mut().push(line.to_owned());
        let mut lines =
            Lines { name: "initscript /x", sink: &sink, rest: Vec::new(), last: Vec::new() };
        assert_eq!(lines.error("exit status 1").to_string(), "initscript /x: exit status 1");
        lines.take(b"1\n2\n3\n\n4\n5");
        lines.take(b"five\n6");
        lines.finish();
        assert_eq!(seen.borrow().len(), 6);
        assert_eq!(seen.borrow()[4], "initscript /x: 5five");
        let text = lines.error("exit status 1").to_string();
        assert_eq!(text, "initscript /x: exit status 1: 2; 3; 4; 5five; 6");
    }
}
