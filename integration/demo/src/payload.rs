//! `payload`: what an ordinary service does to its PID 1.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid};

/// Exit code of the main process, to be recognised outside.
const EXIT: u8 = 7;

/// The main process, or one of those that it starts.
pub fn main(role: Option<&str>) -> Result<u8, String> {
    match role {
        None => serve(),
        // Leaves a child behind and ends: that child is an orphan now.
        Some("leave") => start("orphan").map(|_| 0),
        Some("orphan") => rest(1500),
        // Finishes its work although the main process has gone.
        Some("finish") => {
            rest(300)?;
            println!("helper:  finished what it was doing, {} ms after the payload ended", 300);
            Ok(0)
        }
        Some(other) => Err(format!("no part named {other}")),
    }
}

/// Starts an orphan, waits for TERM, exits while a helper still works.
fn serve() -> Result<u8, String> {
    let term = SigSet::from(Signal::SIGTERM);
    term.thread_block().map_err(|error| format!("block TERM: {error}"))?;
    let mut leaver = start("leave")?;
    leaver.wait().map_err(|error| format!("wait: {error}"))?;
    println!("payload: I am pid {}, my parent is {}; I left an orphan behind", getpid(), getppid());
    term.wait().map_err(|error| format!("wait for TERM: {error}"))?;
    println!("payload: got TERM; a helper is still busy; exit {EXIT}");
    start("finish")?;
    Ok(EXIT)
}

fn rest(milliseconds: u64) -> Result<u8, String> {
    std::thread::sleep(Duration::from_millis(milliseconds));
    Ok(0)
}

/// Starts this program in another role.
fn start(role: &str) -> Result<std::process::Child, String> {
    Command::new("/bin/payload")
        .arg(role)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("start {role}: {error}"))
}
