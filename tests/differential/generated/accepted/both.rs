//! What both peers may show otherwise.

use super::{BOTH, RULE, Rule, has_users, mounts_cgroup, twice};

pub const RULES: &[Rule] = &[
    Rule {
        name: "mount *",
        ours: "/ | ro,relatime |  | tmpfs tmpfs rw,size=4k,nr_inodes=1*",
        theirs: "/ | ro,relatime |  | tmpfs tmpfs r*",
        reason: "a masked directory is an empty file system; ours can hold nothing even when it were writable",
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
        name: "hook * SigIgn",
        ours: "0000000000000000",
        theirs: "0000000*80000000",
        reason: "the same",
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
        name: "environment",
        ours: "*HOME=/ *",
        theirs: "*HOME= *",
        reason: "an account without a directory: it is not the empty word",
        ..RULE
    },
    Rule {
        name: "device /dev/mqueue",
        ours: "directory 1777 65534:65534 *",
        of: has_users,
        reason: "the queues' directory belongs to who made the namespace, before there were ids inside; everybody may write there",
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
