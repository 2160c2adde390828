//! The place where one trial happens: its process tree, namespaces and files.
//!
//! ```text
//! test runner (a thread per trial, two at a time)
//!   └─ keeper        new mount and pid namespace; killed by the watchdog
//!        └─ pid 1    /proc, the cgroup view, a tmpfs; reaps; cleans up
//!             └─ the trial's function
//!                  └─ the runtime's commands, and orphans of pid 1
//! ```
//!
//! When pid 1 ends, the kernel ends everything else in its namespace, so no
//! trial can leave a process behind, whatever it tested.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::case::{User, View};
use crate::{leftovers, sys};

/// Exit status by which a trial says that this machine lacks something.
pub const SKIPPED: i32 = 77;

/// What precedes the reason on the last line of a skipped trial's output.
pub const SKIP_MARK: &str = "SKIP: ";

/// Where a trial's tmpfs is mounted, in its own mount namespace.
pub const PLACE: &str = "/mnt";

/// The ordinary user of the trials: an id that no account of the host uses.
pub const USER_ID: u32 = 20_001;
/// Its first subordinate id, of [`SUB_COUNT`].
pub const SUB_FIRST: u32 = 2_000_000;
/// How many subordinate ids it has.
pub const SUB_COUNT: u32 = 65_536;

/// Builds the stage and runs `act` on it; never returns.
///
/// `peer`: the runtime is not ours, and has a null device of its own; `pure_v1` leaves a hybrid
/// host's cgroup2 tree out of the v1 view.
pub fn enter(
    (view, user): (View, User),
    peer: bool,
    pure_v1: bool,
    id: &str,
    act: impl FnOnce(PathBuf),
) -> ! {
    sys::cloexec_all();
    check(unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID), "unshare");
    let keeper_child = sys::fork();
    if keeper_child != 0 {
        let code = sys::wait_any().map_or(1, |(_, status)| exit_code(status));
        std::process::exit(code);
    }
    sys::die_with_parent();
    private_mounts(view, pure_v1);
    let dir = prepare(user);
    if peer {
        own_null(&dir);
    }
    let trial = sys::fork();
    if trial == 0 {
        act(dir);
        std::process::exit(0);
    }
    let mut code = 1;
    while let Some((pid, status)) = sys::wait_any() {
        if pid == trial {
            code = exit_code(status);
            break;
        }
    }
    leftovers::sweep(id);
    std::process::exit(code);
}

/// A wait status as a shell shows it.
fn exit_code(status: i32) -> i32 {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

/// A panic with the step's name: the watchdog's caller prints it.
fn check<T, E: std::fmt::Display>(result: Result<T, E>, step: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => {
            eprintln!("stage: {step}: {error}");
            std::process::exit(1);
        }
    }
}

const NONE: Option<&str> = None;

/// Own mounts, own `/proc`, and the cgroup tree as the view wants it.
fn private_mounts(view: View, pure_v1: bool) {
    check(mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE), "make / private");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    check(mount(Some("proc"), "/proc", Some("proc"), flags, NONE), "mount /proc");
    let unified = "/sys/fs/cgroup/unified";
    match (view, crate::case::host_is_unified()) {
        (View::V2, false) if Path::new(unified).join("cgroup.procs").exists() => {
            let moved = mount(Some(unified), "/sys/fs/cgroup", NONE, MsFlags::MS_MOVE, NONE);
            check(moved, "move the cgroup2 mount onto /sys/fs/cgroup");
        }
        (View::V2, false) => {
            let fresh =
                mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), NONE);
            check(fresh, "mount cgroup2");
        }
        (View::V1, false) if pure_v1 => {
            let _ = nix::mount::umount2(unified, nix::mount::MntFlags::MNT_DETACH);
        }
        _ => {}
    }
}

/// The tmpfs with the trial's directories, and the ordinary user's account.
fn prepare(user: User) -> PathBuf {
    let flags = MsFlags::MS_NODEV & MsFlags::empty();
    check(mount(Some("trial"), PLACE, Some("tmpfs"), flags, Some("mode=755")), "mount tmpfs");
    let dir = Path::new(PLACE).to_path_buf();
    for name in ["out", "root", "run", "home", "bin"] {
        check(fs::create_dir(dir.join(name)), "make the trial's directories");
    }
    if user == User::Ordinary {
        for name in ["root", "run", "home"] {
            let made = std::os::unix::fs::chown(dir.join(name), Some(USER_ID), Some(USER_ID));
            check(made, "chown the trial's directories");
        }
        account(&dir);
    }
    dir
}

/// A null device of the trial's own: crun gives the one that it has as a stream to the
/// container's user, and that would be the machine's.
fn own_null(dir: &Path) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let node = dir.join("bin/null");
    let all = Mode::from_bits_truncate(0o666);
    check(mknod(&node, SFlag::S_IFCHR, all, makedev(1, 3)), "make a null device");
    check(fs::set_permissions(&node, fs::Permissions::from_mode(0o666)), "chmod the null device");
    let bound = mount(Some(&node), "/dev/null", NONE, MsFlags::MS_BIND, NONE);
    check(bound, "bind the null device");
}

/// An account with subordinate ids, seen in this mount namespace only.
fn account(dir: &Path) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = format!("{passwd}richtest:x:{USER_ID}:{USER_ID}::{PLACE}/home:/bin/sh\n");
    let range = format!("richtest:{SUB_FIRST}:{SUB_COUNT}\n");
    for (name, text) in [("passwd", line), ("subuid", range.clone()), ("subgid", range)] {
        let file = dir.join("bin").join(name);
        check(fs::write(&file, text), "write the account");
        check(fs::set_permissions(&file, fs::Permissions::from_mode(0o644)), "chmod the account");
        let target = Path::new("/etc").join(name);
        if !target.exists() {
            check(fs::write(&target, ""), "create the account's file");
        }
        check(mount(Some(&file), &target, NONE, MsFlags::MS_BIND, NONE), "bind the account");
    }
}
