//! The C library of the program: as much of one as std and our packages ask for,
//! and no start-up.
//!
//! glibc's start asks the processor some fifty times for its features (`cpuid`) to
//! choose among its copying functions. On a virtual machine each is an exit to the
//! hypervisor: 0.3 to 0.6 ms in all, in every process, where a whole `exec` takes 2
//! (docs/design.md, "Speed"). Nothing in glibc switches that off. What the program
//! uses of a C library is some hundred functions, most of them one system call; they
//! are here, under their C names, and so the linker takes them before glibc's.
//! Whatever a later std asks for beyond them still comes from glibc, which mostly works
//! without its start; the test `nothing_comes_from_glibc` tells when that begins.
//!
//! One thread is assumed: the program never makes a second one, and what glibc
//! keeps per thread (`errno`) is kept once here. Every function does what its manual
//! page in section 2 or 3 says; only what differs is written down.
//!
//! Only the program contains these files, built for release on x86-64, and the unit
//! tests (under Rust names, and compared with the real ones).
#![allow(unsafe_code)]
#![cfg_attr(test, allow(dead_code))]

mod files;
mod memory;
mod process;
mod signals;
mod start;
#[cfg(test)]
mod tests;
mod texts;

use core::ffi::c_int;

/// The error of the last call that failed: `errno(3)`.
static mut ERRNO: c_int = 0;

#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn __errno_location() -> *mut c_int {
    &raw mut ERRNO
}

fn set_errno(errno: c_int) {
    // SAFETY: one thread; nobody keeps a reference to it, and what a child that shares
    // this memory writes (vfork) is written while this process waits.
    unsafe { ERRNO = errno }
}

/// A failure, as the functions of the C library tell it.
fn fail(errno: c_int) -> isize {
    set_errno(errno);
    -1
}

/// The result of a system call, as the functions of the C library give it back.
fn answer(result: isize) -> isize {
    // No errno is larger (kernel: MAX_ERRNO).
    if (-4095..0).contains(&result) { fail(-result as c_int) } else { result }
}

/// A system call; its result, or a negative errno.
///
/// # Safety
/// As the call asks.
unsafe fn call(number: i64, a: [usize; 6]) -> isize {
    // SAFETY: the caller's promise.
    unsafe { rich_init::sys::call6(number as usize, a) }
}

/// Functions that are one system call each, with the same arguments: `name = NUMBER:
/// fn(argument: type, ...) -> type`. Those that C declares with a variable number of
/// arguments are here with the most that the call takes: the calling convention is
/// the same, and the kernel looks at no argument more than the operation needs.
macro_rules! system_calls {
    ($($name:ident = $number:ident ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        #[cfg_attr(not(test), unsafe(no_mangle))]
        pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: the caller's promise, as the manual page asks it.
            super::answer(unsafe {
                super::call(libc::$number, super::arguments([$($argument as usize),*]))
            }) as $result
        }
    )*};
}
use system_calls;

/// As many arguments as there are, and nothing for the others.
fn arguments<const N: usize>(given: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&given);
    all
}
