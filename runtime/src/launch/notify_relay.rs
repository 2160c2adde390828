//! sd_notify(3) through the runtime: readiness of the payload, told to the
//! service manager of the host.
//!
//! A directory of the container's state is bound at `/run/notify`; the socket
//! in it takes the payload's datagrams. What goes on to the host is written
//! anew (`notify_words`), and the pid is told by us: the payload's own
//! pid means nothing outside.
//!
//! The sender may be hostile: it is looked at (`notify_senders`), it is read only
//! so often, and nothing waits for it. The host's side may be slow: what does
//! not fit its queue is dropped, but for readiness and the end, which are sent again.
#![expect(clippy::disallowed_methods, reason = "a directory of the runtime, on the host")]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use super::console;
use super::notify_senders::Senders;
use super::notify_words::translate;
use crate::error::{Error, Result, Step};
use crate::sys::datagram;

/// The directory's name in the container's state directory: it is the runtime's
/// own, and nobody else walks through it.
const CLOSED: &str = "notify";
/// The one in it that is bound.
const BOUND: &str = "run";
const SOCKET: &str = "notify.sock";
/// Where the directory is bound in the container.
pub const IN_CONTAINER: &str = "/run/notify";
/// The payload's NOTIFY_SOCKET.
pub const ENVIRONMENT: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// How long systemd may take to acknowledge (runc's bound).
const BARRIER: Duration = Duration::from_secs(30);
/// Longer datagrams are not looked at (systemd's bound, PIPE_BUF).
const LONGEST: usize = 4096;
/// So many datagrams are read in each of these spans of time; then the senders wait.
const AT_ONCE: u32 = 16;
const SPAN: Duration = Duration::from_millis(250);

/// What the host's service manager told us: the address in `NOTIFY_SOCKET`.
pub fn host_address() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The directory, in a container's state directory, that is bound into it.
pub fn directory(state: &Path) -> PathBuf {
    state.join(CLOSED).join(BOUND)
}

/// Whether a container was made with one.
pub fn has_directory(state: &Path) -> bool {
    super::host_path::stat(directory(state)).is_ok()
}

/// For `create`: makes the directory that is bound, read-only, at
/// [`IN_CONTAINER`]; returns its path.
pub fn make_directory(state: &Path) -> Result<PathBuf> {
    let path = directory(state);
    // The container's user may be anybody, and so the inner one is open. The outer one keeps
    // the host's other users out: who is bound to the inner one does not walk through it.
    make(&state.join(CLOSED), 0o700)?;
    make(&path, 0o755)?;
    Ok(path)
}

fn make(path: &Path, mode: u32) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::os(format!("mkdir {}", path.display()), errno)),
    }
    // mkdir(2) obeys the umask.
    rustix::fs::chmod(path, Mode::from_raw_mode(mode)).step(|| format!("chmod {}", path.display()))
}

/// The socket that the payload sends to, and where its words go on to.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    host: OwnedFd,
    senders: Senders,
    ready: bool,
    /// What is not to be lost, and could not be sent yet.
    owed: Option<String>,
    /// When the current span of reading began, and how much was read in it.
    since: Instant,
    read: u32,
}

