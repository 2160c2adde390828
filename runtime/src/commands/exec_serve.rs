//! `exec --serve`: one process after another in a container, for who asks often (probes).
//!
//! The program is executed, the configuration read and the filter compiled once; each process
//! then enters as that of a plain `exec` does. Whoever asks holds the other end of a
//! `SOCK_SEQPACKET` socket that is standard input here. A packet is a request: how many
//! milliseconds the process may take and the words of its command, each followed by a NUL
//! byte, with two descriptors, for its output and for the answer. The answer is one line:
//! `exit N`, `late` (it was killed), or `error TEXT`. The end of the socket, and that of the
//! container, is the end of this.

use std::ffi::CString;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::exec::{asked, check, groups, planned, refusal};
use crate::cli::{ExecArgs, Global};
use crate::config::Config;
use crate::error::{Error, Kind, Result, Step};
use crate::launch::exec::{ExecOrder, enter, meeting_the_end};
use crate::launch::{Launched, own_image};
use crate::life::{ProcessId, Status, Store};
use crate::log;
use crate::plan::exec::ExecPlan;

/// The longest request; who has a longer one asks a plain `exec`.
const LONGEST: usize = 16 << 10;
/// After so many requests this ends, and whoever asks starts another: what a process in between
/// leaves in the memory that it shares is gone then.
const MOST: u32 = 10_000;

/// What is asked for.
#[derive(Debug)]
struct Request {
    limit: Duration,
    command: Vec<CString>,
    output: OwnedFd,
    answer: OwnedFd,
}

/// A process that was asked for.
struct Running {
    pidfd: OwnedFd,
    until: Instant,
    /// None once it was answered: it is waited for only.
    answer: Option<OwnedFd>,
}

struct Server<'a> {
    args: &'a ExecArgs,
    store: Store,
    init: ProcessId,
    plan: ExecPlan,
    nothing: OwnedFd,
    running: Vec<Running>,
}

/// Runs what is asked for until nobody can ask any more.
pub fn run(global: &Global, args: &ExecArgs) -> Result<u8> {
    own_image::protect()?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let nothing = rustix::fs::open("/dev/null", flags, Mode::empty()).step(|| "open /dev/null")?;
    // What runs inside has none of it.
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .and_then(|socket| dup2_stdin(&nothing).map(|()| socket))
        .step(|| "take the socket at standard input")?;
    let store = Store::new(global.root());
    let (state, status) = store.peek(&args.id)?;
    check(status, true)?;
    let init = state.init.ok_or_else(|| refusal(Status::Stopped))?;
    let end = init.pidfd().map_err(|error| error.if_gone(|| refusal(Status::Stopped)))?;
    let config = Config::from_saved(&state.bundle, store.read_config(&args.id)?)?;
    let mut asked = asked(args, 0)?;
    // Each request brings its own.
    asked.command = vec!["-".to_owned()];
    let plan = planned(&config, &state, asked, &[])?;
    let mut server = Server { args, store, init, plan, nothing, running: Vec::new() };
    let (mut served, mut packet) = (0, vec![0; LONGEST]);
    loop {
        let news = server.wait(&socket, &end)?;
        server.look();
        match news {
            News::Request if served < MOST => match receive(&socket, &mut packet)? {
                Some(Ok(request)) => {
                    served += 1;
                    server.begin(request);
                }
                Some(Err(error)) => log::warn(error),
                None => break,
            },
            News::Nothing => {}
            News::Request | News::End => break,
        }
    }
    for one in &server.running {
        let _gone = pidfd_send_signal(&one.pidfd, Signal::KILL);
    }
    Ok(0)
}

/// What a wait met, beside processes that have ended.
enum News {
    Nothing,
    Request,
    End,
}

