//! Starting the processes of a service: its own, its finish and reload commands, its probes.

use super::engine::Engine;
use super::wire::{self, Field, Head, List};
use crate::message::Line;
use crate::sys::descriptors::{self, NONE, close};
use crate::sys::service::{Command, Launch, Trouble};
use crate::sys::{self, Errno, sockets};
use crate::time::Millis;
use core::ffi::CStr;

/// What a service manager of PID 1's own gave it is for the main service alone.
static NOT_INHERITED: [&[u8]; 4] =
    [b"NOTIFY_SOCKET", b"LISTEN_FDS", b"LISTEN_PID", b"LISTEN_FDNAMES"];
/// Where notification sockets are made: the first directory that takes them.
const NOTIFY_PLACES: [&[u8]; 3] = [b"/run/", b"/dev/", b"/tmp/"];

impl Engine {
    /// Starts a service's process.
    pub(super) fn launch(&mut self, i: usize, now: Millis) {
        let mut variable = [0; 160];
        let started = self.prepare_ready(i, &mut variable).and_then(|(passed, variable)| {
            let main = i == self.machine.main();
            let mut launch = self.template(i)?;
            if self.plan.field(i, Field::Command) == 0 {
                launch.command = Command::Payload(self.options.command);
            }
            launch.passed = (passed, self.plan.field(i, Field::ReadyFd) as i32);
            launch.more[0] = variable;
            if main {
                launch.streams[0] = NONE;
                launch.terminal = self.terminal;
                launch.kept = self.plan.head(Head::Descriptors);
                launch.without = &[];
            }
            let pid = sys::service::launch(launch);
            let mut passed = passed;
            close(&mut passed);
            pid
        });
        match started {
            Ok(pid) => self.machine.launched(i, pid, now),
            Err(trouble) => {
                self.process_gone(i);
                self.tell_trouble(i, trouble);
                let missing = matches!(trouble.errno, Errno::ENOENT | Errno::ENOTDIR);
                let status = if trouble.what == "exec" && missing { 127 } else { 126 };
                self.machine.not_started(i, status, now);
            }
        }
    }

    /// Starts a service's finish command.
    pub(super) fn finish(&mut self, i: usize, now: Millis) {
        let mut text = *b"SERVICE_STATUS=000\0";
        let status = self.machine.states()[i].status;
        for (at, digit) in [status / 100, status / 10 % 10, status % 10].into_iter().enumerate() {
            text[15 + at] = b'0' + digit;
        }
        let pid = self.launch_beside(i, self.plan.list(i, Field::Finish), &text, NONE);
        self.machine.finishing(i, pid.unwrap_or(0), now);
    }

    /// Starts another command of a service; output goes to `output`, or with the service's.
    pub(super) fn launch_beside(
        &mut self,
        i: usize,
        words: List<'static>,
        variable: &[u8],
        output: i32,
    ) -> Option<i32> {
        let mut launch = match self.template(i) {
            Ok(launch) => launch,
            Err(trouble) => {
                self.tell_trouble(i, trouble);
                return None;
            }
        };
        launch.command = Command::Words(words);
        launch.more[0] = variable;
        if output != NONE {
            (launch.streams, launch.log) = ([self.null, output, output], None);
        }
        sys::service::launch(launch).map_err(|trouble| self.tell_trouble(i, trouble)).ok()
    }

    /// What all processes of a service have in common.
    fn template<'a>(&mut self, i: usize) -> Result<Launch<'a>, Trouble> {
        let plan = self.plan;
        let word = |field| plan.field(i, field);
        let output = match word(Field::Log) {
            wire::LOG_NULL => self.null,
            wire::LOG_KEEP => self.log_pipe(i)?,
            _ => NONE,
        };
        let log = plan.c_text(i, Field::LogPath).filter(|_| word(Field::Log) == wire::LOG_FILE);
        Ok(Launch {
            start: self.start,
            command: Command::Words(plan.list(i, Field::Command)),
            env: plan.list(i, Field::Env),
            more: [b"", b""],
            without: &NOT_INHERITED,
            cwd: plan.c_text(i, Field::Cwd),
            user: (word(Field::User), word(Field::Group)),
            groups: plan.blob(word(Field::Groups)),
            umask: word(Field::Umask),
            limits: plan.blob(word(Field::Limits)),
            streams: [self.null, output, output],
            log,
            passed: (NONE, NONE),
            kept: 0,
            terminal: false,
            mask: self.inherited.0,
            ignore_child_signal: self.inherited.1,
        })
    }

