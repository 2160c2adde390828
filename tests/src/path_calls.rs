//! System calls that take a path, as a follower sees them at their beginning: from which directory,
//! and which path.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::unistd::Pid;

/// A call: its number, its name, and for each path it takes where its directory is (an
/// argument's place, or none: the current one) and where the path.
type Call = (i64, &'static str, &'static [(Option<usize>, usize)]);

/// All of Linux 6.18 but those that take a file's name for other ends (swapon, acct, quotactl).
#[cfg(target_arch = "x86_64")]
const CALLS: &[Call] = &[
    (libc::SYS_open, "open", &[(None, 0)]),
    (libc::SYS_creat, "creat", &[(None, 0)]),
    (libc::SYS_openat, "openat", &[(Some(0), 1)]),
    (libc::SYS_openat2, "openat2", &[(Some(0), 1)]),
    (libc::SYS_stat, "stat", &[(None, 0)]),
    (libc::SYS_lstat, "lstat", &[(None, 0)]),
    (libc::SYS_newfstatat, "newfstatat", &[(Some(0), 1)]),
    (libc::SYS_statx, "statx", &[(Some(0), 1)]),
    (libc::SYS_statfs, "statfs", &[(None, 0)]),
    (libc::SYS_access, "access", &[(None, 0)]),
    (libc::SYS_faccessat, "faccessat", &[(Some(0), 1)]),
    (libc::SYS_faccessat2, "faccessat2", &[(Some(0), 1)]),
    (libc::SYS_readlink, "readlink", &[(None, 0)]),
    (libc::SYS_readlinkat, "readlinkat", &[(Some(0), 1)]),
    (libc::SYS_mkdir, "mkdir", &[(None, 0)]),
    (libc::SYS_mkdirat, "mkdirat", &[(Some(0), 1)]),
    (libc::SYS_mknod, "mknod", &[(None, 0)]),
    (libc::SYS_mknodat, "mknodat", &[(Some(0), 1)]),
    (libc::SYS_chmod, "chmod", &[(None, 0)]),
    (libc::SYS_fchmodat, "fchmodat", &[(Some(0), 1)]),
    (libc::SYS_fchmodat2, "fchmodat2", &[(Some(0), 1)]),
    (libc::SYS_chown, "chown", &[(None, 0)]),
    (libc::SYS_lchown, "lchown", &[(None, 0)]),
    (libc::SYS_fchownat, "fchownat", &[(Some(0), 1)]),
    (libc::SYS_rename, "rename", &[(None, 0), (None, 1)]),
    (libc::SYS_renameat, "renameat", &[(Some(0), 1), (Some(2), 3)]),
    (libc::SYS_renameat2, "renameat2", &[(Some(0), 1), (Some(2), 3)]),
    (libc::SYS_unlink, "unlink", &[(None, 0)]),
    (libc::SYS_unlinkat, "unlinkat", &[(Some(0), 1)]),
    (libc::SYS_rmdir, "rmdir", &[(None, 0)]),
    // What a link says is not looked up.
    (libc::SYS_symlink, "symlink", &[(None, 1)]),
    (libc::SYS_symlinkat, "symlinkat", &[(Some(1), 2)]),
    (libc::SYS_link, "link", &[(None, 0), (None, 1)]),
    (libc::SYS_linkat, "linkat", &[(Some(0), 1), (Some(2), 3)]),
    (libc::SYS_truncate, "truncate", &[(None, 0)]),
    (libc::SYS_utime, "utime", &[(None, 0)]),
    (libc::SYS_utimes, "utimes", &[(None, 0)]),
    (libc::SYS_futimesat, "futimesat", &[(Some(0), 1)]),
    (libc::SYS_utimensat, "utimensat", &[(Some(0), 1)]),
    (libc::SYS_chdir, "chdir", &[(None, 0)]),
    (libc::SYS_chroot, "chroot", &[(None, 0)]),
    (libc::SYS_pivot_root, "pivot_root", &[(None, 0), (None, 1)]),
    // Sources of file systems are names; those of binds are made of descriptors.
    (libc::SYS_mount, "mount", &[(None, 1)]),
    (libc::SYS_umount2, "umount2", &[(None, 0)]),
    (libc::SYS_open_tree, "open_tree", &[(Some(0), 1)]),
    (libc::SYS_move_mount, "move_mount", &[(Some(0), 1), (Some(2), 3)]),
    (libc::SYS_mount_setattr, "mount_setattr", &[(Some(0), 1)]),
    (libc::SYS_fspick, "fspick", &[(Some(0), 1)]),
    (libc::SYS_execve, "execve", &[(None, 0)]),
    (libc::SYS_execveat, "execveat", &[(Some(0), 1)]),
    (libc::SYS_setxattr, "setxattr", &[(None, 0)]),
    (libc::SYS_lsetxattr, "lsetxattr", &[(None, 0)]),
    (libc::SYS_getxattr, "getxattr", &[(None, 0)]),
    (libc::SYS_lgetxattr, "lgetxattr", &[(None, 0)]),
    (libc::SYS_listxattr, "listxattr", &[(None, 0)]),
    (libc::SYS_llistxattr, "llistxattr", &[(None, 0)]),
    (libc::SYS_removexattr, "removexattr", &[(None, 0)]),
    (libc::SYS_lremovexattr, "lremovexattr", &[(None, 0)]),
    (libc::SYS_name_to_handle_at, "name_to_handle_at", &[(Some(0), 1)]),
    (libc::SYS_inotify_add_watch, "inotify_add_watch", &[(None, 1)]),
];

