//! Sockets: the control socket that the runtime passes in, notification sockets, and the
//! connections of probes.

use super::arch::{call, nr};
use super::{Errno, Result, check};

const NONBLOCK_CLOEXEC: usize = 0o4000 | 0o2000000;
const DONTWAIT_NOSIGNAL: usize = 0x40 | 0x4000;
/// struct sockaddr_un: family and path.
const UNIX_ADDRESS: usize = 110;

/// Who is at the other end (SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its pid as seen from here: 0 for one outside of the pid namespace.
    pub pid: i32,
    /// Its user id as seen from here.
    pub user: u32,
}

/// Takes the next connection.
pub fn accept(listener: i32) -> Result<i32> {
    // SAFETY: no address is wanted.
    let ret = unsafe { call(nr::ACCEPT4, [listener as usize, 0, 0, NONBLOCK_CLOEXEC, 0]) };
    check(ret).map(|fd| fd as i32)
}

/// Who is at the other end of a unix connection.
pub fn peer(socket: i32) -> Result<Peer> {
    let mut credentials = [0_u32; 3];
    option(socket, 17, &mut credentials)?;
    Ok(Peer { pid: credentials[0] as i32, user: credentials[1] })
}

/// The error of a connection that was being made; Ok when it stands.
pub fn connected(socket: i32) -> Result<()> {
    let mut error = [0_u32];
    option(socket, 4, &mut error)?;
    if error[0] == 0 { Ok(()) } else { Err(Errno(error[0] as i32)) }
}

/// getsockopt(2) at SOL_SOCKET.
fn option(socket: i32, name: usize, value: &mut [u32]) -> Result<()> {
    let mut size = size_of_val(value) as u32;
    // SAFETY: value and size live through the call, and size says how much room there is.
    check(unsafe {
        let args = [socket as usize, 1, name, value.as_mut_ptr() as usize, &raw mut size as usize];
        call(nr::GETSOCKOPT, args)
    })
    .map(drop)
}

/// Begins a connection to a socket address; the socket.
pub fn connect(address: &[u8]) -> Result<i32> {
    let family = usize::from(*address.first().unwrap_or(&0));
    // SAFETY: numbers; 1 is SOCK_STREAM.
    let mut socket =
        check(unsafe { call(nr::SOCKET, [family, 1 | NONBLOCK_CLOEXEC, 0, 0, 0]) })? as i32;
    // SAFETY: the kernel reads as many bytes of the address as there are.
    let done = check(unsafe {
        call(nr::CONNECT, [socket as usize, address.as_ptr() as usize, address.len(), 0, 0])
    });
    match done {
        Ok(_) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(errno) => {
            super::descriptors::close(&mut socket);
            Err(errno)
        }
    }
}

/// A datagram socket bound to a path.
pub fn bind_datagrams(path: &[u8]) -> Result<i32> {
    let mut address = [0_u8; UNIX_ADDRESS];
    address[0] = 1;
    let room = address.get_mut(2..2 + path.len()).filter(|_| path.len() < UNIX_ADDRESS - 2);
    room.ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(path);
    // SAFETY: numbers; AF_UNIX, SOCK_DGRAM.
    let mut socket = check(unsafe { call(nr::SOCKET, [1, 2 | NONBLOCK_CLOEXEC, 0, 0, 0]) })? as i32;
    // SAFETY: the kernel reads the whole of the address.
    let bound = check(unsafe {
        call(nr::BIND, [socket as usize, address.as_ptr() as usize, UNIX_ADDRESS, 0, 0])
    });
    match bound {
        Ok(_) => Ok(socket),
        Err(errno) => {
            super::descriptors::close(&mut socket);
            Err(errno)
        }
    }
}

/// Receives once, without waiting; a descriptor that comes along is closed by the kernel.
pub fn receive(socket: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most as many bytes as there are; no address is wanted.
    check(unsafe {
        let (start, size) = (buffer.as_mut_ptr() as usize, buffer.len());
        call(nr::RECVFROM, [socket as usize, start, size, 0x40, 0])
    })
}

/// Sends once, without waiting.
pub fn send(socket: i32, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads as many bytes as there are; there is no address.
    check(unsafe {
        let (start, size) = (bytes.as_ptr() as usize, bytes.len());
        call(nr::SENDTO, [socket as usize, start, size, DONTWAIT_NOSIGNAL, 0])
    })
}

/// Sends bytes and a descriptor (SCM_RIGHTS), without waiting.
pub fn send_with(socket: i32, bytes: &[u8], descriptor: i32) -> Result<()> {
    // struct cmsghdr (length 20, SOL_SOCKET, SCM_RIGHTS) and the descriptor, padded.
    let control = [20_u64, 1 | 1 << 32, descriptor as u32 as u64];
    let vector = [bytes.as_ptr() as usize, bytes.len()];
    let (vectors, controls) = (vector.as_ptr() as usize, control.as_ptr() as usize);
    // struct msghdr: name, its length, vectors, their count, control, its length, flags.
    let message = [0, 0, vectors, 1, controls, 24, 0];
    // SAFETY: everything that the message points at lives through the call.
    check(unsafe {
        let args = [socket as usize, message.as_ptr() as usize, DONTWAIT_NOSIGNAL, 0, 0];
        call(nr::SENDMSG, args)
    })
    .map(drop)
}
