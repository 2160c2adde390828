//! The one conversation between the runtime and the process it has cloned.
//!
//! ```text
//!   runtime                             child
//!      | -- clone3 ----------------------> |
//!      | <------- Born(pid), from a process that stands between, if one does
//!      | -- Mapped ----------------------> |  its ids are mapped, its groups are there
//!      |                                   |  namespaces, mounts, devices
//!      | <--------------- Wanted(tree) --- |  where the child lacks the rights for it
//!      | -- the tree --------------------> |
//!      | <------------ Mounted, if hooks - |
//!      |  prestart, createRuntime          |
//!      | -- HooksDone -------------------> |
//!      |                                   |  createContainer, pivot_root, identity
//!      | <---------------------- Inside -- |  from the one born last, where others are in the
//!      | -- Known -----------------------> |  pid namespace already: the first process from now on
//!      | <----------- Said(line), if asked |  at any time while its hooks run
//!      | <-- StreamsKept, if it must ask - |
//!      |  gives them with its own rights   |
//!      | -- StreamsSeen -----------------> |
//!      | <---- Listening(fd), if asked --- |
//!      | -- Listened --------------------> |
//!      | <----------------------- Ready -- |
//!      |  limits applied, state on disk    |
//!      | -- Start (run, exec) -----------> |
//!      | <-- Printed(line) of init scripts |  init scripts, payload
//!      | -- Wait (create) ---------------> |  waits at the gate
//!      | <-------------- end of stream --- |  execve closed it
//! ```
//!
//! `Failed` may come from the child instead of any of its words. Each side
//! takes the end of the stream for the death of the other: nothing waits for
//! a process that is gone. Messages keep their bounds (`SOCK_SEQPACKET`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::{Error, Kind, Result, Step};
use crate::sys::datagram::{self, Received};
use crate::sys::interrupt;

/// What the runtime tells the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Ids are mapped, control groups exist.
    Mapped = 1,
    /// The hooks of the runtime's namespaces have run.
    HooksDone = 2,
    /// The seccomp listener has been taken.
    Listened = 3,
    /// Execute the payload.
    Start = 4,
    /// Everything is recorded: wait at the gate.
    Wait = 5,
    /// What could be done for the standard streams is done.
    StreamsSeen = 6,
    /// The process that was born last is the container's first one.
    Known = 7,
}

/// A mount tree that the child cannot clone by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The root file system's.
    Root,
    /// One with the device nodes of the configuration.
    Devices,
    /// That of the bind mount with this number.
    Mount(usize),
}

impl Wanted {
    fn number(self) -> i32 {
        match self {
            Wanted::Root => -1,
            Wanted::Devices => -2,
            // A document of 2^31 mounts would not have been read.
            Wanted::Mount(index) => index as i32,
        }
    }

    fn of(number: i32) -> Option<Wanted> {
        match number {
            -1 => Some(Wanted::Root),
            -2 => Some(Wanted::Devices),
            index => usize::try_from(index).ok().map(Wanted::Mount),
        }
    }
}

/// What the child tells the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The process that stood between has made the container's first process:
    /// its pid in the runtime's pid namespace.
    Born(i32),
    /// The word of a process that was born last, in a pid namespace in which there are others: its
    /// pid in the runtime's pid namespace, as the kernel says.
    Inside(i32),
    /// It waits for this tree.
    Wanted(Wanted),
    /// Namespaces and mounts are there; the root is not pivoted.
    Mounted,
    /// The descriptor of that number is the seccomp listener.
    Listening(i32),
    /// It may not give (some of) its standard streams to the payload's user.
    StreamsKept,
    /// Something asked for was not done: for the log.
    Warning(String),
    /// A line of an init script: for the log.
    Printed(String),
    /// What a hook has printed: for the debug log.
    Said(String),
    /// All is set up.
    Ready,
    /// It cannot go on.
    Failed(Error),
    /// It has executed the payload, or it has died.
    Closed,
}

/// Both ends of a conversation that nobody has begun: before the clone. Each side of the
/// clone makes its own end of it, which closes the other one: who held both would never
/// hear that the other side is dead.
#[derive(Debug)]
pub struct Conversation {
    runtimes: OwnedFd,
    childs: OwnedFd,
}