impl Server<'_> {
    fn wait(&self, socket: &OwnedFd, end: &OwnedFd) -> Result<News> {
        let processes = self.running.iter().map(|one| &one.pidfd);
        let mut fds: Vec<PollFd<'_>> = [socket, end]
            .into_iter()
            .chain(processes)
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        let waited = self.running.iter().filter(|one| one.answer.is_some());
        let next = waited.map(|one| one.until.saturating_duration_since(Instant::now())).min();
        let bound = next.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, bound.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => return Ok(News::Nothing),
            Err(errno) => return Err(Error::os("poll", errno)),
        }
        Ok(match (fds[0].revents().is_empty(), fds[1].revents().is_empty()) {
            (_, false) => News::End,
            (false, _) => News::Request,
            _ => News::Nothing,
        })
    }

    /// Answers for those that have ended, and ends those that take too long.
    fn look(&mut self) {
        self.running.retain_mut(|one| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match waitid(WaitId::PidFd(one.pidfd.as_fd()), options) {
                Ok(Some(status)) => {
                    let signal = status.terminating_signal().unwrap_or(0);
                    let status = status.exit_status().unwrap_or(128 + signal);
                    tell(one.answer.take(), &format!("exit {status}"));
                    return false;
                }
                Ok(None) | Err(Errno::INTR) => {}
                // Nobody's child any more: nothing can be known.
                Err(_) => return false,
            }
            if one.answer.is_some() && one.until <= Instant::now() {
                // Of a frozen one the end comes later.
                let _gone = pidfd_send_signal(&one.pidfd, Signal::KILL);
                tell(one.answer.take(), "late");
            }
            true
        });
    }

    fn begin(&mut self, request: Request) {
        let Request { limit, command, output, answer } = request;
        let until = Instant::now() + limit;
        self.plan.process.args = command;
        let entered = dup2_stdout(&output)
            .and_then(|()| dup2_stderr(&output))
            .step(|| "give the output")
            .and_then(|()| self.enter());
        log::flush();
        // Its reader sees the end when the process has ended.
        let _closed = dup2_stdout(&self.nothing).and_then(|()| dup2_stderr(&self.nothing));
        match entered {
            Ok(launched) => {
                self.running.push(Running { pidfd: launched.pidfd, until, answer: Some(answer) });
            }
            Err(error) => tell(Some(answer), &format!("error {error}")),
        }
    }

    fn enter(&self) -> Result<Launched> {
        let (state, status) = self.store.peek(&self.args.id)?;
        check(status, self.args.ignore_paused)?;
        // Another one of this name has another configuration.
        let init = state.init.filter(|init| *init == self.init);
        let init = init.ok_or_else(|| refusal(Status::Stopped))?;
        let pidfd = init.pidfd().map_err(|error| error.if_gone(|| refusal(Status::Stopped)))?;
        let cgroup = groups(&state, &self.args.cgroup)?;
        let pidfd = pidfd.as_fd();
        let order = ExecOrder {
            plan: &self.plan,
            state: &state,
            init,
            pidfd,
            console: None,
            ordinary: !rustix::process::geteuid().is_root(),
            gate: None,
        };
        let launched = enter(&order, &cgroup)?;
        match launched.start() {
            Ok(()) => Ok(launched),
            Err(error) => Err(launched.end(meeting_the_end(init, pidfd, error))),
        }
    }
}

/// One line; who does not want it any more goes without.
fn tell(answer: Option<OwnedFd>, line: &str) {
    if let Some(answer) = answer {
        let line = format!("{}\n", line.replace('\n', " "));
        let _gone = rustix::io::write(&answer, line.as_bytes());
    }
}

/// The next request; `None` when nobody can ask any more.
fn receive(socket: &OwnedFd, packet: &mut [u8]) -> Result<Option<Result<Request>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(packet)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| recvmsg(socket, &mut parts, &mut ancillary, flags));
    let size = received.step(|| "receive a request")?.bytes;
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(all) => Some(all),
            _ => None,
        })
        .flatten()
        .collect();
    if size == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    Ok(Some(read(&packet[..size], descriptors)))
}

/// A request by its bytes and descriptors.
fn read(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<Request> {
    let wrong = || Error::new(Kind::Usage, "exec --serve: a packet is no request");
    let words = bytes.strip_suffix(&[0]).ok_or_else(wrong)?;
    let mut words = words.split(|byte| *byte == 0);
    let limit = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
    let limit = limit.map(Duration::from_millis).ok_or_else(wrong)?;
    // No word has a NUL byte in it.
    let command: Vec<CString> = words.filter_map(|word| CString::new(word).ok()).collect();
    let [output, answer] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| wrong())?;
    if command.is_empty() {
        return Err(wrong());
    }
    Ok(Request { limit, command, output, answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Vec<OwnedFd> {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        vec![read, write]
    }

    #[test]
    fn a_request_is_a_time_and_a_command_with_two_descriptors() {
        let request = read(b"1500\0sleep\0\0", pair()).expect("a request");
        assert_eq!(request.limit, Duration::from_millis(1500));
        assert_eq!(request.command, [c"sleep".to_owned(), c"".to_owned()]);
        for odd in [&b""[..], b"\0", b"1\0", b"1\0true", b"x\0true\0", b"-1\0true\0", b"true\0"] {
            assert!(read(odd, pair()).is_err(), "{odd:?}");
        }
        assert!(read(b"1\0true\0", Vec::new()).is_err());
        assert!(read(b"1\0true\0", pair().into_iter().chain(pair()).collect()).is_err());
    }
}
