//! System calls on 64-bit ARM: the instruction, and the numbers (`asm-generic/unistd.h`).

use core::arch::asm;

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

/// System call numbers.
#[allow(missing_docs)]
pub mod nr {
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const INOTIFY_INIT1: usize = 26;
    pub const INOTIFY_ADD_WATCH: usize = 27;
    pub const IOCTL: usize = 29;
    pub const UNLINKAT: usize = 35;
    pub const CHDIR: usize = 49;
    pub const FCHOWNAT: usize = 54;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const PIPE2: usize = 59;
    pub const GETDENTS64: usize = 61;
    pub const LSEEK: usize = 62;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PWRITE64: usize = 68;
    pub const PPOLL: usize = 73;
    pub const SIGNALFD4: usize = 74;
    pub const CAPSET: usize = 91;
    pub const EXIT_GROUP: usize = 94;
    pub const WAITID: usize = 95;
    pub const CLOCK_GETTIME: usize = 113;
    pub const KILL: usize = 129;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const SETRESUID: usize = 147;
    pub const SETRESGID: usize = 149;
    pub const SETPGID: usize = 154;
    pub const SETSID: usize = 157;
    pub const SETGROUPS: usize = 159;
    pub const UMASK: usize = 166;
    pub const PRCTL: usize = 167;
    pub const GETPID: usize = 172;
    pub const SOCKET: usize = 198;
    pub const BIND: usize = 200;
    pub const LISTEN: usize = 201;
    pub const CONNECT: usize = 203;
    pub const SENDTO: usize = 206;
    pub const RECVFROM: usize = 207;
    pub const GETSOCKOPT: usize = 209;
    pub const SENDMSG: usize = 211;
    pub const RECVMSG: usize = 212;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
    pub const ACCEPT4: usize = 242;
    pub const WAIT4: usize = 260;
    pub const PRLIMIT64: usize = 261;
    pub const MEMFD_CREATE: usize = 279;
    pub const CLOSE_RANGE: usize = 436;
}
