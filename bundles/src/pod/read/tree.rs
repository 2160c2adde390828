//! A document with the line of each of its values, whether JSON or YAML.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value and where it stands.
pub struct Node {
    line: u64,
    raw: Raw,
}

enum Raw {
    Plain(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// A value whose lines are not known: 0.
    pub fn of(value: Value) -> Node {
        let raw = match value {
            Value::Array(list) => Raw::List(list.into_iter().map(Node::of).collect()),
            Value::Object(map) => {
                Raw::Map(map.into_iter().map(|(key, value)| (key, Node::of(value))).collect())
            }
            plain => Raw::Plain(plain),
        };
        Node { line: 0, raw }
    }

    /// Whether it is a map with this key.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value of a map's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.raw {
            Raw::Map(map) => map.iter().find(|(there, _)| there == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Its text.
    pub fn text(&self) -> Option<&str> {
        match &self.raw {
            Raw::Plain(value) => value.as_str(),
            _ => None,
        }
    }

    /// Without the lines.
    pub fn value(&self) -> Value {
        match &self.raw {
            Raw::Plain(value) => value.clone(),
            Raw::List(list) => Value::Array(list.iter().map(Node::value).collect()),
            Raw::Map(map) => Value::Object(
                map.iter().map(|(key, node)| (key.clone(), node.value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The line of a path as serde's helpers write it (`spec.containers.0.name` or
    /// `spec.containers[0].name`): that of the deepest part that is there.
    pub fn line(&self, path: &str) -> u64 {
        let mut node = self;
        // A key may itself have dots in it: the longest one that is there is taken.
        let mut rest = path.trim_start_matches('.');
        while !rest.is_empty() {
            let Some((next, length)) = node.child(rest) else { break };
            node = next;
            rest = rest[length..].trim_start_matches(['.', ']', '?']);
        }
        node.line
    }

    fn child(&self, path: &str) -> Option<(&Node, usize)> {
        match &self.raw {
            Raw::Plain(_) => None,
            Raw::List(list) => {
                let digits = path.trim_start_matches('[');
                let skipped = path.len() - digits.len();
                let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
                let node = list.get(digits[..length].parse::<usize>().ok()?)?;
                Some((node, skipped + length))
            }
            Raw::Map(map) => map
                .iter()
                .filter(|(key, _)| !key.is_empty() && path.starts_with(key.as_str()))
                .filter(|(key, _)| {
                    path[key.len()..].chars().next().is_none_or(|c| matches!(c, '.' | '[' | '?'))
                })
                .max_by_key(|(key, _)| key.len())
                .map(|(key, node)| (node, key.len())),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Raw>::deserialize(from)?;
        Ok(Node { line: spanned.referenced.line(), raw: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Raw, D::Error> {
        from.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Raw, D::Error> {
        Raw::deserialize(from)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        // A whole number stays one: `1e3` is a thousand for Kubernetes too.
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number"))?;
        Ok(Raw::Plain(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = from.next_element()? {
            list.push(node);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Raw, A::Error> {
        let mut map: Vec<(String, Node)> = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, node)) = from.next_entry::<String, Node>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("{key:?} stands there twice")));
            }
            map.push((key, node));
        }
        Ok(Raw::Map(map))
    }
}
