//! What moving a network device takes of rtnetlink(7).
//!
//! Addresses are copied as the bytes that the kernel gave: their attributes need not be known
//! here to be kept (docs/design.md, "Network devices", on why no crate is used).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct ifinfomsg`.
const LINK: usize = 16;
/// `struct ifaddrmsg`.
const ADDRESS: usize = 8;
/// More than the kernel puts into one datagram of a dump (32 KiB).
const DATAGRAM: usize = 1 << 16;

/// A socket in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Rtnetlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: i32,
    /// `IFF_*`.
    pub flags: u32,
}

/// An address of a device: the kernel's own message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Vec<u8>);

/// A socket for the calling process's network namespace.
///
/// # Errors
/// The kernel's answer.
pub fn socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

impl Rtnetlink {
    /// Opens a socket in the calling process's network namespace.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn open() -> Result<Rtnetlink, Errno> {
        socket().map(Rtnetlink::of)
    }

    /// Talks over a socket that somebody has opened.
    pub fn of(socket: OwnedFd) -> Rtnetlink {
        Rtnetlink { socket, sequence: 0 }
    }

    /// The device of a name.
    ///
    /// # Errors
    /// `ENODEV` where there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, Errno> {
        let mut body = link_header(0, 0, 0);
        attribute(&mut body, libc::IFLA_IFNAME, &with_nul(name));
        let found = self.ask(libc::RTM_GETLINK, 0, &body)?;
        found.first().and_then(|body| link_of(body)).ok_or(Errno::NODEV)
    }

    /// All devices.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn links(&mut self) -> Result<Vec<Link>, Errno> {
        let found = self.ask(libc::RTM_GETLINK, libc::NLM_F_DUMP, &link_header(0, 0, 0))?;
        Ok(found.iter().filter_map(|body| link_of(body)).collect())
    }

    /// Switches a device on or off.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn set_up(&mut self, index: i32, up: bool) -> Result<(), Errno> {
        let on = libc::IFF_UP as u32;
        let body = link_header(index, if up { on } else { 0 }, on);
        self.ask(libc::RTM_SETLINK, libc::NLM_F_ACK, &body).map(drop)
    }

    /// Moves a device to another network namespace, under a name or a template of one.
    ///
    /// # Errors
    /// `EEXIST`: the name is taken there.
    pub fn move_to(
        &mut self,
        index: i32,
        namespace: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), Errno> {
        let mut body = link_header(index, 0, 0);
        attribute(&mut body, libc::IFLA_IFNAME, &with_nul(name));
        attribute(&mut body, libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        self.ask(libc::RTM_SETLINK, libc::NLM_F_ACK, &body).map(drop)
    }

    /// A device's addresses that somebody set (not those that expire) and that are valid
    /// everywhere (not those of the link alone).
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn lasting_addresses(&mut self, index: i32) -> Result<Vec<Address>, Errno> {
        // Zero in every field: of every family.
        let found = self.ask(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS])?;
        let of_it = found.into_iter().filter(|body| {
            let number = body.get(4..ADDRESS).and_then(|bytes| bytes.try_into().ok());
            number.map(i32::from_ne_bytes) == Some(index)
                && body[3] == libc::RT_SCOPE_UNIVERSE
                && u32::from(body[2]) & libc::IFA_F_PERMANENT != 0
        });
        Ok(of_it.map(Address).collect())
    }

    /// Gives a device an address that it had elsewhere, under another name perhaps.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn add_address(
        &mut self,
        index: i32,
        address: &Address,
        names: (&str, &str),
    ) -> Result<(), Errno> {
        let body = renewed(&address.0, index, names);
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        self.ask(libc::RTM_NEWADDR, flags, &body).map(drop)
    }

    /// Sends a request and reads what the kernel answers to it, up to its end.
    fn ask(&mut self, kind: u16, flags: i32, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        self.sequence += 1;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        send(&self.socket, &message, SendFlags::empty())?;
        let goes_on = flags & (libc::NLM_F_DUMP | libc::NLM_F_ACK) != 0;
        let mut found = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let receive = || recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC);
            let (_, length) = rustix::io::retry_on_intr(receive)?;
            let datagram = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            if read(datagram, self.sequence, &mut found)? || !goes_on {
                return Ok(found);
            }
        }
    }
}

