//! The instructions of x86-64.

use super::{Entry, nr};
use core::arch::asm;

/// As [`super::call6`] says.
pub unsafe fn call6(nr: usize, a: [usize; 6]) -> isize {
    let ret: isize;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => ret,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            lateout("rcx") _,
            lateout("r11") _,
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
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") nr::CLONE as isize => ret,
            in("rdi") flags,
            in("rsi") stack,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            in("r12") arg,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    ret
}

/// As [`super::trap`] says.
pub unsafe fn trap() -> ! {
    // SAFETY: nothing is done behind it.
    unsafe { asm!("ud2", options(noreturn, nostack)) }
}
