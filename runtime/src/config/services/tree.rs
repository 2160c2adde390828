//! A document of any format as a tree whose every value knows its line.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::node::{DEEPEST, Node, Value};
use super::yaml;
use crate::error::{Error, Result};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// By the end of a file's name.
    pub fn of_name(name: &str) -> Option<Format> {
        match name.rsplit_once('.')?.1 {
            "toml" => Some(Format::Toml),
            "json" => Some(Format::Json),
            "yaml" | "yml" => Some(Format::Yaml),
            _ => None,
        }
    }
}

/// Reads a document.
///
/// # Errors
/// `NAME: line N: what is wrong`.
pub fn parse(name: &str, text: &str, format: Format) -> Result<Node> {
    let lines = Lines::of(text);
    let fail = |at: usize, what: &str| {
        let what = what.lines().next().unwrap_or_default();
        Error::config(format!("{name}: line {}: {what}", lines.at(at)))
    };
    match format {
        Format::Toml => {
            let table = DeTable::parse(text).map_err(|error| {
                fail(error.span().map_or(0, |span| span.start), error.message())
            })?;
            let line = lines.at(table.span().start);
            Ok(Node { line, value: of_table(&lines, table.into_inner()) })
        }
        Format::Json => of_json(text, &lines, text, 0).map_err(|(at, what)| fail(at, &what)),
        Format::Yaml => yaml::parse(text).map_err(|(line, what)| {
            let what = what.lines().next().unwrap_or_default();
            Error::config(format!("{name}: line {line}: {what}"))
        }),
    }
}

/// Where the lines of a document end, so that a value's line need not be counted out anew.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect(),
        )
    }

    /// The line of the byte at `at`, from 1 on.
    fn at(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at) + 1
    }
}

fn of_table(lines: &Lines, table: DeTable<'_>) -> Value {
    let mut rows: Vec<(usize, String, Node)> = table
        .into_iter()
        .map(|(key, value)| {
            let at = key.span().start;
            let node = Node { line: lines.at(at), value: of_toml(lines, value.into_inner()) };
            (at, key.into_inner().into_owned(), node)
        })
        .collect();
    rows.sort_by_key(|row| row.0);
    Value::Table(rows.into_iter().map(|(_, key, node)| (key, node)).collect())
}

fn of_toml(lines: &Lines, value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other, Value::Number)
        }
        DeValue::Boolean(truth) => Value::Truth(truth),
        DeValue::Array(list) => Value::List(
            list.into_iter()
                .map(|item| Node {
                    line: lines.at(item.span().start),
                    value: of_toml(lines, item.into_inner()),
                })
                .collect(),
        ),
        DeValue::Table(table) => of_table(lines, table),
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
    }
}

/// An object's entries, unparsed and in order.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Entries<'de>, A::Error> {
                let mut all = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    all.push((Cow::Owned(key), value));
                }
                Ok(Entries(all))
            }
        }
        from.deserialize_map(All)
    }
}

/// `part` is a value inside of `whole`; an error comes with its offset there.
fn of_json(
    whole: &str,
    lines: &Lines,
    part: &str,
    depth: usize,
) -> std::result::Result<Node, (usize, String)> {
    let offset = |inner: &str| (inner.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    let start = offset(part) + part.len() - part.trim_start().len();
    let fail = |error: serde_json::Error| {
        let before: usize =
            part.lines().take(error.line().saturating_sub(1)).map(|l| l.len() + 1).sum();
        let words = error.to_string();
        (offset(part) + before, words.split(" at line ").next().unwrap_or_default().to_owned())
    };
    if depth > DEEPEST {
        return Err((start, "nested too deeply".to_owned()));
    }
    let value = match part.trim_start().as_bytes().first() {
        Some(b'{') => {
            let entries: Entries<'_> = serde_json::from_str(part).map_err(fail)?;
            let mut rows: Vec<(String, Node)> = Vec::new();
            let mut known = HashSet::new();
            for (key, raw) in entries.0 {
                let node = of_json(whole, lines, raw.get(), depth + 1)?;
                if !known.insert(key.clone()) {
                    return Err((offset(raw.get()), format!("{key}: given twice")));
                }
                rows.push((key.into_owned(), node));
            }
            Value::Table(rows)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(part).map_err(fail)?;
            let nodes = items.into_iter().map(|raw| of_json(whole, lines, raw.get(), depth + 1));
            Value::List(nodes.collect::<std::result::Result<_, _>>()?)
        }
        _ => match serde_json::from_str(part).map_err(fail)? {
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Bool(truth) => Value::Truth(truth),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or(Value::Other, Value::Number)
            }
            _ => Value::Other,
        },
    };
    Ok(Node { line: lines.at(start), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_formats_give_the_same_tree_with_lines() {
        let toml =
            "# a comment\n[service.web]\ncommand = [\n  \"a\",\n  \"b\"]\non = true\nn = 0x10\n";
        let json = "{\n\"service\": {\"web\": {\n\"command\": [\n\"a\",\n\"b\"],\n\"on\": true, \"n\": 16}}}";
        let yaml =
            "# a comment\nservice: {web: {\n  command: [\n    a,\n    b],\n  on: true, n: 0x10}}\n";
        for (text, format) in [(toml, Format::Toml), (json, Format::Json), (yaml, Format::Yaml)] {
            let Value::Table(top) = parse("f", text, format).unwrap().value else { panic!() };
            let Value::Table(services) = &top[0].1.value else { panic!() };
            let Value::Table(web) = &services[0].1.value else { panic!() };
            let names: Vec<&str> = web.iter().map(|row| row.0.as_str()).collect();
            assert_eq!(names, ["command", "on", "n"]);
            assert_eq!((web[0].1.line, web[1].1.line), (3, 6));
            let Value::List(words) = &web[0].1.value else { panic!() };
            assert_eq!(words[1], Node { line: 5, value: Value::Text("b".into()) });
            assert_eq!(web[2].1.value, Value::Number(16));
        }
    }

    #[test]
    fn errors_name_the_line() {
        for (text, format, want) in [
            ("a = 1\nb = \n", Format::Toml, "f: line 2: "),
            ("a = 1\na = 2\n", Format::Toml, "f: line 2: duplicate key"),
            ("{\"a\": 1,\n\"b\": oops}", Format::Json, "f: line 2: expected value"),
            ("{\"a\": {\n\"x\": 1,\n\"x\": 2}}", Format::Json, "f: line 3: x: given twice"),
            ("", Format::Json, "f: line 1: EOF while parsing a value"),
            ("a: 1\nb: [\n", Format::Yaml, "f: line 3: "),
            ("a: 1\nb:\n  c: 1\n  c: 2\n", Format::Yaml, "f: line 4: c: given twice"),
        ] {
            let error = parse("f", text, format).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse("f", &deep, Format::Json).is_err());
        assert!(parse("f", &format!("a = {deep}"), Format::Toml).is_err());
    }
}
