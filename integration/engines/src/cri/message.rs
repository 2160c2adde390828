//! Messages as protocol buffers and gRPC have them.

/// A protocol-buffers message, as bytes.
#[derive(Debug, Clone, Default)]
pub struct Message(pub(super) Vec<u8>);

impl Message {
    /// With a number in this field.
    pub fn number(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3);
        self.varint(value);
        self
    }

    /// With bytes in this field.
    pub fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        self.0.push((field << 3) | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    /// With a text in this field.
    pub fn text(self, field: u8, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// With each of these texts in this field.
    pub fn texts(self, field: u8, values: &[&str]) -> Self {
        values.iter().fold(self, |all, value| all.text(field, value))
    }

    /// With each of these pairs of texts in this field, which is a map.
    pub fn pairs(self, field: u8, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self, |all, (key, value)| {
            all.message(field, &Message::default().text(1, key).text(2, value))
        })
    }

    /// With each of these messages in this field.
    pub fn messages(self, field: u8, values: &[Message]) -> Self {
        values.iter().fold(self, |all, value| all.message(field, value))
    }

    /// With a message in this field.
    pub fn message(self, field: u8, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// As gRPC sends it: not compressed, and its length.
    pub fn framed(&self) -> Vec<u8> {
        let mut all = vec![0];
        all.extend((self.0.len() as u32).to_be_bytes());
        all.extend(&self.0);
        all
    }

    /// The last value of a field that is a text or a message.
    pub fn part(&self, field: u64) -> Message {
        Message(self.field(field).map(|found| found.1.to_vec()).unwrap_or_default())
    }

    /// The last value of a field that is a number; 0 when it is not there.
    pub fn value(&self, field: u64) -> u64 {
        self.field(field).map(|found| found.0).unwrap_or_default()
    }

    /// The last value of a field that is a text.
    pub fn string(&self, field: u64) -> String {
        String::from_utf8_lossy(&self.part(field).0).into_owned()
    }

    /// Every value of a field that is a text or a message.
    pub fn parts(&self, wanted: u64) -> Vec<Message> {
        let all = self.fields().into_iter().filter(|(field, ..)| *field == wanted);
        all.map(|(.., bytes)| Message(bytes.to_vec())).collect()
    }

    fn field(&self, wanted: u64) -> Option<(u64, &[u8])> {
        let all = self.fields().into_iter().rev();
        let mut found = all.filter(|(field, ..)| *field == wanted);
        found.next().map(|(_, value, bytes)| (value, bytes))
    }

    /// All that can be read: a field's number, and its number or bytes.
    fn fields(&self) -> Vec<(u64, u64, &[u8])> {
        let (mut rest, mut found) = (&self.0[..], Vec::new());
        while let Some(field) = read_field(&mut rest) {
            found.push(field);
        }
        found
    }
}

fn read_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, u64, &'a [u8])> {
    let key = read_varint(rest)?;
    let value = read_varint(rest)?;
    let length = if key & 7 == 2 { usize::try_from(value).ok()? } else { 0 };
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((key >> 3, value, bytes))
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let inner = Message::default().text(1, "a").number(7, 300);
        let whole =
            Message::default().number(1, 5).message(2, &inner).text(2, "").message(2, &inner);
        assert_eq!(whole.value(1), 5);
        assert_eq!((whole.part(2).string(1), whole.part(2).value(7)), ("a".to_owned(), 300));
        assert_eq!(whole.parts(2).len(), 3);
        assert_eq!((whole.value(9), whole.string(9)), (0, String::new()));
        assert_eq!(Message::default().text(1, "ab").framed(), b"\0\0\0\0\x04\x0a\x02ab");
    }

    #[test]
    fn a_torn_message_has_nothing_more() {
        assert_eq!(Message(vec![0x0a, 200]).string(1), "");
        assert_eq!(Message(vec![0xff]).value(1), 0);
    }
}
