//! What the C library would give a program: `_start`, the copying functions that the
//! compiler calls, and what to do on a panic. Only the program contains this file.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm};
use rich_init::sys::Start;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "bl {start}",
    "brk #1",
    start = sym start,
);

// The linker may have made addresses relative to `gp` (RISC-V ELF psABI, "Global
// Pointer Relaxation"): it comes first.
#[cfg(target_arch = "riscv64")]
global_asm!(
    ".globl _start",
    "_start:",
    ".option push",
    ".option norelax",
    "la gp, __global_pointer$",
    ".option pop",
    "li s0, 0",
    "li ra, 0",
    "mv a0, sp",
    "andi sp, sp, -16",
    "call {start}",
    "unimp",
    start = sym start,
);

/// Called by `_start` with the address the kernel left in the stack pointer.
extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: `stack` is the initial stack pointer, where the kernel has put argc,
    // argv and the environment (System V ABI, "Process Initialization").
    let start = unsafe { Start::new(stack) };
    rich_init::sys::exit(super::run(start))
}

/// A fault of this program: says where, then ends (and with PID 1 the container).
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = match info.location() {
        Some(place) => (place.file(), place.line()),
        None => ("?", 0),
    };
    rich_init::message::Line::new("rich-init")
        .text("internal error at ")
        .text(file)
        .text(":")
        .number(u64::from(line))
        .write();
    rich_init::sys::exit(rich_init::options::OWN_FAILURE)
}

/// Named by the unwinding tables of the precompiled `core`; never called, panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As C's memcpy: `n` bytes from `src` to `dest`, which do not overlap.
///
/// # Safety
/// Both must be valid for `n` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { copy_up(dest, src, n) };
    dest
}

/// As C's memmove: as memcpy, but the two may overlap.
///
/// # Safety
/// Both must be valid for `n` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    if (dest as usize).wrapping_sub(src as usize) >= n {
        // SAFETY: the caller's promise; copying upwards, `dest` never reaches unread bytes.
        unsafe { copy_up(dest, src, n) };
        return dest;
    }
    let mut i = n;
    while i > 0 {
        i -= 1;
        // SAFETY: `i < n`, and the caller promised `n` bytes.
        unsafe { dest.add(i).write_volatile(src.add(i).read()) };
    }
    dest
}

/// As C's memset: fills `n` bytes with `byte`.
///
/// # Safety
/// `dest` must be valid for `n` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(dest: *mut u8, byte: i32, n: usize) -> *mut u8 {
    let mut i = 0;
    while i < n {
        // SAFETY: `i < n`, and the caller promised `n` bytes. Volatile, so that the
        // compiler does not make a call of memset out of this loop.
        unsafe { dest.add(i).write_volatile(byte as u8) };
        i += 1;
    }
    dest
}

/// As C's memcmp.
///
/// # Safety
/// Both must be valid for `n` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    let mut i = 0;
    while i < n {
        // SAFETY: `i < n`, and the caller promised `n` bytes.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
        i += 1;
    }
    0
}

/// As BSD's bcmp: zero when equal.
///
/// # Safety
/// Both must be valid for `n` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, n) }
}

/// As C's strlen.
///
/// # Safety
/// `text` must end in NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len = 0;
    // SAFETY: up to the NUL all bytes belong to the text.
    while unsafe { text.add(len).read_volatile() } != 0 {
        len += 1;
    }
    len
}

/// Copies upwards from the first byte.
///
/// # Safety
/// Both must be valid for `n` bytes.
unsafe fn copy_up(dest: *mut u8, src: *const u8, n: usize) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") n => _,
            inout("rdi") dest => _,
            inout("rsi") src => _,
            options(nostack, preserves_flags)
        );
    }
    // SAFETY: the caller's promise; an empty copy branches out at once.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "cbz {n}, 3f",
            "2:",
            "ldrb {t:w}, [{s}], #1",
            "strb {t:w}, [{d}], #1",
            "subs {n}, {n}, #1",
            "b.ne 2b",
            "3:",
            n = inout(reg) n => _,
            d = inout(reg) dest => _,
            s = inout(reg) src => _,
            t = out(reg) _,
            options(nostack)
        );
    }
    // SAFETY: as for 64-bit ARM.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        asm!(
            "beqz {n}, 3f",
            "2:",
            "lbu {t}, 0({s})",
            "addi {s}, {s}, 1",
            "sb {t}, 0({d})",
            "addi {d}, {d}, 1",
            "addi {n}, {n}, -1",
            "bnez {n}, 2b",
            "3:",
            n = inout(reg) n => _,
            d = inout(reg) dest => _,
            s = inout(reg) src => _,
            t = out(reg) _,
            options(nostack)
        );
    }
}
