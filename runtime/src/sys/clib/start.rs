//! From the kernel to `main`, and back.

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr::null_mut;

use super::{call, fail};

/// The environment: `environ(7)`.
#[allow(non_upper_case_globals)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) static mut environ: *mut *mut c_char = null_mut();

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: the caller gives a C string; the environment is the kernel's, or an array that
    // std has put in its place, and ends in null.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes();
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = CStr::from_ptr(*entry).to_bytes();
            if text.len() > name.len() && text[name.len()] == b'=' && text.starts_with(name) {
                return (*entry).add(name.len() + 1);
            }
            entry = entry.add(1);
        }
    }
    null_mut()
}

/// Ends the process; there is nothing to be done before (atexit(3) is not there).
pub(super) fn end(status: c_int) -> ! {
    loop {
        // SAFETY: only a number is passed.
        unsafe { call(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// The few settings that our packages ask for.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) extern "C" fn sysconf(name: c_int) -> c_long {
    match name {
        libc::_SC_PAGESIZE => 4096,
        // What the kernel tells user space on x86-64 (USER_HZ), whatever it ticks at.
        libc::_SC_CLK_TCK => 100,
        _ => fail(libc::EINVAL) as c_long,
    }
}

/// The unwinder asks where the program's tables are, for the backtrace of a fault of this
/// program. There is none: panics abort, and the message says where.
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn dl_iterate_phdr(_callback: *const c_void, _data: *mut c_void) -> c_int {
    0
}

/// As `dl_iterate_phdr`.
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn _dl_find_object(_address: *const c_void, _result: *mut c_void) -> c_int {
    -1
}

/// What the linker says of the program: the template of its thread-local memory, in
/// the program headers, and the functions that run before `main`.
#[cfg(not(test))]
mod program {
    use core::ffi::c_ulong;

    use super::*;

    unsafe extern "C" {
        static __ehdr_start: Header;
        static __init_array_start: [Initialiser; 0];
        static __init_array_end: [Initialiser; 0];
    }

    type Initialiser = unsafe extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char);
    type Main = unsafe extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;
    type Header = libc::Elf64_Ehdr;
    type Segment = libc::Elf64_Phdr;

    /// Thread-local memory, of the one thread: below the thread pointer what the program
    /// keeps there, above it what the compiler knows of (System V ABI for x86-64,
    /// "Thread-Local Storage"; the stack protector's word is at 0x28).
    #[repr(C, align(64))]
    struct Local {
        variables: [u8; LOCAL],
        itself: *const c_void,
        others: [usize; 4],
        canary: u64,
        more: [usize; 10],
    }
    const LOCAL: usize = 4096;

    static mut LOCALS: Local = Local {
        variables: [0; LOCAL],
        itself: core::ptr::null(),
        others: [0; 4],
        canary: 0,
        more: [0; 10],
    };

    /// Called by `_start`, of the C compiler's crt1.o. The other arguments are about
    /// dynamic linking, or older than `.init_array`.
    ///
    /// # Safety
    /// As the C compiler's `_start` calls it.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn __libc_start_main(main: Main, argc: c_int, argv: *mut *mut c_char) -> ! {
        // SAFETY: the kernel has put the environment behind the arguments, each ended by a
        // null, and behind it the auxiliary vector. The linker gives the array of functions
        // its ends. One thread, which is the first to use any of this.
        unsafe {
            let envp = argv.add(argc as usize + 1);
            environ = envp;
            set_thread_pointer(envp);
            let mut next = (&raw const __init_array_start).cast::<Initialiser>();
            while next != (&raw const __init_array_end).cast() {
                (*next)(argc, argv, envp);
                next = next.add(1);
            }
            end(main(argc, argv, envp))
        }
    }

    /// # Safety
    /// Called once, before anything that is thread-local is used.
    unsafe fn set_thread_pointer(envp: *mut *mut c_char) {
        // SAFETY: the linker says where the headers are, and of the template where it is, how
        // long, and how aligned; the memory is ours and long enough.
        unsafe {
            let header = &raw const __ehdr_start;
            let first = header.byte_add((*header).e_phoff as usize).cast::<Segment>();
            let locals = &raw mut LOCALS;
            for index in 0..usize::from((*header).e_phnum) {
                let segment = first.add(index).read();
                if segment.p_type == libc::PT_TLS {
                    let align = segment.p_align.max(1) as usize;
                    let size = (segment.p_memsz as usize).next_multiple_of(align);
                    if size > LOCAL || align > align_of::<Local>() {
                        core::arch::asm!("ud2", options(noreturn));
                    }
                    let place = (&raw mut (*locals).itself).cast::<u8>().sub(size);
                    let template = segment.p_vaddr as *const u8;
                    super::super::memory::memcpy(place, template, segment.p_filesz as usize);
                }
            }
            let thread = &raw mut (*locals).itself;
            *thread = thread.cast();
            (*locals).canary = random(envp);
            call(libc::SYS_arch_prctl, [ARCH_SET_FS, thread.addr(), 0, 0, 0, 0]);
        }
    }

    /// `asm/prctl.h`.
    const ARCH_SET_FS: usize = 0x1002;

    /// Eight of the kernel's random bytes (`AT_RANDOM`), the lowest zero, so that no C
    /// string can hold them.
    ///
    /// # Safety
    /// `envp` is the environment as the kernel put it, before the auxiliary vector.
    unsafe fn random(envp: *mut *mut c_char) -> u64 {
        // SAFETY: the caller's promise; the vector ends in AT_NULL.
        unsafe {
            let mut entry = envp;
            while !(*entry).is_null() {
                entry = entry.add(1);
            }
            let mut pair = entry.add(1).cast::<[c_ulong; 2]>();
            while (*pair)[0] != libc::AT_NULL {
                if (*pair)[0] == libc::AT_RANDOM {
                    return ((*pair)[1] as *const u64).read_unaligned() & !0xff;
                }
                pair = pair.add(1);
            }
        }
        0
    }
}
