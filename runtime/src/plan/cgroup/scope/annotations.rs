//! `org.systemd.property.NAME` annotations: properties of the scope that a configuration asks for.
//!
//! Whoever writes annotations (an image, a pod's author) would decide on what systemd does as
//! root, or kills (CVE-2024-3154): only what the administrator allows by name is taken.

use std::collections::HashMap;

use super::{Property, Value};
use crate::config::annotations::SYSTEMD_PROPERTY;
use crate::config::properties::check_property;
use crate::error::{Error, Result};

/// The names that the administrator allows.
pub type Allowed = [String];

/// The properties that are asked for and allowed, by their names; and what is said of the others.
///
/// # Errors
/// A value that is none.
pub fn properties(
    annotations: Option<&HashMap<String, String>>,
    allowed: &Allowed,
) -> Result<(Vec<Property>, Vec<String>)> {
    let mut asked: Vec<(&str, &str)> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.strip_prefix(SYSTEMD_PROPERTY)?, value.as_str())))
        .collect();
    asked.sort_unstable();
    let (mut properties, mut warnings) = (Vec::new(), Vec::new());
    for (name, text) in asked {
        if !allowed.iter().any(|known| known == name) || check_property(name).is_err() {
            warnings.push(format!(
                "annotation {SYSTEMD_PROPERTY}{name}: ignored: systemd.properties of the settings does not allow it"
            ));
            continue;
        }
        let wrong = |why: &str| {
            Error::config(format!("annotations: {SYSTEMD_PROPERTY}{name}: {text:?}: {why}"))
        };
        let value =
            parse(text).ok_or_else(|| wrong("no value (true, 5, uint64 5, 'text', ['a', 'b'])"))?;
        properties.push(named(name, value).ok_or_else(|| wrong("no number of seconds"))?);
    }
    Ok((properties, warnings))
}

/// systemd's times are in microseconds; what ends in `Sec` is asked for in seconds, as with runc.
fn named(name: &str, value: Value) -> Option<Property> {
    let seconds = name
        .strip_suffix("Sec")
        .filter(|stem| stem.bytes().last().is_some_and(|byte| byte.is_ascii_lowercase()));
    let Some(stem) = seconds else { return Some(Property::new(name, value)) };
    let number = match value {
        Value::I32(number) => u64::try_from(number).ok()?.checked_mul(1_000_000)?,
        Value::I64(number) => u64::try_from(number).ok()?.checked_mul(1_000_000)?,
        Value::U32(number) => u64::from(number) * 1_000_000,
        Value::U64(number) => number.checked_mul(1_000_000)?,
        // In range, and whole microseconds are all that systemd knows.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Value::Double(number) if (0.0..1e12).contains(&number) => (number * 1e6) as u64,
        _ => return None,
    };
    Some(Property::new(&format!("{stem}USec"), Value::U64(number)))
}

/// A value in GVariant's text form, as far as scopes have properties: a truth value, a number with
/// or without its type, a text, a list of texts.
fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    let typed =
        |word: &str| text.strip_prefix(word).and_then(|rest| rest.strip_prefix(' ')).map(str::trim);
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        "@as []" => return Some(Value::texts([])),
        _ => {}
    }
    if let Some(number) = typed("uint64").or(typed("@t")) {
        return number.parse().ok().map(Value::U64);
    }
    if let Some(number) = typed("uint32").or(typed("@u")) {
        return number.parse().ok().map(Value::U32);
    }
    if let Some(number) = typed("int64").or(typed("@x")) {
        return number.parse().ok().map(Value::I64);
    }
    if let Some(number) = typed("int32").or(typed("@i")) {
        return number.parse().ok().map(Value::I32);
    }
    if let Some(number) = typed("byte").or(typed("@y")) {
        return number.parse().ok().map(Value::Byte);
    }
    if let Some(rest) = typed("@as").unwrap_or(text).strip_prefix('[') {
        return list(rest.strip_suffix(']')?);
    }
    if text.starts_with(['\'', '"']) {
        let (text, rest) = quoted(text)?;
        return rest.is_empty().then_some(Value::Text(text));
    }
    let number = text.parse().map(Value::I32);
    number.ok().or_else(|| text.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Double))
}

/// Texts with commas between.
fn list(mut rest: &str) -> Option<Value> {
    let mut texts = Vec::new();
    loop {
        let (text, after) = quoted(rest.trim_start())?;
        texts.push(text);
        match after.trim_start() {
            "" => return Some(Value::texts(texts)),
            after => rest = after.strip_prefix(',')?,
        }
    }
}

/// A text between quotation marks, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mark = text.chars().next().filter(|mark| matches!(mark, '\'' | '"'))?;
    let mut read = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, one)) = chars.next() {
        match one {
            '\\' => {
                read.push(chars.next().map(|(_, one)| one).filter(|one| "\\'\"".contains(*one))?)
            }
            one if one == mark => return Some((read, &text[1 + at + 1..])),
            '\0' => return None,
            one => read.push(one),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("5", Value::I32(5)),
            ("-5", Value::I32(-5)),
            ("1.5", Value::Double(1.5)),
            ("uint64 123456789", Value::U64(123_456_789)),
            ("@t 7", Value::U64(7)),
            ("uint32 7", Value::U32(7)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"it's\"", Value::text("it's")),
            ("'a\\'b'", Value::text("a'b")),
            (
                "['a.service', \"b.service\"]",
                Value::texts(["a.service".into(), "b.service".into()]),
            ),
            ("@as []", Value::texts([])),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for text in [
            "",
            "x",
            "'a",
            "a'",
            "'a'b",
            "[",
            "['a'",
            "['a',]",
            "[5]",
            "uint64 -1",
            "uint64",
            "NaN",
            "'\0'",
            "{'a': 5}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    fn asked(allowed: &[&str], pairs: &[(&str, &str)]) -> Result<(Vec<Property>, Vec<String>)> {
        let map = pairs
            .iter()
            .map(|(name, value)| (format!("{SYSTEMD_PROPERTY}{name}"), (*value).to_owned()));
        let map: HashMap<_, _> = map.chain([("other".to_owned(), "x".to_owned())]).collect();
        let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        properties(Some(&map), &allowed)
    }

    #[test]
    fn only_what_is_allowed_is_taken() {
        let pairs = [("TimeoutStopUSec", "uint64 5"), ("ExecStop", "'x'"), ("Slice", "'x.slice'")];
        let (properties, warnings) = asked(&[], &pairs).unwrap();
        assert_eq!((properties.len(), warnings.len()), (0, 3));
        let (properties, warnings) = asked(&["TimeoutStopUSec", "Slice"], &pairs).unwrap();
        assert_eq!(properties, [Property::new("TimeoutStopUSec", Value::U64(5))]);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn seconds_are_microseconds_to_systemd() {
        for (text, expected) in [("5", 5_000_000), ("1.5", 1_500_000), ("uint64 2", 2_000_000)] {
            let (properties, _) = asked(&["TimeoutStopSec"], &[("TimeoutStopSec", text)]).unwrap();
            assert_eq!(properties, [Property::new("TimeoutStopUSec", Value::U64(expected))]);
        }
        for text in ["'5'", "-1", "uint64 18446744073709551615", "5 s"] {
            let error = asked(&["TimeoutStopSec"], &[("TimeoutStopSec", text)]).unwrap_err();
            assert!(
                error.to_string().starts_with("annotations: org.systemd.property.TimeoutStopSec")
            );
        }
    }
}
