//! Output to systemd's journal, in its own protocol: a datagram a line.

use std::os::unix::net::UnixDatagram;

use super::lines::Stream;
use crate::error::{At, Result};
use crate::store::Record;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// A line without an end is cut there.
const LONGEST: usize = 48 << 10;

/// The journal.
pub struct Journal {
    socket: UnixDatagram,
    /// The fields of every entry.
    fields: Vec<u8>,
    /// Lines that have no end yet, of each stream.
    parts: [Vec<u8>; 2],
    /// Bytes that the journal did not take.
    pub lost: u64,
}

impl Journal {
    /// Connects.
    ///
    /// # Errors
    /// No journal.
    pub fn open(record: &Record) -> Result<Journal> {
        let socket = UnixDatagram::unbound().at("make", "a socket")?;
        socket.connect(SOCKET).at("log to the journal at", SOCKET)?;
        socket.set_nonblocking(true).at("log to the journal at", SOCKET)?;
        let mut fields = Vec::new();
        field(&mut fields, "SYSLOG_IDENTIFIER", record.name.as_bytes());
        field(&mut fields, "CONTAINER_NAME", record.name.as_bytes());
        field(&mut fields, "CONTAINER_ID_FULL", record.id.as_bytes());
        field(&mut fields, "CONTAINER_NAMESPACE", record.namespace.as_bytes());
        Ok(Journal { socket, fields, parts: [Vec::new(), Vec::new()], lost: 0 })
    }

    /// Sends whole lines; the rest waits for its end.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let part = &mut self.parts[stream as usize];
            part.extend_from_slice(piece);
            if !piece.ends_with(b"\n") && part.len() < LONGEST {
                continue;
            }
            self.send(stream);
        }
    }

    /// Sends what has no end and gets none.
    pub fn end(&mut self) {
        for stream in [Stream::Output, Stream::Errors] {
            if !self.parts[stream as usize].is_empty() {
                self.send(stream);
            }
        }
    }

    fn send(&mut self, stream: Stream) {
        let line = std::mem::take(&mut self.parts[stream as usize]);
        let mut entry = self.fields.clone();
        let priority: &[u8] = if stream == Stream::Output { b"6" } else { b"3" };
        field(&mut entry, "PRIORITY", priority);
        field(&mut entry, "MESSAGE", line.strip_suffix(b"\n").unwrap_or(&line));
        if self.socket.send(&entry).is_err() {
            self.lost += line.len() as u64;
        }
    }
}

/// A field in the journal's form for any bytes.
fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_take_any_bytes() {
        let mut entry = Vec::new();
        field(&mut entry, "MESSAGE", b"a\nb");
        assert_eq!(entry, b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let (socket, journal) = UnixDatagram::pair().expect("a pair");
        let parts = [Vec::new(), Vec::new()];
        let mut log = Journal { socket, fields: Vec::new(), parts, lost: 0 };
        log.write(Stream::Output, b"one\ntwo");
        log.end();
        log.end();
        let received = || {
            journal.set_nonblocking(true).expect("prepared");
            let mut entry = [0; 200];
            journal.recv(&mut entry).map(|count| entry[..count].to_vec()).ok()
        };
        for word in [&b"\0one\n"[..], b"\0two\n"] {
            let entry = received().expect("an entry");
            assert!(entry.ends_with(word), "{}", String::from_utf8_lossy(&entry));
        }
        assert_eq!(received(), None);
    }
}
