//! The container's terminal: a pty of its own devpts.
//!
//! The child opens the pty once the mounts are there, so that its name and
//! its number are those of the container. What lies under `/dev` belongs to
//! the image and may be anything: nothing here follows a link, and what is
//! opened is checked to be what it should be (CVE-2025-52565).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::Timespec;
use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Error, Result, Step};
use crate::sys::{inroot, interrupt, mount};

/// What goes with the master end over a console socket: the name that runc
/// sends. Receivers (conmon, containerd, recvtty) only show it.
const MASTER_NAME: &[u8] = b"/dev/ptmx";

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Both ends of a new pty.
#[derive(Debug)]
pub struct Pty {
    /// The end that whoever shows the terminal holds.
    pub master: OwnedFd,
    /// The end that becomes the payload's standard streams.
    pub terminal: OwnedFd,
}

/// Columns and rows (`process.consoleSize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Opens a pty of the devpts that is mounted at `dev/pts` below `root`, and
/// gives it `size`.
///
/// # Errors
/// There is no devpts, or what is there is something else.
pub fn open_pty(root: BorrowedFd<'_>, size: Option<Size>) -> Result<Pty> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dev = openat(root, "dev", directory, Mode::empty()).step(|| "terminal: open /dev")?;
    let pts = openat(&dev, "pts", directory, Mode::empty()).step(|| "terminal: open /dev/pts")?;
    if !is_devpts(pts.as_fd())? {
        return Err(Error::config(
            "process.terminal: the container has no devpts mounted on /dev/pts",
        ));
    }
    // devpts could have something else mounted on the file, whose driver must not be asked: on the
    // same mount there is no other file of that name.
    let open = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = inroot::open_exact(pts.as_fd(), Path::new("ptmx"), open)
        .step(|| "terminal: open /dev/pts/ptmx")?;
    if !is_devpts(master.as_fd())?
        || !is_device(master.as_fd(), |major, minor| (major, minor) == (5, 2))?
    {
        return Err(Error::system("terminal: /dev/pts/ptmx is not the pty multiplexer"));
    }
    unlockpt(&master).step(|| "terminal: unlock")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = ioctl_tiocgptpeer(&master, flags).step(|| "terminal: open the other end")?;
    if !is_device(terminal.as_fd(), |major, _| (136..=143).contains(&major))? {
        return Err(Error::system("terminal: the other end is not a pty"));
    }
    if let Some(size) = size {
        resize(master.as_fd(), size)?;
    }
    Ok(Pty { master, terminal })
}

/// Gives a terminal a size; its processes get SIGWINCH.
pub fn resize(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).step(|| "terminal: set the window size")
}

fn is_devpts(fd: BorrowedFd<'_>) -> Result<bool> {
    let stat = fstatfs(fd).step(|| "terminal: statfs /dev/pts")?;
    Ok(stat.f_type == DEVPTS_SUPER_MAGIC)
}

fn is_device(fd: BorrowedFd<'_>, good: impl Fn(u32, u32) -> bool) -> Result<bool> {
    let stat = fstat(fd).step(|| "terminal: stat")?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    Ok(character && good(rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}

/// Binds the terminal on `/dev/console` below `root`, making that file where
/// it is missing. Call it in the container's mount namespace.
pub fn bind_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> Result<()> {
    let step = || "terminal: bind on /dev/console";
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dev = openat(root, "dev", directory, Mode::empty()).step(step)?;
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = match openat(&dev, "console", path, Mode::empty()) {
        Err(Errno::NOENT) => {
            inroot::open_or_make(dev.as_fd(), Path::new("console"), inroot::Make::File)
        }
        found => found,
    };
    let target = target.step(step)?;
    if FileType::from_raw_mode(fstat(&target).step(step)?.st_mode) == FileType::Symlink {
        return Err(Error::os(step(), Errno::LOOP));
    }
    match mount::clone_tree(terminal, false) {
        Ok(tree) => mount::attach(tree.as_fd(), target.as_fd()).step(step),
        Err(Errno::NOSYS) => mount::old_bind(terminal, target.as_fd(), false).step(step),
        Err(errno) => Err(Error::os(step(), errno)),
    }
}

/// Makes the terminal the controlling one and the standard streams of this
/// process: a new session, `TIOCSCTTY`, descriptors 0, 1 and 2.
pub fn adopt(terminal: BorrowedFd<'_>) -> Result<()> {
    match rustix::process::setsid() {
        // EPERM: it leads a group already; then it must lead its session too.
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(Error::os("terminal: new session", errno)),
    }
    rustix::process::ioctl_tiocsctty(terminal).step(|| "terminal: make it the controlling one")?;
    let streams = rustix::stdio::dup2_stdin(terminal)
        .and_then(|()| rustix::stdio::dup2_stdout(terminal))
        .and_then(|()| rustix::stdio::dup2_stderr(terminal));
    streams.step(|| "terminal: standard streams")
}

/// How often, and with which pauses, whoever listens is asked again while others wait: 10 s in all.
const ASKED: usize = 500;
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Connects to the unix socket of `--console-socket`, `--pidfd-socket` or a seccomp listener.
///
/// # Errors
/// Nobody listens there, or accepts for ten seconds; or the end was asked for meanwhile.
pub fn connect(option: &str, path: &Path) -> Result<OwnedFd> {
    let step = || format!("{option} {}", path.display());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .step(step)?;
    for _ in 0..ASKED {
        // A blocking one would wait for ever, and hear of no signal, where nobody accepts.
        match rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address(path)?.0)) {
            Err(Errno::AGAIN) => interrupt::pause(PAUSE)?,
            connected => {
                connected.step(step)?;
                rustix::io::ioctl_fionbio(&socket, false).step(step)?;
                return Ok(socket);
            }
        }
    }
    Err(Error::system(format!("{}: nobody accepts", step())))
}

