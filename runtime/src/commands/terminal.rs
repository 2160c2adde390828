//! Where a process's terminal goes: to a console socket, or to us.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::launch::{console, terminal_relay};

/// The way of a terminal's master end.
#[derive(Debug, Default)]
pub struct Terminal {
    /// The child sends it here.
    pub to: Option<OwnedFd>,
    /// It arrives here if we show the terminal ourselves.
    pub from: Option<OwnedFd>,
}

/// Checks the options against each other, in runc's words, and connects.
///
/// # Errors
/// A terminal that nobody would hold or see, or a socket without a terminal.
pub fn prepare(wanted: bool, detached: bool, socket: Option<&Path>) -> Result<Terminal> {
    check(wanted, detached, socket.is_some())?;
    match socket {
        Some(path) => {
            Ok(Terminal { to: Some(console::connect("--console-socket", path)?), from: None })
        }
        None if wanted => {
            terminal_relay::check_host_terminal()?;
            let (ours, theirs) = console::socket_pair()?;
            Ok(Terminal { to: Some(theirs), from: Some(ours) })
        }
        None => Ok(Terminal::default()),
    }
}

fn check(wanted: bool, detached: bool, socket: bool) -> Result<()> {
    let refuse = |words: &str| Err(Error::new(Kind::Usage, words));
    match (detached, wanted, socket) {
        (true, true, false) => {
            refuse("cannot allocate tty if richrun will detach without setting console socket")
        }
        (false, _, true) | (true, false, true) => {
            refuse("cannot use console socket if richrun will not detach or allocate tty")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_needs_somebody_to_hold_it() {
        for (detached, wanted, socket, good) in [
            (true, true, true, true),
            (true, true, false, false),
            (true, false, true, false),
            (true, false, false, true),
            (false, true, false, true),
            (false, false, false, true),
            (false, true, true, false),
            (false, false, true, false),
        ] {
            let checked = check(wanted, detached, socket);
            assert_eq!(checked.is_ok(), good, "{detached} {wanted} {socket}");
        }
    }
}
