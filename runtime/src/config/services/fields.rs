//! Taking a table apart, field by field: every error names line and field, and a field
//! that nobody asked for is one.

use super::node::{Node, Value};
use crate::config::nearest::did_you_mean;
use crate::error::{Error, Result};

/// The longest span that fits the plan, in milliseconds.
const LONGEST: u64 = u32::MAX as u64 - 1;

/// A value, and what it is called in errors.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    /// The document's name.
    pub file: &'a str,
    /// The path of names to it.
    pub path: String,
    /// The value.
    pub node: &'a Node,
}

/// A table being taken apart.
#[derive(Debug)]
pub struct Fields<'a> {
    file: &'a str,
    path: String,
    left: Vec<(&'a str, &'a Node)>,
    /// What was asked for.
    known: Vec<String>,
}

impl<'a> Field<'a> {
    /// An error about this value.
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        let Field { file, path, node } = self;
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        Error::config(format!("{file}: line {}: {path}{what}", node.line))
    }

    fn wanted<T>(&self, what: &str) -> Result<T> {
        Err(self.error(format!("must be {what}, not {}", self.node.value.kind())))
    }

    /// A table.
    pub fn table(&self) -> Result<Fields<'a>> {
        let Value::Table(rows) = &self.node.value else { return self.wanted("a table") };
        let left = rows.iter().map(|(name, node)| (name.as_str(), node)).collect();
        Ok(Fields { file: self.file, path: self.path.clone(), left, known: Vec::new() })
    }

    /// A text without a NUL byte.
    pub fn text(&self) -> Result<&'a str> {
        match &self.node.value {
            Value::Text(text) if text.contains('\0') => Err(self.error("contains a NUL byte")),
            Value::Text(text) => Ok(text),
            _ => self.wanted("a text"),
        }
    }

    /// A list.
    pub fn list(&self) -> Result<Vec<Field<'a>>> {
        let Value::List(items) = &self.node.value else { return self.wanted("a list") };
        let item = |(i, node)| Field { file: self.file, path: format!("{}[{i}]", self.path), node };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// A list of texts.
    pub fn texts(&self) -> Result<Vec<String>> {
        self.list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    /// A command: its words, or a line for the container's shell.
    pub fn command(&self) -> Result<Vec<String>> {
        let line = matches!(self.node.value, Value::Text(_));
        let words = if line { vec![self.text()?.to_owned()] } else { self.texts()? };
        match words.first() {
            Some(first) if line && !first.trim().is_empty() => {
                Ok(["/bin/sh", "-c", first].map(str::to_owned).to_vec())
            }
            Some(first) if !line && !first.is_empty() => Ok(words),
            _ => Err(self.error("must name a program")),
        }
    }

    /// True or false.
    pub fn truth(&self) -> Result<bool> {
        match self.node.value {
            Value::Truth(truth) => Ok(truth),
            _ => self.wanted("true or false"),
        }
    }

    /// A number between two others.
    pub fn number(&self, least: i64, most: i64) -> Result<i64> {
        match self.node.value {
            Value::Number(number) if (least..=most).contains(&number) => Ok(number),
            Value::Number(number) => {
                Err(self.error(format!("must be between {least} and {most}, not {number}")))
            }
            _ => self.wanted("a number"),
        }
    }

    /// A span of time in milliseconds: seconds, or a text such as `500ms` or `2m`;
    /// `forever` is `None`.
    pub fn span(&self) -> Result<Option<u32>> {
        let millis = match &self.node.value {
            Value::Number(_) => Some(self.number(0, (LONGEST / 1000) as i64)? as u64 * 1000),
            Value::Text(text) => rich_init::time::parse(text.as_bytes()),
            _ => return self.wanted("a time"),
        };
        match millis {
            Some(rich_init::time::FOREVER) => Ok(None),
            Some(millis) if millis <= LONGEST => Ok(Some(millis as u32)),
            _ => Err(self.error("not a time: seconds, or a number with ms, s, m or h, or forever")),
        }
    }

    /// A signal by name or number.
    pub fn signal(&self) -> Result<u8> {
        let text = match &self.node.value {
            Value::Number(number) => number.to_string(),
            _ => self.text()?.to_owned(),
        };
        let unknown = || self.error(format!("no such signal: {text}"));
        rich_init::signals::parse(text.as_bytes()).ok_or_else(unknown)
    }

    /// One of some words, as the number beside it.
    pub fn word(&self, words: &[(&str, u32)]) -> Result<u32> {
        let text = self.text()?;
        let known = words.iter().find(|(word, _)| *word == text);
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let unknown = || self.error(format!("{text:?} is not one of {}", all.join(", ")));
        known.map(|(_, number)| *number).ok_or_else(unknown)
    }
}

impl<'a> Fields<'a> {
    /// Takes a field out, if it is there.
    pub fn take(&mut self, name: &str) -> Option<Field<'a>> {
        // Many tables have nothing left by now that could be one of them.
        if !self.left.is_empty() {
            self.known.push(name.to_owned());
        }
        let at = self.left.iter().position(|(key, _)| *key == name)?;
        let (key, node) = self.left.remove(at);
        Some(self.field(key, node))
    }

    fn field(&self, key: &str, node: &'a Node) -> Field<'a> {
        let dot = if self.path.is_empty() { "" } else { "." };
        Field { file: self.file, path: format!("{}{dot}{key}", self.path), node }
    }

    /// Takes a field out and reads it.
    pub fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.take(name).map(|field| read(&field)).transpose()
    }

    /// Takes all that is left, with its names.
    pub fn rest(&mut self) -> Vec<(&'a str, Field<'a>)> {
        let left = std::mem::take(&mut self.left);
        left.into_iter().map(|(key, node)| (key, self.field(key, node))).collect()
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((key, node)) => {
                let near = did_you_mean(key, self.known.iter().map(String::as_str));
                Err(self.field(key, node).error(format!("no such field{near}")))
            }
        }
    }
}
