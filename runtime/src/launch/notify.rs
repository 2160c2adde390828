//! sd_notify(3) through the runtime: readiness of the payload, told to the
//! service manager of the host.
//!
//! A directory of the container's state is bound at `/run/notify`; the socket
//! in it takes the payload's datagrams. What goes on to the host is readiness
//! and what belongs to it, and the pid is told by us: the payload's own pid
//! means nothing outside.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use super::console;
use crate::error::{Error, Result, Step};

/// The directory's name in the container's state directory.
const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify.sock";
/// Where the directory is bound in the container.
pub const IN_CONTAINER: &str = "/run/notify";
/// The payload's NOTIFY_SOCKET.
pub const ENVIRONMENT: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// How long systemd may take to acknowledge (runc's bound).
const BARRIER_SECONDS: i64 = 30;

/// What the host's service manager told us: the address in `NOTIFY_SOCKET`.
pub fn host_address() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The directory, in a container's state directory, that is bound into it.
pub fn directory(state: &Path) -> PathBuf {
    state.join(DIRECTORY)
}

/// For `create`: makes the directory that is bound, read-only, at
/// [`IN_CONTAINER`]; returns its path.
pub fn make_directory(state: &Path) -> Result<PathBuf> {
    let path = directory(state);
    match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::os(format!("mkdir {}", path.display()), errno)),
    }
    // mkdir(2) obeys the umask, the container's user may be anybody.
    rustix::fs::chmod(&path, Mode::from_raw_mode(0o755))
        .step(|| format!("chmod {}", path.display()))?;
    Ok(path)
}

/// The socket that the payload sends to, and where its words go on to.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    host: OwnedFd,
    ready: bool,
}

