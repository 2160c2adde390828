//! What a pod's containers stand on: namespaces, the network, files of `/etc`.
//!
//! The namespaces are held by files that they are bound to, and by no process.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};

use super::{holder, volumes};
use crate::error::{At, Error, Kind, Result};
use crate::pasta::{self, Of, Published};
use crate::pod::model::{Dns, Pod, Port};
use crate::pod::setup::{Network, PodDirs, Setup};

/// The size of the pod's shared memory, as with Kubernetes and every engine.
const SHARED_MEMORY: u64 = 64 << 20;
/// Kernel settings that belong to a namespace of the pod.
const SYSCTLS: [&str; 6] =
    ["net.", "fs.mqueue.", "kernel.shm", "kernel.msg", "kernel.sem", "kernel.domainname"];

/// A pod's ground.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// The network namespace's file; `None`: the host's.
    pub net: Option<PathBuf>,
    /// The IPC namespace's.
    pub ipc: Option<PathBuf>,
    /// The host name's.
    pub uts: Option<PathBuf>,
    /// The pid namespace's, where it is shared.
    pub pid: Option<PathBuf>,
    /// The shared memory's directory; `None`: the host's.
    pub shm: Option<PathBuf>,
    /// Files of `/etc` and where they appear.
    pub files: Vec<(PathBuf, String)>,
}

impl Ground {
    /// Lays it, or finds it as it was laid.
    ///
    /// # Errors
    /// What cannot be made; nothing is left then.
    pub fn lay(setup: &Setup, dirs: &PodDirs) -> Result<Ground> {
        let marker = dirs.run.join("laid");
        if marker.exists() {
            return Ok(Ground::found(dirs));
        }
        // What a supervisor left that was killed half-way.
        holder::end(setup, dirs);
        Ground::found(dirs).clear(dirs);
        let laid = Ground::make(setup, dirs)
            .and_then(|()| fs::write(&marker, "").at("write", marker.display()));
        let ground = Ground::found(dirs);
        if laid.is_err() {
            holder::end(setup, dirs);
            ground.clear(dirs);
        }
        laid.map(|()| ground)
    }

    /// The ground by what there is of it.
    pub fn found(dirs: &PodDirs) -> Ground {
        let there = |path: PathBuf| path.exists().then_some(path);
        let namespace = |name: &str| there(dirs.run.join("ns").join(name));
        let files = ["hosts", "resolv.conf", "hostname"].into_iter();
        let files = files.filter_map(|name| {
            Some((there(dirs.data.join("etc").join(name))?, format!("/etc/{name}")))
        });
        Ground {
            net: namespace("net"),
            ipc: namespace("ipc"),
            uts: namespace("uts"),
            pid: namespace("pid"),
            shm: there(dirs.run.join("shm")),
            files: files.collect(),
        }
    }

    fn make(setup: &Setup, dirs: &PodDirs) -> Result<()> {
        let pod = &setup.pod;
        let host = setup.network == Network::Host;
        let mut kinds = vec![];
        kinds.extend((!host).then_some(("net", CloneFlags::CLONE_NEWNET)));
        // The name of a pod in the host's network is the host's, as with Kubernetes.
        kinds.extend((!host).then_some(("uts", CloneFlags::CLONE_NEWUTS)));
        kinds.extend((!pod.host_ipc).then_some(("ipc", CloneFlags::CLONE_NEWIPC)));
        hold(dirs, &kinds, pod)?;
        if !pod.host_ipc {
            let shm = dirs.run.join("shm");
            fs::create_dir_all(&shm).at("make", shm.display())?;
            volumes::memory_at(&shm, Some(SHARED_MEMORY))?;
        }
        etc(setup, dirs)?;
        volumes::make(setup, dirs)?;
        if pod.share_pid {
            holder::start(setup, dirs, &dirs.run.join("ns/pid"))?;
        }
        if setup.network == Network::Pasta {
            connect(pod, dirs)?;
        }
        Ok(())
    }

    /// Takes it away, as far as it is there.
    pub fn clear(&self, dirs: &PodDirs) {
        // pasta watches the namespace's file, and ends when it goes.
        for file in [&self.net, &self.ipc, &self.uts, &self.pid].into_iter().flatten() {
            let _ = unmount(file, UnmountFlags::DETACH);
            let _ = fs::remove_file(file);
        }
        if let Some(shm) = &self.shm {
            let _ = unmount(shm, UnmountFlags::DETACH);
            let _ = fs::remove_dir(shm);
        }
        let _ = fs::remove_file(dirs.run.join("laid"));
    }
}

/// Makes the namespaces in a thread of their own and binds them to files.
fn hold(dirs: &PodDirs, kinds: &[(&str, CloneFlags)], pod: &Pod) -> Result<()> {
    let dir = dirs.run.join("ns");
    fs::create_dir_all(&dir).at("make", dir.display())?;
    if kinds.is_empty() {
        return Ok(());
    }
    let work = || -> Result<()> {
        let flags = kinds.iter().fold(CloneFlags::empty(), |all, (_, flag)| all | *flag);
        unshare(flags).at("make", "the pod's namespaces")?;
        for (name, _) in kinds {
            let file = dir.join(name);
            fs::write(&file, "").at("write", file.display())?;
            let own = format!("/proc/thread-self/ns/{name}");
            mount_bind(&own, &file).at("hold a namespace at", file.display())?;
        }
        if flags.contains(CloneFlags::CLONE_NEWUTS) {
            let name = pod.hostname.as_bytes();
            rustix::system::sethostname(name).at("set the host name to", &pod.hostname)?;
        }
        if flags.contains(CloneFlags::CLONE_NEWNET) {
            loopback_up()?;
        }
        sysctls(pod)
    };
    // It ends with its namespaces: nobody else ever runs in that thread.
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(Error::system("make the pod's namespaces: it was cut off")))
}

