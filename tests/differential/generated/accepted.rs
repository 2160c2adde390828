//! The differences that are accepted, each with its reason.

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

const RULES: &[Rule] = &[
    Rule {
        peers: &[Runc],
        name: "descriptor *",
        ours: "*",
        theirs: "pipe",
        of: |c| c["process"]["terminal"] != true,
        reason: "runc copies the streams of a container in the foreground through pipes",
    },
    Rule {
        name: "mount *",
        ours: "/ | ro,relatime |  | tmpfs tmpfs rw,size=4k,nr_inodes=1*",
        theirs: "/ | ro,relatime |  | tmpfs tmpfs r*",
        reason: "a masked directory is an empty file system; ours can hold nothing even when it were writable",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount *",
        ours: "/null | rw,nosuid* |  | tmpfs tmpfs *",
        theirs: "/bin/null | ro,relatime |  | tmpfs trial rw,mode=755",
        reason: "a masked file is the container's null device; crun binds the host's",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "mount /sys",
        ours: "*| sysfs sysfs rw",
        theirs: "*| sysfs sysfs ro",
        reason: "runc 1.1 mounts sysfs read-only as a whole; the mount is read-only either way",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "place /sys*",
        ours: "*errno 13",
        theirs: "*errno 30",
        reason: "the same: the file system's answer comes before the mount's",
        ..RULE
    },
    Rule {
        name: "status SigIgn",
        ours: "0000000000001000",
        theirs: "*00001000",
        reason: "signals 32 and 33, which C libraries keep for themselves: only richrun puts them back",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "device /dev/core",
        ours: "-",
        theirs: "/proc/kcore",
        reason: "crun links core also where the kernel has none",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "keyring",
        ours: "_ses.ID",
        theirs: "ID",
        reason: "runc's name is what tools know",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /sys/fs/cgroup",
        ours: "*| cgroup2 cgroup rw*",
        theirs: "*| cgroup2 cgroup2 rw*",
        reason: "the source is a word; ours is the configuration's",
        ..RULE
    },
];

/// Whether a rule allows a difference.
pub fn explains(one: &Difference, config: &Value) -> bool {
    RULES.iter().any(|rule| {
        rule.peers.contains(&one.peer)
            && fits(rule.name, &one.name)
            && fits(rule.ours, &one.ours)
            && fits(rule.theirs, &one.theirs)
            && (rule.of)(config)
            && !rule.reason.is_empty()
    })
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
