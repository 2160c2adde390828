//! A value of D-Bus's types, as far as systemd's properties have them.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `a`: the signature of its elements, and these.
    Array(String, Vec<Value>),
    /// `(...)`
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// `ay`
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y".to_owned(), bytes.iter().map(|byte| Value::Byte(*byte)).collect())
    }

    /// `as`
    pub fn texts(texts: impl IntoIterator<Item = String>) -> Value {
        Value::Array("s".to_owned(), texts.into_iter().map(Value::Text).collect())
    }

    /// Its type's signature.
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::I32(_) => "i".to_owned(),
            Value::U32(_) => "u".to_owned(),
            Value::I64(_) => "x".to_owned(),
            Value::U64(_) => "t".to_owned(),
            Value::Double(_) => "d".to_owned(),
            Value::Text(_) => "s".to_owned(),
            Value::Array(of, _) => format!("a{of}"),
            Value::Struct(fields) => {
                format!("({})", fields.iter().map(Value::signature).collect::<String>())
            }
            Value::Variant(_) => "v".to_owned(),
        }
    }

    /// What every value of this type begins at a multiple of, in bytes.
    pub(super) fn alignment(signature: &str) -> usize {
        match signature.as_bytes().first() {
            Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
            Some(b'i' | b'u' | b'b' | b's' | b'o' | b'a') => 4,
            Some(b'n' | b'q') => 2,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn signatures() {
        let pair = Value::Struct(vec![Value::text("a"), Value::U64(1)]);
        for (value, signature) in [
            (Value::bytes(&[1]), "ay"),
            (Value::texts(["a".to_owned()]), "as"),
            (Value::Array(pair.signature(), vec![pair]), "a(st)"),
            (Value::Variant(Box::new(Value::Bool(true))), "v"),
        ] {
            assert_eq!(value.signature(), signature);
        }
    }
}