impl NotifySocket {
    /// For `start` (and `run`): opens the socket in the directory that
    /// `create` made, and connects to the host's. None where the container was
    /// created without `NOTIFY_SOCKET`.
    pub fn open(state: &Path, host: &Path) -> Result<Option<Self>> {
        let directory = directory(state);
        if !directory.is_dir() {
            return Ok(None);
        }
        let path = directory.join(SOCKET);
        let step = || format!("notify socket {}", path.display());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let new = || rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        let socket = new().step(step)?;
        match rustix::fs::unlink(&path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::os(step(), errno)),
        }
        let (address, _directory) = console::address(&path).step(step)?;
        rustix::net::bind(&socket, &address).step(step)?;
        rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(0o777), rustix::fs::AtFlags::empty())
            .step(step)?;
        let to = new().step(step)?;
        let address = host_socket_address(host);
        let connected =
            address.and_then(|(address, _directory)| rustix::net::connect(&to, &address));
        connected.step(|| format!("NOTIFY_SOCKET {}", host.display()))?;
        Ok(Some(NotifySocket { socket, host: to, ready: false }))
    }

    /// For a detached start: waits until the payload is ready and tells the
    /// host so, with `main_pid` as the service's process. Returns early when
    /// the process behind `pidfd` ends.
    pub fn wait_until_ready(mut self, pidfd: BorrowedFd<'_>, main_pid: i32) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(errno) => return Err(Error::os("poll", errno)),
            }
            let (said, ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if said {
                self.relay(main_pid)?;
            }
            if self.ready || (ended && !said) {
                return Ok(());
            }
        }
    }

    /// Takes the datagrams that wait and sends on what the host should know.
    /// False when the host's socket is gone: then there is nothing left to do.
    pub fn relay(&mut self, main_pid: i32) -> Result<bool> {
        let mut text = vec![0; 4096];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut text)];
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let got = match rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags) {
                Ok(got) => got.bytes,
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Error::os("notify socket: receive", errno)),
            };
            // Closed when dropped: that acknowledges a BARRIER of the payload,
            // whose earlier words have gone on by then.
            let _fds: Vec<OwnedFd> = control
                .drain()
                .filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                    _ => None,
                })
                .flatten()
                .collect();
            let words = pass_on(&text[..got], main_pid, &mut self.ready);
            if !words.is_empty() && !self.tell(&words)? {
                return Ok(false);
            }
        }
    }

    /// Sends to the host, then makes sure that it was taken.
    fn tell(&self, words: &[u8]) -> Result<bool> {
        match self.send(words, None) {
            Ok(()) => {}
            Err(Errno::CONNREFUSED | Errno::NOENT | Errno::PIPE) => return Ok(false),
            Err(errno) => return Err(Error::os("NOTIFY_SOCKET: send", errno)),
        }
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .step(|| "NOTIFY_SOCKET: pipe")?;
        match self.send(b"BARRIER=1", Some(theirs.as_fd())) {
            Ok(()) => {}
            Err(Errno::CONNREFUSED | Errno::NOENT | Errno::PIPE) => return Ok(false),
            Err(errno) => return Err(Error::os("NOTIFY_SOCKET: send the barrier", errno)),
        }
        drop(theirs);
        let mut fds = [PollFd::from_borrowed_fd(ours.as_fd(), PollFlags::empty())];
        let bound = Timespec { tv_sec: BARRIER_SECONDS, tv_nsec: 0 };
        match rustix::io::retry_on_intr(|| poll(&mut fds, Some(&bound))) {
            Ok(0) => crate::log::warn("NOTIFY_SOCKET: the barrier was not acknowledged in 30 s"),
            Ok(_) => {}
            Err(errno) => return Err(Error::os("poll", errno)),
        }
        Ok(true)
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

/// The assignments of a datagram that go on to the host: not the pids and
/// descriptors, which mean something else outside. With the first `READY=1`
/// goes `MAINPID`.
fn pass_on(datagram: &[u8], main_pid: i32, ready: &mut bool) -> Vec<u8> {
    const KEPT: [&[u8]; 6] =
        [b"READY=", b"STATUS=", b"STOPPING=", b"ERRNO=", b"EXTEND_TIMEOUT_USEC=", b"WATCHDOG="];
    let mut words = Vec::new();
    for line in datagram.split(|byte| *byte == b'\n') {
        if KEPT.iter().any(|key| line.starts_with(key)) {
            words.extend_from_slice(line);
            words.push(b'\n');
        }
        if line == b"READY=1" && !*ready {
            *ready = true;
            words.extend_from_slice(format!("MAINPID={main_pid}\n").as_bytes());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_and_descriptors_of_the_container_stay_inside() {
        let mut ready = false;
        let words = pass_on(b"MAINPID=7\nSTATUS=up\nFDSTORE=1\nREADY=1\n", 42, &mut ready);
        assert_eq!(words, b"STATUS=up\nREADY=1\nMAINPID=42\n");
        assert!(ready);
        assert_eq!(pass_on(b"READY=1", 42, &mut ready), b"READY=1\n");
        assert_eq!(pass_on(b"BARRIER=1", 42, &mut ready), b"");
        assert_eq!(pass_on(b"", 42, &mut ready), b"");
    }

    #[test]
    fn readiness_reaches_the_host_with_our_pid_and_a_barrier() {
        let dir = std::env::temp_dir().join(format!("notify-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let host_path = dir.join("host");
        let host = std::os::unix::net::UnixDatagram::bind(&host_path).unwrap();
        assert!(
            NotifySocket::open(&dir, &host_path).unwrap().is_none(),
            "no directory: not asked for"
        );
        make_directory(&dir).unwrap();
        let mut socket = NotifySocket::open(&dir, &host_path).unwrap().unwrap();

        let payload = std::os::unix::net::UnixDatagram::unbound().unwrap();
        payload.send_to(b"READY=1\nMAINPID=1", dir.join("notify/notify.sock")).unwrap();
        // std drops the descriptors that come with a datagram: the barrier's end.
        let reader = std::thread::spawn(move || {
            let mut got = [[0; 64]; 2];
            let first = host.recv(&mut got[0]).unwrap();
            let second = host.recv(&mut got[1]).unwrap();
            (got[0][..first].to_vec(), got[1][..second].to_vec())
        });
        assert!(socket.relay(42).unwrap());
        let (first, second) = reader.join().unwrap();
        assert_eq!(first, b"READY=1\nMAINPID=42\n");
        assert_eq!(second, b"BARRIER=1");
        payload.send_to(b"STATUS=x", dir.join("notify/notify.sock")).unwrap();
        assert!(!socket.relay(42).unwrap(), "the host's socket is gone");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