    /// The pipe and the memory of a log that is kept, made at the first start.
    fn log_pipe(&mut self, i: usize) -> Result<i32, Trouble> {
        let trouble = |errno| Trouble { what: "log", errno };
        let io = &mut self.io[i];
        if io.log[0] == NONE {
            let memory = descriptors::memory(c"rich-log").map_err(trouble)?;
            let (read, write) = descriptors::pipe().map_err(trouble)?;
            io.log = [read, write, memory];
        }
        Ok(io.log[1])
    }

    /// Where the service will say that it is ready: what is passed to it, and the variable
    /// that tells of it.
    fn prepare_ready<'b>(
        &mut self,
        i: usize,
        buffer: &'b mut [u8; 160],
    ) -> Result<(i32, &'b [u8]), Trouble> {
        let trouble = |errno| Trouble { what: "readiness", errno };
        close(&mut self.io[i].ready);
        match self.plan.field(i, Field::Ready) {
            wire::READY_FD => {
                let (read, write) = descriptors::pipe().map_err(trouble)?;
                (self.io[i].ready, self.io[i].notifies) = (read, false);
                Ok((write, b""))
            }
            wire::READY_NOTIFY => {
                let name = self.name(i);
                let (socket, len) = self.bind_notify(i, name, buffer).map_err(trouble)?;
                (self.io[i].ready, self.io[i].notifies) = (socket, true);
                Ok((NONE, &buffer[..len]))
            }
            _ => Ok((NONE, b"")),
        }
    }

    /// Binds a service's notification socket; the buffer gets `NOTIFY_SOCKET=path` and NUL.
    fn bind_notify(
        &self,
        i: usize,
        name: &[u8],
        buffer: &mut [u8; 160],
    ) -> Result<(i32, usize), Errno> {
        const NAME: &[u8] = b"NOTIFY_SOCKET=";
        let mut errno = Errno::ENOENT;
        buffer[..NAME.len()].copy_from_slice(NAME);
        for place in NOTIFY_PLACES {
            let rest = &mut buffer[NAME.len()..];
            let c_path = notify_path(place, name, rest).ok_or(Errno::ENAMETOOLONG)?;
            let path = c_path.to_bytes();
            let len = NAME.len() + path.len() + 1;
            descriptors::unlink(c_path);
            // Only the service's user and root may write to it.
            let mask = descriptors::mask_files(0o177);
            let bound = sockets::bind_datagrams(path);
            descriptors::mask_files(mask);
            match bound {
                Ok(mut socket) => {
                    let (user, group) = self.owner_of(i);
                    match descriptors::give(c_path, user, group) {
                        Ok(()) => return Ok((socket, len)),
                        Err(failed) => {
                            close(&mut socket);
                            return Err(failed);
                        }
                    }
                }
                Err(failed) => errno = failed,
            }
        }
        Err(errno)
    }

    /// A service's process is no more: what it was listened to by goes too, its socket's name
    /// among it.
    pub(super) fn process_gone(&mut self, i: usize) {
        let notifies = self.io[i].notifies && self.io[i].ready != NONE;
        self.io[i].ended();
        if notifies {
            let mut buffer = [0; 160];
            for place in NOTIFY_PLACES {
                if let Some(path) = notify_path(place, self.name(i), &mut buffer) {
                    descriptors::unlink(path);
                }
            }
        }
    }

    fn owner_of(&self, i: usize) -> (u32, u32) {
        (self.plan.field(i, Field::User), self.plan.field(i, Field::Group))
    }

    pub(super) fn tell_trouble(&self, i: usize, trouble: Trouble) {
        Line::new("rich-init")
            .text("service ")
            .bytes(self.name(i))
            .text(": ")
            .text(trouble.what)
            .text(": ")
            .errno(trouble.errno)
            .write();
    }
}

/// The name of a service's notification socket in one of [`NOTIFY_PLACES`].
fn notify_path<'b>(place: &[u8], name: &[u8], buffer: &'b mut [u8]) -> Option<&'b CStr> {
    let mut len = 0;
    for part in [place, b".rich-notify-", name, b"\0"] {
        buffer.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    CStr::from_bytes_with_nul(&buffer[..len]).ok()
}
