//! One line on standard error, put together without an allocator or `core::fmt`.

use crate::signals;
use crate::sys::Errno;
use crate::sys::descriptors::{self, Poll, WRITABLE};
use crate::sys::needs::Denied;

/// A line being written; what does not fit is cut off.
pub struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Line {
    /// Begins a line with `name: `.
    pub fn new(name: &str) -> Line {
        Line { bytes: [0; 512], len: 0 }.text(name).text(": ")
    }

    /// Adds text.
    pub fn text(self, text: &str) -> Line {
        self.raw(text.as_bytes())
    }

    /// Adds bytes that somebody else chose, control characters as `?`.
    pub fn bytes(mut self, bytes: &[u8]) -> Line {
        for byte in bytes {
            let shown = if byte.is_ascii_control() { b'?' } else { *byte };
            self = self.raw(&[shown]);
        }
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Line {
        // The last byte stays free for the line feed.
        let room = self.bytes.len() - 1 - self.len;
        let taken = bytes.len().min(room);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        self
    }

    /// Adds a decimal number.
    pub fn number(self, value: u64) -> Line {
        let (mut digits, mut at, mut rest) = ([0; 20], 20, value);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.raw(&digits[at..]);
            }
        }
    }

    /// Adds a span of time.
    pub fn millis(self, value: u64) -> Line {
        if value.is_multiple_of(1000) {
            self.number(value / 1000).text("s")
        } else {
            self.number(value).text("ms")
        }
    }

    /// Adds a signal's name.
    pub fn signal(self, signal: u8) -> Line {
        match signals::name(signal) {
            Some(name) => self.text("SIG").text(name),
            None if signal >= signals::RTMIN => {
                self.text("SIGRTMIN+").number(u64::from(signal - signals::RTMIN))
            }
            None => self.text("signal ").number(u64::from(signal)),
        }
    }

    /// Adds a call that PID 1 cannot do without.
    pub fn denied(self, denied: Denied) -> Line {
        let line = self.text(denied.call).text(": ");
        let line = match denied.errno {
            Errno(0) => line.text("not what the kernel answers"),
            errno => line.errno(errno),
        };
        line.text("; PID 1 cannot do without it: allow it in the seccomp profile")
    }

    /// Adds an error as Go spells it.
    pub fn errno(self, errno: Errno) -> Line {
        match errno_text(errno) {
            Some(text) => self.text(text),
            None => self.text("errno ").number(errno.0 as u64),
        }
    }

    /// The line so far, without its end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Writes it to standard error, with its end. An error there can be told to nobody, and
    /// where nobody reads, the line is lost rather than PID 1 held up by a full pipe, or its
    /// payload sent the SIGPIPE of a closed one. Where it may not ask, it writes all the same.
    pub fn write(mut self) {
        self.bytes[self.len] = b'\n';
        let mut stream = [Poll { fd: 2, wanted: WRITABLE, seen: 0 }];
        let asked = descriptors::poll(&mut stream, 0);
        if asked.is_err() || stream[0].seen == WRITABLE {
            let _ = crate::sys::write(2, &self.bytes[..=self.len]);
        }
    }
}

/// The errors that clone, setsid and execve give, in the words of Go's syscall package.
fn errno_text(errno: Errno) -> Option<&'static str> {
    Some(match errno.0 {
        1 => "operation not permitted",
        2 => "no such file or directory",
        5 => "input/output error",
        7 => "argument list too long",
        8 => "exec format error",
        11 => "resource temporarily unavailable",
        12 => "cannot allocate memory",
        13 => "permission denied",
        20 => "not a directory",
        21 => "is a directory",
        22 => "invalid argument",
        23 => "too many open files in system",
        24 => "too many open files",
        26 => "text file busy",
        36 => "file name too long",
        38 => "function not implemented",
        40 => "too many levels of symbolic links",
        80 => "accessing a corrupted shared library",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(build: impl FnOnce(Line) -> Line) -> String {
        String::from_utf8(build(Line::new("p")).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn pieces() {
        assert_eq!(line(|l| l.text("a").number(0).number(1234)), "p: a01234");
        assert_eq!(line(|l| l.millis(5000).text(" ").millis(1500)), "p: 5s 1500ms");
        assert_eq!(line(|l| l.signal(15).text(" ").signal(37)), "p: SIGTERM SIGRTMIN+3");
        assert_eq!(line(|l| l.errno(Errno(2))), "p: no such file or directory");
        assert_eq!(line(|l| l.errno(Errno(999))), "p: errno 999");
        assert_eq!(line(|l| l.bytes(b"a\nb\x1b")), "p: a?b?");
    }

    #[test]
    fn a_long_line_is_cut() {
        let long = "x".repeat(2000);
        assert_eq!(line(|l| l.text(&long)).len(), 511);
    }
}
