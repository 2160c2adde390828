//! Messages of a bus, out of bytes.

use super::LONGEST;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The answer to a call.
    Return,
    /// Why a call failed.
    Error,
    /// Something that happened.
    Signal,
    /// A call, or what a later version of the protocol knows.
    Other,
}

/// A message, as far as its readers look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub sort: Sort,
    /// Which call it answers.
    pub reply_to: Option<u32>,
    /// The object, of a signal.
    pub path: Option<&'a str>,
    /// The signal's name.
    pub member: Option<&'a str>,
    /// The error's name.
    pub error: Option<&'a str>,
    body: Reader<'a>,
    signature: &'a str,
}

/// How long the message that `bytes` begin with is; `None` while that cannot be told.
///
/// # Errors
/// No message, or a longer one than is taken.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(head) = bytes.get(..16) else { return Ok(None) };
    let mut reader = Reader { bytes: head, at: 4, big: is_big(head)? };
    let body = reader.u32().ok_or("no length")? as usize;
    reader.at = 12;
    let fields = reader.u32().ok_or("no length")? as usize;
    let whole = fields
        .checked_add(16)
        .and_then(|end| end.checked_next_multiple_of(8))
        .and_then(|start| start.checked_add(body))
        .filter(|length| *length <= LONGEST);
    whole.map(Some).ok_or("a message that is too long")
}

fn is_big(head: &[u8]) -> Result<bool, &'static str> {
    match head {
        [b'l', _, _, 1, ..] => Ok(false),
        [b'B', _, _, 1, ..] => Ok(true),
        _ => Err("no D-Bus message"),
    }
}

impl<'a> Message<'a> {
    /// Reads one message, whose length [`frame`] has told.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn decode(bytes: &'a [u8]) -> Result<Message<'a>, &'static str> {
        let big = is_big(bytes)?;
        let sort = match bytes.get(1) {
            Some(2) => Sort::Return,
            Some(3) => Sort::Error,
            Some(4) => Sort::Signal,
            _ => Sort::Other,
        };
        let cut = "a message that is cut off";
        let mut fields = Reader { bytes, at: 12, big };
        let end = fields.u32().map(|length| length as usize + 16).ok_or(cut)?;
        let start = end.checked_next_multiple_of(8).filter(|at| *at <= bytes.len()).ok_or(cut)?;
        fields.bytes = &bytes[..end];
        let body = Reader { bytes: &bytes[start..], at: 0, big };
        let mut message = Message {
            sort,
            reply_to: None,
            path: None,
            member: None,
            error: None,
            body,
            signature: "",
        };
        while fields.at < end {
            fields.pad(8);
            if fields.at >= end {
                break;
            }
            message.take_field(&mut fields).ok_or("a header field that cannot be read")?;
        }
        Ok(message)
    }

    fn take_field(&mut self, fields: &mut Reader<'a>) -> Option<()> {
        let code = fields.byte()?;
        let signature = fields.signature()?;
        match (code, signature) {
            (1, "o") => self.path = Some(fields.text()?),
            (3, "s") => self.member = Some(fields.text()?),
            (4, "s") => self.error = Some(fields.text()?),
            (5, "u") => self.reply_to = Some(fields.u32()?),
            (8, "g") => self.signature = fields.signature()?,
            (_, "o" | "s") => drop(fields.text()?),
            (_, "u") => drop(fields.u32()?),
            (_, "g") => drop(fields.signature()?),
            // The specification has no other type here.
            _ => return None,
        }
        Some(())
    }

    /// The arguments that are texts, in order, up to the first that is neither a text nor a number
    /// of 32 bits; a variant counts as what is in it.
    pub fn texts(&self) -> Vec<&'a str> {
        let mut reader = self.body;
        let mut texts = Vec::new();
        let mut signature = self.signature.as_bytes();
        while let Some((kind, rest)) = signature.split_first() {
            signature = rest;
            let taken = match kind {
                b'u' | b'i' | b'b' => reader.u32().map(drop),
                b's' | b'o' => reader.text().map(|text| texts.push(text)),
                // Only the variant's own type counts from here.
                b'v' => reader.signature().map(|inner| signature = inner.as_bytes()),
                _ => None,
            };
            if taken.is_none() {
                break;
            }
        }
        texts
    }
}

/// A place in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn pad(&mut self, alignment: usize) {
        self.at = self.at.next_multiple_of(alignment);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.pad(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        self.closed(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        self.closed(length)
    }

    /// A text of this length and the zero behind it.
    fn closed(&mut self, length: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `JobRemoved` as systemd 257 sends it.
    const REMOVED: &[u8] =
        b"l\x04\x01\x01=\x00\x00\x00\x09\x00\x00\x00z\x00\x00\x00\x01\x01o\x00\x19\x00\x00\
        \x00/org/freedesktop/systemd1\x00\x00\x00\x00\x00\x00\x00\x02\x01s\x00\x20\x00\
        \x00\x00org.freedesktop.systemd1.Manager\x00\x00\x00\x00\x00\x00\x00\x00\x03\x01\
        s\x00\x0a\x00\x00\x00JobRemoved\x00\x00\x00\x00\x00\x00\x08\x01g\x00\x04uoss\x00\
        \x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x1f\x00\x00\x00/org/freedesktop/systemd\
        1/job/7\x00\x07\x00\x00\x00a.scope\x00\x04\x00\x00\x00done\x00";

    #[test]
    fn a_signal() {
        let length = frame(REMOVED).unwrap().unwrap();
        let message = Message::decode(&REMOVED[..length]).unwrap();
        assert_eq!((message.sort, message.member), (Sort::Signal, Some("JobRemoved")));
        assert_eq!(message.path, Some("/org/freedesktop/systemd1"));
        assert_eq!(message.texts(), ["/org/freedesktop/systemd1/job/7", "a.scope", "done"]);
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_an_error_and_no_more() {
        let length = frame(REMOVED).unwrap().unwrap();
        for at in 0..length {
            let _told = Message::decode(&REMOVED[..at]).map(|message| message.texts().len());
            let mut changed = REMOVED[..length].to_vec();
            for value in [0, 0x7f, 0xff] {
                changed[at] = value;
                let _told = frame(&changed);
                let _told = Message::decode(&changed).map(|message| message.texts().len());
            }
        }
    }

    /// A signature is any text until it is read.
    #[test]
    fn a_signature_of_no_types_has_no_texts() {
        let mut changed = REMOVED.to_vec();
        let at = changed.windows(4).position(|bytes| bytes == b"uoss").unwrap();
        changed[at..at + 4].copy_from_slice("\u{e9}ss".as_bytes());
        let length = frame(&changed).unwrap().unwrap();
        assert!(Message::decode(&changed[..length]).unwrap().texts().is_empty());
        changed[at..at + 4].copy_from_slice("u\u{20ac}".as_bytes());
        assert!(Message::decode(&changed[..length]).unwrap().texts().is_empty());
    }

    #[test]
    fn a_long_message_is_none() {
        let mut head = *b"l\x04\x01\x01\x00\x00\x10\x00\x09\x00\x00\x00\x10\x00\x00\x00";
        assert_eq!(frame(&head), Err("a message that is too long"));
        head[4..8].copy_from_slice(&[0; 4]);
        assert_eq!(frame(&head), Ok(Some(32)));
        assert_eq!(frame(&head[..15]), Ok(None));
        assert_eq!(frame(&[0; 16]), Err("no D-Bus message"));
    }
}
