//! A command on a pseudo-terminal, typed at by a scenario.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{PATIENCE, code_of, line_of, wait};

/// A command whose controlling terminal is ours.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    master: File,
    line: String,
    seen: String,
}

impl Terminal {
    /// Starts `command` on a terminal of 40 rows and 100 columns.
    pub fn start(command: &Command) -> Result<Self, String> {
        let line = line_of(command);
        let (master, slave) = open().map_err(|error| format!("pty: {error}"))?;
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            session.env(name, value.unwrap_or_default());
        }
        let copy = || slave.try_clone().map(Stdio::from).map_err(|error| format!("pty: {error}"));
        session.stdin(copy()?).stdout(copy()?).stderr(copy()?);
        let child = session.spawn().map_err(|error| format!("{line}: {error}"))?;
        Ok(Self { child, master: master.into(), line, seen: String::new() })
    }

    /// Types `text`.
    pub fn types(&mut self, text: &str) -> crate::Verdict {
        self.master
            .write_all(text.as_bytes())
            .map_err(|error| format!("{}: typing: {error}", self.line))
    }

    /// Sets the window's size; the foreground group gets SIGWINCH.
    pub fn resize(&mut self, rows: u16, columns: u16) -> crate::Verdict {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size)
            .map_err(|error| format!("{}: window size: {error}", self.line))
    }

    /// Waits until `text` has appeared on the terminal.
    pub fn shows(&mut self, text: &str) -> crate::Verdict {
        self.shows_within(PATIENCE / 3, text)
    }

    /// The same for as long as the caller likes.
    pub fn shows_within(&mut self, patience: Duration, text: &str) -> crate::Verdict {
        let end = Instant::now() + patience;
        while !self.seen.contains(text) {
            if Instant::now() > end || !self.read(Duration::from_millis(200)) {
                return Err(format!(
                    "`{}`: {text:?} expected on the terminal, seen: {:?}",
                    self.line, self.seen
                ));
            }
        }
        Ok(())
    }

    /// Waits for the end, and gives the exit status.
    pub fn ends(mut self) -> Result<i32, String> {
        let end = Instant::now() + PATIENCE / 3;
        let running = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_none());
        while self.read(Duration::from_millis(20))
            && running(&mut self.child)
            && Instant::now() < end
        {}
        wait(&mut self.child, PATIENCE / 3)
            .map(code_of)
            .map_err(|why| format!("`{}` {why}, seen: {:?}", self.line, self.seen))
    }

    /// Reads what is there; false when the terminal is closed.
    fn read(&mut self, patience: Duration) -> bool {
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        if !matches!(poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&limit)), Ok(1)) {
            return true;
        }
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(count) if count > 0 => self.seen.push_str(&String::from_utf8_lossy(&bytes[..count])),
            _ => return false,
        }
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A new pseudo-terminal: master and slave.
fn open() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{Mode, OFlags};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave =
        rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((master, slave))
}
