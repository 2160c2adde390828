//! The master end of a container's terminal: it arrives over a console socket.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{At, Error, Result};

/// A console socket.
pub struct Console {
    /// The run directory: through its descriptor the address is short, whatever its path.
    dir: File,
    listener: UnixListener,
}

impl Console {
    /// Listens in the run directory.
    pub fn listen(run: &Path) -> Result<Console> {
        let dir = File::open(run).at("open", run.display())?;
        let _ = fs::remove_file(run.join("console.sock"));
        let address = address(&dir, "console.sock");
        let listener = UnixListener::bind(&address).at("listen at", address.display())?;
        Ok(Console { dir, listener })
    }

    /// What the runtime is told.
    pub fn address(&self) -> PathBuf {
        address(&self.dir, "console.sock")
    }

    /// The master end. The runtime has sent it already.
    pub fn receive(&self) -> Result<OwnedFd> {
        let (stream, _) = self.listener.accept().at("receive", "the terminal")?;
        let mut name = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut name)];
        recvmsg(&stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .at("receive", "the terminal")?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message
                && let Some(master) = fds.next()
            {
                rustix::io::ioctl_fionbio(master.as_fd(), true).at("prepare", "the terminal")?;
                return Ok(master);
            }
        }
        Err(Error::system("receive the terminal: the runtime has sent none"))
    }
}

/// A name in a directory, as every process of this user can reach it while this one lives.
pub fn address(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}/{name}", std::process::id(), dir.as_raw_fd()))
}

/// Gives the terminal its size.
pub fn resize(master: &OwnedFd, data: &[u8]) {
    if let [a, b, c, d] = *data {
        let size = Winsize {
            ws_row: u16::from_be_bytes([a, b]),
            ws_col: u16::from_be_bytes([c, d]),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let _ = tcsetwinsize(master, size);
    }
}
