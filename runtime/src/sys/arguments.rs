//! The command line and the environment as others see them (`/proc/PID/cmdline` and
//! `environ`): memory on the stack that the kernel has filled.
//!
//! A process that is born in a container is a copy of the runtime, and what its engine or
//! administrator has written there (`exec -e PASSWORD=...`) is nobody's business inside.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::raw::c_char;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Where it is; nothing, where nobody has said.
static START: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Notes where arguments and environment are.
///
/// # Safety
/// `argv` is what the kernel gave to this program: the arguments' pointers and a null, the
/// environment's and a null, all strings one behind the other.
pub unsafe fn remember(argv: *const *const c_char) {
    // SAFETY: the caller's promise.
    unsafe {
        let start = *argv;
        if start.is_null() {
            return;
        }
        let (mut at, mut last, mut nulls) = (argv, start, 0);
        while nulls < 2 {
            match (*at).is_null() {
                true => nulls += 1,
                false => last = *at,
            }
            at = at.add(1);
        }
        let end = last.add(CStr::from_ptr(last).to_bytes_with_nul().len());
        START.store(start.cast_mut().cast(), Ordering::Relaxed);
        LENGTH.store(end.addr().saturating_sub(start.addr()), Ordering::Relaxed);
    }
}

/// Where they are, and how long: nothing, where nobody has said.
pub(super) fn area() -> (*mut u8, usize) {
    let start = START.load(Ordering::Relaxed);
    match start.is_null() {
        true => (ptr::dangling_mut(), 0),
        false => (start, LENGTH.load(Ordering::Relaxed)),
    }
}

/// Wipes both: in a process that will not read them any more, or for a while.
pub fn wipe() {
    let (start, length) = area();
    // SAFETY: `remember`'s memory is this process's, writable, and stays as long as it lives;
    // whoever reads its strings afterwards finds empty ones.
    unsafe { ptr::write_bytes(start, 0, length) };
}
