//! Method calls, as bytes.

use super::Value;

/// Which header field (D-Bus specification, "Header Fields").
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call<'a> {
    /// To whom, on a bus; nobody where the other side is the one.
    pub destination: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub body: Vec<Value>,
}

impl Call<'_> {
    /// The message with this serial, which is not 0.
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|value| body.value(value));
        let mut out = Writer::default();
        // Little endian, a method call, no flags, version 1.
        out.bytes.extend(b"l\x01\x00\x01");
        out.u32(body.bytes.len() as u32);
        out.u32(serial);
        let text = |code, kind, text: &str| (code, kind, text.to_owned());
        let mut fields = vec![
            text(PATH, 'o', self.path),
            text(INTERFACE, 's', self.interface),
            text(MEMBER, 's', self.member),
        ];
        fields.extend(self.destination.map(|name| text(DESTINATION, 's', name)));
        if !self.body.is_empty() {
            fields.push((SIGNATURE, 'g', signature(&self.body)));
        }
        out.array(8, |out| {
            for (code, kind, text) in &fields {
                out.pad(8);
                out.bytes.push(*code);
                out.signature(&kind.to_string());
                match kind {
                    'g' => out.signature(text),
                    _ => out.text(text),
                }
            }
        });
        out.pad(8);
        out.bytes.extend(body.bytes);
        out.bytes
    }
}

/// The signature of arguments.
pub fn signature(body: &[Value]) -> String {
    body.iter().map(Value::signature).collect()
}

/// Bytes, each value at its alignment.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn pad(&mut self, alignment: usize) {
        let length = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(length, 0);
    }

    fn u32(&mut self, number: u32) {
        self.pad(4);
        self.bytes.extend(number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.pad(8);
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.bytes.push(signature.len() as u8);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// The length counts neither itself nor the padding before the first element.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let at = self.bytes.len() - 4;
        self.pad(alignment);
        let start = self.bytes.len();
        elements(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(byte) => self.bytes.push(*byte),
            Value::Bool(yes) => self.u32(u32::from(*yes)),
            Value::I32(number) => self.u32(*number as u32),
            Value::U32(number) => self.u32(*number),
            Value::I64(number) => self.u64(*number as u64),
            Value::U64(number) => self.u64(*number),
            Value::Double(number) => self.u64(number.to_bits()),
            Value::Text(text) => self.text(text),
            Value::Array(of, elements) => self.array(Value::alignment(of), |out| {
                elements.iter().for_each(|element| out.value(element));
            }),
            Value::Struct(fields) => {
                self.pad(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the specification, put together elsewhere.
    #[test]
    fn a_call_as_bytes() {
        let call = Call {
            destination: None,
            path: "/o",
            interface: "a.b",
            member: "M",
            body: vec![Value::text("x"), Value::Bool(true)],
        };
        let expected: &[u8] =
            b"l\x01\x00\x01\x0c\x00\x00\x00\x07\x00\x00\x008\x00\x00\x00\x01\x01o\x00\x02\x00\
        \x00\x00/o\x00\x00\x00\x00\x00\x00\x02\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\
        \x00\x00\x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00\x08\x01g\x00\
        \x02sb\x00\x01\x00\x00\x00x\x00\x00\x00\x01\x00\x00\x00";
        assert_eq!(call.encode(7).escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn the_length_of_an_array_leaves_the_padding_out() {
        let mut out = Writer::default();
        let pair = Value::Struct(vec![Value::text("k"), Value::U64(5)]);
        out.value(&Value::Array("(st)".to_owned(), vec![pair]));
        assert_eq!(
            out.bytes,
            [16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'k', 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
        );
        let mut out = Writer::default();
        out.value(&Value::Array("(st)".to_owned(), vec![]));
        assert_eq!(out.bytes, [0; 8]);
    }
}
