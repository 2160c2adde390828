//! A network by passt's `pasta`: it connects a network namespace with the host's sockets, without
//! a bridge and, as an ordinary user, without a privilege.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{At, Error, Kind, Result};
use crate::runtime::program;

/// A port of the host that leads into the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The host's address; empty: any.
    pub address: String,
    /// On the host.
    pub host: u16,
    /// In the namespace.
    pub inside: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

/// Whose network it is.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// The namespace that is bound to this file: pasta ends when that is gone.
    File(&'a Path),
    /// A process's, in the caller's user namespace or in its own; whoever ends the process ends
    /// pasta by the pid that it leaves in the file.
    Process {
        /// The process.
        pid: i32,
        /// Where pasta's own pid is written.
        note: &'a Path,
    },
}

/// pasta, where it is installed.
///
/// # Errors
/// [`Kind::NotFound`], with what to do.
pub fn installed() -> Result<PathBuf> {
    program("pasta".into()).map_err(|_| {
        Error::new(
            Kind::NotFound,
            "no program pasta: install it (Debian's package passt), or choose another network",
        )
    })
}

/// Connects a network: no ports lead in but these, none lead out to the host's own
/// loopback. It returns when all is set up; pasta goes on in the background. `Some` is what pasta
/// says where it does not work.
///
/// # Errors
/// It is not installed or cannot be started; the namespace cannot be opened.
pub fn connect(of: Of<'_>, ports: &[Published]) -> Result<Option<String>> {
    let path = installed()?;
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(&path);
    command.args(words(ports)).stdin(Stdio::null()).stdout(Stdio::null());
    // With root's rights it would give them up for nobody's, who cannot see the namespace.
    if root {
        command.args(["--runas", "0:0"]);
    }
    match of {
        Of::File(file) => _ = command.arg("--netns").arg(file),
        Of::Process { pid, note } => {
            // It has given its rights away before it opens the namespace: it finds it open.
            let net = format!("/proc/{pid}/ns/net");
            command.stdin(File::open(&net).at("open", net)?);
            command.args(["--netns", "/proc/self/fd/0", "--no-netns-quit"]).arg("--pid").arg(note);
            if !root {
                command.arg("--userns").arg(format!("/proc/{pid}/ns/user"));
            }
        }
    }
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(Kind::NotFound, format!("no program {}", path.display())),
        _ => Error::system(format!("run {}: {error}", path.display())),
    })?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Some(said.trim().lines().last().unwrap_or("it failed and said nothing").to_owned()))
}

/// Its command line, but for the namespace. What is not said would be forwarded as it comes, and
/// the gateway's address would be the host's loopback.
fn words(ports: &[Published]) -> Vec<String> {
    let mut words: Vec<String> =
        ["--config-net", "--quiet", "--no-map-gw", "--tcp-ns", "none", "--udp-ns", "none"]
            .map(str::to_owned)
            .into();
    for (udp, option) in [(false, "--tcp-ports"), (true, "--udp-ports")] {
        let mut of_kind = ports.iter().filter(|port| port.udp == udp).peekable();
        if of_kind.peek().is_none() {
            words.extend([option.to_owned(), "none".to_owned()]);
        }
        for port in of_kind {
            let any = port.address.is_empty();
            let address = if any { String::new() } else { format!("{}/", port.address) };
            words.extend([option.to_owned(), format!("{address}{}:{}", port.host, port.inside)]);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_published_is_forwarded() {
        let port = |address: &str, udp| Published {
            address: address.to_owned(),
            host: 8080,
            inside: 80,
            udp,
        };
        let last = |ports: &[Published]| words(ports)[3..].join(" ");
        let closed = "--tcp-ns none --udp-ns none";
        assert_eq!(last(&[]), format!("{closed} --tcp-ports none --udp-ports none"));
        assert_eq!(
            last(&[port("127.0.0.1", false), port("", false)]),
            format!("{closed} --tcp-ports 127.0.0.1/8080:80 --tcp-ports 8080:80 --udp-ports none")
        );
        assert_eq!(
            last(&[port("", true)]),
            format!("{closed} --tcp-ports none --udp-ports 8080:80")
        );
    }
}
