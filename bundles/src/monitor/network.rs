//! A network by passt's `pasta`: connects a network namespace with the host's sockets, without a
//! privilege and without a bridge.

use std::fs;
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::error::{At, Error, Kind, Result};
use crate::store::{Dirs, Port, Record};

/// The name of the namespace in the run directory.
const NAME: &str = "net";

/// Connects the network namespace of a created container, as root.
pub fn connect(record: &Record, dirs: &Dirs, pid: i32) -> Result<()> {
    let mut command = Command::new("pasta");
    command.arg("--config-net").arg("--quiet");
    command.args(arguments(&record.ports));
    // pasta gives up the rights to look into another process before it opens the namespace.
    let file = dirs.run.join(NAME);
    fs::write(&file, "").at("write", file.display())?;
    mount_bind(format!("/proc/{pid}/ns/net"), &file).at("mount", file.display())?;
    command.arg("--netns").arg(file).arg("--runas").arg("0");
    command.stdin(Stdio::null());
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            Kind::NotFound,
            "no program pasta: install Debian's package passt, or choose another --netns",
        ),
        _ => Error::system(format!("run pasta: {error}")),
    });
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("it failed and said nothing");
    Err(Error::new(Kind::Program, format!("pasta: {last}")))
        .at("connect the network:", record.name.as_str())
}

/// Takes away what [`connect`] has made: pasta ends with it.
pub fn disconnect(dirs: &Dirs) {
    let file = dirs.run.join(NAME);
    let _ = unmount(&file, UnmountFlags::DETACH);
    let _ = fs::remove_file(file);
}

/// Which ports pasta forwards; none but these.
fn arguments(ports: &[Port]) -> Vec<String> {
    let mut words = Vec::new();
    for (udp, option) in [(false, "--tcp-ports"), (true, "--udp-ports")] {
        let of_kind: Vec<&Port> = ports.iter().filter(|port| port.udp == udp).collect();
        if of_kind.is_empty() {
            words.extend([option.to_owned(), "none".to_owned()]);
        }
        for port in of_kind {
            let address =
                if port.address.is_empty() { String::new() } else { format!("{}/", port.address) };
            words.extend([option.to_owned(), format!("{address}{}:{}", port.host, port.container)]);
        }
    }
    words.extend(["--tcp-ns", "none", "--udp-ns", "none"].map(str::to_owned));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_published_is_forwarded() {
        let port = Port { address: "127.0.0.1".into(), host: 8080, container: 80, udp: false };
        let words = arguments(&[port]).join(" ");
        assert_eq!(
            words,
            "--tcp-ports 127.0.0.1/8080:80 --udp-ports none --tcp-ns none --udp-ns none"
        );
    }
}
