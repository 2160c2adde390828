//! Calls on the calling process that rustix and nix do not wrap.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::clone::last_errno;
use super::procfs::Procfs;

fn check(ret: i64) -> Result<i64, Errno> {
    if ret == -1 { Err(last_errno()) } else { Ok(ret) }
}

/// `unshare(2)` with `CLONE_NEW*` flags. Only ever called by the
/// single-threaded child, so no other thread keeps the old namespaces.
pub fn unshare(flags: u64) -> Result<(), Errno> {
    // SAFETY: no pointers; namespaces of the calling thread only.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop)
}

/// `setns(2)`: `fd` is a namespace or, since Linux 5.8, a pidfd; `flags` are
/// `CLONE_NEW*` (0: whatever `fd` is).
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    // SAFETY: a valid borrowed descriptor and a flag word.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flags as i32) }).map(drop)
}

/// Enters a mount namespace, with this directory of it as root and working directory.
pub fn enter_mounts(namespace: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<(), Errno> {
    setns(namespace, libc::CLONE_NEWNS as u64)?;
    rustix::process::fchdir(root)?;
    rustix::process::chroot(c".")
}

/// `execveat(2)`: executes `path` relative to `dir`; with an empty path, the
/// file `dir` itself. Returns only when it failed.
pub fn execveat(dir: BorrowedFd<'_>, path: &CStr, argv: &[&CStr], env: &[&CStr]) -> Errno {
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: both arrays are null-terminated arrays of valid C strings that
    // outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            dir.as_raw_fd(),
            path.as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 },
        );
    }
    last_errno()
}

/// `execve(2)`. Returns only when it failed.
pub fn execve(path: &CStr, argv: &[&CStr], env: &[&CStr]) -> Errno {
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: as in `execveat`.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_errno()
}

fn pointers(strings: &[&CStr]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Ends the process at once, without destructors or exit handlers: for the
/// child, whose memory is a copy of the parent's.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: never returns and touches no memory.
    unsafe { libc::_exit(status) }
}

/// `close_range(2)` with `CLOSE_RANGE_CLOEXEC` (Linux 5.11): every descriptor
/// from `first` on closes at the next exec.
pub fn cloexec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: sets a flag on descriptors; no memory is involved.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    match check(ret) {
        Ok(_) => Ok(()),
        // Before 5.9 no call, before 5.11 no flag.
        Err(Errno::NOSYS | Errno::INVAL) => cloexec_each(first),
        Err(errno) => Err(errno),
    }
}

fn cloexec_each(first: u32) -> Result<(), Errno> {
    // A list that is not the kernel's would leave some open.
    let fds = Procfs::that_shows_us()?.descriptors()?;
    for fd in fds.into_iter().filter(|&fd| fd as u32 >= first) {
        // SAFETY: fcntl(F_SETFD) on a number; a closed one gives EBADF (the
        // directory's own descriptor), which is fine.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// The `CLONE_NEW*` flag of the kind of namespace that a file stands for (ioctl_ns(2)).
///
/// # Errors
/// `ENOTTY`: it stands for none.
pub fn kind_of_namespace(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    const NS_GET_NSTYPE: u64 = 0xb703;
    // SAFETY: this request has no argument.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) };
    check(i64::from(kind)).map(|kind| kind as u64)
}

/// Clears or sets close-on-exec by number, for descriptors that were passed
/// to us by number (`LISTEN_FDS`, `--preserve-fds`).
///
/// # Errors
/// `EBADF` when the number is not open.
pub fn set_cloexec(fd: i32, on: bool) -> Result<(), Errno> {
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: sets a flag on a descriptor number; no memory is involved.
    check(i64::from(unsafe { libc::fcntl(fd, libc::F_SETFD, flag) })).map(drop)
}

/// Resets every signal to its default action and unblocks all: what we were
/// started with must not reach the payload (execve(2) keeps ignored signals
/// and the mask).
pub fn reset_signals() {
    // SAFETY: plain sigaction/sigprocmask with zeroed, valid structures;
    // signals that cannot be set give EINVAL, which is fine.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Lets each of these signals end this process, with 128 and its number as its status. The
/// first process of a pid namespace gets from outside only what it handles
/// (pid_namespaces(7)). An execve(2) takes it all back.
pub fn end_by(signals: &[i32]) {
    extern "C" fn end(signal: i32) {
        exit_now(128 + signal)
    }
    // SAFETY: a zeroed sigaction is valid; the handler touches no memory and never returns.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = end as *const () as usize;
        for signal in signals {
            libc::sigaction(*signal, &action, std::ptr::null_mut());
        }
    }
}

/// Handles a signal by doing nothing, until an execve(2) gives it its default action again: an
/// ignored one would stay ignored.
pub fn survive(signal: i32) {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: a zeroed sigaction is valid; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// Asks for SIGKILL when the parent dies (`PR_SET_PDEATHSIG`); lost when the
/// credentials change.
pub fn die_with_parent() -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0).map(drop)
}

/// Asks for SIGCONT when the parent dies, or for nothing more (`PR_SET_PDEATHSIG`): who was
/// stopped hears of that death then, and nobody else notices. Lost when the credentials change.
pub fn go_on_without_parent(asked: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, if asked { libc::SIGCONT as u64 } else { 0 }, 0).map(drop)
}

