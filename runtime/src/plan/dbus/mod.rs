//! D-Bus messages as bytes: the little of the wire format that a client of systemd needs
//! (D-Bus specification, "Message Protocol"). No descriptor, no clock: both stand in
//! `cgroup::bus`. What a peer sends is bounded in size before it is believed in anything else.

mod address;
mod read;
mod value;
mod write;

pub use address::{Address, addresses};
pub use read::{Message, Sort, frame};
pub use value::Value;
pub use write::{Call, signature};

/// The longest message that is taken from a bus, in bytes: systemd's signals have some hundred,
/// a reply to what is asked here a few hundred.
pub const LONGEST: usize = 1 << 20;

/// `AUTH EXTERNAL` without a name: the bus takes the user that the kernel tells it of, which in a
/// user namespace is another than the one this process knows itself by. Messages wait for the
/// answer, as libsystemd's do: its server side looks at those that come with `BEGIN` only when
/// something follows them.
pub const GREETING: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// How long the answer to the greeting may be.
const LONGEST_ANSWER: usize = 4096;

/// What a bus has answered to the greeting so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeted {
    /// Not all of it is there.
    NotYet,
    /// It lets us in.
    Welcome,
    /// It does not.
    Refused,
}

/// Reads the lines of the answer.
pub fn greeted(answer: &[u8]) -> Greeted {
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\r\n") else { break };
        match line.split(|byte| *byte == b' ').next() {
            Some(b"OK") => return Greeted::Welcome,
            Some(b"DATA") => {}
            _ => return Greeted::Refused,
        }
    }
    if answer.len() > LONGEST_ANSWER { Greeted::Refused } else { Greeted::NotYet }
}

/// How long the answer is that lets us in; messages follow it.
pub fn answer_length(received: &[u8]) -> usize {
    let mut length = 0;
    for line in received.split_inclusive(|byte| *byte == b'\n') {
        length += line.len();
        if line.starts_with(b"OK") {
            break;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_answer_is_no_part_of_it() {
        assert_eq!(answer_length(b"DATA\r\nOK 0123\r\nl\x04\n"), 15);
        assert_eq!(answer_length(b"OK 0123\r\n"), 9);
    }

    #[test]
    fn who_is_let_in() {
        for (answer, expected) in [
            (&b""[..], Greeted::NotYet),
            (b"DATA\r\n", Greeted::NotYet),
            (b"DATA\r\nOK 0123", Greeted::NotYet),
            (b"DATA\r\nOK 0123\r\n", Greeted::Welcome),
            (b"OK 0123\r\n", Greeted::Welcome),
            (b"REJECTED EXTERNAL\r\n", Greeted::Refused),
            (b"DATA\r\nREJECTED\r\n", Greeted::Refused),
            (b"HTTP/1.1 400\r\n", Greeted::Refused),
            (b"\r\n", Greeted::Refused),
        ] {
            assert_eq!(greeted(answer), expected, "{}", answer.escape_ascii());
        }
        assert_eq!(greeted(&[b'x'; LONGEST_ANSWER + 1]), Greeted::Refused);
    }
}
