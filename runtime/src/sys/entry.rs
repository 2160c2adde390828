//! Where the program begins: before the C library, and instead of std's start.
//! Only the program contains this file.
//!
//! [`first`] is the program's first instruction. It executes the runtime again
//! from a read-only mount of itself ([`richrun::launch::own_image`] says why)
//! before the C library is set up: that set-up asks the processor for its
//! features some fifty times (`cpuid`), each of them an exit to the hypervisor
//! on a virtual machine, 0.6 ms in all, and would be done twice. Whatever does
//! not work here is left to `own_image::protect`, which comes later and fails
//! closed.
#![allow(unsafe_code)]

#[cfg(own_clib)]
#[path = "clib/mod.rs"]
mod clib;

use std::os::raw::{c_char, c_int};

/// As the C library calls it. std's own start would read `/proc/self/maps` and
/// set a signal stack up, for a message on stack overflow.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: system calls on the three standard descriptors, signals' dispositions and the
    // mask; no other thread exists, and no memory is shared. `argv` is the kernel's.
    unsafe {
        richrun::sys::arguments::remember(argv);
        // What is opened later must not become a standard stream of the payload.
        for fd in 0..3 {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
        // A reader that has gone is an error of the write.
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        // Whatever the caller made of them: with SIGCHLD ignored no exit status is kept, and
        // a blocked request to end would not be heard.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut none: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, core::ptr::null_mut());
    }
    c_int::from(super::run())
}

#[cfg(all(
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod first {
    use core::arch::{asm, global_asm};

    #[cfg(target_arch = "x86_64")]
    global_asm!(
        ".pushsection .text.richrun_entry, \"ax\", @progbits",
        ".globl richrun_entry",
        "richrun_entry:",
        "xor ebp, ebp",
        "mov rdi, rsp",
        "mov rbx, rsp",
        "and rsp, -16",
        "call {first}",
        "mov rsp, rbx",
        "xor edx, edx",
        "jmp _start",
        ".popsection",
        first = sym first,
    );

    #[cfg(target_arch = "aarch64")]
    global_asm!(
        ".globl richrun_entry",
        "richrun_entry:",
        "mov x29, #0",
        "mov x30, #0",
        "mov x0, sp",
        "bl {first}",
        "mov x0, #0",
        "mov x29, #0",
        "mov x30, #0",
        "b _start",
        first = sym first,
    );

    // The linker may have made addresses relative to `gp` (RISC-V ELF psABI, "Global
    // Pointer Relaxation"): it comes first.
    #[cfg(target_arch = "riscv64")]
    global_asm!(
        ".globl richrun_entry",
        "richrun_entry:",
        ".option push",
        ".option norelax",
        "la gp, __global_pointer$",
        ".option pop",
        "li s0, 0",
        "li ra, 0",
        "mv a0, sp",
        "call {first}",
        "li a0, 0",
        "li s0, 0",
        "li ra, 0",
        "tail _start",
        first = sym first,
    );

    #[cfg(target_arch = "x86_64")]
    mod nr {
        pub const CLOSE: isize = 3;
        pub const EXECVEAT: isize = 322;
        pub const FACCESSAT2: isize = 439;
    }
    #[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
    mod nr {
        pub const CLOSE: isize = 57;
        pub const EXECVEAT: isize = 281;
        pub const FACCESSAT2: isize = 439;
    }
    const OPEN_TREE: isize = 428;
    const MOUNT_SETATTR: isize = 442;

    const AT_FDCWD: isize = -100;
    const AT_EMPTY_PATH: isize = 0x1000;
    const AT_EACCESS: isize = 0x200;
    const W_OK: isize = 2;
    const OPEN_TREE_CLONE: isize = 1;
    const O_CLOEXEC: isize = 0o2_000_000;

    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }

    /// Called with the address that the kernel left in the stack pointer. Nothing
    /// of the C library may be used here, nor any address that is relocated.
    extern "C" fn first(stack: *const usize) {
        // SAFETY: the kernel has put argc, argv and the environment there
        // (System V ABI, "Process Initialization"); all of it is only read.
        unsafe {
            let argc = *stack;
            let argv = stack.add(1).cast::<*const u8>();
            let mut enters = false;
            for index in 1..argc {
                enters |= is_launch(*argv.add(index));
            }
            if enters {
                protect(argv, argv.add(argc + 1));
            }
        }
    }

    /// Whether an argument is the name of a command that enters a container.
    /// Some other argument may be the same word: nothing is lost.
    ///
    /// # Safety
    /// `word` is a C string.
    unsafe fn is_launch(word: *const u8) -> bool {
        // SAFETY: a byte is read only after all before it were found to be none
        // of them the end.
        unsafe {
            let is = |at: usize, byte: u8| *word.add(at) == byte;
            let end = |at: usize| *word.add(at) == 0;
            (is(0, b'r') && is(1, b'u') && is(2, b'n') && end(3))
                || (is(0, b'e') && is(1, b'x') && is(2, b'e') && is(3, b'c') && end(4))
                || (is(0, b'c')
                    && is(1, b'r')
                    && is(2, b'e')
                    && is(3, b'a')
                    && is(4, b't')
                    && is(5, b'e')
                    && end(6))
        }
    }

    /// Executes this program from a read-only mount; returns if it runs from one
    /// already, or that cannot be done.
    ///
    /// # Safety
    /// Both are null-terminated arrays of C strings.
    unsafe fn protect(argv: *const *const u8, env: *const *const u8) {
        const EROFS: isize = -30;
        let exe = c"/proc/self/exe".as_ptr() as isize;
        let empty = c"".as_ptr() as isize;
        let attr = MountAttr { set: 1, clear: 0, propagation: 0, userns_fd: 0 };
        // SAFETY: every pointer is to a C string, an array of them or a
        // mount_attr of the size given, and outlives its call.
        unsafe {
            if call(nr::FACCESSAT2, [AT_FDCWD, exe, W_OK, AT_EACCESS, 0]) == EROFS {
                return;
            }
            let tree = call(OPEN_TREE, [AT_FDCWD, exe, OPEN_TREE_CLONE | O_CLOEXEC, 0, 0]);
            if tree < 0 {
                return;
            }
            let size = size_of::<MountAttr>() as isize;
            let attr = &raw const attr as isize;
            if call(MOUNT_SETATTR, [tree, empty, AT_EMPTY_PATH, attr, size]) == 0 {
                call(nr::EXECVEAT, [tree, empty, argv as isize, env as isize, AT_EMPTY_PATH]);
            }
            call(nr::CLOSE, [tree, 0, 0, 0, 0]);
        }
    }

    /// A system call; its result or the negative errno.
    ///
    /// # Safety
    /// As the call asks.
    unsafe fn call(number: isize, a: [isize; 5]) -> isize {
        let result: isize;
        // SAFETY: the kernel's calling convention; the caller vouches for the rest.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") a[0],
                in("rsi") a[1],
                in("rdx") a[2],
                in("r10") a[3],
                in("r8") a[4],
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!(
                "svc 0",
                in("x8") number,
                inlateout("x0") a[0] => result,
                in("x1") a[1],
                in("x2") a[2],
                in("x3") a[3],
                in("x4") a[4],
                options(nostack)
            );
        }
        // SAFETY: as above; nothing here is in a vector register.
        #[cfg(target_arch = "riscv64")]
        unsafe {
            asm!(
                "ecall",
                in("a7") number,
                inlateout("a0") a[0] => result,
                in("a1") a[1],
                in("a2") a[2],
                in("a3") a[3],
                in("a4") a[4],
                options(nostack)
            );
        }
        result
    }
}
