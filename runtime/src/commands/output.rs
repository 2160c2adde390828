//! What commands print on standard output.

use std::io::Write;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::error::{Error, Result, Step};
use crate::shown::json;

/// Prints a text; a closed pipe (`| head`) is no failure.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.step(|| "write standard output"),
    }
}

/// A document as JSON, each level indented by `indent`, without a last line's
/// end: as Go's `json.MarshalIndent` writes it.
pub fn indented(document: &impl Serialize, indent: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    document
        .serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        .map_err(unencoded)?;
    let text = String::from_utf8(bytes);
    text.map(json).map_err(|error| Error::system(format!("encode JSON: {error}")))
}

/// A document as JSON in one line, with the line's end; a list without
/// elements is `null`, as Go writes an absent one.
pub fn line(list: &[impl Serialize]) -> Result<String> {
    match list {
        [] => Ok("null\n".to_owned()),
        list => serde_json::to_string(list).map(|text| json(text) + "\n").map_err(unencoded),
    }
}

fn unencoded(error: serde_json::Error) -> Error {
    Error::system(format!("encode JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_null() {
        assert_eq!(line(&[] as &[i32]).unwrap(), "null\n");
        assert_eq!(line(&[1, 2]).unwrap(), "[1,2]\n");
    }

    #[test]
    fn indentation_is_gos() {
        let document = std::collections::BTreeMap::from([("a", vec![1]), ("b", vec![])]);
        let text = "{\n\t\"a\": [\n\t\t1\n\t],\n\t\"b\": []\n}";
        assert_eq!(indented(&document, "\t").unwrap(), text);
    }
}
