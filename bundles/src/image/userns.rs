//! Work that takes more ids than the caller's: it is done by the same program, started
//! again in a user namespace where the caller is root and his ranges follow.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;

use rustix::pipe::{PipeFlags, pipe_with};

use super::sys;
use crate::error::{Error, Kind, Result};
use crate::spec::{Ids, Range};
use crate::users;

/// Whether this process may act as any user: the superuser of the host, or of a user
/// namespace.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process is in the host's own user namespace.
#[must_use]
pub fn is_initial() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether this process is the host's superuser.
#[must_use]
pub fn is_initial_root() -> bool {
    is_root() && is_initial()
}

/// Whether a file says which ids there are: one id only means that owners are lost.
#[must_use]
pub fn has_range() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let count = |line: &str| line.split_whitespace().nth(2).and_then(|text| text.parse().ok());
    map.lines().filter_map(count).fold(0u64, u64::saturating_add) > 1
}

/// Starts `command` in a user namespace with the caller's ids, and reads its output.
///
/// # Errors
/// No user namespace is allowed; `newuidmap` is missing or refuses; the command cannot
/// be started.
pub fn output(mut command: Command) -> Result<Output> {
    let ids = users::own_ids();
    let what = || format!("{}: start it in a user namespace", command_name(&command));
    let name = what();
    let run = || -> io::Result<Output> {
        let (ready, ready_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (go_end, go) = pipe_with(PipeFlags::CLOEXEC)?;
        sys::unshare_at_start(&mut command, ready_end, go_end);
        let mapper = thread::spawn(move || map(ready, go, &ids));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        // The command holds the other ends of the pipes.
        drop(command);
        let mapped = mapper.join().unwrap_or_else(|_| Err(io::Error::other("the mapper failed")));
        mapped?;
        child?.wait_with_output()
    };
    run().map_err(|error| {
        let hint = "; as an ordinary user that takes user namespaces (sysctl \
            user.max_user_namespaces), newuidmap (package uidmap) and lines in /etc/subuid and \
            /etc/subgid";
        Error::new(Kind::Refused, format!("{name}: {error}{hint}"))
    })
}

fn command_name(command: &Command) -> String {
    Path::new(command.get_program()).display().to_string()
}

fn map(ready: OwnedFd, go: OwnedFd, ids: &Ids) -> io::Result<()> {
    let mut pid = [0; 4];
    if fs::File::from(ready).read_exact(&mut pid).is_err() {
        return Ok(());
    }
    let pid = i32::from_ne_bytes(pid);
    if ids.is_range() {
        mapped("newuidmap", pid, &ids.users)?;
        mapped("newgidmap", pid, &ids.groups)?;
    } else {
        let line = |range: &Range| format!("{} {} {}", range.inside, range.outside, range.count);
        fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
        fs::write(format!("/proc/{pid}/uid_map"), line(&ids.users[0]))?;
        fs::write(format!("/proc/{pid}/gid_map"), line(&ids.groups[0]))?;
    }
    fs::File::from(go).write_all(b"1")
}

fn mapped(program: &str, pid: i32, ranges: &[Range]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for range in ranges {
        let numbers = [range.inside, range.outside, range.count];
        command.args(numbers.map(|number| number.to_string()));
    }
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("run {program}: {error}")))?;
    succeeded(output.status).map_err(|status| {
        let said = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("{program}: {status}: {}", said.trim()))
    })
}

fn succeeded(status: ExitStatus) -> Result<(), ExitStatus> {
    if status.success() { Ok(()) } else { Err(status) }
}
