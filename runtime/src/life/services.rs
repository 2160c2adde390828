//! Asking a container's PID 1 about its services, over the control socket in the state
//! directory. What it answers is the container's word: it is bounded and taken as data.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rich_init::services::control::{self, Code, Op, VERSION, Why};
use rich_init::services::wire::MAX_SERVICES;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, recvmsg, send, socket_with, sockopt,
};

use super::{Status, Store};
use crate::error::{Error, Kind, Result, Step};

/// The socket's name in the state directory.
pub const SOCKET: &str = "services.sock";

/// How long an answer may take that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between the parts of a name; no service's name has one.
const ARROW: &str = " -> ";

/// A connection to a container's PID 1.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
    id: String,
}

/// A service as PID 1 tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// `rich_init::services::service_state::Phase` as a number.
    pub phase: u8,
    /// `rich_init::services::service_state::Reason` as a number.
    pub reason: u8,
    /// `control::READY` and its like.
    pub flags: u8,
    /// The last exit status.
    pub status: u8,
    /// `wire::START_*`.
    pub start: u8,
    /// `rich_init::services::machine::Health` of the whole, as a number.
    pub health: u8,
    /// Its process, in the container's pid namespace.
    pub pid: u32,
    /// How often it was restarted.
    pub restarts: u32,
    /// Milliseconds that it has been in its phase.
    pub age: u64,
    /// For showing.
    pub ports: String,
}

/// A log as PID 1 hands it over.
#[derive(Debug)]
pub struct Log {
    /// `wire::LOG_*`.
    pub kind: u8,
    /// Bytes that were written in all.
    pub written: u64,
    /// Bytes of them that are kept, round and round.
    pub kept: u64,
    /// The memory, or the file.
    pub file: OwnedFd,
}

/// One answer.
#[derive(Debug)]
pub enum Answer {
    /// About a service.
    Service(Told),
    /// A log.
    Log(Log),
    /// The last one: how it ended, why ([`rich_init::services::control::Why`], or a status),
    /// and with which name.
    End(Code, u8, String),
    /// PID 1 has gone.
    Gone,
}

