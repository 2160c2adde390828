//! Device rules as properties of a unit: with them systemd knows what holds, and keeps it
//! whenever it loads its units again.

use super::super::devices::{Kind, MKNOD, READ, Rule, WRITE};
use super::{DeviceRules, Mode, Property, Value};

/// `DevicePolicy` and `DeviceAllow`.
///
/// systemd can only allow. On v2 it says what is allowed at most, and the group's own program, which
/// systemd leaves alone, denies what lies within that; on v1 there is one list, and where it would
/// have to deny, the properties allow less rather than more.
pub(super) fn properties(rules: &DeviceRules, mode: Mode) -> Vec<Property> {
    let entry = "(ss)".to_owned();
    let policy = |word| Property::new("DevicePolicy", Value::text(word));
    let allow = |list| Property::new("DeviceAllow", Value::Array(entry.clone(), list));
    let denies = rules.rules.iter().any(|rule| !rule.allow);
    if rules.otherwise && (mode == Mode::V2 || !denies) {
        return vec![policy("auto"), allow(Vec::new())];
    }
    let list = rules.rules.iter().filter(|rule| rule.allow).filter_map(|rule| line(rule, mode));
    vec![policy("strict"), allow(list.collect())]
}

/// A rule that allows, in systemd's words; `None` where it has none, on v1.
fn line(rule: &Rule, mode: Mode) -> Option<Value> {
    let word = match rule.devices.kind {
        Kind::Char => "char",
        Kind::Block => "block",
    };
    let devices = match (rule.devices.major, rule.devices.minor) {
        (None, None) => format!("{word}-*"),
        (Some(major), None) => format!("{word}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{word}/{major}:{minor}"),
        // One minor of every major: at most all of them.
        (None, Some(_)) if mode == Mode::V2 => format!("{word}-*"),
        (None, Some(_)) => return None,
    };
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let access: String = letters
        .into_iter()
        .filter_map(|(bit, letter)| (rule.access & bit != 0).then_some(letter))
        .collect();
    (!access.is_empty()).then(|| Value::Struct(vec![Value::Text(devices), Value::Text(access)]))
}

#[cfg(test)]
mod tests {
    use super::super::super::devices::{Mknod, rules};
    use super::*;

    fn said(json: &str, mode: Mode) -> (String, Vec<String>) {
        let list = serde_json::from_str::<Vec<_>>(json).unwrap();
        let rules = rules(&list, &Mknod::Any).unwrap();
        let [policy, allow] = properties(&rules, mode).try_into().unwrap();
        let (Value::Text(word), Value::Array(_, list)) = (policy.value, allow.value) else {
            panic!()
        };
        let pair = |value| match value {
            Value::Struct(fields) => match &*fields {
                [Value::Text(devices), Value::Text(access)] => format!("{devices} {access}"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        (word, list.into_iter().map(pair).collect())
    }

    #[test]
    fn the_default_rules() {
        let (policy, allow) = said(r#"[{"allow":false,"access":"rwm"}]"#, Mode::V2);
        assert_eq!(policy, "strict");
        assert_eq!(allow[..3], ["char-* m", "block-* m", "/dev/char/1:3 rwm"]);
        assert!(allow.contains(&"char-136 rwm".to_owned()), "{allow:?}");
    }

    #[test]
    fn everything() {
        for mode in [Mode::V1, Mode::V2] {
            assert_eq!(said(r#"[{"allow":true}]"#, mode), ("auto".to_owned(), vec![]));
        }
    }

    #[test]
    fn what_systemd_cannot_say() {
        let denied = r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"rwm"}]"#;
        assert_eq!(said(denied, Mode::V2).0, "auto", "the group's program denies");
        assert_eq!(said(denied, Mode::V1).0, "strict", "less rather than more");
        let minor = r#"[{"allow":true,"type":"c","minor":7,"access":"r"}]"#;
        assert!(said(minor, Mode::V2).1.contains(&"char-* r".to_owned()));
        assert!(!said(minor, Mode::V1).1.contains(&"char-* r".to_owned()));
    }
}
