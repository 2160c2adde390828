//! A document as a tree whose every value knows its line.

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its line, from 1 on.
    pub line: usize,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Truth(bool),
    /// A list.
    List(Vec<Node>),
    /// Names and their values, in the document's order.
    Table(Vec<(String, Node)>),
    /// Something that no field takes: a fraction, a date, null.
    Other,
}

impl Value {
    /// What it is, in an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Number(_) => "a number",
            Value::Truth(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other => "something else",
        }
    }
}

/// How deep a document may be nested; ours is six deep.
pub const DEEPEST: usize = 16;
