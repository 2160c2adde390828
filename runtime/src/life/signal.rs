//! Signals to a container: `kill`.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::members::members;
use super::{ProcessId, State, Status};
use crate::cgroup::{Cgroup, Killed};
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::plan::boot::SYSTEMD_STOP;
use crate::sys::signals;

/// SIGKILL's number.
pub const KILL: i32 = 9;
/// The first and the last real-time signal as programs of the C library see
/// them (signal(7): it keeps 32 and 33 for itself).
const REAL_TIME: (i32, i32) = (34, 64);

/// The standard signals by number (signal(7); the same on every architecture
/// that this runtime knows), and the other names of some.
#[rustfmt::skip]
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("IOT", 6),
    ("BUS", 7), ("FPE", 8), ("KILL", KILL), ("USR1", 10), ("SEGV", 11), ("USR2", 12),
    ("PIPE", 13), ("ALRM", 14), ("TERM", 15), ("STKFLT", 16), ("CHLD", 17), ("CLD", 17),
    ("CONT", 18), ("STOP", 19), ("TSTP", 20), ("TTIN", 21), ("TTOU", 22), ("URG", 23),
    ("XCPU", 24), ("XFSZ", 25), ("VTALRM", 26), ("PROF", 27), ("WINCH", 28), ("IO", 29),
    ("POLL", 29), ("PWR", 30), ("SYS", 31), ("UNUSED", 31),
];

/// The number of a signal: a number from 0 (which only asks whether the
/// process is there) to 64, a name with or without `SIG` in any case, or
/// `RTMIN+n` and `RTMAX-n`. An empty word is TERM, as with runc.
///
/// # Errors
/// Anything else, in runc's words.
pub fn number(word: &str) -> Result<i32> {
    let unknown = || Error::new(Kind::Usage, format!("unknown signal {word:?}"));
    let word = if word.is_empty() { "TERM" } else { word };
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse().ok().filter(|number| (0..=64).contains(number)).ok_or_else(unknown);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let standard = NAMES.iter().find(|row| row.0 == name).map(|row| row.1);
    standard.or_else(|| real_time(name)).ok_or_else(unknown)
}

/// A signal that asks for the end: any but 0, which would be none.
///
/// # Errors
/// 0, and what [`number`] refuses.
pub fn that_ends(word: &str) -> Result<i32> {
    match number(word)? {
        0 => Err(Error::new(Kind::Usage, "signal 0 is none".to_owned())),
        number => Ok(number),
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn real_time(name: &str) -> Option<i32> {
    let distance = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let (first, last) = REAL_TIME;
    let number = match name.strip_prefix("RTMIN") {
        Some(rest) => first + distance(rest, '+')?,
        None => last - distance(name.strip_prefix("RTMAX")?, '-')?,
    };
    (first..=last).contains(&number).then_some(number)
}

/// Sends signal `number` to the container's first process, or with `all` to
/// every process. KILL reaches every process also where the first one does not
/// lead a pid namespace, and thaws a frozen container so that it dies.
///
/// # Errors
/// "container not running" where the first process is gone, unless `all`.
pub fn kill(state: &State, status: Status, number: i32, all: bool) -> Result<()> {
    if all {
        return if state.none_left() { Ok(()) } else { kill_all(state, number) };
    }
    if number == KILL && status == Status::Stopped && end_what_is_left(state)? {
        return Ok(());
    }
    let init = state.init.filter(|_| status.can_kill()).ok_or_else(not_running)?;
    let number = translated(number, state.stop_signal);
    let pidfd = init.pidfd()?;
    let cgroup = cgroup(state)?;
    let whole = number == KILL && !init.leads_pid_namespace();
    send(pidfd.as_fd(), init, number)?;
    log::debug(|| format!("signal {number} was sent to process {}", init.pid));
    if let Some(cgroup) = cgroup.filter(|_| number == KILL) {
        if whole {
            cgroup.signal(KILL)?;
        }
        cgroup.thaw_to_die()?;
    }
    Ok(())
}

/// Where the first process did not lead the pid namespace, the others outlive it. Whether there
/// was any.
fn end_what_is_left(state: &State) -> Result<bool> {
    // Without a recorded first process the group may be somebody else's, or be by now.
    let ours = state.init.is_some() && !state.none_left();
    let Some(cgroup) = cgroup(state)?.filter(|_| ours) else { return Ok(false) };
    let killed = cgroup.signal(KILL)?;
    cgroup.thaw_to_die()?;
    Ok(killed == Killed::Some)
}

/// TERM means "stop", which is not what every PID 1 takes it for: systemd
/// executes itself again. So does systemd's own signal: podman sends it to
/// whatever is called `init`, and SysV's and busybox's do not know it.
pub fn translated(number: i32, stop: Option<i32>) -> i32 {
    match stop {
        Some(stop) if [libc::SIGTERM, SYSTEMD_STOP].contains(&number) => stop,
        _ => number,
    }
}

/// A container that has stopped may still have processes, and may have none:
/// neither is an error.
fn kill_all(state: &State, number: i32) -> Result<()> {
    match cgroup(state)? {
        Some(cgroup) => {
            cgroup.signal(number)?;
            log::debug(|| {
                format!("signal {number} was sent to all in the cgroups of {}", state.id)
            });
            if number == KILL { cgroup.thaw_to_die() } else { Ok(()) }
        }
        None => members(state)?.into_iter().try_for_each(|pid| {
            let gone = |error: &Error| error.kind() == Kind::NoSuchProcess;
            let sent = ProcessId::of(pid)
                .and_then(|process| send(process.pidfd()?.as_fd(), process, number));
            sent.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) })
        }),
    }
}

