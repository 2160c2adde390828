//! Spans of time, as the options write them.

/// A span or a moment in milliseconds.
pub type Millis = u64;

/// Longer than anything.
pub const FOREVER: Millis = u64::MAX;

/// Reads `5`, `5s`, `500ms`, `2m`, `1h` or `forever`; a bare number is seconds.
pub fn parse(text: &[u8]) -> Option<Millis> {
    if text == b"forever" || text == b"infinity" {
        return Some(FOREVER);
    }
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit = match &text[digits..] {
        b"ms" => 1,
        b"" | b"s" => 1000,
        b"m" => 60_000,
        b"h" => 3_600_000,
        _ => return None,
    };
    number(&text[..digits])?.checked_mul(unit)
}

/// A decimal number without sign, at least one digit.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, want) in [
            ("0", Some(0)),
            ("5", Some(5000)),
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("forever", Some(FOREVER)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.5s", None),
            ("5 s", None),
            ("99999999999999999999", None),
            ("18446744073709551615s", None),
        ] {
            assert_eq!(parse(text.as_bytes()), want, "{text}");
        }
    }
}
