//! The instructions of 64-bit ARM.

use super::{Entry, nr};
use core::arch::asm;

/// As [`super::call6`] says.
pub unsafe fn call6(nr: usize, a: [usize; 6]) -> isize {
    let ret: isize;
    // SAFETY: the kernel keeps all registers but x0.
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr,
            inlateout("x0") a[0] as isize => ret,
            in("x1") a[1],
            in("x2") a[2],
            in("x3") a[3],
            in("x4") a[4],
            in("x5") a[5],
            options(nostack)
        );
    }
    ret
}

/// As [`super::clone_call`] says.
pub unsafe fn clone_call(flags: usize, stack: *mut u8, entry: Entry, arg: *mut u8) -> isize {
    let ret: isize;
    // SAFETY: the child leaves this frame at once; the parent continues behind the label.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, #0",
            "mov x30, #0",
            "mov x0, x10",
            "blr x11",
            "brk #1",
            "2:",
            in("x8") nr::CLONE,
            inlateout("x0") flags as isize => ret,
            in("x1") stack,
            in("x2") 0,
            in("x3") 0,
            in("x4") 0,
            in("x10") arg,
            in("x11") entry,
            lateout("x30") _,
        );
    }
    ret
}

/// As [`super::trap`] says.
pub unsafe fn trap() -> ! {
    // SAFETY: nothing is done behind it.
    unsafe { asm!("brk #1", options(noreturn, nostack)) }
}
