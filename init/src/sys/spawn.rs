//! Starting the payload: as a child that shares memory until it has executed, so that its
//! session exists before the first signal can be forwarded.

use super::arch::{call, nr};
use super::{Errno, Result, Start, check, child, ignore_child_signal, set_mask};
use crate::identity::Identity;
use crate::options::Session;
use crate::signals::SignalSet;

/// The step at which starting the payload failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// clone(2).
    Clone,
    /// setsid(2) or setpgid(2).
    Session,
    /// Becoming the payload's user.
    Identity,
    /// execve(2).
    Exec,
}

/// Why the payload could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub step: Step,
    /// With which error.
    pub errno: Errno,
}

/// What is to be started, and how.
pub struct Spawn {
    /// Arguments and environment of this process.
    pub start: Start,
    /// Index of the payload's name among the arguments.
    pub command: usize,
    /// The session or group that the payload gets.
    pub session: Session,
    /// Standard input is the terminal that this process has left to the payload.
    pub terminal: bool,
    /// The signal mask to restore.
    pub mask: SignalSet,
    /// Whether SIGCHLD is to be ignored again.
    pub ignore_child_signal: bool,
    /// Who the payload becomes; `None`: who this process is.
    pub identity: Option<Identity>,
}

/// Starts the payload; its pid.
pub fn spawn(spawn: Spawn) -> core::result::Result<i32, Failure> {
    child::start(&spawn)
}

impl child::Job for Spawn {
    type Failure = Failure;

    /// Own session, then the caller's signals, then the payload.
    fn act(&self) -> Failure {
        let user = self.identity.as_ref().map_or(Ok(()), super::payload_unit::become_user);
        match (enter_session(self.session, self.terminal), user) {
            (Err(errno), _) => Failure { step: Step::Session, errno },
            (_, Err(errno)) => Failure { step: Step::Identity, errno },
            (Ok(()), Ok(())) => {
                if self.ignore_child_signal {
                    ignore_child_signal(true);
                }
                set_mask(self.mask);
                let program = Program {
                    argv: self.start.argv_from(self.command),
                    envp: self.start.envp(),
                    room_before: self.command > 0,
                    path: self.start.var(b"PATH").unwrap_or(crate::options::DEFAULT_PATH),
                };
                Failure { step: Step::Exec, errno: execute(&program) }
            }
        }
    }

    fn uncloned(errno: Errno) -> Failure {
        Failure { step: Step::Clone, errno }
    }
}

/// Leads a session of its own (setsid(2)), without a terminal.
pub(super) fn new_session() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { call(nr::SETSID, [0; 5]) }).map(drop)
}

/// Makes standard input the session's terminal. Only for one that was this container's: any
/// other that has no session, somebody else's whose own has just ended, would come along, and
/// its end would be the payload's.
pub(super) fn take_terminal() {
    const TIOCSCTTY: usize = 0x540e;
    // SAFETY: the argument is a number.
    unsafe { call(nr::IOCTL, [0, TIOCSCTTY, 0, 0, 0]) };
}

/// The payload's session or group, and the terminal if there is one.
fn enter_session(session: Session, terminal: bool) -> Result<()> {
    const TIOCSPGRP: usize = 0x5410;
    match session {
        Session::New => {
            new_session()?;
            if terminal {
                take_terminal();
            }
        }
        Session::Group => {
            // SAFETY: numbers only.
            check(unsafe { call(nr::SETPGID, [0; 5]) })?;
            let group = super::getpid();
            // SIGTTOU is still blocked, so a background group may do this.
            // SAFETY: the argument is a pid_t that lives through the call.
            unsafe { call(nr::IOCTL, [0, TIOCSPGRP, &raw const group as usize, 0, 0]) };
        }
        Session::Keep => {}
    }
    Ok(())
}

/// What is executed: arguments and environment, each ended by a null.
pub(super) struct Program<'a> {
    /// The arguments, the name first.
    pub argv: *mut *const i8,
    /// The environment.
    pub envp: *const *const i8,
    /// There is a slot before the arguments, for a shell in front of them.
    pub room_before: bool,
    /// Where a name without a slash is looked for.
    pub path: &'a [u8],
}

/// Executes a program, as execvp(3) does: along PATH where the name has no slash, and
/// by the shell where the file has no format that the kernel knows. Returns on failure.
pub(super) fn execute(program: &Program<'_>) -> Errno {
    // SAFETY: the arguments end with a null, and are strings that end in NUL.
    let name = unsafe {
        let name = *program.argv;
        (!name.is_null()).then(|| core::ffi::CStr::from_ptr(name.cast()).to_bytes_with_nul())
    };
    let Some(name) = name else {
        return Errno::ENOENT;
    };
    if name.contains(&b'/') {
        return execute_file(program, name);
    }
    if name.len() == 1 {
        return Errno::ENOENT;
    }
    let mut denied = None;
    let mut buffer = [0; 4096];
    for directory in program.path.split(|byte| *byte == b':') {
        let errno = match join(&mut buffer, directory, name) {
            Some(file) => execute_file(program, file),
            None => Errno::ENAMETOOLONG,
        };
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => {}
            Errno::EACCES => denied = Some(errno),
            other => return other,
        }
    }
    denied.unwrap_or(Errno::ENOENT)
}

/// `directory/name` in the buffer; an empty directory is the current one.
fn join<'a>(buffer: &'a mut [u8], directory: &[u8], name: &[u8]) -> Option<&'a [u8]> {
    let slash = usize::from(!directory.is_empty());
    let len = directory.len() + slash + name.len();
    let file = buffer.get_mut(..len)?;
    file[..directory.len()].copy_from_slice(directory);
    if slash == 1 {
        file[directory.len()] = b'/';
    }
    file[directory.len() + slash..].copy_from_slice(name);
    Some(file)
}

/// execve(2) of one file, whose name ends in NUL.
fn execute_file(program: &Program<'_>, file: &[u8]) -> Errno {
    let (argv, envp) = (program.argv, program.envp as usize);
    // SAFETY: a string that ends in NUL and two arrays that end in null.
    let ret = unsafe { call(nr::EXECVE, [file.as_ptr() as usize, argv as usize, envp, 0, 0]) };
    let errno = Errno(-ret as i32);
    if errno != Errno::ENOEXEC || !program.room_before {
        return errno;
    }
    // SAFETY: there is a slot before the program's name; the arguments are this process's
    // own memory, and the parent does not look at them again.
    unsafe {
        let shell = argv.sub(1);
        *shell = c"/bin/sh".as_ptr().cast();
        *argv = file.as_ptr().cast();
        call(nr::EXECVE, [*shell as usize, shell as usize, envp, 0, 0]);
    }
    errno
}