/// The runtime's end.
#[derive(Debug)]
pub struct RuntimeEnd {
    socket: OwnedFd,
    /// What has overtaken the word that the child is born.
    early: RefCell<VecDeque<News>>,
}

/// The end of the process that the runtime has cloned. Never dropped: its process ends by
/// execve or by exit.
#[derive(Debug)]
pub struct ChildEnd(OwnedFd);

/// The longest message: an error's text is cut there.
const LONGEST: usize = 16 * 1024;

impl Conversation {
    /// A new one.
    pub fn new() -> Result<Conversation> {
        let flags = SocketFlags::CLOEXEC;
        let (runtimes, childs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .step(|| "socketpair")?;
        Ok(Conversation { runtimes, childs })
    }

    /// Before the clone: the kernel is to tell who says [`News::Inside`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn tell_senders(&self) -> Result<()> {
        datagram::tell_senders(self.runtimes.as_fd()).step(|| "setsockopt SO_PASSCRED")
    }

    /// After the clone, in the runtime.
    pub fn of_runtime(self) -> RuntimeEnd {
        RuntimeEnd { socket: self.runtimes, early: RefCell::default() }
    }

    /// After the clone, in the child.
    pub fn of_child(self) -> ChildEnd {
        ChildEnd(self.childs)
    }

    /// In a process that shares the runtime's memory and has descriptors of its own: a child's
    /// end beside both others. All but this one are to be closed there.
    pub fn beside(&self) -> Result<ChildEnd> {
        let copy = rustix::io::fcntl_dupfd_cloexec(&self.childs, 3);
        copy.map(ChildEnd).step(|| "copy a descriptor")
    }
}

impl RuntimeEnd {
    /// Tells the child.
    ///
    /// # Errors
    /// The child is gone.
    pub fn tell(&self, word: Word) -> Result<()> {
        let bytes = [word as u8];
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::send(&self.socket, &bytes, rustix::net::SendFlags::NOSIGNAL)
        });
        sent.map(drop).step(|| "talk to the container's first process")
    }

    /// Waits for news.
    ///
    /// # Errors
    /// The socket fails, or a signal asks for the end.
    pub fn listen(&self) -> Result<News> {
        if let Some(news) = self.early.borrow_mut().pop_front() {
            return Ok(news);
        }
        loop {
            interrupt::until_readable(self.socket.as_fd())?;
            if let Some(news) = self.receive()? {
                return Ok(news);
            }
        }
    }

    /// The word of a process between, which has ended, that the child is born: its pid, which
    /// stays its own until this process has reaped it. Nothing is waited for: a child that was
    /// born without that word waits for one itself, and has the other end.
    ///
    /// # Errors
    /// Why there is none.
    pub fn born(&self) -> Result<i32> {
        let mut early = self.early.borrow_mut();
        loop {
            match self.receive()? {
                Some(News::Born(pid)) => return Ok(pid),
                Some(News::Closed) | None => break,
                // Of both of them, who speak at once.
                Some(news) => early.push_back(news),
            }
        }
        let failed = early.drain(..).find_map(|news| match news {
            News::Failed(error) => Some(error),
            _ => None,
        });
        let none = || Error::system("the process that joins namespaces ended without a word");
        Err(failed.unwrap_or_else(none))
    }

    /// The next news; none if there are none yet.
    fn receive(&self) -> Result<Option<News>> {
        let mut bytes = vec![0; LONGEST];
        let received = || datagram::receive(self.socket.as_fd(), &mut bytes);
        match rustix::io::retry_on_intr(received) {
            Ok(Received { bytes: 0, .. }) | Err(Errno::CONNRESET) => Ok(Some(News::Closed)),
            Ok(Received { bytes: count, pid, .. }) => Ok(Some(match decode(&bytes[..count])? {
                News::Inside(_) => News::Inside(pid),
                news => news,
            })),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(Error::os("listen to the container's first process", errno)),
        }
    }
}

impl ChildEnd {
    /// Waits for a word.
    ///
    /// # Errors
    /// The runtime is gone, or says another word.
    pub fn expect(&self, word: Word) -> Result<()> {
        match self.hear()? {
            said if said == word as u8 => Ok(()),
            said => Err(Error::system(format!("the runtime said {said} instead of {word:?}"))),
        }
    }

