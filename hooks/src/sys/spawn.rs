//! Starts a program with exact descriptors, signals and process group, as
//! cheaply as `vfork(2)`, and with the errno of what failed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_char, c_int, c_void};
use rustix::process::Pid;

use super::ending::{StartError, Step, reap};
use super::signals::{AllBlocked, default_dispositions, set_mask, signal_of_orphans};

/// Bytes of stack for the child until it has executed its program.
const STACK: usize = 64 * 1024;

/// What to execute, and with what. The three descriptors must be above 2.
pub(crate) struct Exec<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) argv: &'a [CString],
    pub(crate) envp: &'a [CString],
    pub(crate) cwd: Option<&'a CStr>,
    pub(crate) stdin: BorrowedFd<'a>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    /// What the program gets when this process dies: CONT, lest it be stopped for ever
    /// on its way, or KILL, where it must not live on.
    pub(crate) orphaned: c_int,
}

/// A started program: its own process group has its pid's number.
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// All that the child reads and writes; nothing in it is allocated there.
struct Orders {
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    cwd: *const c_char,
    stdio: [RawFd; 3],
    orphaned: c_int,
    failed: Option<StartError>,
}

/// Starts `exec` in a process group of its own with default signals, and
/// returns once its program runs (or could not be executed).
pub(super) fn spawn(exec: &Exec<'_>) -> Result<Spawned, StartError> {
    let argv = pointers(exec.argv);
    let envp = pointers(exec.envp);
    let mut orders = Orders {
        path: exec.path.as_ptr(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        cwd: exec.cwd.map_or(ptr::null(), CStr::as_ptr),
        stdio: [exec.stdin, exec.stdout, exec.stderr].map(|fd| fd.as_raw_fd()),
        orphaned: exec.orphaned,
        failed: None,
    };
    debug_assert!(orders.stdio.iter().all(|fd| *fd > 2));
    let mut stack: Vec<u8> = Vec::with_capacity(STACK);
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let blocked = AllBlocked::new();
    // SAFETY: CLONE_VFORK suspends this thread until the child has executed or
    // exited, so `orders`, `stack` and what they point to outlive its use of them and
    // are used by one side at a time. The child runs on its own stack, growing
    // down from the aligned top; every signal is blocked, so no handler runs there.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK);
        let top = top.sub(top.addr() % 16);
        let arg = ptr::from_mut(&mut orders).cast::<c_void>();
        libc::clone(child, top.cast(), flags, arg, ptr::from_mut(&mut pidfd))
    };
    let clone_error = StartError::last(Step::Clone);
    drop(blocked);
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Err(clone_error) };
    // SAFETY: clone succeeded with CLONE_PIDFD, so this is a new descriptor that is ours alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: the child wrote it, if at all, while this thread was suspended:
    // a volatile read, since the compiler does not see that write.
    match unsafe { ptr::read_volatile(&raw const orders.failed) } {
        None => Ok(Spawned { pid, pidfd }),
        Some(error) => {
            reap(&pidfd);
            Err(error)
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// The child: system calls only, on memory that is still the caller's.
extern "C" fn child(orders: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes its `Orders` and does not touch them until this process
    // has executed or exited.
    let orders = unsafe { &mut *orders.cast::<Orders>() };
    let error = follow(orders);
    // SAFETY: as above; volatile because the caller reads it in what is another process.
    unsafe {
        ptr::write_volatile(&raw mut orders.failed, Some(error));
        libc::_exit(127)
    }
}

/// Returns only if something failed.
fn follow(orders: &Orders) -> StartError {
    signal_of_orphans(orders.orphaned);
    default_dispositions();
    // SAFETY: plain system calls; the pointers are to NUL-terminated strings
    // and NULL-terminated lists that `spawn` keeps alive.
    unsafe {
        if libc::setpgid(0, 0) < 0 {
            return StartError::last(Step::Prepare);
        }
        // The sources are above 2, so none is overwritten before its turn.
        for (target, source) in (0..).zip(orders.stdio) {
            if libc::dup2(source, target) < 0 {
                return StartError::last(Step::Prepare);
            }
        }
        close_from(3);
        if !orders.cwd.is_null() && libc::chdir(orders.cwd) < 0 {
            return StartError::last(Step::Chdir);
        }
        set_mask(0);
        libc::execve(orders.path, orders.argv, orders.envp);
    }
    StartError::last(Step::Exec)
}

/// Closes every descriptor from `first` on.
fn close_from(first: c_int) {
    close_between(first, c_int::MAX);
}

/// Closes the descriptors from `first` to `last`, both included.
pub(super) fn close_between(first: c_int, last: c_int) {
    if first > last {
        return;
    }
    // SAFETY: closes descriptors of a process that has use for none of them; touches no memory.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) == 0 {
            return;
        }
        // Before Linux 5.9: no descriptor is above the limit, unless it was lowered since.
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        let end = c_int::try_from(limit.rlim_max).unwrap_or(1 << 20).min(1 << 20);
        for fd in first..end.min(last.saturating_add(1)) {
            libc::close(fd);
        }
    }
}
