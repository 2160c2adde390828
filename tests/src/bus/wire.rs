//! D-Bus messages for the stand-in of systemd: written apart from the runtime's own, so that a
//! mistake of one is not the other's too.

use serde_json::{Value, json};

/// A call that has come in.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its serial.
    pub serial: u32,
    /// The method.
    pub member: String,
    /// Its arguments.
    pub body: Vec<Value>,
}

/// The call that `bytes` begin with, and its length; `None` while it is not whole.
pub fn call(bytes: &[u8]) -> Option<(Call, usize)> {
    let head = Cursor { bytes, at: 4 };
    let length =
        |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (body, fields) = (length(4)?, length(12)?);
    let start = (16 + fields).next_multiple_of(8);
    if bytes.len() < start + body {
        return None;
    }
    assert_eq!(&bytes[..4], b"l\x01\x00\x01", "a little-endian call");
    let mut serial = Cursor { at: 8, ..head };
    let serial = serial.number(4) as u32;
    let (mut member, mut signature) = (String::new(), String::new());
    let mut cursor = Cursor { bytes: &bytes[..16 + fields], at: 16 };
    while cursor.at < 16 + fields {
        cursor.pad(8);
        let code = cursor.number(1);
        let kind = cursor.signature();
        let value = cursor.value(&mut kind.as_str());
        match (code, kind.as_str()) {
            (3, "s") => member = value.as_str().expect("a text").to_owned(),
            (8, "g") => signature = value.as_str().expect("a text").to_owned(),
            _ => {}
        }
    }
    let mut cursor = Cursor { bytes: &bytes[start..start + body], at: 0 };
    let mut rest = signature.as_str();
    let mut arguments = Vec::new();
    while !rest.is_empty() {
        arguments.push(cursor.value(&mut rest));
    }
    assert_eq!(cursor.at, body, "the body is as long as it says");
    Some((Call { serial, member, body: arguments }, start + body))
}

#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn pad(&mut self, alignment: usize) {
        let next = self.at.next_multiple_of(alignment);
        assert!(self.bytes[self.at..next].iter().all(|byte| *byte == 0), "padding is of zeroes");
        self.at = next;
    }

    fn number(&mut self, size: usize) -> u64 {
        self.pad(size);
        let mut all = [0; 8];
        all[..size].copy_from_slice(&self.bytes[self.at..self.at + size]);
        self.at += size;
        u64::from_le_bytes(all)
    }

    fn text(&mut self, length: usize) -> String {
        let text = std::str::from_utf8(&self.bytes[self.at..self.at + length]).expect("UTF-8");
        assert_eq!(self.bytes[self.at + length], 0, "a zero behind a text");
        self.at += length + 1;
        text.to_owned()
    }

    fn signature(&mut self) -> String {
        let length = self.number(1) as usize;
        self.text(length)
    }

    /// The value of the signature's first type, which is taken off it.
    fn value(&mut self, signature: &mut &str) -> Value {
        let kind = signature.as_bytes()[0];
        let whole = first(signature);
        *signature = &signature[whole.len()..];
        match kind {
            b'y' => json!(self.number(1)),
            b'b' => json!(self.number(4) == 1),
            b'i' => json!(self.number(4) as u32 as i32),
            b'u' => json!(self.number(4)),
            b'x' => json!(self.number(8) as i64),
            b't' => json!(self.number(8)),
            b'd' => json!(f64::from_bits(self.number(8))),
            b's' | b'o' => {
                let length = self.number(4) as usize;
                json!(self.text(length))
            }
            b'g' => json!(self.signature()),
            b'v' => {
                let inner = self.signature();
                self.value(&mut inner.as_str())
            }
            b'a' => {
                let length = self.number(4) as usize;
                let of = &whole[1..];
                self.pad(if matches!(of.as_bytes()[0], b'x' | b't' | b'd' | b'(') { 8 } else { 1 });
                let end = self.at + length;
                let mut all = Vec::new();
                while self.at < end {
                    all.push(self.value(&mut &*of));
                }
                assert_eq!(self.at, end, "an array is as long as it says");
                json!(all)
            }
            b'(' => {
                self.pad(8);
                let mut inner = &whole[1..whole.len() - 1];
                let mut all = Vec::new();
                while !inner.is_empty() {
                    all.push(self.value(&mut inner));
                }
                json!(all)
            }
            other => panic!("type {:?}", char::from(other)),
        }
    }
}

/// The first complete type of a signature.
fn first(signature: &str) -> &str {
    match signature.as_bytes()[0] {
        b'a' => &signature[..1 + first(&signature[1..]).len()],
        b'(' => {
            let mut depth = 0;
            let end = signature.bytes().position(|byte| {
                depth += i32::from(byte == b'(') - i32::from(byte == b')');
                depth == 0
            });
            &signature[..=end.expect("a closed struct")]
        }
        _ => &signature[..1],
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0);
}

/// A body and its signature.
type Body = (Vec<u8>, String);

/// Texts; `number`: one stands before them.
fn texts(texts: &[&str], number: bool) -> Body {
    let mut bytes = Vec::new();
    let mut signature = String::new();
    if number {
        bytes.extend(7_u32.to_le_bytes());
        signature.push('u');
    }
    for text in texts {
        put(&mut bytes, text);
        signature.push(if text.starts_with('/') { 'o' } else { 's' });
    }
    (bytes, signature)
}

fn message(kind: u8, fields: &[(u8, char, &str)], reply: Option<u32>, body: Body) -> Vec<u8> {
    let (bytes, signature) = body;
    let mut out = vec![b'l', kind, 1, 1];
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend([0; 4]);
    for (code, sort, text) in fields {
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend([*code, 1, *sort as u8, 0]);
        put(&mut out, text);
    }
    if let Some(serial) = reply {
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend([5, 1, b'u', 0]);
        out.extend(serial.to_le_bytes());
    }
    if !signature.is_empty() {
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend([8, 1, b'g', 0, signature.len() as u8]);
        out.extend(signature.as_bytes());
        out.push(0);
    }
    let fields = (out.len() - 16) as u32;
    out[12..16].copy_from_slice(&fields.to_le_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(bytes);
    out
}

/// The answer to a call.
pub fn answer(to: u32, body: &[&str]) -> Vec<u8> {
    message(2, &[], Some(to), texts(body, false))
}

/// An answer that is a variant with a text.
pub fn answer_text(to: u32, text: &str) -> Vec<u8> {
    let mut bytes = vec![1, b's', 0];
    put(&mut bytes, text);
    message(2, &[], Some(to), (bytes, "v".to_owned()))
}

/// The refusal of a call.
pub fn refusal(to: u32, name: &str, text: &str) -> Vec<u8> {
    message(3, &[(4, 's', name)], Some(to), texts(&[text], false))
}

/// A signal of systemd's manager; `number`: a number stands before the texts.
pub fn signal(member: &str, number: bool, body: &[&str]) -> Vec<u8> {
    let fields = [
        (1, 'o', "/org/freedesktop/systemd1"),
        (2, 's', "org.freedesktop.systemd1.Manager"),
        (3, 's', member),
    ];
    message(4, &fields, None, texts(body, number))
}

/// A signal whose signature names types that are none, and are more than a byte each.
pub fn babble() -> Vec<u8> {
    let fields = [(1, 'o', "/org/freedesktop/systemd1"), (3, 's', "JobRemoved")];
    let (bytes, _) = texts(&["x"], true);
    message(4, &fields, None, (bytes, "u\u{e9}\u{20ac}".to_owned()))
}
