//! System calls on 64-bit ARM: the instruction.

use core::arch::asm;

#[path = "nr_generic.rs"]
pub mod nr;

/// Performs system call `nr`.
///
/// # Safety
/// As the system call itself asks.
pub unsafe fn call(nr: usize, a: [usize; 5]) -> isize {
    // SAFETY: the caller's promise; a call that takes five does not look at the sixth.
    unsafe { call6(nr, [a[0], a[1], a[2], a[3], a[4], 0]) }
}

/// The same with six arguments.
///
/// # Safety
/// As the system call itself asks.
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

/// `clone(flags, stack)` whose child calls `entry(arg)` on that stack.
///
/// # Safety
/// `stack` is the 16-byte aligned top of memory that nothing else uses while the child
/// does; `entry` never returns.
pub unsafe fn clone_call(
    flags: usize,
    stack: *mut u8,
    entry: unsafe extern "C" fn(*mut u8) -> !,
    arg: *mut u8,
) -> isize {
    let ret: isize;
    // SAFETY: the child leaves this frame at once, on its own stack, for a function
    // that never returns; the parent continues behind the label.
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