impl NotifySocket {
    /// For `start` (and `run`): opens the socket in the directory that
    /// `create` made, and connects to the host's. None where the container was
    /// created without `NOTIFY_SOCKET`. `init` is the pid of its first process, which waits.
    pub fn open(state: &Path, host: &Path, init: i32) -> Result<Option<Self>> {
        let directory = directory(state);
        if !directory.is_dir() {
            return Ok(None);
        }
        let path = directory.join(SOCKET);
        let step = || format!("notify socket {}", path.display());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let new = || rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        let socket = new().step(step)?;
        datagram::tell_senders(socket.as_fd()).step(step)?;
        match rustix::fs::unlink(&path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::os(step(), errno)),
        }
        let (address, _directory) = console::address(&path).step(step)?;
        // Born with its mode: a chmod by path might reach something else.
        let umask = rustix::process::umask(Mode::empty());
        let bound = rustix::net::bind(&socket, &address);
        rustix::process::umask(umask);
        bound.step(step)?;
        let to = new().step(step)?;
        let address = host_socket_address(host);
        let connected =
            address.and_then(|(address, _directory)| rustix::net::connect(&to, &address));
        connected.step(|| format!("NOTIFY_SOCKET {}", host.display()))?;
        Ok(Some(NotifySocket {
            socket,
            host: to,
            senders: Senders::of(init),
            ready: false,
            owed: None,
            since: Instant::now(),
            read: 0,
        }))
    }

    /// For a detached start: waits until the payload is ready and tells the
    /// host so, with `main_pid` as the service's process. Returns early when
    /// the process behind `pidfd` ends.
    pub fn wait_until_ready(mut self, pidfd: BorrowedFd<'_>, main_pid: i32) -> Result<()> {
        loop {
            let rest = self.rest();
            let mut fds = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
            if rest.is_none() {
                fds.push(PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN));
            }
            let bound = rest.and_then(|rest| Timespec::try_from(rest).ok());
            match poll(&mut fds, bound.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(errno) => return Err(Error::os("poll", errno)),
            }
            let ended = !fds[0].revents().is_empty();
            let said = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if (said || self.owed.is_some()) && !self.relay(main_pid)? {
                return Ok(());
            }
            if self.ready && self.owed.is_none() {
                return self.barrier(pidfd);
            }
            if ended && !said {
                return Ok(());
            }
        }
    }

    /// How long [`Self::relay`] is not to be called, where that is bounded.
    pub fn rest(&self) -> Option<Duration> {
        let left = SPAN.saturating_sub(self.since.elapsed());
        let rests = self.owed.is_some() || (self.read >= AT_ONCE && !left.is_zero());
        rests.then_some(left)
    }

    /// Takes some of the datagrams that wait and sends on what the host should know.
    /// False when the host's socket is gone: then there is nothing left to do.
    pub fn relay(&mut self, main_pid: i32) -> Result<bool> {
        if self.since.elapsed() >= SPAN {
            (self.since, self.read) = (Instant::now(), 0);
        }
        if let Some(owed) = self.owed.take()
            && !self.tell(owed, true)?
        {
            return Ok(false);
        }
        let mut text = [0; LONGEST];
        while self.read < AT_ONCE && self.owed.is_none() {
            // Its descriptors are closed when it is dropped: that acknowledges a BARRIER of
            // the payload, whose earlier words have gone on by then.
            let got = match datagram::receive(self.socket.as_fd(), &mut text) {
                Ok(got) => got,
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Error::os("notify socket: receive", errno)),
            };
            self.read += 1;
            if got.cut || !self.senders.include(got.pid) {
                crate::log::debug(|| format!("notify socket: process {} is not heard", got.pid));
                continue;
            }
            let message = translate(&text[..got.bytes], (!self.ready).then_some(main_pid));
            self.ready |= message.ready;
            if !message.text.is_empty() && !self.tell(message.text, message.grave)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends to the host. What is `grave` and finds the queue full is owed.
    fn tell(&mut self, words: String, grave: bool) -> Result<bool> {
        match self.send(words.as_bytes(), None) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN | Errno::NOBUFS) => {
                if grave {
                    (self.owed, self.since) = (Some(words), Instant::now());
                }
                Ok(true)
            }
            Err(Errno::CONNREFUSED | Errno::NOENT | Errno::PIPE) => Ok(false),
            Err(errno) => Err(Error::os("NOTIFY_SOCKET: send", errno)),
        }
    }

    /// Makes sure that the host has taken what was sent: it looks its sender up by
    /// its pid, and we do not stay. No longer than the process behind `pidfd` lives.
    fn barrier(&self, pidfd: BorrowedFd<'_>) -> Result<()> {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .step(|| "NOTIFY_SOCKET: pipe")?;
        let end = Instant::now() + BARRIER;
        let mut theirs = Some(theirs);
        loop {
            if let Some(fd) = &theirs {
                match self.send(b"BARRIER=1", Some(fd.as_fd())) {
                    Ok(()) => theirs = None,
                    Err(Errno::AGAIN | Errno::NOBUFS) => {}
                    Err(Errno::CONNREFUSED | Errno::NOENT | Errno::PIPE) => return Ok(()),
                    Err(errno) => return Err(Error::os("NOTIFY_SOCKET: send the barrier", errno)),
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                crate::log::warn("NOTIFY_SOCKET: the barrier was not acknowledged in 30 s");
                return Ok(());
            }
            // While it cannot be sent, the host's queue is tried again.
            let wait = if theirs.is_some() { left.min(SPAN) } else { left };
            let mut fds = [
                PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
                PollFd::from_borrowed_fd(ours.as_fd(), PollFlags::empty()),
            ];
            match poll(&mut fds, Timespec::try_from(wait).ok().as_ref()) {
                Ok(0) | Err(Errno::INTR | Errno::AGAIN) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(Error::os("poll", errno)),
            }
        }
    }

    fn send(&self, words: &[u8], fd: Option<BorrowedFd<'_>>) -> rustix::io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let parts = [IoSlice::new(words)];
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.host, &parts, &mut control, SendFlags::NOSIGNAL)
        })
        .map(drop)
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `NOTIFY_SOCKET` is a path, or `@` and an abstract name (sd_notify(3)).
fn host_socket_address(host: &Path) -> rustix::io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    match host.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => Ok((SocketAddrUnix::new_abstract_name(name)?, None)),
        None => console::address(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        dir: PathBuf,
        host: std::os::unix::net::UnixDatagram,
        socket: NotifySocket,
    }

    fn scene(name: &str) -> Scene {
        let dir = std::env::temp_dir().join(format!("notify-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let host_path = dir.join("host");
        let host = std::os::unix::net::UnixDatagram::bind(&host_path).unwrap();
        host.set_nonblocking(true).unwrap();
        let me = std::process::id() as i32;
        let none = NotifySocket::open(&dir, &host_path, me).unwrap();
        assert!(none.is_none(), "no directory: not asked for");
        make_directory(&dir).unwrap();
        let socket = NotifySocket::open(&dir, &host_path, me).unwrap().unwrap();
        Scene { dir, host, socket }
    }

    impl Scene {
        fn payload(&self) -> std::os::unix::net::UnixDatagram {
            let payload = std::os::unix::net::UnixDatagram::unbound().unwrap();
            payload.connect(directory(&self.dir).join(SOCKET)).unwrap();
            payload.set_nonblocking(true).unwrap();
            payload
        }

        fn heard(&self) -> Vec<String> {
            let mut got = [0; 5000];
            let next = |_| {
                self.host
                    .recv(&mut got)
                    .ok()
                    .map(|n| String::from_utf8_lossy(&got[..n]).into_owned())
            };
            std::iter::repeat(()).map_while(next).collect()
        }
    }

    #[test]
    fn readiness_reaches_the_host_with_our_pid() {
        let mut scene = scene("ready");
        let payload = scene.payload();
        payload.send(b"READY=1\nMAINPID=1").unwrap();
        payload.send(b"READY=1\nSTATUS=x\rMAINPID=1").unwrap();
        payload.send(&[b'x'; LONGEST + 1]).unwrap();
        assert!(scene.socket.relay(42).unwrap());
        assert_eq!(scene.heard(), ["READY=1\nMAINPID=42\n", "READY=1\nSTATUS=x\n"]);
        let Scene { dir, host, mut socket } = scene;
        drop(host);
        payload.send(b"STATUS=x").unwrap();
        assert!(!socket.relay(42).unwrap(), "the host's socket is gone");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nobody_else_of_the_host_reaches_the_socket() {
        use std::os::unix::fs::PermissionsExt;
        let scene = scene("modes");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let bound = directory(&scene.dir);
        assert_eq!(mode(bound.parent().unwrap()), 0o700);
        assert_eq!(mode(&bound), 0o755);
        assert_eq!(mode(&bound.join(SOCKET)), 0o777);
        std::fs::remove_dir_all(&scene.dir).unwrap();
    }

    #[test]
    fn a_flood_waits_and_a_full_queue_loses_nothing_grave() {
        let mut scene = scene("flood");
        let payload = scene.payload();
        let mut sent = 0;
        for _ in 0..10 {
            while payload.send(b"STATUS=flood").is_ok() {
                sent += 1;
            }
            scene.socket.since = Instant::now();
            assert!(scene.socket.relay(42).unwrap());
        }
        assert!(scene.socket.read <= AT_ONCE, "{} of {sent}", scene.socket.read);
        assert!(scene.socket.rest().is_some());
        scene.socket.since -= SPAN;
        assert!(scene.socket.rest().is_none());
        // The host's queue is full of what nobody takes; what is said now is owed.
        while scene.socket.host_is_free() {}
        while scene.socket.owed.is_none() {
            let _ = payload.send(b"READY=1");
            scene.socket.since -= SPAN;
            assert!(scene.socket.relay(42).unwrap());
        }
        scene.heard();
        scene.socket.since -= SPAN;
        assert!(scene.socket.relay(42).unwrap());
        assert!(scene.heard().contains(&"READY=1\nMAINPID=42\n".to_owned()));
        std::fs::remove_dir_all(&scene.dir).unwrap();
    }

    impl NotifySocket {
        fn host_is_free(&self) -> bool {
            self.send(b"STATUS=full", None).is_ok()
        }
    }
}