/// Joins a new session keyring called `name` (keyctl(2),
/// `KEYCTL_JOIN_SESSION_KEYRING`); returns its serial.
pub fn join_session_keyring(name: &CStr) -> Result<i32, Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a valid C string that the kernel copies.
    let ret =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(ret).map(|serial| serial as i32)
}

/// Gives the possessor of keyring `serial` and its user the right to search
/// it (keyctl(2), `KEYCTL_DESCRIBE` and `KEYCTL_SETPERM`), as runc does so
/// that `exec` can join it.
pub fn make_keyring_searchable(serial: i32) -> Result<(), Errno> {
    const KEYCTL_SETPERM: i32 = 5;
    const KEYCTL_DESCRIBE: i32 = 6;
    const USER_SEARCH: u32 = 0x0008_0000;
    let mut text = [0u8; 1024];
    // SAFETY: the kernel writes at most text.len() bytes into `text`.
    let len = check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_DESCRIBE, serial, text.as_mut_ptr(), text.len())
    })? as usize;
    // "type;uid;gid;perm;description"
    let text = std::str::from_utf8(&text[..len.min(text.len())]).map_err(|_| Errno::INVAL)?;
    let perm = text.split(';').nth(3).and_then(|field| u32::from_str_radix(field, 16).ok());
    let perm = perm.ok_or(Errno::INVAL)? | USER_SEARCH;
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, perm) }).map(drop)
}

/// `ioprio_set(2)` for the calling process: class 1 to 3, level 0 to 7.
pub fn set_io_priority(class: u32, level: u32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    let value = (class << IOPRIO_CLASS_SHIFT) | level;
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) }).map(drop)
}

/// `struct sched_attr` of sched_setattr(2), version 1.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SchedAttr {
    /// Size of this structure; set by [`set_scheduler`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, nanoseconds.
    pub runtime: u64,
    /// For `SCHED_DEADLINE`, nanoseconds.
    pub deadline: u64,
    /// For `SCHED_DEADLINE`, nanoseconds.
    pub period: u64,
}

/// `sched_setattr(2)` for the calling process (Linux 3.14).
pub fn set_scheduler(mut attr: SchedAttr) -> Result<(), Errno> {
    attr.size = std::mem::size_of::<SchedAttr>() as u32;
    // SAFETY: a valid sched_attr whose size field is its size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// `personality(2)`.
pub fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::personality(libc::c_ulong::from(persona)) })).map(drop)
}

/// `set_mempolicy(2)` with `mode | flags` and the nodes' bit mask.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // An empty slice's pointer points nowhere: none at all says that there are no nodes.
    let (mask, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: null, or a mask of `bits - 1` bits; the kernel only reads it.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// `sched_setaffinity(2)` for the calling process: a bit for each CPU. The kernel passes
/// over what is beyond the CPUs that it was built for.
pub fn set_affinity(cpus: &[u64]) -> Result<(), Errno> {
    let bytes = std::mem::size_of_val(cpus);
    // SAFETY: a mask of `bytes` bytes that the kernel only reads.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, bytes, cpus.as_ptr()) }).map(drop)
}

/// A raw `prctl(2)` that takes numbers only.
pub fn prctl(option: i32, arg2: u64, arg3: u64) -> Result<i64, Errno> {
    // SAFETY: callers pass only options whose arguments are numbers.
    check(i64::from(unsafe { libc::prctl(option, arg2, arg3, 0u64, 0u64) }))
}

/// `setrlimit`-like call for the process `pid` by number of the resource.
pub fn prlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: a valid rlimit64 that the kernel reads; the old one is not asked.
    check(i64::from(unsafe { libc::prlimit64(pid, resource, &limit, std::ptr::null_mut()) }))
        .map(drop)
}

