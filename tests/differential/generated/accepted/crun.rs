//! What crun shows otherwise.

use richrun_tests::Kind::Crun;

use super::{RULE, Rule, has_relative_group, has_users};

pub const RULES: &[Rule] = &[
    Rule {
        peers: &[Crun],
        name: "mount * #*",
        ours: "* | ro,* |  | *",
        theirs: "* | ro,relatime |  | *",
        of: |c| c["linux"]["readonlyPaths"].is_array(),
        reason: "what crun makes read-only loses the other flags of the mount that it covers",
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
        peers: &[Crun],
        name: "exit",
        ours: "1 (*linux.rootfsPropagation: unknown word*",
        theirs: "0 (*",
        reason: "crun passes over a word that it does not know",
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
        peers: &[Crun],
        name: "exit",
        ours: "1 (*bind on /m/3: invalid argument*",
        reason: "without what is mounted below it a directory cannot be bound from within a user namespace; crun binds it from outside, runc does not",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /*",
        ours: "* |  | *",
        theirs: "* | shared | *",
        of: |c| c["linux"]["rootfsPropagation"] == "rshared",
        reason: "the word is of the root; crun takes it to be of all below as well",
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
        peers: &[Crun],
        name: "/proc/self/cgroup",
        of: has_relative_group,
        reason: "a relative path: crun takes it from the top, runc and we from the own group",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /sys/fs/cgroup/*",
        of: has_relative_group,
        reason: "the same",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "device /dev/null",
        ours: "character 666 *",
        theirs: "character 666 *",
        reason: "crun gives the null device that it has as a stream to the container's user",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "place /proc/*",
        ours: "character 666 *",
        theirs: "character 666 *",
        reason: "the same, where it masks",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "place /sys/fs/cgroup",
        ours: "* 65534:65534 *",
        of: has_users,
        reason: "crun gives a group away also where it is mounted read-only",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        ours: "1 (*linux.devices[0].type: unknown variant*",
        theirs: "0 (*",
        reason: "crun passes over a type that it does not know",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "exit",
        theirs: "1 (*/./cgroup.procs*",
        of: has_relative_group,
        reason: "crun does not take a dot in a path of groups",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /*",
        ours: "* | unbindable | *",
        theirs: "* |  | *",
        reason: "crun forgets the propagation of a mount in options",
        ..RULE
    },
    Rule {
        peers: &[Crun],
        name: "mount /m/3/*",
        ours: "-",
        reason: "a bind that is not recursive: crun makes it one for a recursive option",
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
        peers: &[Crun],
        name: "exit",
        ours: "1 (*mount mqueue on /dev/mqueue: operation not permitted*",
        of: has_users,
        reason: "the joined ipc namespace is not the user namespace's; crun mounts it from outside, runc does not",
        ..RULE
    },
];
