//! Who holds what must not be closed when a monitor is killed: the FIFOs with what is in them,
//! the process's pidfd (with which the kernel still tells the exit code), the terminal, standard
//! input. It is a copy of the monitor that sleeps; the next monitor gets everything from it.

use std::fs::{self, File};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt::socket_peercred,
};
use rustix::process::{Pid, Signal, kill_process};

use super::launch::{Kept, Pipes, Process};
use super::terminal::address;
use crate::error::{At, Error, Result};
use crate::sys;

/// Its socket in the run directory.
const SOCKET: &str = "keep.sock";

/// A keeper; it ends when this is dropped.
pub struct Keeper {
    /// Its process.
    pub pid: i32,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        end(self.pid);
    }
}

fn end(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

impl Keeper {
    /// Makes one for a container that runs.
    pub fn begin(run: &Path, pipes: &Pipes, process: &Process) -> Result<Keeper> {
        let dir = File::open(run).at("open", run.display())?;
        let _ = fs::remove_file(run.join(SOCKET));
        let listener = UnixListener::bind(address(&dir, SOCKET)).at("listen at", SOCKET)?;
        let (words, given) = given(process);
        let mut kept: Vec<i32> = given.iter().map(AsRawFd::as_raw_fd).collect();
        kept.extend([&pipes.output, &pipes.errors].map(AsRawFd::as_raw_fd));
        kept.push(listener.as_raw_fd());
        let pid = sys::fork(&kept, || serve(&listener, &words, &given));
        Ok(Keeper { pid: pid.at("make", "a keeper")? })
    }
}

/// What the next monitor gets, and a letter for each.
fn given(process: &Process) -> (Vec<u8>, Vec<BorrowedFd<'_>>) {
    let (mut words, mut fds) = (vec![b'p'], vec![process.pidfd.as_fd()]);
    for (word, fd) in [(b't', &process.master), (b'i', &process.input)] {
        if let Some(fd) = fd {
            words.push(word);
            fds.push(fd.as_fd());
        }
    }
    (words, fds)
}

/// The life of a keeper: every signal that can be blocked is.
fn serve(listener: &UnixListener, words: &[u8], fds: &[BorrowedFd<'_>]) {
    let _ = rustix::thread::set_name(c"rich-keeper");
    // Said once more by this process: who connects sees its id.
    let _ = rustix::net::listen(listener, 4);
    while let Ok((stream, _)) = listener.accept() {
        let ours = socket_peercred(&stream)
            .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid());
        if !ours {
            continue;
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
        let _ = sendmsg(&stream, &[IoSlice::new(words)], &mut ancillary, SendFlags::NOSIGNAL);
    }
}

/// Takes everything from the keeper that another monitor has left, and ends it.
pub fn take(run: &Path) -> Result<Kept> {
    let dir = File::open(run).at("open", run.display())?;
    let stream = UnixStream::connect(address(&dir, SOCKET)).at("ask", "the keeper")?;
    let keeper = socket_peercred(&stream).at("ask", "the keeper")?;
    let mut words = [0; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut words)];
    let received = recvmsg(&stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
    let count = received.at("ask", "the keeper")?.bytes;
    let mut kept = Kept::default();
    let mut letters = words[..count].iter();
    for message in ancillary.drain() {
        let RecvAncillaryMessage::ScmRights(fds) = message else { continue };
        for fd in fds {
            match letters.next() {
                Some(b'p') => kept.pidfd = Some(fd),
                Some(b't') => kept.master = Some(fd),
                Some(b'i') => kept.input = Some(fd),
                _ => return Err(Error::system("the keeper: more than it says")),
            }
        }
    }
    end(keeper.pid.as_raw_nonzero().get());
    Ok(kept)
}
