//! Where a bus listens (D-Bus specification, "Server Addresses").

/// A unix socket's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// In the file system.
    Path(String),
    /// In the abstract namespace.
    Abstract(Vec<u8>),
}

/// Reads a list of addresses (`unix:path=/run/bus,guid=1;unix:abstract=x`): those of unix
/// sockets, in order. Others are passed over, among them those that would run a program.
pub fn addresses(text: &str) -> Vec<Address> {
    text.split(';').filter_map(one).collect()
}

fn one(text: &str) -> Option<Address> {
    text.strip_prefix("unix:")?.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescaped(value).filter(|value| !value.is_empty() && !value.contains(&0))?;
        match key {
            "path" => String::from_utf8(value).ok().map(Address::Path),
            "abstract" => Some(Address::Abstract(value)),
            _ => None,
        }
    })
}

/// Undoes `%2f`.
fn unescaped(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &tail[2..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_sockets() {
        let path = |path: &str| Address::Path(path.to_owned());
        for (text, expected) in [
            ("unix:path=/run/user/1000/bus", vec![path("/run/user/1000/bus")]),
            ("unix:guid=1,path=/a%20b", vec![path("/a b")]),
            ("unix:abstract=/tmp/x,guid=1", vec![Address::Abstract(b"/tmp/x".to_vec())]),
            ("unixexec:path=/bin/sh;unix:path=/b;tcp:host=h", vec![path("/b")]),
            ("unix:path=", vec![]),
            ("unix:path=%2", vec![]),
            ("unix:path=%00", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(addresses(text), expected, "{text}");
        }
    }
}
