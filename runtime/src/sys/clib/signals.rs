//! Signals: sets of them, their dispositions, waiting.

use core::ffi::{c_int, c_ulong};
use core::ptr::{null, null_mut};

use libc::{sighandler_t, sigset_t};

use super::{answer, call, fail, system_calls};

/// Bytes of a set that the kernel knows: 64 signals.
const KERNEL_SET: usize = 8;

system_calls! {
    pause = SYS_pause() -> c_int;
}

/// The first word of a set: all that the kernel looks at.
fn word(set: *mut sigset_t) -> *mut u64 {
    set.cast()
}

/// The signal's bit.
fn bit(signal: c_int) -> Option<u64> {
    (1..=64).contains(&signal).then(|| 1 << (signal - 1))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sigemptyset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller gives a set.
    unsafe { set.write_bytes(0, 1) };
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sigfillset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller gives a set.
    unsafe { set.write_bytes(0xff, 1) };
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sigaddset(set: *mut sigset_t, signal: c_int) -> c_int {
    let Some(bit) = bit(signal) else { return fail(libc::EINVAL) as c_int };
    // SAFETY: the caller gives a set.
    unsafe { *word(set) |= bit };
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sigdelset(set: *mut sigset_t, signal: c_int) -> c_int {
    let Some(bit) = bit(signal) else { return fail(libc::EINVAL) as c_int };
    // SAFETY: the caller gives a set.
    unsafe { *word(set) &= !bit };
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sigprocmask(
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    // SAFETY: the caller's promise.
    answer(unsafe { mask(how, set, old) }) as c_int
}

/// The error, if any, is the result.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    // SAFETY: the caller's promise.
    -unsafe { mask(how, set, old) } as c_int
}

/// # Safety
/// As sigprocmask(2) asks.
unsafe fn mask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> isize {
    // SAFETY: the caller's promise; what the kernel does not write of the old set is zero.
    unsafe {
        let (set, known) = (set as usize, old as usize);
        let result = call(libc::SYS_rt_sigprocmask, [how as usize, set, known, KERNEL_SET, 0, 0]);
        if result == 0 && !old.is_null() {
            word(old).add(1).write_bytes(0, size_of::<sigset_t>() / 8 - 1);
        }
        result
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn signalfd(fd: c_int, set: *const sigset_t, flags: c_int) -> c_int {
    let arguments = [fd as usize, set as usize, KERNEL_SET, flags as usize, 0, 0];
    // SAFETY: the caller's promise.
    answer(unsafe { call(libc::SYS_signalfd4, arguments) }) as c_int
}

/// A disposition, as the kernel has it.
#[repr(C)]
struct Action {
    handler: usize,
    flags: c_ulong,
    restorer: usize,
    mask: u64,
}

/// The kernel keeps where a handler returns to.
const SA_RESTORER: c_ulong = 0x0400_0000;

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    let mut before = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: the caller gives structures or null; ours are the kernel's (`struct sigaction`
    // in asm/signal.h), and outlive the call.
    unsafe {
        let after = new.as_ref().map(|new| Action {
            handler: new.sa_sigaction,
            flags: new.sa_flags as u32 as c_ulong | SA_RESTORER,
            restorer: restorer as *const () as usize,
            mask: *(&raw const new.sa_mask).cast(),
        });
        let after = after.as_ref().map_or(null(), core::ptr::from_ref);
        let known = if old.is_null() { null_mut() } else { &raw mut before };
        let arguments = [signal as usize, after as usize, known as usize, KERNEL_SET, 0, 0];
        if answer(call(libc::SYS_rt_sigaction, arguments)) < 0 {
            return -1;
        }
        if !old.is_null() {
            old.write_bytes(0, 1);
            (*old).sa_sigaction = before.handler;
            (*old).sa_flags = before.flags as c_int;
            *(&raw mut (*old).sa_mask).cast() = before.mask;
        }
    }
    0
}

unsafe extern "C" {
    /// Where a handler returns to: rt_sigreturn(2), on the stack that the kernel made.
    #[link_name = "richrun_restorer"]
    fn restorer();
}

core::arch::global_asm!(
    ".globl richrun_restorer",
    "richrun_restorer:",
    "mov eax, 15",
    "syscall",
    "ud2",
);

/// As BSD has it: calls are restarted, and the handler stays.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    // SAFETY: plain data, zero of which is valid; both outlive the call.
    unsafe {
        let mut new: libc::sigaction = core::mem::zeroed();
        let mut old: libc::sigaction = core::mem::zeroed();
        new.sa_sigaction = handler;
        new.sa_flags = libc::SA_RESTART;
        if sigaction(signal, &raw const new, &raw mut old) < 0 {
            return libc::SIG_ERR;
        }
        old.sa_sigaction
    }
}
