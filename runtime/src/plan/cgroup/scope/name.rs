//! What a container's scope is called and where it lies: runc's rules for `linux.cgroupsPath`
//! with the systemd driver.

use std::fmt::Write;

use crate::error::{Error, Result};

/// The first part of a scope's name, where `linux.cgroupsPath` has none.
const PREFIX: &str = "richrun";
/// The longest name of a unit (systemd.unit(5)).
const LONGEST: usize = 255;

/// A scope's name and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeName {
    /// `richrun-ID.scope`
    pub unit: String,
    /// `system.slice`
    pub slice: String,
    /// The group below that of the manager, with a slash in front.
    pub path: String,
}

impl ScopeName {
    /// Reads `SLICE:PREFIX:NAME`. Without one: `richrun-ID.scope`; an empty slice is
    /// `system.slice`, or for a user's own manager `user.slice`.
    ///
    /// # Errors
    /// It is no such thing, or names no slice or no unit.
    pub fn new(asked: Option<&str>, id: &str, user: bool) -> Result<ScopeName> {
        let (slice, prefix, name) = match asked {
            None => ("", PREFIX, escaped(id)),
            Some(path) => match *path.split(':').collect::<Vec<_>>().as_slice() {
                [slice, prefix, name] => (slice, prefix, name.to_owned()),
                _ => {
                    return Err(wrong(
                        path,
                        "expected slice:prefix:name, as the systemd cgroup manager has it",
                    ));
                }
            },
        };
        let asked = asked.unwrap_or_default();
        let slice = match slice {
            "" if user => "user.slice",
            "" => "system.slice",
            "-" => "-.slice",
            slice => slice,
        };
        if name.ends_with(".slice") {
            return Err(wrong(asked, "names a slice, in which no process can be put"));
        }
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        if name.is_empty() || !is_unit(&unit) {
            return Err(wrong(asked, &format!("{unit:?} is no name of a unit")));
        }
        let above = expanded(slice)
            .ok_or_else(|| wrong(asked, &format!("{slice:?} is no name of a slice")))?;
        let path = format!("{above}/{unit}");
        Ok(ScopeName { unit, slice: slice.to_owned(), path })
    }
}

fn wrong(asked: &str, why: &str) -> Error {
    Error::config(format!("linux.cgroupsPath: {asked:?}: {why}"))
}

/// Where a slice lies: `a-b.slice` in `a.slice`. The root slice is nowhere below.
fn expanded(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice").filter(|_| is_unit(slice))?;
    let mut path = String::new();
    if name == "-" {
        return Some(path);
    }
    for (at, _) in name.match_indices('-').chain([(name.len(), "")]) {
        let part = &name[..at];
        if part.is_empty() || part.ends_with('-') {
            return None;
        }
        path.push('/');
        path.push_str(part);
        path.push_str(".slice");
    }
    Some(path)
}

/// What the name of a unit may have (systemd.unit(5)).
fn is_unit(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(good)
}

/// An id as a part of a name: what no name may have is escaped as systemd-escape(1) does it.
fn escaped(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte) => {
                name.push(char::from(byte));
            }
            byte => {
                let _infallible = write!(name, "\\x{byte:02x}");
            }
        }
    }
    // Its end would make it another sort of unit.
    if name.ends_with(".slice") { name.replace(".slice", "\\x2eslice") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(asked: Option<&str>, user: bool) -> (String, String, String) {
        let ScopeName { unit, slice, path } = ScopeName::new(asked, "id", user).unwrap();
        (unit, slice, path)
    }

    #[test]
    fn the_names_that_runc_chooses() {
        for (asked, user, unit, slice, path) in [
            (None, false, "richrun-id.scope", "system.slice", "/system.slice/richrun-id.scope"),
            (None, true, "richrun-id.scope", "user.slice", "/user.slice/richrun-id.scope"),
            (Some(":a:b"), false, "a-b.scope", "system.slice", "/system.slice/a-b.scope"),
            (Some(":a:b"), true, "a-b.scope", "user.slice", "/user.slice/a-b.scope"),
            (Some("x.slice:a:b"), true, "a-b.scope", "x.slice", "/x.slice/a-b.scope"),
            (
                Some("kubepods-burstable-podx.slice:cri-containerd:0f"),
                false,
                "cri-containerd-0f.scope",
                "kubepods-burstable-podx.slice",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/\
                 cri-containerd-0f.scope",
            ),
            (Some("-.slice:a:b"), false, "a-b.scope", "-.slice", "/a-b.scope"),
            (Some("-:a:b"), false, "a-b.scope", "-.slice", "/a-b.scope"),
            (Some("machine.slice::b"), false, "b.scope", "machine.slice", "/machine.slice/b.scope"),
        ] {
            let found = named(asked, user);
            assert_eq!(found, (unit.to_owned(), slice.to_owned(), path.to_owned()), "{asked:?}");
        }
    }

    #[test]
    fn an_id_becomes_a_name() {
        let unit = |id| ScopeName::new(None, id, false).unwrap().unit;
        assert_eq!(unit("a+b"), "richrun-a\\x2bb.scope");
        assert_eq!(unit("web.slice"), "richrun-web\\x2eslice.scope");
        assert_eq!(unit("web_1.2-3"), "richrun-web_1.2-3.scope");
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (asked, why) in [
            ("/a/b", "expected slice:prefix:name"),
            ("a:b", "expected slice:prefix:name"),
            ("a.slice:b:c:d", "expected slice:prefix:name"),
            ("a:b:c", "\"a\" is no name of a slice"),
            (".slice:b:c", "\".slice\" is no name of a slice"),
            ("a--b.slice:b:c", "\"a--b.slice\" is no name of a slice"),
            ("-a.slice:b:c", "\"-a.slice\" is no name of a slice"),
            ("a-.slice:b:c", "\"a-.slice\" is no name of a slice"),
            ("x/a.slice:b:c", "is no name of a slice"),
            ("..slice:b:../c", "is no name of a unit"),
            ("a.slice:b:", "is no name of a unit"),
            ("a.slice:b:c d", "is no name of a unit"),
            ("a.slice:b:x.slice", "names a slice"),
        ] {
            let error = ScopeName::new(Some(asked), "id", false).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.cgroupsPath: {asked:?}: ")), "{error}");
            assert!(error.contains(why), "{asked}: {error}");
        }
        let long = format!("a.slice:b:{}", "c".repeat(250));
        assert!(ScopeName::new(Some(&long), "id", false).is_err());
    }
}