    /// Child, when all is set up: whether to wait at the gate (or to start).
    ///
    /// # Errors
    /// The runtime is gone, or says another word.
    pub fn waits(&self) -> Result<bool> {
        match self.hear()? {
            said if said == Word::Wait as u8 => Ok(true),
            said if said == Word::Start as u8 => Ok(false),
            said => Err(Error::system(format!("the runtime said {said}"))),
        }
    }

    fn hear(&self) -> Result<u8> {
        let mut byte = [0];
        let got = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut byte));
        match got.step(|| "listen to the runtime")? {
            0 => Err(Error::system("the runtime has gone")),
            _ => Ok(byte[0]),
        }
    }

    /// Tells the runtime. By write(2): the one call that a seccomp profile may not hand to a
    /// listener.
    ///
    /// # Errors
    /// The runtime is gone.
    pub fn report(&self, news: &News) -> Result<()> {
        let bytes = encode(news);
        rustix::io::retry_on_intr(|| rustix::io::write(&self.0, &bytes))
            .map(drop)
            .step(|| "talk to the runtime")
    }
}

impl AsFd for RuntimeEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An error as bytes: sort, errno, text. Also what the child writes at the
/// gate.
pub fn encode_error(error: &Error) -> Vec<u8> {
    let kind = match error.kind() {
        Kind::Usage => 0,
        Kind::Config => 1,
        Kind::NotFound => 2,
        Kind::WrongState => 3,
        Kind::NoSuchProcess => 4,
        Kind::System => 5,
    };
    let errno = error.errno().map_or(0, Errno::raw_os_error);
    let mut bytes = vec![kind];
    bytes.extend(errno.to_le_bytes());
    bytes.extend(error.message().bytes().take(LONGEST / 2));
    bytes
}

/// The error that [`encode_error`] wrote.
pub fn decode_error(bytes: &[u8]) -> Error {
    let kind = match bytes.first() {
        Some(0) => Kind::Usage,
        Some(1) => Kind::Config,
        Some(2) => Kind::NotFound,
        Some(3) => Kind::WrongState,
        Some(4) => Kind::NoSuchProcess,
        _ => Kind::System,
    };
    let errno = bytes.get(1..5).and_then(|four| four.try_into().ok()).map_or(0, i32::from_le_bytes);
    let text = String::from_utf8_lossy(bytes.get(5..).unwrap_or_default()).into_owned();
    match errno {
        // What the kernel has for errors (its MAX_ERRNO); another number is none.
        1..=4095 => Error::os(text, Errno::from_raw_os_error(errno)).of_kind(kind),
        _ => Error::new(kind, text),
    }
}

fn tagged(tag: u8, number: i32) -> [u8; 5] {
    let [a, b, c, d] = number.to_le_bytes();
    [tag, a, b, c, d]
}

fn lettered(tag: u8, text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    [&[tag][..], &text[..text.len().min(LONGEST - 1)]].concat()
}

fn encode(news: &News) -> Vec<u8> {
    match news {
        News::Born(pid) => tagged(1, *pid).to_vec(),
        News::Mounted => vec![2],
        News::Listening(fd) => tagged(3, *fd).to_vec(),
        News::Ready => vec![4],
        News::Failed(error) => [&[5][..], &encode_error(error)].concat(),
        News::Warning(text) => lettered(6, text),
        News::Said(text) => lettered(7, text),
        News::Printed(text) => lettered(8, text),
        News::StreamsKept => vec![9],
        News::Wanted(wanted) => tagged(10, wanted.number()).to_vec(),
        News::Inside(pid) => tagged(11, *pid).to_vec(),
        News::Closed => Vec::new(),
    }
}

