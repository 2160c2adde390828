//! Signals by name.

use nix::sys::signal::Signal;

use crate::error::{Error, Result};

/// A signal's number: a number, a name with or without `SIG`, `RTMIN+N`.
///
/// # Errors
/// Anything else.
pub fn signal_number(word: &str) -> Result<i32> {
    let unknown = || Error::usage(format!("unknown signal {word:?}"));
    if let Ok(number) = word.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number).ok_or_else(unknown);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let distance = |rest: &str| match rest {
        "" => Some(0),
        rest => rest.trim_start_matches(['+', '-']).parse::<i32>().ok(),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        34 + distance(rest).ok_or_else(unknown)?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        64 - distance(rest).ok_or_else(unknown)?
    } else {
        format!("SIG{name}").parse::<Signal>().map_err(|_| unknown())? as i32
    };
    (1..=64).contains(&number).then_some(number).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (word, number) in [
            ("TERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("RTMIN+3", 37),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(signal_number(word).expect(word), number);
        }
        for wrong in ["", "0", "65", "NOPE", "RTMIN+99"] {
            assert!(signal_number(wrong).is_err(), "{wrong}");
        }
    }
}
