//! What runc shows otherwise.

use richrun_tests::Kind::Runc;

use super::{RULE, Rule};

pub const RULES: &[Rule] = &[
    Rule {
        peers: &[Runc],
        name: "descriptor *",
        ours: "*",
        theirs: "pipe",
        of: |c| c["process"]["terminal"] != true,
        reason: "runc copies the streams of a container in the foreground through pipes",
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
        peers: &[Runc],
        name: "exit",
        theirs: "1 (*via /proc/self/fd/*operation not permitted*",
        reason: "runc before 1.2 takes away flags that the source has locked, and fails",
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
    },
    Rule {
        peers: &[Runc],
        name: "error",
        theirs: " (*seccomp flags are not yet supported by runc*",
        reason: "runc before 1.2 knows no flags",
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
        peers: &[Runc],
        name: "error",
        ours: " (*exceeds the hard limit*",
        reason: "a limit is checked before the kernel is asked",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "error",
        ours: " (*the controller cpuset is not available*",
        reason: "the controller that is missing is named",
        ..RULE
    },
    Rule {
        peers: &[Runc],
        name: "mount /m/*",
        ours: "/ | rw,relatime |*",
        theirs: "/ | rw,nosuid,relatime |*",
        reason: "runc 1.1 keeps flags of a source that options do not name",
        ..RULE
    },
];
