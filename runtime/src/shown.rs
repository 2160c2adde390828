//! Text as a terminal or a log may show it.
//!
//! Names, lines and errors come from images and containers. A control character among them would
//! move the cursor, change the terminal's title or begin a line of its own in a log; a
//! bidirectional one makes a text read as another one.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a letter must not reach a terminal or a log as it is: C0 and C1 controls, the marks
/// of the bidirectional algorithm (UAX #9), and Unicode's own ends of a line.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with each such letter as an escape: `\n`, `\x1b`, `\u202e`.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        push(&mut line, letter);
    }
    Cow::Owned(line)
}

/// Adds one letter, as [`shown`] has it.
pub fn push(line: &mut String, letter: char) {
    match letter {
        '\n' => line.push_str("\\n"),
        '\t' => line.push_str("\\t"),
        '\r' => line.push_str("\\r"),
        hidden if !is_hidden(hidden) => line.push(hidden),
        hidden => {
            // A String takes everything.
            let _ = match u32::from(hidden) {
                code @ ..=0xff => write!(line, "\\x{code:02x}"),
                code => write!(line, "\\u{code:04x}"),
            };
        }
    }
}

/// Lines for a terminal: their ends and tabs stay.
pub fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            letter => push(&mut shown, letter),
        }
    }
    shown
}

/// A JSON document whose strings hold none of them, and mean the same.
pub fn json(document: String) -> String {
    // Below a blank stands the layout: in strings those are escaped already (RFC 8259).
    let bare = |letter: char| letter > ' ' && is_hidden(letter);
    if !document.contains(bare) {
        return document;
    }
    let mut text = String::with_capacity(document.len() + 64);
    for letter in document.chars() {
        if bare(letter) {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(lines(b"a\tb\x1bc\nd\r\n\xff"), "a\tb\\x1bc\nd\\r\n\u{fffd}");
        assert!(matches!(shown("plain, é and 漢"), Cow::Borrowed(_)));
        assert_eq!(shown("a\x1b]0;x\x07\nb\u{9b}\u{7f}"), "a\\x1b]0;x\\x07\\nb\\x9b\\x7f");
        assert_eq!(
            shown("\u{202e}txt\u{2066}\u{200f}\u{61c}\u{2028}"),
            "\\u202etxt\\u2066\\u200f\\u061c\\u2028"
        );
        let all: String = ('\0'..=char::MAX).collect();
        assert!(!shown(&all).contains(is_hidden));
        assert_eq!(shown(&shown(&all)), shown(&all));
    }

    #[test]
    fn a_document_means_the_same() {
        let all: String = ('\0'..=char::MAX).collect();
        let value = serde_json::json!({ "k": all, "l": ["\u{202e}"] });
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let safe = json(text.clone());
            assert!(!safe.contains(|c: char| c > ' ' && is_hidden(c)));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
