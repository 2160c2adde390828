//! Network devices of the host that become the container's (`linux.netDevices`).

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{console, host_path};
use crate::error::{Error, Result, Step};
use crate::log;
use crate::plan::namespaces::flag;
use crate::plan::net_devices::NetDevice;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process;
use crate::sys::rtnetlink::{self, Address, Link, Rtnetlink};

/// The two sides of a move.
struct Sides {
    host: Rtnetlink,
    inside: Rtnetlink,
    namespace: OwnedFd,
    own: OwnedFd,
}

/// A device as it was on the host.
struct Before<'d> {
    device: &'d NetDevice,
    link: Link,
    addresses: Vec<Address>,
    /// Its number inside, once it is there.
    inside: Option<i32>,
}

/// Moves the devices into the network namespace of process `pid`, with the addresses that
/// somebody gave them, and switches them on. All are looked up before one is moved.
///
/// # Errors
/// A device that is not there or never leaves its namespace; a name that is taken inside; the
/// kernel's answer. All devices are back on the host then, as they were.
pub fn give(pid: i32, devices: &[NetDevice]) -> Result<()> {
    let mut sides = Sides::open(pid)?;
    let mut links: Vec<Link> = Vec::with_capacity(devices.len());
    for device in devices {
        let link = sides.host.link(&device.host).step(|| told(device, "find it"))?;
        if link.flags & libc::IFF_LOOPBACK as u32 != 0 {
            return Err(Error::config(told(device, "a loopback device stays where it is")));
        }
        if links.iter().any(|known| known.index == link.index) {
            return Err(Error::config(told(device, "it has been asked for by another name")));
        }
        // The kernel would find out after the move, and leave the device under its old name.
        match sides.inside.link(&device.inside) {
            Ok(_) => return Err(Error::os(told(device, "move it"), Errno::EXIST)),
            Err(_) => links.push(link),
        }
    }
    let mut all = Vec::with_capacity(devices.len());
    for (device, link) in devices.iter().zip(links) {
        if let Err(error) = sides.give(device, link, &mut all) {
            all.iter().rev().for_each(|before| sides.take_back(before));
            return Err(error);
        }
    }
    Ok(())
}

fn told(device: &NetDevice, step: &str) -> String {
    let NetDevice { host, inside } = device;
    let name = if host == inside { String::new() } else { format!(" (as {inside})") };
    format!("linux.netDevices[{host:?}]: {step}{name}")
}

impl Sides {
    /// Opens a socket on either side.
    fn open(pid: i32) -> Result<Sides> {
        let open = |path: String| {
            host_path::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC)
                .step(|| format!("linux.netDevices: open {path}"))
        };
        let (own, namespace) =
            (open("/proc/self/ns/net".to_owned())?, open(format!("/proc/{pid}/ns/net"))?);
        let step = || "linux.netDevices: open a netlink socket";
        let host = Rtnetlink::open().step(step)?;
        let inside = opened_in(&namespace)
            .step(|| "linux.netDevices: open a netlink socket in the container's namespace")?;
        Ok(Sides { host, inside: Rtnetlink::of(inside), namespace, own })
    }

    fn give<'d>(
        &mut self,
        device: &'d NetDevice,
        link: Link,
        all: &mut Vec<Before<'d>>,
    ) -> Result<()> {
        let addresses =
            self.host.lasting_addresses(link.index).step(|| told(device, "read its addresses"))?;
        let inside = self.known_inside(device)?;
        let at = all.len();
        all.push(Before { device, link, addresses, inside: None });
        // Nobody's packets while its name and namespace change.
        self.host.set_up(link.index, false).step(|| told(device, "switch it off"))?;
        self.host
            .move_to(link.index, self.namespace.as_fd(), &device.inside)
            .step(|| told(device, "move it"))?;
        let (index, name) = self.found_inside(device, &inside)?;
        all[at].inside = Some(index);
        for address in &all[at].addresses {
            self.inside
                .add_address(index, address, (&device.host, name))
                .step(|| told(device, "give its addresses back"))?;
        }
        self.inside.set_up(index, true).step(|| told(device, "switch it on"))
    }

    /// Makes a device what it was on the host; a warning says where that cannot be.
    fn take_back(&mut self, before: &Before<'_>) {
        let Before { device, link, addresses, inside } = before;
        let name = device.host.as_str();
        let back = (|| {
            if let Some(index) = *inside {
                self.inside.set_up(index, false)?;
                self.inside.move_to(index, self.own.as_fd(), name)?;
            }
            let here = self.host.link(name)?;
            for address in addresses {
                // Those that it has not lost are there.
                self.host.add_address(here.index, address, (name, name))?;
            }
            match link.flags & libc::IFF_UP as u32 {
                0 => Ok(()),
                _ => self.host.set_up(here.index, true),
            }
        })();
        if let Err(errno) = back {
            log::warn(Error::os(told(device, "take it back"), errno));
        }
    }

    /// The devices inside, where only that tells which one is new: one with a template for a
    /// name may have any number, and any number in its name.
    fn known_inside(&mut self, device: &NetDevice) -> Result<Vec<i32>> {
        if !device.inside.contains('%') {
            return Ok(Vec::new());
        }
        let links = self.inside.links().step(|| told(device, "look inside"))?;
        Ok(links.iter().map(|link| link.index).collect())
    }

    /// The device's number inside, and the name for its labels: a template's is not known, and
    /// labels keep the old name then.
    fn found_inside<'d>(
        &mut self,
        device: &'d NetDevice,
        before: &[i32],
    ) -> Result<(i32, &'d str)> {
        let find = || told(device, "find it inside");
        if !device.inside.contains('%') {
            let link = self.inside.link(&device.inside).step(find)?;
            return Ok((link.index, &device.inside));
        }
        let links = self.inside.links().step(find)?;
        let new = links.iter().find(|link| !before.contains(&link.index));
        let new = new.ok_or_else(|| Error::os(find(), Errno::NODEV))?;
        Ok((new.index, &device.host))
    }
}

/// A netlink socket of another network namespace: it belongs to the one in which it is opened,
/// which this process must not enter. Should it not come back, all that it does afterwards, and
/// hooks, would be in the container's.
fn opened_in(namespace: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let pidfd = match clone3(0, None)? {
        Cloned::Parent(_, pidfd) => pidfd,
        Cloned::Child => {
            let sent = process::setns(namespace.as_fd(), flag(Kind::Network))
                .and_then(|()| rtnetlink::socket())
                .and_then(|socket| console::send(theirs.as_fd(), b"netlink", socket.as_fd()));
            // Every error of the kernel is a number that an exit status can hold.
            process::exit_now(sent.err().map_or(0, Errno::raw_os_error))
        }
    };
    drop(theirs);
    let received = console::receive(ours.as_fd());
    let wait = || waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    let ended = rustix::io::retry_on_intr(wait)?;
    let status = ended.and_then(|status| status.exit_status()).filter(|status| *status != 0);
    received?.ok_or_else(|| status.map_or(Errno::CHILD, Errno::from_raw_os_error))
}
