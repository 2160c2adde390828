//! Starting a service: as [`super::spawn()`] starts the payload, with a user, limits, streams
//! and an environment of its own.

use super::arch::{call, nr};
use super::spawn::{Program, execute, new_session, take_terminal};
use super::{Errno, Result, Start, check, child, descriptors, ignore_child_signal, set_mask};
use crate::options::DEFAULT_PATH;
use crate::services::wire::{List, UNSET};
use crate::signals::SignalSet;
use core::ffi::CStr;
use core::ptr::addr_of_mut;

/// What is executed.
#[derive(Clone, Copy)]
pub enum Command<'a> {
    /// The words of PID 1's own command line from this index on.
    Payload(usize),
    /// These words.
    Words(List<'a>),
}

/// What is to be started, and how.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// Arguments and environment of this process.
    pub start: Start,
    /// What is executed.
    pub command: Command<'a>,
    /// Variables that replace those of this process.
    pub env: List<'a>,
    /// More of them, each ended by NUL.
    pub more: [&'a [u8]; 2],
    /// Variables of this process that are not for it.
    pub without: &'a [&'a [u8]],
    /// The working directory; none: this process's first one.
    pub cwd: Option<&'a CStr>,
    /// User and group; `UNSET` leaves them.
    pub user: (u32, u32),
    /// Supplementary groups, as 32-bit numbers; none leaves them.
    pub groups: &'a [u8],
    /// File mode creation mask; `UNSET` leaves it.
    pub umask: u32,
    /// Limits: resource, zero, soft, hard.
    pub limits: &'a [u8],
    /// Standard streams; none leaves them.
    pub streams: [i32; 3],
    /// A file that standard output and error are appended to.
    pub log: Option<&'a CStr>,
    /// A descriptor and the number under which it is passed.
    pub passed: (i32, i32),
    /// Descriptors from 3 on that are kept.
    pub kept: u32,
    /// Standard input is a terminal, and becomes its session's.
    pub terminal: bool,
    /// The signal mask.
    pub mask: SignalSet,
    /// Whether SIGCHLD is to be ignored again.
    pub ignore_child_signal: bool,
}

/// Why it could not be started: what was being done, and the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A word or two.
    pub what: &'static str,
    /// The error.
    pub errno: Errno,
}

/// How many arguments and variables there may be.
const POINTERS: usize = 8192;
static mut TABLE: [*const i8; POINTERS] = [core::ptr::null(); POINTERS];

/// Starts it; its pid.
pub fn launch(launch: Launch<'_>) -> core::result::Result<i32, Trouble> {
    child::start(&launch)
}

impl child::Job for Launch<'_> {
    type Failure = Trouble;

    fn act(&self) -> Trouble {
        match become_service(self) {
            Err(trouble) => trouble,
            Ok(program) => Trouble { what: "exec", errno: execute(&program) },
        }
    }

    fn uncloned(errno: Errno) -> Trouble {
        Trouble { what: "clone", errno }
    }
}

/// Everything before the execve.
fn become_service<'a>(launch: &Launch<'a>) -> core::result::Result<Program<'a>, Trouble> {
    let at = |what| move |errno| Trouble { what, errno };
    new_session().map_err(at("session"))?;
    if launch.terminal {
        take_terminal();
    }
    streams(launch).map_err(at("log"))?;
    for limit in launch.limits.chunks_exact(24) {
        set_limit(limit).map_err(at("limit"))?;
    }
    if launch.umask != UNSET {
        descriptors::mask_files(launch.umask);
    }
    become_user(launch).map_err(at("user"))?;
    if let Some(cwd) = launch.cwd {
        // SAFETY: a path that ends in NUL, through the call.
        check(unsafe { call(nr::CHDIR, [cwd.as_ptr() as usize, 0, 0, 0, 0]) })
            .map_err(at("directory"))?;
    }
    if launch.ignore_child_signal {
        ignore_child_signal(true);
    }
    let program = program(launch).ok_or(Trouble { what: "exec", errno: Errno::E2BIG })?;
    set_mask(launch.mask);
    Ok(program)
}

