//! The plan of services as the runtime hands it to PID 1: checked on the host, compact,
//! and read in place. All numbers are little-endian 32-bit words.
//!
//! ```text
//! header   HEADER_WORDS words, see [`Head`]
//! records  RECORD_WORDS words a service, see [`Field`]; then PROBE_WORDS for each probe
//! blobs    length, bytes; a record names a blob by the offset of its length, 0 for none
//! ```
//!
//! A text's bytes end in NUL; a list's are its entries, each ended by NUL.

use crate::time::{FOREVER, Millis};
use core::ffi::CStr;

/// The first word: the format and its version.
pub const MAGIC: u32 = u32::from_le_bytes(*b"RSv1");
/// How many services a container may have: a set of them is one 64-bit number.
pub const MAX_SERVICES: usize = 64;
/// How large a plan may be, in bytes.
pub const MAX_PLAN: usize = 256 * 1024;
/// A word that says: leave it as it is, or forever.
pub const UNSET: u32 = u32::MAX;
/// Probes of a service: startup, liveness, readiness.
pub const PROBES: usize = 3;

/// Words of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Head {
    /// [`MAGIC`].
    Magic,
    /// How many services there are.
    Count,
    /// The index of the main service.
    Main,
    /// Milliseconds that descendants may take after the last TERM.
    Grace,
    /// Milliseconds that the ordered stop may take in all.
    Shutdown,
    /// The user who may ask over the socket, as PID 1 sees it.
    Owner,
    /// The host's superuser, as PID 1 sees it.
    Root,
    /// Descriptors from 3 on that belong to the main service.
    Descriptors,
    /// How many words there are.
    Words,
}

/// Words of the header.
pub const HEADER_WORDS: usize = Head::Words as usize;

/// Words of a service's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// Text.
    Name,
    /// List; none: the payload that stands on PID 1's own command line.
    Command,
    /// List of `NAME=value`, which replace those of PID 1's environment.
    Env,
    /// Text.
    Cwd,
    /// User id.
    User,
    /// Group id.
    Group,
    /// Blob of group ids.
    Groups,
    /// File mode creation mask.
    Umask,
    /// Blob of limits: resource, zero, soft (two words), hard (two words).
    Limits,
    /// [`LOG_INHERIT`] and its like.
    Log,
    /// Text: the file that is appended to.
    LogPath,
    /// Bytes that are kept.
    LogSize,
    /// [`FLAG_ONESHOT`] and its like.
    Flags,
    /// [`START_AUTO`] and its like.
    Start,
    /// Set of services, lower half.
    Needs,
    /// Upper half.
    NeedsHigh,
    /// Set of services, lower half.
    Wants,
    /// Upper half.
    WantsHigh,
    /// Set of services, lower half.
    After,
    /// Upper half.
    AfterHigh,
    /// [`RESTART_NEVER`] and its like.
    Restart,
    /// Milliseconds before the first restart.
    Delay,
    /// The most that back-off makes of it.
    MaxDelay,
    /// Restarts in a row before it is given up; 0: never.
    Tries,
    /// Milliseconds after which a service that is up has no failures behind it.
    Reset,
    /// Set of expected exit statuses: 256 bits, eight words.
    Expected,
    /// [`READY_STARTED`] and its like.
    Ready = Field::Expected as usize + 8,
    /// The number of the notification descriptor.
    ReadyFd,
    /// Milliseconds it may take to become ready.
    StartTimeout,
    /// A signal.
    StopSignal,
    /// Milliseconds before it is killed.
    StopTimeout,
    /// List.
    Finish,
    /// Milliseconds before that is killed.
    FinishTimeout,
    /// List.
    Reload,
    /// A signal that stands for a reload command.
    ReloadSignal,
    /// Text, for showing.
    Ports,
    /// List of absolute paths.
    Watch,
    /// Milliseconds between a change and the restart.
    WatchDelay,
    /// How many words there are before the probes'.
    Words,
}

