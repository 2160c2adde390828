//! YAML: the events of `saphyr-parser`, put together to the tree that every format gives.
//!
//! A subset that means one thing only: one document, no aliases (which let a few lines stand
//! for any number), no tags, no name twice; plain words are what YAML 1.2 has them for.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::node::{DEEPEST, Node, Value};

/// A line and what is wrong there.
pub type Wrong = (usize, String);

/// A list or table that is not at its end.
struct Open {
    line: usize,
    what: Part,
}

enum Part {
    List(Vec<Node>),
    Table {
        rows: Vec<(String, Node)>,
        known: HashSet<String>,
        /// A name whose value is still to come, and its line.
        name: Option<(String, usize)>,
    },
}

/// Reads a document.
pub fn parse(text: &str) -> Result<Node, Wrong> {
    let mut open: Vec<Open> = Vec::new();
    let mut whole = None;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| (error.marker().line(), error.info().to_owned()))?;
        let line = span.start.line();
        let refuse = |what: &str| Err((line, what.to_owned()));
        let done = match event {
            Event::Alias(_) => return refuse("aliases are not taken"),
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return refuse("tags are not taken"),
            Event::SequenceStart(..) => {
                open.push(Open { line, what: Part::List(Vec::new()) });
                None
            }
            Event::MappingStart(..) => {
                let (rows, known) = (Vec::new(), HashSet::new());
                open.push(Open { line, what: Part::Table { rows, known, name: None } });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(Open::close),
            Event::Scalar(text, style, ..) => Some(Node { line, value: scalar(&text, style) }),
            _ => None,
        };
        if open.len() > DEEPEST {
            return refuse("nested too deeply");
        }
        let Some(node) = done else { continue };
        match open.last_mut() {
            Some(parent) => parent.take(node)?,
            None if whole.is_none() => whole = Some(node),
            None => return refuse("a second document"),
        }
    }
    Ok(whole.unwrap_or(Node { line: 1, value: Value::Other }))
}

impl Open {
    fn close(self) -> Node {
        let value = match self.what {
            Part::List(items) => Value::List(items),
            Part::Table { rows, .. } => Value::Table(rows),
        };
        Node { line: self.line, value }
    }

    fn take(&mut self, node: Node) -> Result<(), Wrong> {
        match &mut self.what {
            Part::List(items) => items.push(node),
            Part::Table { rows, known, name } => match (name.take(), node) {
                // A value stands where its name stands, as in the other formats.
                (Some((name, line)), node) => rows.push((name, Node { line, ..node })),
                (None, node) => {
                    let text = match node.value {
                        Value::Text(text) => text,
                        Value::Number(number) => number.to_string(),
                        Value::Truth(truth) => truth.to_string(),
                        _ => return Err((node.line, "a name must be a text".to_owned())),
                    };
                    if !known.insert(text.clone()) {
                        return Err((node.line, format!("{text}: given twice")));
                    }
                    *name = Some((text, node.line));
                }
            },
        }
        Ok(())
    }
}

/// The core schema of YAML 1.2 (chapter 10.3): what is in quotes is a text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    let based = |prefix: &str, base| {
        text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, base).ok())
    };
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Other,
        "true" | "True" | "TRUE" => Value::Truth(true),
        "false" | "False" | "FALSE" => Value::Truth(false),
        _ => match text.parse().ok().or_else(|| based("0x", 16)).or_else(|| based("0o", 8)) {
            Some(number) => Value::Number(number),
            None if is_fraction(text) => Value::Other,
            None => Value::Text(text.to_owned()),
        },
    }
}

fn is_fraction(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
        && text.contains(|any: char| any.is_ascii_digit())
        && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        parse(text).map(|_| ()).unwrap_err().1
    }

    #[test]
    fn plain_words_are_what_yaml_has_them_for() {
        let tree = parse("a: [yes, 'true', 1.5, 0x10, 0o17, -3, ~, 1h, \"\", true]").unwrap();
        let Value::Table(rows) = tree.value else { panic!() };
        let Value::List(items) = &rows[0].1.value else { panic!() };
        let text = |text: &str| Value::Text(text.to_owned());
        let want = [
            text("yes"),
            text("true"),
            Value::Other,
            Value::Number(16),
            Value::Number(15),
            Value::Number(-3),
            Value::Other,
            text("1h"),
            text(""),
            Value::Truth(true),
        ];
        assert_eq!(items.iter().map(|item| item.value.clone()).collect::<Vec<_>>(), want);
    }

    #[test]
    fn what_could_mean_more_than_one_thing_is_refused() {
        assert_eq!(wrong("a: &x 1\nb: *x"), "aliases are not taken");
        assert_eq!(wrong("a: !!str 1"), "tags are not taken");
        assert_eq!(wrong("a: 1\n---\nb: 2"), "a second document");
        assert_eq!(wrong("a: 1\na: 2"), "a: given twice");
        assert_eq!(wrong("? [1]\n: 2"), "a name must be a text");
        assert_eq!(wrong(&"[".repeat(50)), "nested too deeply");
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert_eq!(parse("a: 1\nb: [\n").unwrap_err().0, 3);
        assert_eq!(parse("").unwrap().value, Value::Other);
    }

    #[test]
    fn large_documents_take_time_in_proportion() {
        for piece in ["a{}: 1\n", "a{}: [1, {b: 'c'}]\n", "a{}: |\n  x\n", "\"a{}\": \"\\u00e9\"\n"]
        {
            let text: String =
                (0..50_000).map(|n| piece.replacen("{}", &n.to_string(), 1)).collect();
            let start = std::time::Instant::now();
            let _read = parse(&text);
            assert!(start.elapsed().as_secs() < 20, "{piece}");
        }
    }
}
