//! What the harness asks of the kernel and the standard library does not offer.

#![allow(unsafe_code)]

pub mod ptrace;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Forks this process, which must have one thread only.
///
/// Returns the child's pid in the parent and 0 in the child.
pub fn fork() -> i32 {
    // SAFETY: called before any thread is started (see `stage::enter`), so the
    // child may go on running arbitrary code.
    unsafe { libc::fork() }
}

/// Waits for any child: its pid and wait status, or `None` when there is none.
pub fn wait_any() -> Option<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the kernel to write an int.
        let pid = unsafe { libc::waitpid(-1, &mut status, 0) };
        if pid > 0 {
            return Some((pid, status));
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Takes back what this process was started with: ignored and blocked signals, as under
/// `nohup` or from a shell with a trap, which everything that it starts would inherit.
/// Broken pipes stay errors, as the standard library has it.
pub fn forget_inherited_signals() {
    // SAFETY: zeroed structures are valid ones; no handler is set, and it is before any thread.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in (1..=64).filter(|signal| *signal != libc::SIGPIPE) {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Makes the kernel send `KILL` to this process when its parent thread ends.
pub fn die_with_parent() {
    // SAFETY: prctl with integer arguments only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Sends `signal` to `pid`; -1 means every process of the pid namespace but
/// its first and the caller. Returns whether it was delivered.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Signals to be waited for, as the kernel writes them.
#[derive(Debug, Clone, Copy)]
pub struct SignalSet(u64);

impl SignalSet {
    /// Every signal that can be blocked, those of the C library's own (32, 33) too.
    pub fn all() -> SignalSet {
        SignalSet(u64::MAX)
    }

    /// One signal.
    pub fn of(signal: i32) -> SignalSet {
        SignalSet(1 << (signal - 1))
    }

    /// Blocks these signals.
    pub fn block(&self) {
        // SAFETY: the kernel reads an 8-byte set that lives through the call.
        unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const self.0, 0, 8)
        };
    }

    /// Waits for one of them, which are blocked: its number.
    pub fn next(&self) -> usize {
        loop {
            // SAFETY: as above; neither a siginfo nor a time limit is given.
            let got =
                unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const self.0, 0, 0, 8) };
            if let Ok(signal @ 1..) = usize::try_from(got) {
                return signal;
            }
        }
    }
}

/// Takes ownership of a descriptor that arrived as a bare number.
pub fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers got the number from the kernel just now and hand it
    // to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Gives the command's process the descriptors under the given numbers.
pub fn pass_fds(command: &mut Command, fds: Vec<(RawFd, OwnedFd)>) {
    let close = move || {
        // Two passes: first out of the way of every target number.
        let mut high = Vec::with_capacity(fds.len());
        for (target, fd) in &fds {
            // SAFETY: plain descriptor duplication.
            let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 500) };
            high.push((*target, copy));
        }
        for (target, copy) in high {
            // SAFETY: as above; the copy has close-on-exec, the target has not.
            if unsafe { libc::dup2(copy, target) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes descriptor calls and one small allocation in a
    // freshly forked child of a process whose other threads hold no allocator
    // lock across fork (glibc guards its allocator with atfork handlers).
    unsafe { command.pre_exec(close) };
}

/// Makes the command the leader of a new session whose controlling terminal is
/// its standard input.
pub fn own_terminal(command: &mut Command) {
    let take = || {
        // SAFETY: no memory is involved.
        unsafe {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes two async-signal-safe calls.
    unsafe { command.pre_exec(take) };
}

/// Lets this process trace the command's from its first instruction on.
pub fn trace_me(command: &mut Command) {
    let ask = || nix::sys::ptrace::traceme().map_err(Into::into);
    // SAFETY: the closure makes one async-signal-safe call.
    unsafe { command.pre_exec(ask) };
}

/// Drops to the given ids without supplementary groups, runs in its own closure
/// so that the group list is emptied even where the standard library would not.
pub fn drop_to(command: &mut Command, uid: u32, gid: u32) {
    let drop = move || {
        // SAFETY: an empty group list needs no memory; the rest are integers.
        unsafe {
            if libc::setgroups(0, std::ptr::null()) < 0
                || libc::setresgid(gid, gid, gid) < 0
                || libc::setresuid(uid, uid, uid) < 0
            {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes async-signal-safe calls only.
    unsafe { command.pre_exec(drop) };
}

/// Joins the command's process to the cgroups behind the open `cgroup.procs` files.
pub fn join_cgroups(command: &mut Command, procs: Vec<OwnedFd>) {
    let join = move || {
        for file in &procs {
            // SAFETY: the buffer is one valid byte.
            if unsafe { libc::write(file.as_raw_fd(), b"0".as_ptr().cast(), 1) } != 1 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes async-signal-safe calls only.
    unsafe { command.pre_exec(join) };
}

/// Makes every descriptor above 2 close on exec, so that trials start clean.
pub fn cloexec_all() {
    // SAFETY: close_range takes integers only.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Swaps two paths atomically.
pub fn exchange(one: &std::path::Path, other: &std::path::Path) -> std::io::Result<()> {
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        one,
        rustix::fs::CWD,
        other,
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .map_err(Into::into)
}

/// The calling thread's I/O priority, class and level in one number.
pub fn io_priority() -> i64 {
    // SAFETY: ioprio_get(IOPRIO_WHO_PROCESS, self) takes integers only.
    unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) }
}

/// Makes the system call of this number, without arguments; returns its errno.
pub fn call(number: i64) -> i32 {
    // SAFETY: for numbers that no kernel has; nothing is passed.
    let ret = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
    if ret == -1 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
}

/// The name of the session keyring this process has.
pub fn session_keyring() -> String {
    const KEYCTL_DESCRIBE: i32 = 6;
    const SESSION: i32 = -3;
    let mut text = [0u8; 256];
    // SAFETY: the kernel writes at most the length given into the buffer.
    let length = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_DESCRIBE, SESSION, text.as_mut_ptr(), text.len())
    };
    if length < 1 {
        return format!("{}", std::io::Error::last_os_error());
    }
    let text = String::from_utf8_lossy(&text[..length as usize - 1]).into_owned();
    text.rsplit(';').next().unwrap_or_default().to_owned()
}

/// The version of this kernel's Landlock; below 1 it has none.
pub fn landlock_abi() -> i64 {
    // SAFETY: without a rule set and with this flag (1) nothing is read or made.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) }
}

/// Whether this kernel gives a process a cookie for core scheduling.
pub fn has_core_scheduling() -> bool {
    let mut place = 0_u64;
    // SAFETY: PR_SCHED_CORE_GET (62, 0) of this thread, which writes a number there.
    unsafe { libc::prctl(62, 0, 0, 0, &raw mut place) == 0 }
}