impl Control {
    /// Connects to a container's PID 1.
    ///
    /// # Errors
    /// It does not run, or has no services.
    pub fn connect(store: &Store, id: &str) -> Result<Control> {
        let (_, status) = store.peek(id)?;
        if status != Status::Running {
            let words = format!("container {id} is {status}, its services cannot be asked");
            return Err(Error::new(Kind::WrongState, words));
        }
        let directory = store.root().join(id);
        let step = || format!("services of {id}: connect");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(&directory, flags, Mode::empty()).step(step)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        let address = SocketAddrUnix::new(path.as_str()).step(step)?;
        let kind = SocketType::SEQPACKET;
        let socket =
            socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).step(step)?;
        // Those who have come before may wait for a PID 1 that does not run just now.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE)).step(step)?;
        let control = Control { socket, id: id.to_owned() };
        match rustix::io::retry_on_intr(|| connect(&control.socket, &address)) {
            Ok(()) => Ok(control),
            Err(Errno::NOENT) => {
                let words = format!("container {id} has no services");
                Err(Error::new(Kind::WrongState, words))
            }
            Err(Errno::AGAIN) => Err(control.silence()),
            // It is about to be seen as stopped.
            Err(Errno::CONNREFUSED) => Err(control.failure(Answer::Gone)),
            Err(errno) => Err(Error::os(step(), errno)),
        }
    }

    /// Asks. `waits`: the answer may take as long as services take.
    pub fn ask(&self, op: Op, argument: u8, names: &[String], waits: bool) -> Result<()> {
        let mut packet = vec![VERSION, op as u8, argument, 0];
        names.iter().for_each(|name| packet.extend(name.bytes().chain([0])));
        if packet.len() > control::MAX_PACKET || names.iter().any(|name| name.contains('\0')) {
            return Err(Error::new(Kind::Usage, "services: the names are too long"));
        }
        let patience = (!waits).then_some(PATIENCE);
        sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, patience)
            .step(|| self.step())?;
        let sent = rustix::io::retry_on_intr(|| send(&self.socket, &packet, SendFlags::NOSIGNAL));
        match sent {
            // What it said before it hung up can still be read.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            sent => sent.map(drop).step(|| self.step()),
        }
    }

    /// To be waited on for an answer.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether an answer comes in time; none: as long as it takes.
    pub fn says_something(&self, left: Option<Duration>) -> Result<bool> {
        let end = left.map(|left| Instant::now() + left);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Err(Errno::INTR) => {}
                ready => return ready.map(|count| count > 0).step(|| self.step()),
            }
        }
    }

    fn silence(&self) -> Error {
        Error::system(format!("{}: no answer in {} s", self.step(), PATIENCE.as_secs()))
    }

    /// The next answer.
    pub fn answer(&self) -> Result<Answer> {
        let mut bytes = [0; control::MAX_PACKET];
        let size = match rustix::io::retry_on_intr(|| {
            recv(&self.socket, &mut bytes, RecvFlags::empty())
        }) {
            Ok((size, _)) => size,
            Err(Errno::CONNRESET) => 0,
            Err(Errno::AGAIN) => return Err(self.silence()),
            Err(errno) => return Err(Error::os(self.step(), errno)),
        };
        match size {
            0 => Ok(Answer::Gone),
            size => self.read(&bytes[..size]),
        }
    }

    fn read(&self, packet: &[u8]) -> Result<Answer> {
        let strange =
            || Error::system(format!("{}: an answer that cannot be understood", self.step()));
        match packet {
            [_, control::END, code, why, text @ ..] => {
                let name = text.split(|byte| *byte == 0).map(shown).collect::<Vec<_>>();
                Ok(Answer::End(Code::read(*code), *why, name.join(ARROW)))
            }
            [VERSION, control::SERVICE, rest @ ..] => {
                Ok(Answer::Service(told(rest).ok_or_else(strange)?))
            }
            _ => Err(strange()),
        }
    }

    /// The services, and the health of the whole.
    pub fn list(&self) -> Result<Vec<Told>> {
        self.ask(Op::List, 0, &[], false)?;
        let mut all = Vec::new();
        loop {
            match self.answer()? {
                Answer::Service(told) if all.len() < MAX_SERVICES => all.push(told),
                Answer::End(Code::Done, ..) => return Ok(all),
                other => return Err(self.failure(other)),
            }
        }
    }

    /// Something that ends without more than an end.
    pub fn command(&self, op: Op, argument: u8, names: &[String]) -> Result<()> {
        self.ask(
            op,
            argument,
            names,
            matches!(op, Op::Start | Op::Stop | Op::Restart | Op::Reload),
        )?;
        match self.answer()? {
            Answer::End(Code::Done, ..) => Ok(()),
            // The main service's stop is the container's.
            Answer::Gone if op == Op::Stop => Ok(()),
            other => Err(self.failure(other)),
        }
    }

    /// A service's log; none when it has not written any yet.
    pub fn log(&self, name: &str) -> Result<Option<Log>> {
        self.ask(Op::Logs, 0, &[name.to_owned()], false)?;
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let mut bytes = [0; control::MAX_PACKET];
        let mut slice = [std::io::IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let size = match rustix::io::retry_on_intr(|| {
            recvmsg(&self.socket, &mut slice, &mut ancillary, flags)
        }) {
            Ok(received) => received.bytes,
            Err(Errno::CONNRESET) => 0,
            Err(Errno::AGAIN) => return Err(self.silence()),
            Err(errno) => return Err(Error::os(self.step(), errno)),
        };
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut all) => all.next(),
            _ => None,
        });
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        match (bytes.get(..3), descriptor, number(4), number(12)) {
            (Some([VERSION, control::LOG, kind]), Some(file), Some(written), Some(kept))
                if size >= 20 =>
            {
                Ok(Some(Log { kind: *kind, written, kept, file }))
            }
            _ if size == 0 => Err(self.failure(Answer::Gone)),
            _ => match self.read(&bytes[..size])? {
                Answer::End(Code::Done, ..) => Ok(None),
                other => Err(self.failure(other)),
            },
        }
    }

    fn step(&self) -> String {
        format!("services of {}", self.id)
    }

    /// What an answer other than the good one means.
    pub fn failure(&self, answer: Answer) -> Error {
        let (kind, words) = match answer {
            Answer::End(Code::Unknown, _, name) => {
                (Kind::Usage, format!("no service is named {name:?}"))
            }
            Answer::End(Code::Failed, 0, name) => {
                (Kind::System, format!("service {name} has failed"))
            }
            Answer::End(Code::Failed, status, name) => (
                Kind::System,
                format!("service {name}: its reload command has failed with status {status}"),
            ),
            Answer::End(Code::Stopping, ..) => {
                (Kind::WrongState, "the container is stopping".into())
            }
            Answer::End(Code::Busy, ..) => (Kind::System, "too many others wait".into()),
            Answer::End(Code::Impossible, why, name) => (Kind::WrongState, impossible(why, &name)),
            Answer::End(Code::Version, ..) => (
                Kind::System,
                "the container's init is of another version than this runtime".into(),
            ),
            Answer::Gone => {
                (Kind::WrongState, "the container has ended, or refuses this user".into())
            }
            _ => (Kind::System, "an answer that cannot be understood".into()),
        };
        Error::new(kind, format!("{}: {words}", self.step()))
    }
}

/// Why something cannot be done to a service.
fn impossible(why: u8, name: &str) -> String {
    let (service, program) = name.split_once(ARROW).unwrap_or((name, ""));
    let words = match Why::read(why) {
        Some(Why::Down) => "does not run",
        Some(Why::Inherited) => {
            "has no log of its own: what it puts out is the container's output (its engine's logs; `log` of the service changes that)"
        }
        Some(Why::Discarded) => "has no log: what it puts out is thrown away (log = \"null\")",
        Some(Why::NoReload) => "has neither `reload`, a command, nor `reload-signal`",
        Some(Why::NotExecuted) => {
            return format!("service {service}: its reload command cannot be executed: {program}");
        }
        None => "does not run, or has nothing of that kind",
    };
    format!("service {service} {words}")
}

fn told(rest: &[u8]) -> Option<Told> {
    let [phase, reason, flags, status, start, health, numbers @ ..] = rest else { return None };
    let (numbers, texts) = numbers.split_at_checked(16)?;
    let word = |at: usize| numbers[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    let mut texts = texts.splitn(2, |byte| *byte == 0);
    Some(Told {
        name: shown(texts.next()?),
        phase: *phase,
        reason: *reason,
        flags: *flags,
        status: *status,
        start: *start,
        health: *health,
        pid: word(0)?,
        restarts: word(4)?,
        age: u64::from_le_bytes(numbers[8..16].try_into().ok()?),
        ports: shown(texts.next().unwrap_or_default()),
    })
}

/// A text of the container's, fit for a terminal.
fn shown(text: &[u8]) -> String {
    crate::shown::shown(&String::from_utf8_lossy(text)).into_owned()
}
