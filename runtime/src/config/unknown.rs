//! The fields of a configuration that nothing reads.

use serde_json::{Map, Value};

use super::nearest::nearest;
use super::rdt;
use oci_spec::runtime::Spec;

/// The paths of all fields of the document that are none of the specification's, with what
/// may have been meant: `process.arg; did you mean process.args?`.
///
/// The specification has runtimes pass over them, so they are nobody's error at `create`.
pub fn fields(document: &Value, spec: &Spec) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(mut read) = serde_json::to_value(spec) {
        rdt::respell(&mut read);
        compare(document, &read, "", &mut found);
    }
    found
}

/// What has been read is written again, and what is lacking there was not known.
fn compare(document: &Value, read: &Value, path: &str, found: &mut Vec<String>) {
    match (document, read) {
        (Value::Object(document), Value::Object(read)) => {
            for (key, value) in document {
                let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match read.get(key) {
                    Some(other) => compare(value, other, &field, found),
                    // What is empty is not written again, known or not.
                    None if is_empty(value) => {}
                    None => found.push(meant(&field, key, read, path)),
                }
            }
        }
        (Value::Array(document), Value::Array(read)) => {
            for (index, (value, other)) in document.iter().zip(read).enumerate() {
                compare(value, other, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.values().all(is_empty),
        _ => false,
    }
}

/// Of the fields that are known only those are seen that the document has as well.
const NAMES: &[&str] = &[
    "ociVersion",
    "root",
    "path",
    "readonly",
    "process",
    "args",
    "env",
    "cwd",
    "user",
    "terminal",
    "capabilities",
    "rlimits",
    "noNewPrivileges",
    "apparmorProfile",
    "oomScoreAdj",
    "selinuxLabel",
    "additionalGids",
    "umask",
    "hostname",
    "domainname",
    "mounts",
    "destination",
    "source",
    "options",
    "type",
    "hooks",
    "annotations",
    "linux",
    "namespaces",
    "uidMappings",
    "gidMappings",
    "devices",
    "cgroupsPath",
    "resources",
    "memory",
    "limit",
    "reservation",
    "swap",
    "cpu",
    "shares",
    "quota",
    "period",
    "cpus",
    "mems",
    "pids",
    "blockIO",
    "seccomp",
    "rootfsPropagation",
    "maskedPaths",
    "readonlyPaths",
    "mountLabel",
    "sysctl",
    "timeOffsets",
    "defaultAction",
    "architectures",
    "syscalls",
    "names",
    "action",
    "containerID",
    "hostID",
    "size",
    "bounding",
    "effective",
    "permitted",
    "inheritable",
    "ambient",
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
    "timeout",
];

fn meant(field: &str, key: &str, read: &Map<String, Value>, path: &str) -> String {
    let known = NAMES.iter().copied().chain(read.keys().map(String::as_str));
    match nearest(key, known) {
        Some(near) if path.is_empty() => format!("{field}: unknown field; did you mean {near}?"),
        Some(near) => format!("{field}: unknown field; did you mean {path}.{near}?"),
        None => format!("{field}: unknown field"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let document: Value = serde_json::from_str(text).unwrap();
        let spec: Spec = serde_json::from_str(text).unwrap();
        fields(&document, &spec)
    }

    #[test]
    fn what_nothing_reads_is_named() {
        let text = r#"{"ociVersion":"1.0.0","hostnam":"x","process":{"cwd":"/","user":{"uid":0,"gid":0},
            "args":["sh"],"arg":["sh"],"x":{"y":1}},"mounts":[{"destination":"/a","option":["ro"]}]}"#;
        let mut found = of(text);
        found.sort();
        assert_eq!(
            found,
            [
                "hostnam: unknown field; did you mean hostname?",
                "mounts[0].option: unknown field; did you mean mounts[0].options?",
                "process.arg: unknown field; did you mean process.args?",
                "process.x: unknown field",
            ]
        );
    }

    #[test]
    fn a_whole_configuration_has_none() {
        assert_eq!(of(include_str!("../../../tests/src/stock.json")), [""; 0]);
        let empty = r#"{"ociVersion":"1.0.0","hooks":null,"linux":{"devices":[],"resources":{}}}"#;
        assert_eq!(of(empty), [""; 0]);
    }
}
