//! Commas before a closing bracket, which JSON does not have and people write.

/// The text with each trailing comma replaced by a space, so that places stay what
/// they are, and the lines that had one. What is in strings is left alone.
pub fn without_trailing(text: &str) -> (String, Vec<u64>) {
    let mut bytes = text.as_bytes().to_vec();
    let mut lines = Vec::new();
    let mut comma: Option<(usize, u64)> = None;
    let mut line = 1;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => line += 1,
            b' ' | b'\t' | b'\r' => {}
            b',' => comma = Some((at, line)),
            b'}' | b']' => {
                if let Some((place, line)) = comma.take() {
                    bytes[place] = b' ';
                    lines.push(line);
                }
            }
            b'"' => {
                comma = None;
                at = end_of_string(&bytes, at);
            }
            _ => comma = None,
        }
        at += 1;
    }
    // Only ASCII bytes were exchanged, for ASCII bytes.
    (String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned()), lines)
}

/// The place of a string's closing quote, or the last one there is. A string of JSON
/// has no line feed in it, so the count of lines goes on behind it.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return at,
            // Not a string then: the parser will say so.
            b'\n' => return at - 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_before_brackets_go_and_those_in_strings_stay() {
        let (text, lines) = without_trailing("{\"a\": [1,\n2, ] ,\n}");
        assert_eq!(text, "{\"a\": [1,\n2  ]  \n}");
        assert_eq!(lines, [2, 2]);
        let whole = r#"{"a": ",]", "b": "\",}"}"#;
        assert_eq!(without_trailing(whole), (whole.to_owned(), Vec::new()));
    }

    #[test]
    fn what_is_cut_off_does_no_harm() {
        for text in ["\"", "\"\\", "[,", "\"a\n,]", ","] {
            let (after, _) = without_trailing(text);
            assert_eq!(after.len(), text.len());
        }
    }
}
