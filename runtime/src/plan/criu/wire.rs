//! The few forms of protobuf's encoding that CRIU's messages need (rpc.proto): numbers, and bytes
//! with their length.

/// A message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// Adds a number (`int32` that is not negative, `uint32`, `bool`, an enumeration).
    pub fn number(&mut self, field: u32, value: u32) {
        self.long(field, u64::from(value));
    }

    /// Adds a `bool`.
    pub fn flag(&mut self, field: u32, value: bool) {
        self.number(field, u32::from(value));
    }

    /// Adds a `string`.
    pub fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// Adds another message.
    pub fn message(&mut self, field: u32, value: &Message) {
        self.bytes(field, &value.0);
    }

    /// Adds a number of 64 bits.
    pub fn long(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    /// Adds what was read.
    pub fn value(&mut self, field: u32, value: Value<'_>) {
        match value {
            Value::Number(number) => self.long(field, number),
            Value::Bytes(bytes) => self.bytes(field, bytes),
            Value::Fixed(bytes) => {
                let form = if bytes.len() == 8 { 1 } else { 5 };
                self.varint(u64::from(field) << 3 | form);
                self.0.extend_from_slice(bytes);
            }
        }
    }

    /// What is sent.
    pub fn encoded(&self) -> &[u8] {
        &self.0
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Bytes that are no message, or none of the form that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What a field of a message that is read holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number of any kind.
    Number(u64),
    /// Text or a message.
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes.
    Fixed(&'a [u8]),
}

/// The fields of a message, in their order: number and content.
///
/// # Errors
/// It ends within a field, or has a form that the encoding does not.
pub fn fields(mut bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => Value::Fixed(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| Malformed)?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            5 => Value::Fixed(take(&mut bytes, 4)?),
            _ => return Err(Malformed),
        };
        fields.push((field, value));
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Message::default();
        inner.text(1, "net");
        let mut message = Message::default();
        message.number(1, 300);
        message.flag(3, true);
        message.message(25, &inner);
        // As protobuf's own documentation has it: 300 is ac 02.
        assert_eq!(message.encoded()[..5], [0x08, 0xac, 0x02, 0x18, 0x01]);
        let read = fields(message.encoded()).unwrap();
        assert_eq!(read[0], (1, Value::Number(300)));
        let (25, Value::Bytes(bytes)) = read[2] else { panic!("{read:?}") };
        assert_eq!(fields(bytes).unwrap(), [(1, Value::Bytes(b"net"))]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in [
            &b"\x08"[..],
            b"\x12\x05ab",
            b"\x0b",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(fields(bad).is_err(), "{bad:?}");
        }
        assert_eq!(fields(b"").unwrap(), []);
    }
}