/// Words of a probe, behind the record's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ProbeField {
    /// [`PROBE_NONE`] and its like.
    Kind,
    /// List: the command.
    Command,
    /// Text: what is sent.
    Request,
    /// Blob: the socket address (struct sockaddr).
    Address,
    /// Milliseconds before the first.
    InitialDelay,
    /// Milliseconds from one to the next.
    Period,
    /// Milliseconds that one may take.
    Timeout,
    /// Successes in a row.
    Success,
    /// Failures in a row.
    Failure,
    /// Milliseconds that the service may take to end when it fails; 0: as otherwise.
    Grace,
    /// How many words there are.
    Words,
}

/// Words of a probe.
pub const PROBE_WORDS: usize = ProbeField::Words as usize;
/// Words of a service with its probes.
pub const RECORD_WORDS: usize = Field::Words as usize + PROBES * PROBE_WORDS;

/// The service's output goes where PID 1's goes.
pub const LOG_INHERIT: u32 = 0;
/// Nowhere.
pub const LOG_NULL: u32 = 1;
/// The last of it is kept in memory.
pub const LOG_KEEP: u32 = 2;
/// Into a file in the container.
pub const LOG_FILE: u32 = 3;

/// Runs to its end, then counts as up.
pub const FLAG_ONESHOT: u32 = 1;
/// Its failure ends the container.
pub const FLAG_ESSENTIAL: u32 = 2;

/// Started with the container.
pub const START_AUTO: u32 = 0;
/// Started when another one needs it.
pub const START_NEEDED: u32 = 1;
/// Started by hand.
pub const START_MANUAL: u32 = 2;

/// Ended is ended.
pub const RESTART_NEVER: u32 = 0;
/// Restarted after an unexpected end.
pub const RESTART_ON_FAILURE: u32 = 1;
/// Restarted after every end.
pub const RESTART_ALWAYS: u32 = 2;

/// Ready as soon as it runs.
pub const READY_STARTED: u32 = 0;
/// Ready when it writes a line feed to a descriptor.
pub const READY_FD: u32 = 1;
/// Ready when it sends `READY=1` (sd_notify(3)).
pub const READY_NOTIFY: u32 = 2;
/// Ready when its readiness (or else startup) probe passes.
pub const READY_PROBE: u32 = 3;

/// No probe.
pub const PROBE_NONE: u32 = 0;
/// A command that must succeed.
pub const PROBE_EXEC: u32 = 1;
/// A connection that must come about.
pub const PROBE_TCP: u32 = 2;
/// A request whose answer must be of 200 to 399.
pub const PROBE_HTTP: u32 = 3;

/// A plan, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    bytes: &'a [u8],
}

impl<'a> Plan<'a> {
    /// Looks whether this is a plan of our version; every later read is bounded, so that
    /// a wrong one can do no harm.
    pub fn new(bytes: &'a [u8]) -> Option<Plan<'a>> {
        let plan = Plan { bytes };
        let count = plan.head(Head::Count) as usize;
        let records = (HEADER_WORDS + count.min(MAX_SERVICES) * RECORD_WORDS) * 4;
        let good = plan.head(Head::Magic) == MAGIC
            && (1..=MAX_SERVICES).contains(&count)
            && (plan.head(Head::Main) as usize) < count
            && records <= bytes.len();
        good.then_some(plan)
    }

    /// A word of the header.
    pub fn head(&self, head: Head) -> u32 {
        self.word(head as usize)
    }

    /// How many services there are.
    pub fn count(&self) -> usize {
        self.head(Head::Count) as usize
    }

    /// A word of a service's record.
    pub fn field(&self, service: usize, field: Field) -> u32 {
        self.word(HEADER_WORDS + service * RECORD_WORDS + field as usize)
    }

    /// A word that follows `field`.
    pub fn beyond(&self, service: usize, field: Field, by: usize) -> u32 {
        self.word(HEADER_WORDS + service * RECORD_WORDS + field as usize + by)
    }

    /// A set of services.
    pub fn set(&self, service: usize, field: Field) -> u64 {
        u64::from(self.field(service, field)) | u64::from(self.beyond(service, field, 1)) << 32
    }

    /// A span of time.
    pub fn millis(&self, service: usize, field: Field) -> Millis {
        millis(self.field(service, field))
    }

    /// A word of a probe.
    pub fn probe(&self, service: usize, probe: usize, field: ProbeField) -> u32 {
        self.beyond(service, Field::Words, probe * PROBE_WORDS + field as usize)
    }

    /// A span of time of a probe.
    pub fn probe_millis(&self, service: usize, probe: usize, field: ProbeField) -> Millis {
        millis(self.probe(service, probe, field))
    }

    /// A text, without its NUL; empty when there is none.
    pub fn text(&self, service: usize, field: Field) -> &'a [u8] {
        self.c_text(service, field).map_or(b"", CStr::to_bytes)
    }

