//! What is said over the control socket: packets of a few bytes, without effects.
//!
//! ```text
//! request  version, op, argument, 0, names (each ended by NUL)
//! reply    version, kind, ...; as many as it takes, the last one is an End
//!   End      code, why, text
//!   Service  phase, reason, flags, status, start, health, pid (4), restarts (4),
//!            milliseconds in its phase (8), name, NUL, ports
//!   Log      log kind, 0, bytes written (8), bytes kept (8); a descriptor comes along
//! ```
//!
//! A version is never changed: what is added gets new ops, kinds or bytes at the end, so
//! that an older PID 1 understands a newer runtime, which must speak the oldest version
//! that does. Numbers are little-endian.

use super::service_state::ServiceState;

/// The version of these packets.
pub const VERSION: u8 = 1;
/// The largest packet, in bytes.
pub const MAX_PACKET: usize = 4096;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// A Service for each service.
    List = 1,
    /// Start the named ones; ends when they are ready, or one has failed.
    Start = 2,
    /// Stop the named ones; ends when they are down.
    Stop = 3,
    /// Restart the named ones; ends when they are ready again.
    Restart = 4,
    /// Send the signal `argument` to the named ones.
    Signal = 5,
    /// The log of the named one.
    Logs = 6,
    /// A Service for each service now, and for each change from now on.
    Events = 7,
    /// Run the reload command of the named ones; ends when it has ended.
    Reload = 8,
}

impl Op {
    const ALL: [Op; 8] =
        [Op::List, Op::Start, Op::Stop, Op::Restart, Op::Signal, Op::Logs, Op::Events, Op::Reload];
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// As asked for.
    Done = 0,
    /// There is no service of that name.
    Unknown = 1,
    /// The container stops.
    Stopping = 2,
    /// The service has failed, or needs one that has.
    Failed = 3,
    /// The request cannot be understood.
    Malformed = 4,
    /// Another version is spoken here: the one in this reply.
    Version = 5,
    /// Too many others wait.
    Busy = 6,
    /// The service does not run, or lacks what is asked for.
    Impossible = 7,
}

impl Code {
    /// The code of a byte.
    pub fn read(byte: u8) -> Code {
        let all = [Code::Done, Code::Unknown, Code::Stopping, Code::Failed, Code::Malformed];
        let more = [Code::Version, Code::Busy, Code::Impossible];
        let mut codes = all.into_iter().chain(more);
        codes.find(|code| *code as u8 == byte).unwrap_or(Code::Malformed)
    }
}

/// Why something is [`Code::Impossible`]; 0 is for an older PID 1, which does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// The service does not run.
    Down = 1,
    /// Its output is the container's.
    Inherited = 2,
    /// Its output is thrown away.
    Discarded = 3,
    /// There is no reload command, nor a signal in its place.
    NoReload = 4,
    /// The reload command cannot be executed; behind the service's name and NUL stands the
    /// program's.
    NotExecuted = 5,
}

impl Why {
    /// The reason of a byte.
    pub fn read(byte: u8) -> Option<Why> {
        let all = [Why::Down, Why::Inherited, Why::Discarded, Why::NoReload, Why::NotExecuted];
        all.into_iter().find(|why| *why as u8 == byte)
    }
}

/// The kind of a reply that is the last one.
pub const END: u8 = 0;
/// The kind of a reply about a service.
pub const SERVICE: u8 = 1;
/// The kind of a reply with a log's descriptor.
pub const LOG: u8 = 2;

/// Flags of a Service: ready.
pub const READY: u8 = 1;
/// The main one.
pub const MAIN: u8 = 2;
/// Its failure ends the container.
pub const ESSENTIAL: u8 = 4;
/// It is to be up.
pub const WANTED: u8 = 8;
/// It runs to its end, then counts as up.
pub const ONESHOT: u8 = 16;

/// A request as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked for.
    pub op: Op,
    /// A signal, where one is needed.
    pub argument: u8,
    names: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`Code::Version`] or [`Code::Malformed`].
    pub fn read(packet: &'a [u8]) -> Result<Request<'a>, Code> {
        let [version, op, argument, _, names @ ..] = packet else { return Err(Code::Malformed) };
        if *version != VERSION {
            return Err(Code::Version);
        }
        let op = Op::ALL.into_iter().find(|known| *known as u8 == *op).ok_or(Code::Malformed)?;
        match names {
            [] | [.., 0] => Ok(Request { op, argument: *argument, names }),
            _ => Err(Code::Malformed),
        }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.names.split_inclusive(|byte| *byte == 0).map(|name| &name[..name.len() - 1])
    }
}

/// A packet being put together; what does not fit is cut off.
pub struct Packet {
    bytes: [u8; 1024],
    len: usize,
}

impl Packet {
    fn new(kind: u8) -> Packet {
        Packet { bytes: [0; 1024], len: 0 }.with(&[VERSION, kind])
    }

    /// The last reply.
    pub fn end(code: Code, text: &[u8]) -> Packet {
        Packet::end_why(code, 0, text)
    }

    /// The same with a [`Why`], or with the status of a reload command that has failed.
    pub fn end_why(code: Code, why: u8, text: &[u8]) -> Packet {
        Packet::new(END).with(&[code as u8, why]).with(text)
    }

    /// A service as it is.
    pub fn service(state: &ServiceState, main: bool, start: u32, health: u8, age: u64) -> Packet {
        let rules = &state.rules;
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(state.ready || state.serves() && rules.oneshot, READY)
            | flag(main, MAIN)
            | flag(rules.essential || main, ESSENTIAL)
            | flag(state.wanted, WANTED)
            | flag(rules.oneshot, ONESHOT);
        let bytes =
            [state.phase as u8, state.reason as u8, flags, state.status, start as u8, health];
        Packet::new(SERVICE)
            .with(&bytes)
            .with(&state.pid.max(0).to_le_bytes())
            .with(&state.restarts.to_le_bytes())
            .with(&age.to_le_bytes())
    }

    /// A log; its descriptor comes along.
    pub fn log(kind: u32, written: u64, kept: u64) -> Packet {
        Packet::new(LOG)
            .with(&[kind as u8, 0])
            .with(&written.to_le_bytes())
            .with(&kept.to_le_bytes())
    }

    /// Adds bytes.
    pub fn with(mut self, bytes: &[u8]) -> Packet {
        let taken = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        self
    }

    /// The packet so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back_and_odd_ones_are_refused() {
        let request = Request::read(b"\x01\x05\x0f\0web\0db\0").unwrap();
        assert_eq!((request.op, request.argument), (Op::Signal, 15));
        assert_eq!(request.names().collect::<Vec<_>>(), [&b"web"[..], b"db"]);
        assert_eq!(Request::read(b"\x01\x01\0\0").unwrap().names().count(), 0);
        for (packet, code) in [
            (&b""[..], Code::Malformed),
            (b"\x01", Code::Malformed),
            (b"\x02\x01\0\0", Code::Version),
            (b"\x01\x63\0\0", Code::Malformed),
            (b"\x01\x02\0\0web", Code::Malformed),
        ] {
            assert_eq!(Request::read(packet), Err(code), "{packet:?}");
        }
        for byte in 0..8 {
            assert_eq!(Code::read(byte) as u8, byte);
        }
    }

    #[test]
    fn a_long_packet_is_cut() {
        assert_eq!(Packet::end(Code::Done, &[b'x'; 5000]).as_bytes().len(), 1024);
    }
}
