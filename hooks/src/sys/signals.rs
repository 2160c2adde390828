//! Signal masks and dispositions, by the kernel's own calls: the C library's
//! refuse its two internal signals.

use std::ptr;

/// Size in bytes of the kernel's signal set.
const SET: usize = 8;

/// The highest signal number.
const LAST: i32 = 64;

/// Blocks every signal until it is dropped, so that no handler of the caller
/// runs in a child that shares its memory.
pub(super) struct AllBlocked(u64);

impl AllBlocked {
    pub(super) fn new() -> Self {
        AllBlocked(set_mask(u64::MAX))
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        set_mask(self.0);
    }
}

/// Replaces the thread's signal mask and returns the one before.
pub(super) fn set_mask(mask: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: both pointers are to live u64s, the size of a kernel signal set;
    // the call cannot fail with these arguments.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &mask, &mut before, SET);
    }
    before
}

/// Sets every disposition to the default. Async-signal-safe; allocates nothing.
pub(super) fn default_dispositions() {
    // Zero is SIG_DFL, no flags, no restorer, an empty mask, on every architecture.
    let action = [0u64; 4];
    for signal in 1..=LAST {
        // SAFETY: `action` is as large as the kernel's sigaction and outlives
        // the call. KILL and STOP are refused, which changes nothing.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &action, ptr::null_mut::<u64>(), SET);
        }
    }
}

/// Has this process get a signal when its parent dies (`PR_SET_PDEATHSIG`). Without it nothing
/// but its end can be missed.
pub(super) fn signal_of_orphans(signal: i32) {
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
}

/// While it lives, SIGCHLD has its default disposition: a caller that was started with
/// SIGCHLD ignored would otherwise lose the exit status of every hook.
pub(crate) struct ReapableChildren(Option<libc::sigaction>);

impl ReapableChildren {
    pub(crate) fn new() -> Self {
        // SAFETY: a zeroed sigaction is SIG_DFL without flags; the pointers
        // are to live values and SIGCHLD is a valid signal.
        unsafe {
            let mut current: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGCHLD, ptr::null(), &mut current);
            let ignored = current.sa_sigaction == libc::SIG_IGN;
            if !ignored && current.sa_flags & libc::SA_NOCLDWAIT == 0 {
                return ReapableChildren(None);
            }
            let default: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGCHLD, &default, ptr::null_mut());
            ReapableChildren(Some(current))
        }
    }
}

impl Drop for ReapableChildren {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: `before` is what the kernel reported, and is put back.
            unsafe { libc::sigaction(libc::SIGCHLD, before, ptr::null_mut()) };
        }
    }
}
