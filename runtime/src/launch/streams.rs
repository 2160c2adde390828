//! Standard streams as the payload's user's own, so that it can open them again
//! by `/dev/stdout`.
//!
//! The first process gives what it may. In a user namespace that is nothing of the
//! host's: what it had to keep is given by the runtime, which has the host's rights.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat, Uid, fchown, fstat, makedev};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};

use super::Launched;
use super::host_path;
use super::sync::Word;
use crate::error::{Error, Result, Step};
use crate::plan::id_ranges::IdRange;

/// What a user namespace shows of owners that it does not map (user_namespaces(7)).
const UNMAPPED: u32 = 65_534;

/// Child: gives the standard streams to user `uid` as seen from here. True when
/// some of them could not be given.
pub fn give(uid: u32) -> bool {
    streams().fold(false, |kept, (_, stream, stat)| {
        let owned = stat.st_uid == uid && uid != UNMAPPED;
        let given = || fchown(stream, Some(Uid::from_raw(uid)), None);
        kept | (!owned && given().is_err())
    })
}

/// Runtime: gives the streams that the process behind `launched` had to keep to the
/// user that is `uid` there, and says which cannot be. `mapped`: it is in a user
/// namespace that is not this process's.
///
/// # Errors
/// The process has gone.
pub fn give_from_outside(launched: &Launched, mapped: bool, uid: u32) -> Result<()> {
    // An id without a mapping is refused where the process takes it on.
    if let Some(uid) = if mapped { outside(launched.pid, uid)? } else { Some(uid) } {
        for (name, stream, stat) in streams().filter(|(_, _, stat)| stat.st_uid != uid) {
            if let Err(errno) = fchown(stream, Some(Uid::from_raw(uid)), None) {
                tell(name, &stat, uid, errno);
            }
        }
    }
    launched.channel.tell(Word::StreamsSeen)
}

/// The payload can use the descriptor all the same: no failure. Who has no rights
/// over the owner's files could not have done anything about it.
fn tell(name: &str, stat: &Stat, uid: u32, errno: Errno) {
    let line =
        Error::os(format!("{name}: give it to user {uid}, who may not open it again"), errno);
    let foreign = errno == Errno::PERM && stat.st_uid == UNMAPPED;
    match rustix::process::geteuid().is_root() && !foreign {
        true => crate::log::warn(line),
        false => crate::log::debug(|| line),
    }
}

/// The user outside of process `pid`'s user namespace that is `uid` inside.
fn outside(pid: i32, uid: u32) -> Result<Option<u32>> {
    let path = format!("/proc/{pid}/uid_map");
    let text = host_path::read_text(&path).step(|| format!("read {path}"))?;
    Ok(IdRange::outside_of(&IdRange::parse(&text), uid))
}

/// The standard streams that are open and may be somebody's own. The null device
/// belongs to all: by its number (null(4)), since what the container has at that path
/// is the container's to say. So do the host's other devices, but for terminals.
fn streams() -> impl Iterator<Item = (&'static str, BorrowedFd<'static>, Stat)> {
    let all =
        [("standard input", stdin()), ("standard output", stdout()), ("standard error", stderr())];
    all.into_iter().filter_map(|(name, stream)| {
        let stat = fstat(stream).ok()?;
        let own = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => {
                stat.st_rdev != makedev(1, 3) && rustix::termios::isatty(stream)
            }
            FileType::BlockDevice => false,
            _ => true,
        };
        own.then_some((name, stream, stat))
    })
}