    /// A text with its NUL.
    pub fn c_text(&self, service: usize, field: Field) -> Option<&'a CStr> {
        CStr::from_bytes_with_nul(self.blob(self.field(service, field))).ok()
    }

    /// A list.
    pub fn list(&self, service: usize, field: Field) -> List<'a> {
        List(self.blob(self.field(service, field)))
    }

    /// A probe's command.
    pub fn probe_command(&self, service: usize, probe: usize) -> List<'a> {
        List(self.blob(self.probe(service, probe, ProbeField::Command)))
    }

    /// A blob of a probe.
    pub fn probe_blob(&self, service: usize, probe: usize, field: ProbeField) -> &'a [u8] {
        self.blob(self.probe(service, probe, field))
    }

    /// The blob at an offset; empty when there is none.
    pub fn blob(&self, offset: u32) -> &'a [u8] {
        let at = offset as usize;
        let Some(size) = self.bytes.get(at..at + 4).filter(|_| at != 0) else { return b"" };
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        at.checked_add(4 + size).and_then(|end| self.bytes.get(at + 4..end)).unwrap_or(b"")
    }

    fn word(&self, index: usize) -> u32 {
        match self.bytes.get(index * 4..index * 4 + 4) {
            Some(word) => u32::from_le_bytes([word[0], word[1], word[2], word[3]]),
            None => 0,
        }
    }
}

fn millis(word: u32) -> Millis {
    if word == UNSET { FOREVER } else { Millis::from(word) }
}

/// Entries that each end in NUL.
#[derive(Clone, Copy, Debug)]
pub struct List<'a>(&'a [u8]);

impl List<'_> {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        let entry = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = &self.0[entry.to_bytes_with_nul().len()..];
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_plan_is_refused_and_reads_nothing_out_of_bounds() {
        assert!(Plan::new(b"").is_none());
        assert!(Plan::new(&[0; 4096]).is_none());
        let mut bytes = vec![0; (HEADER_WORDS + RECORD_WORDS) * 4];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = 1;
        let name = (HEADER_WORDS + Field::Name as usize) * 4;
        for wild in [1, u32::MAX, u32::MAX - 3, bytes.len() as u32 - 2] {
            bytes[name..name + 4].copy_from_slice(&wild.to_le_bytes());
            let plan = Plan::new(&bytes).unwrap();
            assert_eq!(plan.text(0, Field::Name), b"", "{wild}");
        }
        bytes[4] = 2;
        assert!(Plan::new(&bytes).is_none(), "a record is missing");
    }

    #[test]
    fn lists_end_where_they_end() {
        let all: Vec<_> = List(b"a\0\0bc\0rest").map(CStr::to_bytes).collect();
        assert_eq!(all, [&b"a"[..], b"", b"bc"]);
    }
}
