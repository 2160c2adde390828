//! A program that is run for its exit status, within a time.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::time::Timespec;

use crate::error::{At, Error, Kind, Result};

/// How much of what it says is kept.
const LONGEST_WORD: usize = 1024;
/// How long the runtime has to end once what it ran was killed.
pub const AFTER: Duration = Duration::from_secs(2);

/// Runs it; what it says is drained and, when it fails, its last line is in the error.
///
/// # Errors
/// It cannot be run, takes too long, or fails and says why.
pub fn run(mut command: Command, limit: Duration) -> Result<i32> {
    let (mut said, to) = std::io::pipe().at("make", "a pipe")?;
    let both = to.try_clone().at("make", "a pipe")?;
    command.stdin(Stdio::null()).stdout(to).stderr(both);
    let mut child = command.spawn().at("run", command.get_program().display())?;
    // The command has the writing ends too, and would keep the pipe open.
    drop(command);
    rustix::io::ioctl_fionbio(&said, true).at("change", "a pipe")?;
    let mut words = Vec::new();
    let status = follow(&mut child, limit, &mut said, &mut words)?;
    verdict(status, &words, limit)
}

/// What an exit status means, none where there was no end in time; `words` is what it said.
///
/// # Errors
/// It took too long, or failed and said why.
pub fn verdict(status: Option<i32>, words: &[u8], limit: Duration) -> Result<i32> {
    let words = String::from_utf8_lossy(words);
    // It ends up in tables on terminals: nothing of it is obeyed there.
    let last = words.trim().lines().last().unwrap_or_default();
    let last: String = last.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match status {
        None => {
            let seconds = limit.as_secs_f64();
            Err(Error::new(Kind::Program, format!("no answer within {seconds} s")))
        }
        Some(status) if status != 0 && !last.is_empty() => {
            Err(Error::new(Kind::Program, format!("exit status {status}: {last}")))
        }
        Some(status) => Ok(status),
    }
}

/// Waits for a child's end; none after it had to be ended.
fn follow(
    child: &mut Child,
    limit: Duration,
    said: &mut (impl Read + std::os::fd::AsFd),
    words: &mut Vec<u8>,
) -> Result<Option<i32>> {
    let pidfd = open(child)?;
    let until = Instant::now() + limit;
    let mut open = true;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            end(child, &pidfd);
            return Ok(None);
        }
        let ended = {
            let mut fds =
                vec![PollFd::new(&pidfd, PollFlags::IN), PollFd::new(&*said, PollFlags::IN)];
            fds.truncate(if open { 2 } else { 1 });
            match poll(&mut fds, Some(&time(left))) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).at("wait for", "a probe"),
            }
            !fds[0].revents().is_empty()
        };
        open = open && drain(said, words);
        if ended {
            let status = child.wait().at("wait for", "a probe")?;
            return Ok(Some(status.code().unwrap_or(128 + status.signal().unwrap_or(0))));
        }
    }
}

fn open(child: &Child) -> Result<OwnedFd> {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    let id = id.ok_or_else(|| Error::system("no process id"))?;
    pidfd_open(id, PidfdFlags::empty()).at("open a process", child.id())
}

/// As poll(2) takes it.
pub fn time(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Takes in what is there of a pipe that does not block; false once nobody writes any more.
pub fn drain(said: &mut impl Read, words: &mut Vec<u8>) -> bool {
    let mut part = [0; 4096];
    // Bounded: whoever writes without end is not read without end.
    for _ in 0..16 {
        match said.read(&mut part) {
            Ok(0) => return false,
            Ok(length) => {
                let room = LONGEST_WORD.saturating_sub(words.len());
                words.extend_from_slice(&part[..length.min(room)]);
            }
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
    true
}

/// Ends the process inside, which is the runtime's child; the runtime ends then.
fn end(child: &mut Child, pidfd: &OwnedFd) {
    let id = child.id();
    // While its parent lives and waits for it, a child's number is nobody else's.
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    for inner in children.unwrap_or_default().split_ascii_whitespace() {
        if let Some(inner) = inner.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(inner, Signal::KILL);
        }
    }
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let _ = poll(&mut fds, Some(&time(AFTER)));
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Result<i32, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, Duration::from_millis(limit)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_status_a_word_and_a_time() {
        assert_eq!(shell("exit 0", 60_000), Ok(0));
        assert_eq!(shell("exit 3", 60_000), Ok(3));
        assert_eq!(shell("echo a; echo b >&2; exit 3", 60_000), Err("exit status 3: b".into()));
        assert_eq!(shell("sleep 100", 200), Err("no answer within 0.2 s".into()));
        // What it writes never holds it up, and who keeps the pipe neither.
        assert_eq!(shell("sleep 100 & head -c 1000000 /dev/zero", 60_000), Ok(0));
    }
}