#[cfg(not(target_arch = "x86_64"))]
const CALLS: &[Call] = &[];

/// One path of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathCall {
    /// The how manieth process makes it; the runtime is 0.
    pub role: usize,
    /// The call's name.
    pub name: String,
    /// The descriptor that it starts from, if it does.
    pub from: Option<i32>,
    /// The path.
    pub path: String,
}

/// What is seen of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A process has made another one.
    Clone {
        /// Which.
        parent: usize,
        /// The new one.
        child: usize,
    },
    /// A process joins a mount namespace.
    Joined {
        /// Which.
        role: usize,
    },
    /// A process names a path.
    Path(PathCall),
}

/// The line of a clone.
pub fn clone_line(parent: usize, child: usize) -> String {
    format!("{parent} clone {child} -\n")
}

/// A line for each path of the call that `pid` is about to make.
#[cfg(target_arch = "x86_64")]
pub fn lines(pid: Pid, role: usize) -> String {
    let Ok(registers) = nix::sys::ptrace::getregs(pid) else { return String::new() };
    let mounts = |kinds: u64| kinds == 0 || kinds & libc::CLONE_NEWNS as u64 != 0;
    if registers.orig_rax == libc::SYS_setns as u64 && mounts(registers.rsi) {
        return format!("{role} setns 0 -\n");
    }
    let known = CALLS.iter().find(|(number, ..)| *number as u64 == registers.orig_rax);
    let Some((_, name, paths)) = known else { return String::new() };
    let arguments =
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
    let line = |(directory, path): &(Option<usize>, usize)| {
        let from = directory.map_or(libc::AT_FDCWD, |place| arguments[place] as i32);
        format!("{role} {name} {from} {}\n", text(pid, arguments[*path]).escape_default())
    };
    paths.iter().map(line).collect()
}

/// The same, where registers are others.
#[cfg(not(target_arch = "x86_64"))]
pub fn lines(_pid: Pid, _role: usize) -> String {
    String::new()
}

/// The string at an address of a process.
#[cfg(target_arch = "x86_64")]
fn text(pid: Pid, address: u64) -> String {
    let mut bytes = Vec::new();
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return String::new() };
    let mut byte = [0];
    while memory.read_exact_at(&mut byte, address + bytes.len() as u64).is_ok() && byte[0] != 0 {
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What [`lines`] wrote.
pub fn read(text: &str) -> Vec<Seen> {
    let one = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().expect("four words").to_owned();
        let (role, name, number, path) = (next(), next(), next(), next());
        let role = role.parse().expect("a role");
        let from: i32 = number.parse().expect("a number");
        match name.as_str() {
            "clone" => Seen::Clone { parent: role, child: from as usize },
            "setns" => Seen::Joined { role },
            _ => Seen::Path(PathCall {
                role,
                name,
                from: (from != libc::AT_FDCWD).then_some(from),
                path,
            }),
        }
    };
    text.lines().map(one).collect()
}