/// The news that `ChildEnd::report` wrote.
///
/// # Errors
/// They are none.
pub fn decode(bytes: &[u8]) -> Result<News> {
    let number = bytes.get(1..5).and_then(|four| four.try_into().ok()).map(i32::from_le_bytes);
    let wanted = number.and_then(Wanted::of);
    let text = || String::from_utf8_lossy(&bytes[1..]).into_owned();
    match (bytes.first(), number) {
        (Some(1), Some(pid)) => Ok(News::Born(pid)),
        (Some(2), _) => Ok(News::Mounted),
        (Some(3), Some(fd)) => Ok(News::Listening(fd)),
        (Some(4), _) => Ok(News::Ready),
        (Some(5), _) => Ok(News::Failed(decode_error(&bytes[1..]))),
        (Some(6), _) => Ok(News::Warning(text())),
        (Some(7), _) => Ok(News::Said(text())),
        (Some(8), _) => Ok(News::Printed(text())),
        (Some(9), _) => Ok(News::StreamsKept),
        (Some(10), _) if wanted.is_some() => Ok(wanted.map_or(News::Closed, News::Wanted)),
        (Some(11), Some(pid)) => Ok(News::Inside(pid)),
        _ => Err(Error::system("the container's first process said something unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (RuntimeEnd, ChildEnd) {
        let conversation = Conversation::new().unwrap();
        (
            RuntimeEnd { socket: conversation.runtimes, early: RefCell::default() },
            ChildEnd(conversation.childs),
        )
    }

    #[test]
    fn news_cross_the_channel_whole() {
        let (ours, theirs) = ends();
        let failed = Error::os("exec: \"x\"", Errno::NOENT).within("run").of_kind(Kind::Config);
        for news in [
            News::Born(4711),
            News::Wanted(Wanted::Root),
            News::Wanted(Wanted::Devices),
            News::Wanted(Wanted::Mount(7)),
            News::Mounted,
            News::StreamsKept,
            News::Listening(9),
            News::Warning("ambient".to_owned()),
            News::Printed("a line".to_owned()),
            News::Said("prestart hook #0 x: y".to_owned()),
            News::Ready,
            News::Failed(failed),
            News::Failed(Error::config("process.cwd: bad")),
        ] {
            theirs.report(&news).unwrap();
            assert_eq!(ours.listen().unwrap(), news);
        }
        ours.tell(Word::Start).unwrap();
        theirs.expect(Word::Start).unwrap();
        ours.tell(Word::HooksDone).unwrap();
        theirs.expect(Word::HooksDone).unwrap();
        ours.tell(Word::Wait).unwrap();
        assert!(theirs.waits().unwrap());
        ours.tell(Word::Wait).unwrap();
        assert!(theirs.expect(Word::Start).is_err());
        drop(theirs);
        assert_eq!(ours.listen().unwrap(), News::Closed);
        assert!(ours.tell(Word::Start).is_err());
    }

    #[test]
    fn who_is_inside_is_the_kernels_to_say() {
        let conversation = Conversation::new().unwrap();
        conversation.tell_senders().unwrap();
        let theirs = ChildEnd(conversation.childs.try_clone().unwrap());
        let ours = conversation.of_runtime();
        theirs.report(&News::Inside(1)).unwrap();
        assert_eq!(ours.listen().unwrap(), News::Inside(std::process::id() as i32));
    }

    #[test]
    fn what_comes_before_the_birth_is_heard_after_it() {
        let (ours, theirs) = ends();
        for news in [News::Ready, News::Born(7), News::Mounted] {
            theirs.report(&news).unwrap();
        }
        assert_eq!(ours.born(), Ok(7));
        assert_eq!(ours.listen(), Ok(News::Ready));
        assert_eq!(ours.listen(), Ok(News::Mounted));
        theirs.report(&News::Failed(Error::config("why"))).unwrap();
        drop(theirs);
        assert_eq!(ours.born(), Err(Error::config("why")));
    }

    #[test]
    fn a_birth_that_nobody_tells_of_is_not_waited_for() {
        let (ours, theirs) = ends();
        theirs.report(&News::Ready).unwrap();
        assert!(ours.born().unwrap_err().message().contains("without a word"));
        drop(theirs);
    }

    #[test]
    fn a_very_long_error_is_cut() {
        let (ours, theirs) = ends();
        theirs.report(&News::Failed(Error::system("x".repeat(100_000)))).unwrap();
        let News::Failed(error) = ours.listen().unwrap() else { panic!() };
        assert_eq!(error.to_string().len(), LONGEST / 2);
    }
}
