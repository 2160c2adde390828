//! What richrun asks of the kernel, as one table: `doctor` looks each row up on the host
//! that it runs on, and docs/kernel-features.md is this table in words (tests/kernel_features.rs
//! compares them).

/// The part of the runtime that uses a feature; the page has one table for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Processes, signals and waits.
    Processes,
    /// Namespaces.
    Namespaces,
    /// Paths and mounts.
    Files,
    /// Control groups and seccomp.
    Groups,
}

impl Group {
    /// In the page's order.
    pub const ALL: [Group; 4] = [Processes, Namespaces, Files, Groups];

    /// The heading of its table.
    pub fn title(self) -> &'static str {
        match self {
            Processes => "Processes",
            Namespaces => "Namespaces",
            Files => "Files and mounts",
            Groups => "Control groups and seccomp",
        }
    }
}

/// How one finds out whether a host has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// System calls (by number) that must not answer `ENOSYS`.
    Calls(&'static [libc::c_long]),
    /// A file that is there.
    File(&'static str),
    /// Nothing that can be asked without doing it: by the release, which a distribution's
    /// kernel may understate. `doctor` says so; the runtime itself never goes by it.
    Release,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// Which table it stands in.
    pub group: Group,
    /// What it is, with code in backquotes.
    pub name: &'static str,
    /// Since which Linux; one for each name where there are several.
    pub since: &'static str,
    /// How to find out.
    pub probe: Probe,
    /// What it does here.
    pub used_for: &'static str,
    /// What happens without it; "error": one line that names step and errno.
    pub without: &'static str,
}

use Group::{Files, Groups, Namespaces, Processes};
use Probe::{Calls, File, Release};

const fn row(
    group: Group,
    name: &'static str,
    since: &'static str,
    probe: Probe,
    used_for: &'static str,
    without: &'static str,
) -> Feature {
    Feature { group, name, since, probe, used_for, without }
}

/// The oldest Linux on which everything without a fall-back exists.
pub const OLDEST: (u32, u32) = (5, 4);

/// Everything, in the page's order.
#[rustfmt::skip]
pub const FEATURES: &[Feature] = &[
    row(Processes, "`clone3`", "5.3", Calls(&[libc::SYS_clone3]), "the init process, straight into its namespaces, with a pidfd", "`clone`"),
    row(Processes, "`CLONE_INTO_CGROUP`", "5.7", Release, "v2: born in its cgroup, no migration and no RCU wait", "the child writes `0` into `cgroup.procs` before anything else"),
    row(Processes, "pidfd: `CLONE_PIDFD`, `pidfd_open`, `pidfd_send_signal`, `waitid(P_PIDFD)`", "5.2, 5.3, 5.1, 5.4", Calls(&[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal]), "a signal or a wait never meets a recycled pid", "error"),
    row(Processes, "`close_range` with `CLOSE_RANGE_CLOEXEC`", "5.11", Calls(&[libc::SYS_close_range]), "no descriptor leaks into the container", "one `fcntl` a descriptor, from `self/fd` of a checked procfs"),
    row(Processes, "`close_range`", "5.9", Calls(&[libc::SYS_close_range]), "who enters has no descriptor of the host's", "one `close` a descriptor, from `self/fd` of a checked procfs"),
    row(Processes, "`close_range`", "5.9", Calls(&[libc::SYS_close_range]), "rich-init keeps no descriptor open", "left open: they were close-on-exec before"),
    row(Processes, "`ppoll`, `signalfd`, `accept4`", "2.6.16, 2.6.27, 2.6.28", Release, "rich-init with services: one wait for signals, ends, sockets and what is due", "error"),
    row(Processes, "`inotify`", "2.6.13", Release, "the `watch` paths of a service", "error where asked for"),
    row(Processes, "`SO_PEERCRED`, `SCM_RIGHTS`, unix `SOCK_SEQPACKET`", "2.6.4", Release, "beside another init rich-init fetches the standard streams", "error"),
    row(Processes, "`memfd_create` with seals", "3.17", Calls(&[libc::SYS_memfd_create]), "rich-init's image, which nobody can write to", "error (with `--rich` only)"),
    row(Processes, "`MFD_EXEC`", "6.3", File("/proc/sys/vm/memfd_noexec"), "the same where `vm.memfd_noexec` is 1", "left out"),
    row(Processes, "`open_tree` of `/proc/self/exe`, `mount_setattr`, `execveat`", "5.2, 5.12, 3.19", Calls(&[libc::SYS_open_tree, libc::SYS_mount_setattr, libc::SYS_execveat]), "the runtime runs from a read-only mount of itself that no namespace has", "a sealed copy in memory"),
    row(Processes, "procfs' option `pidns`", "6.17", Release, "the procfs of a joined pid namespace, made from outside", "a process inside opens it that has nothing else"),
    row(Processes, "`SCM_CREDENTIALS`", "2.2", Release, "the pid of a first process that is born last", "-"),
    row(Processes, "`pidfd_getfd`", "5.6", Calls(&[libc::SYS_pidfd_getfd]), "taking a seccomp listener over from the container's first process", "error (with a listener only)"),
    row(Processes, "`setns` on a pidfd", "5.8", Release, "`exec` joins all namespaces in one call", "one `setns` a namespace file"),
    row(Processes, "`PR_SET_CHILD_SUBREAPER`", "3.4", Release, "rich-init when it is not PID 1; above a hook with a timeout, so that it dies with all it has started", "error"),
    row(Processes, "`PR_SET_PDEATHSIG`", "2.1.57", Release, "who is stopped while a container is set up goes on, and ends, when the runtime is dead", "error"),
    row(Processes, "`/proc/locks`", "2.2", File("/proc/locks"), "who holds a container's lock: for the error, and so that a hook does not wait for the command that waits for it", "the command waits for a minute, and says that the container is busy"),
    row(Processes, "`keyctl(KEYCTL_JOIN_SESSION_KEYRING)`", "2.6.10", Calls(&[libc::SYS_keyctl]), "a session keyring per container", "skipped on `ENOSYS` only"),
    row(Processes, "ambient capabilities", "4.3", Release, "`process.capabilities.ambient`", "warning"),
    row(Processes, "`sched_setattr`", "3.14", Calls(&[libc::SYS_sched_setattr]), "`process.scheduler`", "error where asked for"),
    row(Processes, "Landlock", "5.13; paths 6.10, TCP ports 6.7, scopes 6.12", Calls(&[libc::SYS_landlock_create_ruleset]), "`io.richrun.landlock`, `--landlock`", "error where asked for, a warning with `best-effort`"),
    row(Processes, "core scheduling (`PR_SCHED_CORE`)", "5.14", Release, "`io.richrun.core-scheduling`", "error where asked for, a warning with `best-effort`"),
    row(Processes, "`PIDFD_GET_INFO` with the exit status", "6.15", Release, "how a container ended that is nobody's child (`wait`, `stop`)", "unknown"),
    row(Namespaces, "cgroup namespace", "4.6", File("/proc/self/ns/cgroup"), "`linux.namespaces`", "error where asked for"),
    row(Namespaces, "`mount` of cgroup2 in a cgroup namespace", "4.6", Release, "`type: cgroup` on v2", "without a namespace of its own the host's mount is bound: mounting it anew would change the host's options and wait 10 ms"),
    row(Namespaces, "time namespace and offsets", "5.6", File("/proc/self/ns/time"), "`linux.namespaces`, `linux.timeOffsets`", "error where asked for"),
    row(Namespaces, "`NS_GET_NSTYPE`", "4.11", Release, "a joined path is of the kind that the configuration says", "error"),
    row(Files, "`openat2` with `RESOLVE_IN_ROOT`", "5.6", Calls(&[libc::SYS_openat2]), "every path inside the root", "a walk by descriptors, one component at a time"),
    row(Files, "`openat2` with `RESOLVE_NO_XDEV` and `RESOLVE_NO_SYMLINKS`", "5.6", Calls(&[libc::SYS_openat2]), "files of procfs, and what must lie in the root's own mount", "the same walk; a mount is told by `statx` (5.8), before that by its file system"),
    row(Files, "`fsopen(\"proc\")`", "5.2", Calls(&[libc::SYS_fsopen]), "labels and sysctls, where no procfs was mounted for the container, and in `exec`", "a copy of the mount at `/proc`; before 5.2 what is there, if it is a procfs"),
    row(Files, "`fsopen`, `fsconfig`, `fsmount`, `move_mount`", "5.2", Calls(&[libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_move_mount]), "new mounts, attached by descriptor", "`mount` on a link of `self/fd` of a checked procfs"),
    row(Files, "`open_tree(OPEN_TREE_CLONE)`", "5.2", Calls(&[libc::SYS_open_tree]), "bind mounts, masked paths", "`mount(MS_BIND)` on a link of `self/fd` of a checked procfs"),
    row(Files, "`setns` of a mount namespace, `open_tree` in it", "5.2", Release, "trees for a container in a user namespace, and id-mapped ones", "without `open_tree` the first process binds what it can reach"),
    row(Files, "`open_tree`, `move_mount`, `mount_setattr` of detached trees", "5.2, 5.2, 5.12", Calls(&[libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_mount_setattr]), "`mounts add`", "error"),
    row(Files, "a detached copy of a whole root (`open_tree`)", "5.2", Release, "a container without a mount namespace of its own", "error"),
    row(Files, "`statx` with the mount's id", "5.8", Release, "a tmpfs that becomes read-only last is still the one that was mounted", "it is not asked"),
    row(Files, "`mount_setattr`", "5.12", Calls(&[libc::SYS_mount_setattr]), "attributes and propagation, recursive ones too", "a bind remount, once it is attached, with the flags it has; recursive attributes reach the top mount only"),
    row(Files, "id-mapped mounts", "5.12, and the file system", Release, "`idmap`, `ridmap` (with ranges too), `uidMappings` of a mount", "error"),
    row(Files, "`MOUNT_ATTR_NOSYMFOLLOW`", "5.14", Release, "`nosymfollow`", "error"),
    row(Files, "`pivot_root(\".\", \".\")`", "2.4", Release, "the new root", "`--no-pivot` moves the mount instead, and takes the host's away"),
    row(Groups, "v1 `tasks` written by the process itself", "2.6.24", Release, "joining v1 hierarchies without the lock over all thread groups", ""),
    row(Groups, "cgroup v2", "4.5", Release, "v2 hosts", "v1"),
    row(Groups, "device program (`BPF_CGROUP_DEVICE`)", "4.15", Release, "v2: `linux.resources.devices`", "error, but for an ordinary user"),
    row(Groups, "`cgroup.freeze`", "5.2", Release, "v2: pause", "error"),
    row(Groups, "`cgroup.kill`", "5.14", Release, "v2: a kill that no fork bomb outruns", "freeze, signal each, thaw; in rounds"),
    row(Groups, "`SECCOMP_FILTER_FLAG_SPEC_ALLOW`", "4.17", Release, "the flag of that name", "left out: the mitigation stays on"),
    row(Groups, "`SECCOMP_RET_KILL_PROCESS`", "4.14", Release, "the action of that name", "error"),
    row(Groups, "seccomp listener", "5.0", Release, "`SCMP_ACT_NOTIFY`", "error"),
    row(Groups, "`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`", "5.19", Release, "the flag of that name", "error"),
    row(Groups, "`resctrl` and its monitoring groups", "4.10, 4.14", File("/sys/fs/resctrl"), "`linux.intelRdt`", "error where asked for"),
];

impl Feature {
    /// The release that has all of it.
    pub fn release(&self) -> (u32, u32) {
        let words = self.since.split(|c: char| !c.is_ascii_digit() && c != '.');
        words.filter_map(release).max().unwrap_or((0, 0))
    }

    /// Its row of the page.
    pub fn markdown(&self) -> String {
        let row =
            format!("| {} | {} | {} | {}", self.name, self.since, self.used_for, self.without);
        format!("{} |", row.trim_end())
    }
}

/// The first two numbers of a release, as uname(2) and the table have it: of `6.1.0-44-amd64`
/// (6, 1).
pub fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_what_kernels_say() {
        assert_eq!(release("6.1.0-44-amd64"), Some((6, 1)));
        assert_eq!(release("5.15.153.1-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(release("7.0-rc1"), Some((7, 0)));
        assert_eq!(release("linux"), None);
    }

    /// What has no fall-back is in the oldest kernel that is promised, or only where asked for.
    #[test]
    fn nothing_that_everything_needs_is_newer_than_promised() {
        let needed = FEATURES.iter().filter(|feature| feature.without == "error");
        let newest =
            needed.filter(|feature| feature.release() > OLDEST).map(|feature| feature.name);
        // Each of these serves what a configuration asks for by its name.
        let asked = [
            "`open_tree`, `move_mount`, `mount_setattr` of detached trees",
            "id-mapped mounts",
            "`MOUNT_ATTR_NOSYMFOLLOW`",
        ];
        let asked = [&asked[..], &["`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`"]].concat();
        assert_eq!(newest.collect::<Vec<_>>(), asked);
    }
}