/// Takes the answers to request `sequence` out of a datagram; whether it was the last one.
fn read(mut datagram: &[u8], sequence: u32, found: &mut Vec<Vec<u8>>) -> Result<bool, Errno> {
    while datagram.len() >= HEADER {
        let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| datagram[at + byte]));
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        let length = word(0) as usize;
        let body = datagram.get(HEADER..length).ok_or(Errno::BADMSG)?;
        if word(8) == sequence {
            match kind {
                ERROR => {
                    let code = body.get(..4).and_then(|bytes| bytes.try_into().ok());
                    return match code.map(i32::from_ne_bytes).ok_or(Errno::BADMSG)? {
                        0 => Ok(true),
                        code => Err(Errno::from_raw_os_error(code.wrapping_neg())),
                    };
                }
                DONE => return Ok(true),
                _ => found.push(body.to_vec()),
            }
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn link_header(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(change.to_ne_bytes());
    body
}

fn link_of(body: &[u8]) -> Option<Link> {
    let header: &[u8; LINK] = body.first_chunk()?;
    let word = |at: usize| [0, 1, 2, 3].map(|byte| header[at + byte]);
    Some(Link { index: i32::from_ne_bytes(word(4)), flags: u32::from_ne_bytes(word(8)) })
}

fn with_nul(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// `struct rtattr`, padded to four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((4 + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// An address for device `index`: all that it was, but for what the kernel says of it only
/// (its age), and with the label of the new name where it had that of the old.
fn renewed(address: &[u8], index: i32, (old, new): (&str, &str)) -> Vec<u8> {
    let mut body = address[..ADDRESS].to_vec();
    body[4..ADDRESS].copy_from_slice(&index.to_ne_bytes());
    let mut rest = &address[ADDRESS..];
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let Some(value) = rest.get(4..length) else { break };
        match kind {
            libc::IFA_CACHEINFO => {}
            libc::IFA_LABEL => attribute(&mut body, kind, &label(value, old, new)),
            _ => attribute(&mut body, kind, value),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    body
}

/// A label is a device's name, or begins with it and a colon (ip-address(8)).
fn label(value: &[u8], old: &str, new: &str) -> Vec<u8> {
    match value.strip_prefix(old.as_bytes()) {
        Some(rest @ ([0] | [b':', ..])) => [new.as_bytes(), rest].concat(),
        _ => value.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_and_another_is_not() {
        let mut here = Rtnetlink::open().unwrap();
        let found = here.link("lo").unwrap();
        assert_eq!(found.index, 1);
        assert!(here.links().unwrap().contains(&found));
        assert_eq!(here.link("no-such-device"), Err(Errno::NODEV));
    }

    #[test]
    fn a_message_that_is_longer_than_it_is_there_is_refused() {
        let mut datagram = vec![0; HEADER];
        datagram[..4].copy_from_slice(&64_u32.to_ne_bytes());
        assert_eq!(read(&datagram, 0, &mut Vec::new()), Err(Errno::BADMSG));
        // A length of zero must not go round for ever.
        datagram[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(read(&datagram, 0, &mut Vec::new()), Err(Errno::BADMSG));
        assert_eq!(read(&[1, 2, 3], 0, &mut Vec::new()), Ok(false));
    }

    #[test]
    fn what_is_not_known_of_an_address_is_kept() {
        let mut address = vec![2, 24, 0x80, 0, 7, 0, 0, 0];
        attribute(&mut address, libc::IFA_LOCAL, &[10, 0, 0, 1]);
        attribute(&mut address, libc::IFA_LABEL, b"eth0:7\0");
        attribute(&mut address, libc::IFA_CACHEINFO, &[1; 16]);
        attribute(&mut address, 99, &[5, 6, 7]);
        let mut wanted = vec![2, 24, 0x80, 0, 9, 0, 0, 0];
        attribute(&mut wanted, libc::IFA_LOCAL, &[10, 0, 0, 1]);
        attribute(&mut wanted, libc::IFA_LABEL, b"ctr1:7\0");
        attribute(&mut wanted, 99, &[5, 6, 7]);
        assert_eq!(renewed(&address, 9, ("eth0", "ctr1")), wanted);
        assert_eq!(label(b"eth01\0", "eth0", "x"), b"eth01\0");
    }
}