/// The address of a socket file; one too long for `sun_path` is named through
/// a descriptor of its directory, which must stay open meanwhile.
pub(super) fn address(path: &Path) -> rustix::io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    match (SocketAddrUnix::new(path), path.parent(), path.file_name()) {
        (Err(Errno::NAMETOOLONG), Some(parent), Some(name)) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let parent = super::host_path::open(parent, flags)?;
            let short = format!("/proc/self/fd/{}", parent.as_raw_fd());
            Ok((SocketAddrUnix::new(Path::new(&short).join(name))?, Some(parent)))
        }
        (address, _, _) => Ok((address?, None)),
    }
}

/// A connected pair, for a terminal that this process itself will show.
pub fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .step(|| "terminal: socketpair")
}

/// Sends a pty's master end over a connected socket.
pub fn send_master(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<()> {
    send(socket, MASTER_NAME, master).step(|| "terminal: send over the console socket")
}

/// Sends a pidfd over a connected socket, as `--pidfd-socket` asks.
pub fn send_pidfd(socket: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> Result<()> {
    send(socket, b"pidfd", pidfd).step(|| "send over the pidfd socket")
}

pub(super) fn send(
    socket: BorrowedFd<'_>,
    name: &[u8],
    fd: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let parts = [IoSlice::new(name)];
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
    })
    .map(drop)
}

/// Receives the master end that the child sent over a [`socket_pair`].
///
/// # Errors
/// The other side closed without sending: the child failed before.
pub fn receive_master(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let step = || "terminal: receive its master end";
    let master = receive(socket).step(step)?;
    master.ok_or_else(|| Error::system(format!("{}: it was not sent", step())))
}

/// Receives the descriptor of one message, if it has one.
pub(super) fn receive(socket: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let mut name = [0; 64];
    let mut parts = [IoSliceMut::new(&mut name)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(fds.next())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a trial's own files")]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_crosses_a_socket() {
        let (ours, theirs) = socket_pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send_master(theirs.as_fd(), write.as_fd()).unwrap();
        let got = receive_master(ours.as_fd()).unwrap();
        rustix::io::write(&got, b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(&read, &mut byte), Ok(1));
        drop(theirs);
        let error = receive_master(ours.as_fd()).unwrap_err().to_string();
        assert_eq!(error, "terminal: receive its master end: it was not sent");
    }

    #[test]
    fn a_socket_path_may_be_longer_than_an_address() {
        let dir = std::env::temp_dir().join(format!("{}-{}", "d".repeat(120), std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("socket");
        let (short, _parent) = address(&path).unwrap();
        let flags = SocketFlags::CLOEXEC;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        rustix::net::bind(&listener, &short).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        connect("--console-socket", &path).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let error = connect("--console-socket", Path::new("/nowhere/s")).unwrap_err().to_string();
        assert_eq!(error, "--console-socket /nowhere/s: no such file or directory");
    }

    #[test]
    fn a_dev_that_is_not_the_container_s_is_refused() {
        let dir = std::env::temp_dir().join(format!("console-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("plain/dev/pts")).unwrap();
        std::fs::create_dir_all(dir.join("link")).unwrap();
        std::os::unix::fs::symlink("/dev", dir.join("link/dev")).unwrap();
        std::fs::create_dir_all(dir.join("deeper/dev")).unwrap();
        std::os::unix::fs::symlink("/dev/pts", dir.join("deeper/dev/pts")).unwrap();
        for (root, says) in [
            ("plain", "process.terminal: the container has no devpts mounted on /dev/pts"),
            ("link", "terminal: open /dev: not a directory"),
            ("deeper", "terminal: open /dev/pts: not a directory"),
        ] {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(dir.join(root), flags, Mode::empty()).unwrap();
            assert_eq!(open_pty(root.as_fd(), None).unwrap_err().to_string(), says);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