fn streams(launch: &Launch<'_>) -> Result<()> {
    let mut streams = launch.streams;
    if let Some(path) = launch.log {
        let file = descriptors::open(path, true)?;
        (streams[1], streams[2]) = (file, file);
    }
    for fd in 3..3 + launch.kept as i32 {
        descriptors::close_on_exec(fd, false);
    }
    for (number, from) in streams.into_iter().enumerate() {
        if from >= 0 {
            // SAFETY: replaces a descriptor of this child alone.
            check(unsafe { call(nr::DUP3, [from as usize, number, 0, 0, 0]) })?;
        }
    }
    match launch.passed {
        (from, to) if from >= 0 && from == to => descriptors::close_on_exec(to, false),
        (from, to) if from >= 0 => {
            // SAFETY: replaces a descriptor of this child alone.
            check(unsafe { call(nr::DUP3, [from as usize, to as usize, 0, 0, 0]) })?;
        }
        _ => {}
    }
    Ok(())
}

/// prlimit(2) of this process.
fn set_limit(limit: &[u8]) -> Result<()> {
    let resource = limit[0] as usize;
    // SAFETY: behind the resource there are two 64-bit numbers, which the kernel reads.
    check(unsafe { call(nr::PRLIMIT64, [0, resource, limit[8..].as_ptr() as usize, 0, 0]) })
        .map(drop)
}

/// Groups before the group, the group before the user: each takes the right to the next.
fn become_user(launch: &Launch<'_>) -> Result<()> {
    let (user, group) = launch.user;
    if user != UNSET {
        let groups = launch.groups;
        // SAFETY: as many 32-bit numbers as said.
        check(unsafe {
            call(nr::SETGROUPS, [groups.len() / 4, groups.as_ptr() as usize, 0, 0, 0])
        })?;
    }
    if group != UNSET {
        // SAFETY: numbers.
        check(unsafe {
            call(nr::SETRESGID, [group as usize, group as usize, group as usize, 0, 0])
        })?;
    }
    if user != UNSET {
        // SAFETY: numbers.
        check(unsafe { call(nr::SETRESUID, [user as usize, user as usize, user as usize, 0, 0]) })?;
    }
    Ok(())
}

/// Puts arguments and environment together in the table: a free slot, the arguments, null,
/// the environment, null. None when there are too many.
fn program<'a>(launch: &Launch<'a>) -> Option<Program<'a>> {
    let mut path = None;
    let table = addr_of_mut!(TABLE).cast::<*const i8>();
    let mut used = 1;
    let mut put = |pointer: *const i8| {
        // SAFETY: inside of the table, which the one child at a time uses alone.
        (used < POINTERS).then(|| unsafe { table.add(used).write(pointer) })?;
        used += 1;
        Some(used)
    };
    match launch.command {
        Command::Payload(first) => {
            let mut i = first;
            while let Some(word) = launch.start.arg(i) {
                put(word.as_ptr().cast())?;
                i += 1;
            }
        }
        Command::Words(words) => {
            for word in words {
                put(word.as_ptr().cast())?;
            }
        }
    }
    let env = put(core::ptr::null())?;
    let own = |entry: &[u8]| launch.more.iter().any(|more| same_name(entry, more));
    for entry in launch.env.filter(|entry| !own(entry.to_bytes())) {
        path = entry.to_bytes().strip_prefix(b"PATH=").or(path);
        put(entry.as_ptr().cast())?;
    }
    for more in launch.more.iter().filter(|more| !more.is_empty()) {
        put(more.as_ptr().cast())?;
    }
    let mut i = 0;
    while let Some(entry) = launch.start.env(i) {
        i += 1;
        let bytes = entry.to_bytes();
        let replaced = launch.env.into_iter().any(|new| same_name(bytes, new.to_bytes()));
        if !replaced && !own(bytes) && !launch.without.iter().any(|name| named(bytes, name)) {
            path = path.or(bytes.strip_prefix(b"PATH="));
            put(entry.as_ptr().cast())?;
        }
    }
    put(core::ptr::null())?;
    // SAFETY: the table has a free slot, then the arguments; both ends are inside of it.
    let (argv, envp) = unsafe { (table.add(1), table.add(env)) };
    Some(Program { argv, envp, room_before: true, path: path.unwrap_or(DEFAULT_PATH) })
}

fn named(entry: &[u8], name: &[u8]) -> bool {
    entry.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="))
}

fn same_name(entry: &[u8], other: &[u8]) -> bool {
    let end = other.iter().position(|byte| *byte == b'=').unwrap_or(other.len());
    named(entry, &other[..end])
}
