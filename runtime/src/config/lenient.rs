//! JSON that runc's reader takes and RFC 8259 does not define: what stands behind the
//! document, halves of surrogate pairs, a name that is given twice.
//!
//! Engines hand on what others wrote. Only a document that could not be read as it stands
//! comes here, so the usual one pays nothing.

use serde_json::Value;

/// The document, and what is odd about it; none if it is none.
pub(super) fn read(bytes: &[u8]) -> Option<(Value, Vec<String>)> {
    let mut oddities = Vec::new();
    let mended = mend_surrogates(bytes);
    if mended.is_some() {
        oddities.push("half of a surrogate pair is taken for U+FFFD".to_owned());
    }
    let bytes = mended.as_deref().unwrap_or(bytes);
    let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    // Of a name that is given twice the last counts.
    let value = documents.next()?.ok()?;
    let rest = bytes.get(documents.byte_offset()..).unwrap_or_default();
    if rest.iter().any(|byte| !byte.is_ascii_whitespace()) {
        oddities.push("what stands behind the document is ignored".to_owned());
    }
    Some((value, oddities))
}

/// The document with U+FFFD for each half of a surrogate pair; none if there is none.
fn mend_surrogates(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(escape) = bytes.get(at..) {
        let Some(next) = escape.iter().position(|byte| *byte == b'\\') else { break };
        at += next;
        at += match (unit(&bytes[at..]), bytes.get(at + 6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                let text = mended.get_or_insert_with(|| bytes.to_vec());
                text[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            // Another escape: its letter is not the beginning of one.
            _ => 2,
        };
    }
    mended
}

/// The code unit of the `\uXXXX` at the beginning.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    u16::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_reader_takes_is_taken_and_told() {
        let odd =
            |text: &str| read(text.as_bytes()).map(|(value, odd)| (value.to_string(), odd.len()));
        assert_eq!(odd("{\"a\":1,\"a\":2}"), Some(("{\"a\":2}".into(), 0)));
        assert_eq!(odd("{\"a\":1} \n"), Some(("{\"a\":1}".into(), 0)));
        assert_eq!(odd("{\"a\":1} x }"), Some(("{\"a\":1}".into(), 1)));
        assert_eq!(odd(r#"["\ud83d\ude00\ud83d"]"#), Some(("[\"😀\u{fffd}\"]".into(), 1)));
        assert_eq!(odd(r#"["\\ud83d \udc00\n"]"#), Some(("[\"\\\\ud83d \u{fffd}\\n\"]".into(), 1)));
        assert_eq!(odd("{\"a\":"), None);
        assert_eq!(odd(r#"["\u+123"]"#), None);
        assert_eq!(odd(""), None);
    }
}
