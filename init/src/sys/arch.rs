//! System calls: what they are on every architecture. A file for each has the instructions.

#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "arch/riscv64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
mod instructions;
#[cfg_attr(target_arch = "x86_64", path = "arch/nr_x86_64.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "arch/nr_generic.rs")]
pub mod nr;

/// Where a child begins; it never returns.
pub type Entry = unsafe extern "C" fn(*mut u8) -> !;

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
    // SAFETY: the caller's promise.
    unsafe { instructions::call6(nr, a) }
}

/// Ends this process by a signal that it can neither block nor ignore, PID 1 too.
pub fn trap() -> ! {
    // SAFETY: the instruction is undefined or a breakpoint: the kernel ends the process.
    unsafe { instructions::trap() }
}

/// `clone(flags, stack)` whose child calls `entry(arg)` on that stack.
///
/// # Safety
/// `stack` is the 16-byte aligned top of memory that nothing else uses while the child
/// does; `entry` may be called with `arg`.
pub unsafe fn clone_call(flags: usize, stack: *mut u8, entry: Entry, arg: *mut u8) -> isize {
    // SAFETY: the caller's promise.
    unsafe { instructions::clone_call(flags, stack, entry, arg) }
}
