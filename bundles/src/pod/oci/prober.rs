//! Probes by `exec --serve`: the runtime stays beside the container and lets one process after
//! another in, at two thirds of what a program costs that begins each time.

use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

use super::trial::{self, AFTER};
use crate::error::{At, Error, Kind, Result};
use crate::runtime::Program;

/// What the runtime takes at a time.
const LONGEST: usize = 16 << 10;

/// Who lets probes into one life of a container.
#[derive(Default)]
pub struct Prober {
    server: Mutex<Server>,
}

#[derive(Default)]
enum Server {
    /// None yet, or the one before has ended.
    #[default]
    None,
    Serves(Serving),
    /// This runtime has no such thing.
    Unknown,
}

struct Serving {
    child: Child,
    socket: OwnedFd,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prober {
    /// Runs a command in the container for its exit status; `None` where that is to be done by
    /// another program: nothing was run, or nobody knows how it ended.
    pub fn ask(
        &self,
        runtime: &Program,
        id: &str,
        words: &[String],
        limit: Duration,
    ) -> Option<Result<i32>> {
        let mut packet = limit.as_millis().to_string().into_bytes();
        for word in words {
            packet.push(0);
            packet.extend_from_slice(word.as_bytes());
        }
        packet.push(0);
        if packet.len() > LONGEST || words.iter().any(|word| word.contains('\0')) {
            return None;
        }
        let (mut said, output) = std::io::pipe().ok()?;
        let (mut answer, line) = std::io::pipe().ok()?;
        rustix::io::ioctl_fionbio(&said, true).ok()?;
        self.send(runtime, id, &packet, [output.as_fd(), line.as_fd()])?;
        drop((output, line));
        let until = Instant::now() + limit + AFTER;
        let mut told = Vec::new();
        let ended = follow(&mut answer, &mut said, until, &mut told);
        let mut words = told;
        let answer = match ended {
            Ok(Some(answer)) => answer,
            // Nobody answers, or nobody can be asked: this one serves no more.
            Ok(None) => {
                self.end();
                return Some(trial::verdict(None, &words, limit));
            }
            Err(error) => return Some(Err(error)),
        };
        trial::drain(&mut said, &mut words);
        match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
            ("exit", status) => {
                let status = status.parse().at("read", "a probe's answer");
                Some(status.and_then(|status| trial::verdict(Some(status), &words, limit)))
            }
            ("late", _) => Some(trial::verdict(None, &words, limit)),
            ("error", text) => Some(Err(Error::new(Kind::Program, text))),
            _ => {
                self.has_ended();
                None
            }
        }
    }

    /// No probe is let in any more.
    pub fn end(&self) {
        *self.server() = Server::None;
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(
        &self,
        runtime: &Program,
        id: &str,
        packet: &[u8],
        fds: [std::os::fd::BorrowedFd<'_>; 2],
    ) -> Option<()> {
        let mut server = self.server();
        if matches!(*server, Server::None) {
            *server = Server::Serves(begin(runtime, id).ok()?);
        }
        let Server::Serves(serving) = &*server else { return None };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        // A socket that is full is that of one that hangs.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = sendmsg(&serving.socket, &[IoSlice::new(packet)], &mut ancillary, flags);
        drop(server);
        match sent {
            Ok(_) => Some(()),
            Err(_) => {
                self.has_ended();
                None
            }
        }
    }

    /// It is gone: whether another one is worth a try.
    fn has_ended(&self) {
        let mut server = self.server();
        let Server::Serves(serving) = &mut *server else { return };
        // It closes its streams a moment before its end is known.
        let _ = serving.child.kill();
        let status = serving.child.wait();
        let unknown = status.is_ok_and(|status| status.code().is_some_and(|code| code != 0));
        *server = if unknown { Server::Unknown } else { Server::None };
    }
}

fn begin(runtime: &Program, id: &str) -> Result<Serving> {
    let (socket, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .at("make", "a pair of sockets")?;
    let mut command = Command::new(&runtime.path);
    command.arg("--root").arg(&runtime.root).args(&runtime.options);
    command.args(["exec", "--serve", id]);
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().at("run", runtime.path.display())?;
    Ok(Serving { child, socket })
}

/// The answer's line, empty where there is none; `None` when it is too late for it. What the
/// command says meanwhile is taken in.
fn follow(
    answer: &mut (impl Read + AsFd),
    said: &mut (impl Read + AsFd),
    until: Instant,
    words: &mut Vec<u8>,
) -> Result<Option<String>> {
    let mut open = true;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let answered = {
            let both = [answer.as_fd(), said.as_fd()];
            let mut fds = both.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            let fds = if open { &mut fds[..] } else { &mut fds[..1] };
            match poll(fds, Some(&trial::time(left))) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).at("wait for", "a probe"),
            }
            !fds[0].revents().is_empty()
        };
        if answered {
            let mut line = String::new();
            // One write of one line, and then the end.
            let read = answer.take(4096).read_to_string(&mut line);
            return Ok(Some(read.map(|_| line).unwrap_or_default()));
        }
        open = open && trial::drain(said, words);
    }
}
