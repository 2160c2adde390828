//! Network devices of the host that become the container's (`linux.netDevices`).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::host_path;
use crate::error::{Error, Result, Step};
use crate::plan::namespaces::flag;
use crate::plan::net_devices::NetDevice;
use crate::sys::process;
use crate::sys::rtnetlink::{Link, Rtnetlink};

/// The two sides of a move.
struct Sides {
    host: Rtnetlink,
    inside: Rtnetlink,
    namespace: OwnedFd,
}

/// Moves the devices into the network namespace of process `pid`, with the addresses that
/// somebody gave them, and switches them on. All are looked up before one is moved.
///
/// # Errors
/// A device that is not there; a name that is taken inside; the kernel's answer. Devices that
/// have been moved by then go where the kernel brings those of a namespace that ends.
pub fn give(pid: i32, devices: &[NetDevice]) -> Result<()> {
    let mut sides = Sides::open(pid)?;
    let mut links = Vec::with_capacity(devices.len());
    for device in devices {
        let link = sides.host.link(&device.host).step(|| told(device, "find it"))?;
        // The kernel would find out after the move, and leave the device under its old name.
        match sides.inside.link(&device.inside) {
            Ok(_) => return Err(Error::os(told(device, "move it"), Errno::EXIST)),
            Err(_) => links.push(link),
        }
    }
    devices.iter().zip(links).try_for_each(|(device, link)| sides.give(device, link))
}

fn told(device: &NetDevice, step: &str) -> String {
    let NetDevice { host, inside } = device;
    let name = if host == inside { String::new() } else { format!(" (as {inside})") };
    format!("linux.netDevices[{host:?}]: {step}{name}")
}

impl Sides {
    /// Opens a socket on either side: the inner one from a visit to the namespace, since a
    /// socket belongs to the one in which it is opened.
    fn open(pid: i32) -> Result<Sides> {
        let kind = oci_spec::runtime::LinuxNamespaceType::Network;
        let open = |path: String| {
            host_path::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC)
                .step(|| format!("linux.netDevices: open {path}"))
        };
        let (own, namespace) =
            (open("/proc/self/ns/net".to_owned())?, open(format!("/proc/{pid}/ns/net"))?);
        let socket = || Rtnetlink::open().step(|| "linux.netDevices: open a netlink socket");
        let host = socket()?;
        let enter = |fd: &OwnedFd, whose: &str| {
            process::setns(fd.as_fd(), flag(kind))
                .step(|| format!("linux.netDevices: enter the {whose} network namespace"))
        };
        enter(&namespace, "container's")?;
        let inside = socket();
        enter(&own, "host's")?;
        Ok(Sides { host, inside: inside?, namespace })
    }

    fn give(&mut self, device: &NetDevice, link: Link) -> Result<()> {
        let addresses =
            self.host.lasting_addresses(link.index).step(|| told(device, "read its addresses"))?;
        // Nobody's packets while its name and namespace change.
        self.host.set_up(link.index, false).step(|| told(device, "switch it off"))?;
        let before = self.known_inside(device)?;
        self.host
            .move_to(link.index, self.namespace.as_fd(), &device.inside)
            .step(|| told(device, "move it"))?;
        let (index, name) = self.found_inside(device, &before)?;
        for address in &addresses {
            self.inside
                .add_address(index, address, (&device.host, name))
                .step(|| told(device, "give its addresses back"))?;
        }
        self.inside.set_up(index, true).step(|| told(device, "switch it on"))
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
