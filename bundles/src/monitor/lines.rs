//! How output looks in a log file: pure.

use crate::store::Format;

/// Which stream bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Errors,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Output => "stdout",
            Stream::Errors => "stderr",
        }
    }
}

/// Gives `write` these bytes as the file has them, in pieces of about `piece` bytes that end
/// where a line does; each with how many of the given bytes it stands for. What has no newline
/// yet is written at once, as a part: whatever was read is in the file, also when the next thing
/// that happens is a KILL.
pub fn render(
    format: Format,
    time: &str,
    stream: Stream,
    bytes: &[u8],
    piece: usize,
    mut write: impl FnMut(&[u8], u64),
) {
    if format == Format::Plain {
        return bytes.chunks(piece).for_each(|part| write(part, part.len() as u64));
    }
    let mut out = Vec::with_capacity(bytes.len().min(piece) + 128);
    let mut meant = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.ends_with(b"\n");
        out.extend_from_slice(time.as_bytes());
        out.push(b' ');
        out.extend_from_slice(stream.name().as_bytes());
        out.extend_from_slice(if whole { b" F " } else { b" P " });
        out.extend_from_slice(line);
        meant += line.len() as u64;
        if !whole {
            out.push(b'\n');
        }
        if out.len() >= piece {
            write(&out, meant);
            out.clear();
            meant = 0;
        }
    }
    if !out.is_empty() {
        write(&out, meant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(format: Format, bytes: &[u8], piece: usize) -> (String, u64, usize) {
        let (mut text, mut meant, mut pieces) = (Vec::new(), 0, 0);
        render(format, "T", Stream::Errors, bytes, piece, |part, count| {
            text.extend_from_slice(part);
            meant += count;
            pieces += 1;
        });
        (String::from_utf8(text).expect("text"), meant, pieces)
    }

    #[test]
    fn lines_have_time_and_stream() {
        let cri = |bytes: &[u8]| rendered(Format::Cri, bytes, 1 << 16).0;
        assert_eq!(cri(b"a\nb\n"), "T stderr F a\nT stderr F b\n");
        assert_eq!(cri(b"a\npart"), "T stderr F a\nT stderr P part\n");
        assert_eq!(cri(b"\n"), "T stderr F \n");
        assert_eq!(cri(b""), "");
        assert_eq!(rendered(Format::Plain, b"a\nb", 2).0, "a\nb");
    }

    #[test]
    fn pieces_are_bounded_and_account_for_every_byte() {
        let bytes = b"x\n".repeat(1000);
        let (_, meant, pieces) = rendered(Format::Cri, &bytes, 100);
        assert_eq!(meant, 2000);
        assert!(pieces > 100, "{pieces} pieces");
    }
}
