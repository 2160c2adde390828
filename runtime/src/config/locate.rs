//! Where in a JSON document something is: the field at a line and column.

use serde_json::Error;
use serde_json::error::Category;

/// How much of a document's own words an error repeats (bytes).
const MAX_WORDS: usize = 300;

/// One step into the document.
enum Step {
    Object { key: Option<String> },
    Array { index: usize },
}

/// A parser's error with the field that it is about, where the document's form
/// is right and a value is not. Its own words are kept short: a value may be
/// as long as the document.
pub fn describe(text: &[u8], error: &Error) -> String {
    let field = if error.classify() == Category::Data && error.line() > 0 {
        field_at(&text[..offset(text, error.line(), error.column())])
    } else {
        String::new()
    };
    let words = short(&error.to_string());
    if field.is_empty() { words } else { format!("{field}: {words}") }
}

/// The same for a document whose text is not the file's: without its places.
pub fn describe_altered(text: &[u8], error: &Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    describe(text, error).replace(&place, "")
}

/// The message with its middle left out where it is long: the cause is in
/// front, the place at the end.
fn short(words: &str) -> String {
    if words.len() <= MAX_WORDS {
        return words.to_owned();
    }
    let cut = |at: usize| (0..=at).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
    let (head, tail) = (cut(MAX_WORDS / 2), cut(words.len() - MAX_WORDS / 2));
    format!("{}...{}", &words[..head], &words[tail..])
}

/// The number of bytes before a line's column, as serde_json counts them.
fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let breaks = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let start = match line {
        0 | 1 => 0,
        _ => breaks.map(|(at, _)| at + 1).nth(line - 2).unwrap_or(text.len()),
    };
    (start + column).min(text.len())
}

/// The field that the last value of `read` (the beginning of a well-formed
/// document) belongs to. Of a missing field the parser tells behind the object,
/// which is then that value.
fn field_at(read: &[u8]) -> String {
    let mut path: Vec<Step> = Vec::new();
    let mut at = 0;
    while at < read.len() {
        match read[at] {
            b'{' => path.push(Step::Object { key: None }),
            b'[' => path.push(Step::Array { index: 0 }),
            b'}' | b']' => drop(path.pop()),
            b',' => match path.last_mut() {
                Some(Step::Object { key }) => *key = None,
                Some(Step::Array { index }) => *index += 1,
                None => {}
            },
            b'"' => {
                let end = string_end(read, at);
                if let Some(Step::Object { key: key @ None }) = path.last_mut() {
                    *key = Some(serde_json::from_slice(&read[at..end]).unwrap_or_default());
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    print(&path)
}

/// The index behind a string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < text.len() && text[end] != b'"' {
        end += if text[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(text.len())
}

/// `linux.namespaces[2].type`, as validation names fields.
fn print(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Array { index } => text.push_str(&format!("[{index}]")),
            Step::Object { key: None } => {}
            Step::Object { key: Some(key) } => {
                let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric());
                match (plain, text.is_empty()) {
                    (true, true) => text.push_str(key),
                    (true, false) => text.push_str(&format!(".{key}")),
                    (false, _) => text.push_str(&format!("[{key:?}]")),
                }
            }
        }
    }
    short(&text)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;
    use serde_json::{Value, json};

    use super::*;

    fn told(text: &str) -> String {
        describe(text.as_bytes(), &serde_json::from_str::<Spec>(text).unwrap_err())
    }

    fn good() -> Value {
        json!({
            "ociVersion": "1.0.0",
            "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["a", "b\\\"]}"], "env": []},
            "mounts": [{"destination": "/a"}, {"destination": "/b", "options": ["ro", "x"]}],
            "linux": {"sysctl": {"net.a": "1"}, "namespaces": [{"type": "pid"}, {"type": "ipc"}]},
        })
    }

    #[test]
    fn the_field_of_a_wrong_value_is_named() {
        for (pointer, value, field) in [
            ("/ociVersion", json!(1), "ociVersion"),
            ("/process", json!([]), "process"),
            ("/process/args", json!("sh"), "process.args"),
            ("/process/args/1", json!(7), "process.args[1]"),
            ("/process/env", json!({}), "process.env"),
            ("/process/user/uid", json!(-1), "process.user.uid"),
            ("/process/user/gid", json!("0"), "process.user.gid"),
            ("/mounts/1/options", json!(true), "mounts[1].options"),
            ("/mounts/1/options/0", json!(null), "mounts[1].options[0]"),
            ("/mounts/0", json!(3.5), "mounts[0]"),
            ("/linux/sysctl/net.a", json!(1), "linux.sysctl[\"net.a\"]"),
            ("/linux/namespaces/1/type", json!("moon"), "linux.namespaces[1].type"),
        ] {
            let mut document = good();
            *document.pointer_mut(pointer).unwrap() = value;
            let line = told(&document.to_string());
            assert!(line.starts_with(&format!("{field}: ")), "{pointer}: {line}");
            let line = told(&serde_json::to_string_pretty(&document).unwrap());
            assert!(line.starts_with(&format!("{field}: ")), "{pointer}, pretty: {line}");
        }
    }

    #[test]
    fn a_missing_field_is_named_with_what_it_is_missing_in() {
        for (pointer, name, within) in [
            ("/process", "user", "process: "),
            ("/mounts/1", "destination", "mounts[1]: "),
            ("/linux/namespaces/0", "type", "linux.namespaces[0]: "),
        ] {
            let mut document = good();
            document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
            let start = format!("{within}missing field `{name}`");
            assert!(told(&document.to_string()).starts_with(&start), "{pointer}");
            let pretty = serde_json::to_string_pretty(&document).unwrap();
            assert!(told(&pretty).starts_with(&start), "{pointer}, pretty");
        }
    }

    #[test]
    fn a_syntax_error_has_its_place_only() {
        assert_eq!(told("{\n  \"ociVersion\": oops }"), "expected value at line 2 column 17");
    }

    #[test]
    fn a_long_value_is_not_repeated() {
        let mut document = good();
        document["process"]["args"] = json!("ä".repeat(100_000));
        let line = told(&document.to_string());
        assert!(line.len() < 400 && line.contains("process.args: invalid type"), "{line}");
        assert!(line.contains(" at line 1 column "), "{line}");
    }
}
