//! What a hook prints: its last bytes for the error, its lines for the log.

use std::fmt::Write;

/// How many of the last bytes of a stream an error quotes.
const TAIL: usize = 4096;

/// A line longer than this many bytes is handed on in pieces.
const LONGEST_LINE: usize = 8192;

/// Where a hook wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// One line that a hook printed, for [`crate::Options::sink`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLine<'a> {
    /// The phase it runs in.
    pub phase: crate::Phase,
    /// Its place in the phase's list, from 0.
    pub index: usize,
    /// The file name of its program.
    pub hook: &'a str,
    /// Where it wrote.
    pub stream: Stream,
    /// What it wrote, without the line's end; bytes that are not UTF-8 are replaced.
    pub text: &'a str,
}

/// The last bytes of one stream, and its unfinished line.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    tail: Vec<u8>,
    cut: bool,
    line: Vec<u8>,
}

impl Captured {
    /// Takes what was read, and hands each line that it completes to `each`.
    pub(crate) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        self.keep_tail(bytes);
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.flush(&mut each);
        }
        self.line.extend_from_slice(rest);
        if self.line.len() >= LONGEST_LINE {
            self.flush(&mut each);
        }
    }

    /// The stream has ended: a last line without an end is a line too.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.flush(&mut each);
        }
    }

    fn flush(&mut self, each: &mut impl FnMut(&str)) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return each("");
        }
        for piece in line.chunks(LONGEST_LINE) {
            each(&String::from_utf8_lossy(piece));
        }
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let keep = &bytes[bytes.len().saturating_sub(TAIL)..];
        let excess = (self.tail.len() + keep.len()).saturating_sub(TAIL);
        self.cut |= excess > 0 || keep.len() < bytes.len();
        self.tail.drain(..excess);
        self.tail.extend_from_slice(keep);
    }

    /// The last bytes as one line: the final line end dropped, control
    /// characters escaped (`\n`), `...` in front where earlier bytes are left out.
    pub(crate) fn quoted(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let mut quoted = String::with_capacity(text.len() + 3);
        if self.cut {
            quoted.push_str("...");
        }
        for c in text.trim_end().chars() {
            if c.is_control() {
                let _ = write!(quoted, "{}", c.escape_default());
            } else {
                quoted.push(c);
            }
        }
        quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut captured, mut lines) = (Captured::default(), Vec::new());
        for chunk in chunks {
            captured.take(chunk, |line| lines.push(line.to_owned()));
        }
        captured.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_put_together_again() {
        assert_eq!(lines(&[b"one\ntw", b"o\n\nthr", b"ee"]), ["one", "two", "", "three"]);
        assert!(lines(&[b"", b""]).is_empty());
        assert_eq!(lines(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn an_endless_line_is_cut_in_pieces() {
        let long = vec![b'x'; 3 * LONGEST_LINE + 1];
        let pieces = lines(&[&long]);
        assert_eq!(pieces.concat().len(), long.len());
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST_LINE));
    }

    #[test]
    fn the_error_quotes_the_last_bytes_on_one_line() {
        let mut captured = Captured::default();
        captured.take(b"a\tb\nc\n", |_| ());
        assert_eq!(captured.quoted(), "a\\tb\\nc");
        for _ in 0..1000 {
            captured.take(b"0123456789\n", |_| ());
        }
        let quoted = captured.quoted();
        assert!(quoted.starts_with("..."));
        assert!(quoted.ends_with("\\n0123456789"), "{quoted}");
        assert!(captured.tail.len() <= TAIL);
        captured.take(&vec![b'y'; 10 * TAIL], |_| ());
        assert_eq!(captured.quoted(), format!("...{}", "y".repeat(TAIL)));
    }
}
