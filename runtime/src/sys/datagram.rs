//! A datagram with who sent it and the descriptors that came along (unix(7)).
//!
//! rustix has a sender's pid as a number that is never 0; but 0 is what the kernel
//! says of a sender who is outside of our pid namespace.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::clone::last_errno;

/// A datagram.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it fills.
    pub bytes: usize,
    /// It was longer than the buffer.
    pub cut: bool,
    /// The sender's pid in our pid namespace; 0 for one who is not in it.
    pub pid: i32,
    /// The descriptors that came with it: as many as there is room for, the kernel closes more.
    pub fds: Vec<OwnedFd>,
}

/// Room for both kinds of control messages, aligned as a `cmsghdr` is.
type Control = [u64; 16];

/// Has the kernel tell each datagram's sender.
///
/// # Errors
/// The kernel's errno.
pub fn tell_senders(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::net::sockopt::set_socket_passcred(socket, true)
}

/// Receives one, without waiting.
///
/// # Errors
/// The kernel's errno; `EAGAIN` where none waits.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = MaybeUninit::<Control>::zeroed();
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the header's pointers and lengths are those of `part`, `buffer` and `control`,
    // which live longer than the call.
    let ret =
        unsafe { libc::syscall(libc::SYS_recvmsg, socket.as_raw_fd(), &raw mut message, flags) };
    if ret == -1 {
        return Err(last_errno());
    }
    let cut = message.msg_flags & libc::MSG_TRUNC != 0;
    let mut received = Received { bytes: ret as usize, cut, pid: 0, fds: Vec::new() };
    // SAFETY: the kernel has written `msg_controllen` bytes of well-formed control messages
    // into `control`, which is still there.
    unsafe { take_control(&message, &mut received) };
    Ok(received)
}

/// # Safety
/// `message` was filled by recvmsg(2), and its control buffer is valid; called once, since
/// the descriptors become owned.
unsafe fn take_control(message: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller's promise; the CMSG functions stay within `msg_controllen`, and the
    // data of a control message may be unaligned.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(message);
        while let Some(header) = at.as_ref() {
            let data = libc::CMSG_DATA(at);
            let length = header.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for number in 0..length / size_of::<i32>() {
                        let fd = data.cast::<i32>().add(number).read_unaligned();
                        received.fds.push(OwnedFd::from_raw_fd(fd));
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                    received.pid = data.cast::<libc::ucred>().read_unaligned().pid;
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(message, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_datagram_tells_its_sender_and_brings_descriptors() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        tell_senders(ours.as_fd()).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(receive(ours.as_fd(), &mut buffer).unwrap_err(), Errno::AGAIN);
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let fds = [file.as_fd(); 12];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(12))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds));
        let parts = [std::io::IoSlice::new(b"123456789")];
        let flags = rustix::net::SendFlags::empty();
        rustix::net::sendmsg(&theirs, &parts, &mut control, flags).unwrap();
        let got = receive(ours.as_fd(), &mut buffer).unwrap();
        assert_eq!((got.bytes, got.cut, got.pid), (8, true, std::process::id() as i32));
        // As many as there is room for; more is not left open.
        assert!(!got.fds.is_empty() && got.fds.len() <= 24, "{}", got.fds.len());
        assert!(
            got.fds.iter().all(|fd| rustix::io::fcntl_getfd(fd)
                .unwrap()
                .contains(rustix::io::FdFlags::CLOEXEC))
        );
        theirs.send(b"").unwrap();
        let got = receive(ours.as_fd(), &mut buffer).unwrap();
        assert_eq!((got.bytes, got.cut, got.fds.len()), (0, false, 0));
    }
}
