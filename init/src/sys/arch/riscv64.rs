//! The instructions of 64-bit RISC-V.

use super::{Entry, nr};
use core::arch::asm;

/// As [`super::call6`] says.
pub unsafe fn call6(nr: usize, a: [usize; 6]) -> isize {
    let ret: isize;
    // SAFETY: the kernel keeps all registers but a0, and those of vectors.
    unsafe {
        asm!(
            "ecall",
            in("a7") nr,
            inlateout("a0") a[0] as isize => ret,
            in("a1") a[1],
            in("a2") a[2],
            in("a3") a[3],
            in("a4") a[4],
            in("a5") a[5],
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
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
            "ecall",
            "bnez a0, 2f",
            "li s0, 0",
            "mv a0, t0",
            "jalr t1",
            "unimp",
            "2:",
            in("a7") nr::CLONE,
            inlateout("a0") flags as isize => ret,
            in("a1") stack,
            in("a2") 0,
            in("a3") 0,
            in("a4") 0,
            in("t0") arg,
            in("t1") entry,
            lateout("ra") _,
        );
    }
    ret
}

/// As [`super::trap`] says.
pub unsafe fn trap() -> ! {
    // SAFETY: nothing is done behind it.
    unsafe { asm!("unimp", options(noreturn, nostack)) }
}
