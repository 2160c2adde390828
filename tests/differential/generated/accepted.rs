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
        theirs: "0000000*80001000",
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
    Rule {
        name: "hook * SigIgn",
        ours: "0000000000000000",
        theirs: "0000000*80000000",
        reason: "the same",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "hook * SigBlk",
        ours: "0000000000000000",
        theirs: "fffffffe7ffbfeff",
        reason: "crun's hooks have its own signal mask: what a hook starts cannot be ended by a signal",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "hook * Umask",
        reason: "crun's hooks have its umask, 0; runc's and ours the caller's",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "hook createContainer * env",
        ours: "*PWD=BUNDLE/rootfs *",
        theirs: "*PWD=BUNDLE *",
        reason: "the directory: crun's child has not left the bundle yet",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "hook createContainer * fds",
        ours: "0 1 2 3",
        reason: "runc before 1.2 lets its own descriptors through",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "io priority",
        theirs: "0",
        of: |c| c["process"]["ioPriority"].is_object(),
        reason: "runc before 1.2 does not know the field",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "nice",
        theirs: "0",
        of: |c| c["process"]["scheduler"].is_object(),
        reason: "runc before 1.2 does not know the field",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "policy",
        theirs: "0",
        of: |c| c["process"]["scheduler"].is_object(),
        reason: "runc before 1.2 does not know the field",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "/proc/self/personality",
        theirs: "00000000",
        of: |c| c["linux"]["personality"].is_object(),
        reason: "runc before 1.2 does not know the field",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "/proc/sys/kernel/domainname",
        theirs: "(none)",
        of: |c| c["domainname"].is_string(),
        reason: "runc before 1.2 does not know the field",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "exit",
        theirs: "1 (*seccomp flags are not yet supported by runc*",
        of: |c| c["linux"]["seccomp"]["flags"].is_array(),
        reason: "runc before 1.2 knows no flags",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        theirs: "1 (*/proc/self/attr/keycreate*",
        of: |c| c["process"]["selinuxLabel"] == "",
        reason: "crun takes an empty label for one",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        ours: "1 (*bind on /*: operation not permitted*",
        reason: "a flag that the kernel has locked is passed over by crun, not by runc",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "exit",
        theirs: "1 (*via /proc/self/fd/*operation not permitted*",
        reason: "runc before 1.2 takes away flags that the source has locked, and fails",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "cgroup devices/devices.list",
        ours: "*c 5:0 rwm; c 5:2 rwm*",
        theirs: "*c 5:0 rwm; c 5:1 rwm; c 5:2 rwm*",
        reason: "crun also allows the console",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /dev/*",
        ours: "* | rw,nosuid,noexec,relatime |  | devpts *",
        theirs: "* | rw,relatime |  | devpts *",
        reason: "crun's console may be executed: ours has the flags of devpts",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /dev/*",
        ours: "* | rw,relatime |  | *",
        theirs: "* | rw,nosuid,noexec,relatime |  | *",
        reason: "crun's device nodes that are bound cannot be executed, which devices never can",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /*",
        ours: "/bin/null | rw,relatime |  | tmpfs trial *",
        theirs: "/bin/null | ro,relatime |  | tmpfs trial *",
        reason: "a masked file is the null device; what is written to it is nowhere",
        ..RULE
    },
    Rule {
        name: "mount * #1",
        ours: "-",
        of: |c| c["linux"]["maskedPaths"].as_array().is_some_and(|paths| twice(paths)),
        reason: "a path that is masked twice is masked once",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "error",
        reason: "crun has its own words; ours are those of runc, which engines look for",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        ours: "1 (*",
        theirs: "255 (*",
        reason: "crun ends with 255 where a hook fails",
        ..RULE
    },
    Rule {
        name: "mount /sys/fs/cgroup/*",
        ours: "/* | ro,* |  | cgroup *",
        theirs: "/* | rw,* |  | cgroup *",
        of: has_users,
        reason: "groups of others than the container's are never writable (CVE-2023-25809)",
        ..RULE
    },
    Rule {
        name: "mount /*",
        ours: "* | shared | *",
        of: |c| {
            c["linux"]["rootfsPropagation"].as_str().is_some_and(|word| word.contains("shared"))
        },
        reason: "what is bound stays among its copies in this namespace: the host's are no peers of a user namespace's",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "place /*",
        ours: "directory 1700 *",
        reason: "runc before 1.2 gives a file system of memory the rights of the directory that it covers",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        ours: "1 (*linux.rootfsPropagation: unknown word*",
        theirs: "0 (*",
        reason: "crun passes over a word that it does not know",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "cgroup devices/devices.list",
        of: |c| c["linux"]["devices"].to_string().contains("/dev/zero"),
        reason: "runc 1.1: a device of config.json with a standard one's path takes away the right to that one",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "device /dev/zero",
        ours: "* r opens w opens",
        theirs: "* r errno 1 w errno 1",
        of: |c| c["linux"]["devices"].to_string().contains("/dev/zero"),
        reason: "the same",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "error",
        theirs: " (*seccomp flags are not yet supported by runc*",
        reason: "runc before 1.2 knows no flags",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount *",
        of: |c| c["linux"]["maskedPaths"].is_array() && c["linux"]["readonlyPaths"].is_array(),
        ours: "/bus | ro,relatime |  | proc proc *",
        theirs: "/ | ro,relatime |  | tmpfs tmpfs *",
        reason: "crun masks first: which of the two mounts is below",
    },
    Rule {
        peers: &[Crun],
        name: "mount * #1",
        ours: "-",
        theirs: "/bin/null *",
        reason: "crun masks first, and makes a copy of the mask with what becomes read-only",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "mount /sys/fs/cgroup/*",
        ours: "* |  | cgroup *",
        theirs: "* | shared | cgroup *",
        reason: "a group that is bound is no peer here, whatever linux.rootfsPropagation says",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        ours: "1 (*bind on /m/3: invalid argument*",
        reason: "without what is mounted below it a directory cannot be bound from within a user namespace; crun binds it from outside, runc does not",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        ours: "1 (*mount mqueue on /dev/mqueue: operation not permitted*",
        of: has_users,
        reason: "the joined ipc namespace is not the user namespace's; crun mounts it from outside, runc does not",
        ..RULE
    },
    Rule { peers: &[Runc], name: "exit", theirs: "2 (panic: *", reason: "runc 1.1 panics", ..RULE },
    Rule {
        peers: &[Runc],
        name: "hook * fds",
        ours: "0 1 2 3",
        of: |c| c["process"]["terminal"] == true,
        reason: "runc before 1.2 lets the terminal through to hooks",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "error",
        ours: "invalid argument (*process.user.gid*",
        theirs: "*unmapped user in user namespace*",
        reason: "an id that is not mapped: the same, in other words",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "error",
        ours: " (*private UTS namespace*",
        reason: "two mistakes: which is found first",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "error",
        ours: "operation not permitted (*bind on *",
        theirs: "permission denied (*mkdir *",
        reason: "two mistakes: which is found first",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "error",
        ours: "not a directory, is a directory (*",
        theirs: "not a directory (*",
        reason: "ours says which of the two is",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /*",
        ours: "* |  | *",
        theirs: "* | shared | *",
        of: |c| c["linux"]["rootfsPropagation"] == "rshared",
        reason: "the word is of the root; crun takes it to be of all below as well",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /*",
        ours: "* | shared | *",
        theirs: "* |  | *",
        reason: "crun forgets the propagation of a mount in options",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "mount /*",
        ours: "*| tmpfs tmpfs *,mode=755*",
        theirs: "*| tmpfs tmpfs *",
        reason: "a file system of memory without a mode has that of the directory it covers; runc 1.1 says so afterwards",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "device /dev/shm",
        ours: "directory 1700 *",
        theirs: "directory 1777 *",
        reason: "runc before 1.2 gives a file system of memory the rights of the directory that it covers",
        ..RULE
    },
    Rule {
        name: "environment",
        ours: "*HOME=/ *",
        theirs: "*HOME= *",
        reason: "an account without a directory: it is not the empty word",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "place /m",
        ours: "directory 755 *",
        theirs: "directory 1755 *",
        reason: "crun makes parents of a mount point with the sticky bit",
        ..RULE
    },
    Rule {
        name: "* /sys/fs/cgroup",
        of: |c| mounts_cgroup(c),
        ours: "*",
        theirs: "*",
        peers: BOTH,
        reason: "v1: the tmpfs over the hierarchies has options of each runtime's own; read-only here when the mount says so",
    },
];

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
    let found = RULES.iter().find(|rule| {
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
    assert!(RULES.iter().all(|rule| !rule.reason.is_empty()));
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