/// Brings up the loopback interface of this thread's network.
fn loopback_up() -> Result<()> {
    let what = "the loopback interface";
    // Protocol 0 is NETLINK_ROUTE.
    let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None);
    let netlink = netlink.at("ask for", what)?;
    // struct nlmsghdr: length, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, sequence, port; then
    // struct ifinfomsg: family, type, index 1, flags IFF_UP, and which of them count.
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(16_u16.to_ne_bytes());
    message.extend(5_u16.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(1_i32.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    send(&netlink, &message, SendFlags::empty()).at("bring up", what)?;
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&netlink, &mut answer, rustix::net::RecvFlags::empty())
        .at("bring up", what)?;
    // An answer is struct nlmsgerr: 0, or an error's number below it.
    let error = answer[..length].get(16..20).and_then(|bytes| bytes.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(std::io::Error::from_raw_os_error(-error)).at("bring up", what),
        None => Err(Error::system(format!("bring up {what}: no answer"))),
    }
}

fn sysctls(pod: &Pod) -> Result<()> {
    for (name, value) in &pod.sysctls {
        let known = SYSCTLS.iter().any(|prefix| name.starts_with(prefix));
        if !known || name.contains('/') || name.contains("..") {
            let what = format!("sysctl {name}: it is the whole host's and not the pod's");
            return Err(Error::new(Kind::Refused, what));
        }
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&file, value).at("write", &file)?;
    }
    Ok(())
}

/// `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` of the pod.
fn etc(setup: &Setup, dirs: &PodDirs) -> Result<()> {
    let pod = &setup.pod;
    let dir = dirs.data.join("etc");
    fs::create_dir_all(&dir).at("make", dir.display())?;
    let host = |name: &str| fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
    let own = match setup.network {
        Network::Host => host("hosts"),
        Network::None | Network::Pasta => {
            let name = &pod.hostname;
            format!(
                "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n"
            )
        }
    };
    let aliases = pod.host_aliases.iter().map(|(ip, names)| format!("{ip}\t{}\n", names.join(" ")));
    let hosts: String = std::iter::once(own).chain(aliases).collect();
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).at("write", path.display())
    };
    write("hosts", hosts)?;
    if let Some(dns) = &pod.dns {
        write("resolv.conf", resolver(dns, &host("resolv.conf")))?;
    } else if setup.network != Network::None {
        write("resolv.conf", host("resolv.conf"))?;
    }
    if setup.network != Network::Host {
        write("hostname", format!("{}\n", pod.hostname))?;
    }
    Ok(())
}

/// The resolver's file: the pod's own lines, before or instead of the host's.
fn resolver(dns: &Dns, host: &str) -> String {
    let own = dns.nameservers.iter().map(|server| format!("nameserver {server}\n"));
    let mut text: String = own.collect();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    if dns.with_host {
        let lines = host.lines().filter(|line| {
            let said = line.starts_with("search") && !dns.searches.is_empty();
            !line.trim().is_empty() && !said
        });
        text.extend(lines.map(|line| format!("{line}\n")));
    }
    text
}

/// Connects the pod's network and publishes its ports.
fn connect(pod: &Pod, dirs: &PodDirs) -> Result<()> {
    let ports = pod.containers.iter().flat_map(|one| &one.ports);
    let ports: Vec<Published> = ports.filter_map(published).collect();
    match pasta::connect(Of::File(&dirs.run.join("ns/net")), &ports)? {
        None => Ok(()),
        Some(said) => Err(Error::new(Kind::Program, format!("network pasta: {said}"))),
    }
}

/// A port of a container, where it is one of the host's as well.
fn published(port: &Port) -> Option<Published> {
    let address: Option<IpAddr> = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
    let address = address.filter(|ip| !ip.is_unspecified());
    Some(Published {
        address: address.map_or_else(String::new, |ip| ip.to_string()),
        host: port.host?,
        inside: port.container,
        udp: port.protocol == "udp",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_lines() {
        let mut dns = Dns {
            with_host: true,
            nameservers: vec!["9.9.9.9".into()],
            searches: vec!["a".into(), "b".into()],
            options: vec!["ndots:2".into()],
        };
        let host = "nameserver 1.1.1.1\nsearch x\n";
        let own = "nameserver 9.9.9.9\nsearch a b\noptions ndots:2\n";
        assert_eq!(resolver(&dns, host), format!("{own}nameserver 1.1.1.1\n"));
        dns.with_host = false;
        assert_eq!(resolver(&dns, host), own);
    }

    #[test]
    fn only_ports_of_the_host_are_published() {
        let port = |host, ip: Option<&str>| {
            published(&Port {
                name: None,
                container: 80,
                host,
                host_ip: ip.map(str::to_owned),
                protocol: "tcp".into(),
            })
        };
        let address = |ip| port(Some(81), ip).map(|port| port.address);
        assert_eq!(address(Some("127.0.0.1")).as_deref(), Some("127.0.0.1"));
        assert_eq!(address(Some("0.0.0.0")).as_deref(), Some(""));
        assert_eq!(port(None, None), None);
    }
}
