//! Templates as Go's programs have them, as far as people use them for one line a thing:
//! `{{.A.B}}`, `{{json .A}}`, `{{.}}`, and `\t` and `\n`.

use serde_json::Value;

use crate::error::{Error, Result};

/// A template.
#[derive(Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Field { path: Vec<String>, json: bool },
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Template> {
        let wrong = |why: &str| Error::usage(format!("template {text:?}: {why}"));
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            parts.push(Part::Text(unescaped(before)));
            let (inside, after) = after.split_once("}}").ok_or_else(|| wrong("}} is missing"))?;
            let words: Vec<&str> = inside.split_whitespace().collect();
            let (path, json) = match words[..] {
                [path] => (path, false),
                ["json", path] => (path, true),
                _ => return Err(wrong("{{.Field}} or {{json .Field}} is wanted")),
            };
            let path = path.strip_prefix('.').ok_or_else(|| wrong("a field begins with a dot"))?;
            let path = path.split('.').filter(|part| !part.is_empty()).map(str::to_owned);
            parts.push(Part::Field { path: path.collect(), json });
            rest = after;
        }
        parts.push(Part::Text(unescaped(rest)));
        Ok(Template { parts })
    }

    /// The text with a document's fields.
    pub(super) fn fill(&self, document: &Value) -> Result<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(words) => text.push_str(words),
                Part::Field { path, json } => {
                    let mut value = document;
                    for name in path {
                        value = value.get(name).ok_or_else(|| unknown(name, value))?;
                    }
                    match value {
                        Value::String(word) if !json => text.push_str(word),
                        Value::Null if !json => {}
                        value => text.push_str(&value.to_string()),
                    }
                }
            }
        }
        Ok(text)
    }
}

fn unknown(name: &str, value: &Value) -> Error {
    let names = value.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>().join(", "));
    let names = names.map(|names| format!(" (there are {names})")).unwrap_or_default();
    Error::usage(format!("template: no field {name}{names}"))
}

fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let document = serde_json::json!({"A": {"B": "x", "N": 3}, "L": ["a"], "Z": null});
        let filled = |text: &str| Template::parse(text).and_then(|it| it.fill(&document));
        assert_eq!(filled("{{.A.B}}\\t{{ .A.N }}!").expect("text"), "x\t3!");
        assert_eq!(filled("{{json .A.B}} {{json .L}}{{.Z}}").expect("text"), "\"x\" [\"a\"]");
        assert!(
            filled("{{.A.C}}").expect_err("none").message.contains("no field C (there are B, N)")
        );
        for wrong in ["{{.A", "{{A}}", "{{range .A}}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