/// Waits for a signal (pause(2)).
pub fn pause() {
    // SAFETY: no arguments; returns when a signal handler has run.
    unsafe { libc::pause() };
}

/// The calling process's limit: soft, hard (getrlimit(2)).
pub fn limit_of(resource: u32) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid rlimit64 that the kernel fills in.
    check(i64::from(unsafe { libc::prlimit64(0, resource, std::ptr::null(), &mut limit) }))?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// prctl(2), `PR_CAPBSET_DROP`.
pub fn drop_bounding(capability: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0).map(drop)
}

/// prctl(2), `PR_SET_DUMPABLE` 0: nobody but the superuser of our own user
/// namespace may trace us or read our descriptors.
pub fn forbid_tracing() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// prctl(2), `PR_SET_DUMPABLE` 1: takes [`forbid_tracing`] back.
pub fn allow_tracing() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 1, 0).map(drop)
}

/// `pidfd_getfd(2)` (Linux 5.6): a copy of descriptor `fd` of the process
/// behind `pidfd`, close-on-exec.
pub fn take_fd(pidfd: BorrowedFd<'_>, fd: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: a valid descriptor, a number, no flags; no memory is involved.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    // SAFETY: the kernel has just made this descriptor for us alone.
    check(ret).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// prctl(2), `PR_CAPBSET_READ`: whether the bounding set has it.
pub fn is_bounded(capability: u8) -> Result<bool, Errno> {
    prctl(libc::PR_CAPBSET_READ, u64::from(capability), 0).map(|answer| answer == 1)
}

/// Three of a process's capability sets, a bit each (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapSets {
    /// What counts in checks.
    pub effective: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What an execve(2) of a file with inheritable ones keeps.
    pub inheritable: u64,
}

impl CapSets {
    /// All that is in permitted or inheritable.
    pub fn all(self) -> u64 {
        self.permitted | self.inheritable
    }
}

/// `struct __user_cap_header_struct` of capset(2), version 3.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// For the calling process.
const CAP_HEADER: CapHeader = CapHeader { version: 0x2008_0522, pid: 0 };

/// `struct __user_cap_data_struct`; version 3 has two, the low half first.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// capget(2) of the calling process.
pub fn capabilities() -> Result<CapSets, Errno> {
    let (mut header, mut data) = (CAP_HEADER, [CapData::default(); 2]);
    // SAFETY: version 3 takes a header and fills in two data structures, all valid.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join =
        |part: fn(&CapData) -> u32| u64::from(part(&data[0])) | u64::from(part(&data[1])) << 32;
    Ok(CapSets {
        effective: join(|half| half.effective),
        permitted: join(|half| half.permitted),
        inheritable: join(|half| half.inheritable),
    })
}

/// capset(2): the three sets in one call.
pub fn set_capabilities(sets: CapSets) -> Result<(), Errno> {
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let (header, data) = (CAP_HEADER, [half(0), half(32)]);
    // SAFETY: version 3 takes a header and two data structures, all valid.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Closes every descriptor from `first` on but those in `keep`
/// (close_range(2), Linux 5.9; before that one by one).
///
/// For the last steps before an exec: descriptors that Rust values own are
/// closed too, so none of them may be used afterwards.
pub fn close_except(first: i32, keep: &[i32]) -> Result<(), Errno> {
    let mut keep: Vec<i32> = keep.iter().copied().filter(|fd| *fd >= first).collect();
    keep.sort_unstable();
    let mut from = first;
    for fd in keep {
        if fd > from {
            close_range(from as u32, fd as u32 - 1)?;
        }
        from = fd + 1;
    }
    close_range(from as u32, u32::MAX)
}

/// Closes a descriptor that a clone has copied into this process, and that only
/// the original's owner is to have. Nothing here may use or drop it afterwards.
pub fn close_inherited(fd: i32) {
    // SAFETY: touches no memory. The value that owns the descriptor is a copy
    // that is never dropped: this process ends by execve or by exit.
    unsafe { libc::close(fd) };
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: closes descriptors; the callers use none of them any more.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) {
        Ok(_) => Ok(()),
        Err(Errno::NOSYS) => {
            close_each(first, last);
            Ok(())
        }
        Err(errno) => Err(errno),
    }
}

/// Before Linux 5.9. What is not found is close-on-exec, which is enough for a payload.
fn close_each(first: u32, last: u32) {
    let listed = Procfs::that_shows_us().and_then(|proc| proc.descriptors());
    for fd in listed.unwrap_or_default() {
        if (first..=last).contains(&fd.cast_unsigned()) {
            close_inherited(fd);
        }
    }
}
