//! Terminals: a pair of our own for foreground runs, and the receiving end of
//! a console socket.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::PATIENCE;

/// The master side of a terminal.
pub struct Terminal {
    file: File,
    seen: String,
}

/// Makes a pair: the master, and the slave to be some command's terminal.
pub fn pair(rows: u16, cols: u16) -> (Terminal, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("openpt");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("utf-8");
    let slave = File::options().read(true).write(true).open(name).expect("open the slave");
    let terminal = Terminal::from(master);
    terminal.resize(rows, cols);
    (terminal, slave)
}

impl From<OwnedFd> for Terminal {
    fn from(fd: OwnedFd) -> Terminal {
        Terminal { file: File::from(fd), seen: String::new() }
    }
}

impl Terminal {
    /// Sets the window size.
    pub fn resize(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.file, size).expect("set the window size");
    }

    /// Types a text.
    pub fn send(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Everything read so far.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Reads until `word` has been seen or patience ends.
    #[track_caller]
    pub fn expect(&mut self, word: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains(word) {
            assert!(Instant::now() < end, "no {word:?} on the terminal: {:?}", self.seen);
            if !self.read_some() {
                assert!(
                    self.seen.contains(word),
                    "the terminal ended without {word:?}: {:?}",
                    self.seen
                );
            }
        }
    }

    /// Reads what is there within 100 ms.
    pub fn look(&mut self) {
        self.read_some();
    }

    /// Reads to the end.
    pub fn drain(&mut self) -> &str {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && self.read_some() {}
        &self.seen
    }

    /// Reads what is there within 100 ms; false at the end.
    fn read_some(&mut self) -> bool {
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let ready = poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&wait));
        if !matches!(ready, Ok(n) if n > 0) {
            return true;
        }
        let mut buffer = [0; 4096];
        match self.file.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
                true
            }
        }
    }
}

/// The pid behind a pidfd (pidfd_open(2), "fdinfo").
pub fn pid_behind(fd: impl AsRawFd) -> i32 {
    let text =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).expect("fdinfo");
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.unwrap_or_else(|| panic!("no pidfd: {text}")).trim().parse().expect("a pid")
}

/// A listening socket that waits for descriptors.
pub struct FdSocket {
    listener: UnixListener,
    /// Its path.
    pub path: PathBuf,
}

impl FdSocket {
    /// Listens at `path`, for everybody.
    pub fn new(path: &Path) -> FdSocket {
        use std::os::unix::fs::PermissionsExt;
        let listener = UnixListener::bind(path).expect("bind the console socket");
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(path, all).expect("chmod the console socket");
        FdSocket { listener, path: path.to_path_buf() }
    }

    /// The path as text.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("utf-8 path")
    }

    /// Receives one message with one descriptor.
    pub fn receive(&self) -> (String, OwnedFd) {
        let (text, mut fds) = next_message(self.accept());
        assert_eq!(fds.len(), 1, "one descriptor in the message");
        (text, fds.remove(0))
    }

    /// Receives everything of one connection up to its end: each message with
    /// its descriptors.
    pub fn conversation(&self) -> Vec<(String, Vec<OwnedFd>)> {
        let stream = self.accept();
        let mut said = Vec::new();
        loop {
            match next_message(&stream) {
                (text, fds) if text.is_empty() && fds.is_empty() => return said,
                message => said.push(message),
            }
        }
    }

    /// Whether somebody else is connecting.
    pub fn has_more(&self) -> bool {
        let wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&wait));
        matches!(ready, Ok(n) if n > 0)
    }

    fn accept(&self) -> UnixStream {
        let wait = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&wait));
        assert!(matches!(ready, Ok(n) if n > 0), "nobody connected to {}", self.path.display());
        let (stream, _) = self.listener.accept().expect("accept");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a time limit");
        stream
    }
}

/// What one receive gives: the text, and the descriptors with it. Nothing is the end.
fn next_message(socket: impl AsFd) -> (String, Vec<OwnedFd>) {
    let mut data = [0; 8192];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut vectors = [IoSliceMut::new(&mut data)];
    let got = recvmsg(socket.as_fd(), &mut vectors, &mut control, RecvFlags::CMSG_CLOEXEC)
        .expect("receive a descriptor");
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    (String::from_utf8_lossy(&data[..got.bytes]).into_owned(), fds)
}

/// The other end of `NOTIFY_SOCKET`, as a service manager holds it.
pub struct NotifySocket {
    socket: UnixDatagram,
    /// Its path.
    pub path: PathBuf,
}

impl NotifySocket {
    /// Listens at `path`, for everybody.
    pub fn new(path: &Path) -> NotifySocket {
        use std::os::unix::fs::PermissionsExt;
        let socket = UnixDatagram::bind(path).expect("bind the notify socket");
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(path, all).expect("chmod the notify socket");
        NotifySocket { socket, path: path.to_path_buf() }
    }

    /// The next datagram and its descriptors, within `seconds`.
    pub fn receive(&self, seconds: i64) -> Option<(String, Vec<OwnedFd>)> {
        let wait = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&wait));
        matches!(ready, Ok(n) if n > 0).then(|| next_message(&self.socket))
    }
}
