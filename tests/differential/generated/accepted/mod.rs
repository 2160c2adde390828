//! The differences that are accepted, each with its reason.

mod both;
mod crun;
mod runc;

use richrun_tests::Kind::{self, Crun, Runc};
use serde_json::Value;

use super::Difference;

/// A difference that may be. In `name`, `ours` and `theirs` a `*` stands for anything.
struct Rule {
    peers: &'static [Kind],
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    /// Of which configurations.
    of: fn(&Value) -> bool,
    reason: &'static str,
}

const BOTH: &[Kind] = &[Runc, Crun];

/// Of all configurations.
const RULE: Rule =
    Rule { peers: BOTH, name: "*", ours: "*", theirs: "*", of: |_| true, reason: "" };

fn has_relative_group(c: &Value) -> bool {
    c["linux"]["cgroupsPath"]
        .as_str()
        .is_some_and(|path| !path.starts_with('/') || path.contains("/."))
}

fn has_users(c: &Value) -> bool {
    c["linux"]["namespaces"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "user"))
}

fn twice(paths: &[Value]) -> bool {
    paths.iter().enumerate().any(|(at, path)| paths[..at].contains(path))
}

fn mounts_cgroup(c: &Value) -> bool {
    // The v2 view has a cgroup namespace, or a mount that is compared as a whole.
    !c["linux"]["namespaces"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "cgroup"))
}

/// Why a difference may be, if it may.
pub fn explains(one: &Difference, config: &Value) -> Option<&'static str> {
    let found = [runc::RULES, crun::RULES, both::RULES].into_iter().flatten().find(|rule| {
        rule.peers.contains(&one.peer)
            && fits(rule.name, &one.name)
            && fits(rule.ours, &one.ours)
            && fits(rule.theirs, &one.theirs)
            && (rule.of)(config)
    });
    found.map(|rule| rule.reason)
}

/// Whether a text fits a pattern, in which each `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

/// Every rule has a reason, and a pattern is not taken for something else.
pub fn self_test() {
    let mut all = [runc::RULES, crun::RULES, both::RULES].into_iter().flatten();
    assert!(all.all(|rule| !rule.reason.is_empty()));
    for (pattern, text, wanted) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abde", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
    }
}