/// The container's control groups, if it has any.
pub fn cgroup(state: &State) -> Result<Option<Cgroup>> {
    let cgroup = state.cgroup.as_ref().map(Cgroup::open).transpose()?;
    Ok(cgroup.filter(|cgroup| !cgroup.is_none()))
}

fn send(pidfd: std::os::fd::BorrowedFd<'_>, process: ProcessId, number: i32) -> Result<()> {
    match signals::send(pidfd, number) {
        Ok(()) => Ok(()),
        Err(Errno::SRCH) => Err(not_running()),
        Err(errno) => Err(Error::os(format!("send signal {number} to {}", process.pid), errno)),
    }
}

/// runc's words, which engines match.
pub fn not_running() -> Error {
    Error::new(Kind::NoSuchProcess, "container not running")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        let table = [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("hup", 1),
            ("0", 0),
            ("9", 9),
            ("64", 64),
            ("IOT", 6),
            ("SIGPOLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("RTMAX-14", 50),
            ("SIGRTMAX-30", 34),
        ];
        for (word, expected) in table {
            assert_eq!(number(word).unwrap(), expected, "{word}");
        }
        assert_eq!(that_ends("QUIT").unwrap(), 3);
        assert_eq!(that_ends("0").unwrap_err().to_string(), "signal 0 is none");
    }

    #[test]
    fn what_is_no_signal_is_refused_in_runcs_words() {
        assert_eq!(number("").unwrap(), 15, "runc's default");
        let odd = [
            "SIG",
            "NOSUCH",
            "65",
            "999",
            "-5",
            "-9",
            "+9",
            "1.5",
            "TERM KILL",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+-1",
            "RTMIN+256",
            "SIGSIGTERM",
            "SIG9",
            "99999999999999999999",
        ];
        for word in odd {
            let error = number(word).unwrap_err().to_string();
            assert_eq!(error, format!("unknown signal {word:?}"));
        }
    }

    #[test]
    fn stop_is_what_the_first_process_takes_for_it() {
        let (power, halt) = (libc::SIGPWR, SYSTEMD_STOP);
        for (asked, stop, sent) in [
            (libc::SIGTERM, None, libc::SIGTERM),
            (halt, None, halt),
            (libc::SIGTERM, Some(power), power),
            (halt, Some(power), power),
            (libc::SIGTERM, Some(halt), halt),
            (halt, Some(halt), halt),
            (libc::SIGHUP, Some(power), libc::SIGHUP),
            (KILL, Some(power), KILL),
        ] {
            assert_eq!(translated(asked, stop), sent, "{asked} with {stop:?}");
        }
    }
}
