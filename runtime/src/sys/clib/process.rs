//! Processes: their beginning, their end, and what they are.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};

use super::{answer, call, fail, start, system_calls};

system_calls! {
    fork = SYS_fork() -> c_int;
    execve = SYS_execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
    waitpid_status = SYS_wait4(pid: c_int, status: *mut c_int, options: c_int, usage: usize) -> c_int;
    getpid = SYS_getpid() -> c_int;
    setsid = SYS_setsid() -> c_int;
    setpgid = SYS_setpgid(pid: c_int, group: c_int) -> c_int;
    setuid = SYS_setuid(uid: c_uint) -> c_int;
    setgid = SYS_setgid(gid: c_uint) -> c_int;
    setgroups = SYS_setgroups(count: usize, groups: *const c_uint) -> c_int;
    chdir = SYS_chdir(path: *const c_char) -> c_int;
    chroot = SYS_chroot(path: *const c_char) -> c_int;
    prctl = SYS_prctl(operation: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int;
    personality = SYS_personality(persona: usize) -> c_int;
    getrlimit = SYS_getrlimit(resource: c_int, limit: *mut libc::rlimit) -> c_int;
    prlimit64 = SYS_prlimit64(pid: c_int, resource: c_int, new: *const libc::rlimit64, old: *mut libc::rlimit64) -> c_int;
    clock_gettime = SYS_clock_gettime(clock: c_int, time: *mut libc::timespec) -> c_int;
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int {
    // SAFETY: the caller's promise; no usage is asked for.
    unsafe { waitpid_status(pid, status, options, 0) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn waitid(
    kind: c_int,
    id: c_uint,
    info: *mut libc::siginfo_t,
    options: c_int,
) -> c_int {
    let arguments = [kind as usize, id as usize, info as usize, options as usize, 0, 0];
    // SAFETY: the caller's promise; no usage is asked for.
    answer(unsafe { call(libc::SYS_waitid, arguments) }) as c_int
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn _exit(status: c_int) -> ! {
    start::end(status)
}

/// Ends by SIGABRT, whatever was set for it.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn abort() -> ! {
    // SAFETY: all that the calls read is here; the process ends.
    unsafe {
        super::signals::signal(libc::SIGABRT, libc::SIG_DFL);
        let only = 1_u64 << (libc::SIGABRT - 1);
        let unblock = libc::SIG_UNBLOCK as usize;
        call(libc::SYS_rt_sigprocmask, [unblock, &raw const only as usize, 0, 8, 0, 0]);
        let own = call(libc::SYS_getpid, [0; 6]) as usize;
        call(libc::SYS_kill, [own, libc::SIGABRT as usize, 0, 0, 0, 0]);
    }
    // PID 1 of a namespace does not end by its own signal.
    start::end(127)
}

/// Looks a program up in PATH. Unlike glibc's, a file that is not executable in itself
/// is not handed to a shell.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn execvp(name: *const c_char, argv: *const *const c_char) -> c_int {
    // SAFETY: the caller promised a C string and an array of them; the environment is the
    // process's own.
    unsafe {
        let envp = start::environ.cast_const().cast::<*const c_char>();
        let wanted = CStr::from_ptr(name).to_bytes();
        if wanted.is_empty() {
            return fail(libc::ENOENT) as c_int;
        }
        if wanted.contains(&b'/') {
            return execve(name, argv, envp);
        }
        let path = start::getenv(c"PATH".as_ptr());
        let path: &[u8] =
            if path.is_null() { b"/bin:/usr/bin" } else { CStr::from_ptr(path).to_bytes() };
        let mut refused = false;
        for directory in path.split(|byte| *byte == b':') {
            let mut file = [0_u8; libc::PATH_MAX as usize];
            let size = directory.len() + 1 + wanted.len();
            if size >= file.len() {
                continue;
            }
            file[..directory.len()].copy_from_slice(directory);
            // An empty entry is the working directory.
            let slash = usize::from(!directory.is_empty());
            file[directory.len()] = b'/';
            let at = directory.len() + slash;
            file[at..at + wanted.len()].copy_from_slice(wanted);
            file[at + wanted.len()] = 0;
            execve(file.as_ptr().cast(), argv, envp);
            match *super::__errno_location() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => refused = true,
                _ => return -1,
            }
        }
        fail(if refused { libc::EACCES } else { libc::ENOENT }) as c_int
    }
}

// int clone(int (*fn)(void *), void *stack, int flags, void *arg, pid_t *parent_tid,
//           void *tls, pid_t *child_tid);
// The function and its argument go by the child's stack; all other registers are the
// same on both sides. What the function returns is the child's exit status.
#[cfg(not(test))]
core::arch::global_asm!(
    ".globl clone",
    "clone:",
    "and rsi, -16",
    "sub rsi, 16",
    "mov [rsi], rdi",
    "mov [rsi + 8], rcx",
    "movsxd rdi, edx",
    "mov rdx, r8",
    "mov r10, [rsp + 8]",
    "mov r8, r9",
    "mov eax, 56",
    "syscall",
    "test rax, rax",
    "jz 2f",
    "mov rdi, rax",
    "jmp {answer}",
    "2:",
    "xor ebp, ebp",
    "pop rax",
    "pop rdi",
    "call rax",
    "mov edi, eax",
    "mov eax, 60",
    "syscall",
    "ud2",
    answer = sym clone_answer,
);

#[cfg(not(test))]
extern "C" fn clone_answer(result: isize) -> c_int {
    answer(result) as c_int
}

/// Sleeps; the error, if any, is the result.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn clock_nanosleep(
    clock: c_int,
    flags: c_int,
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> c_int {
    let arguments = [clock as usize, flags as usize, time as usize, left as usize, 0, 0];
    // SAFETY: the caller's promise.
    -unsafe { call(libc::SYS_clock_nanosleep, arguments) } as c_int
}

/// The kernel tells how many bytes it wrote; the others are zero.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn sched_getaffinity(pid: c_int, size: usize, set: *mut u8) -> c_int {
    // SAFETY: the caller promised `size` bytes.
    unsafe {
        let written =
            call(libc::SYS_sched_getaffinity, [pid as usize, size, set as usize, 0, 0, 0]);
        let written = answer(written);
        if written < 0 {
            return -1;
        }
        set.add(written as usize).write_bytes(0, size - written as usize);
    }
    0
}

/// `long syscall(long number, ...)`: all that a call can take are passed on.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    // SAFETY: the caller's promise.
    answer(unsafe { call(number, [a, b, c, d, e, f]) }) as c_long
}

/// What std would use instead of fork and execve if this were a glibc that it trusts
/// with it ([`super::texts`] says that it is none): never called, and refused.
macro_rules! no_posix_spawn {
    ($($name:ident)*) => {$(
        #[cfg_attr(not(test), unsafe(no_mangle))]
        extern "C" fn $name() -> c_int {
            libc::ENOSYS
        }
    )*};
}
no_posix_spawn! {
    posix_spawnp
    posix_spawnattr_init
    posix_spawnattr_destroy
    posix_spawnattr_setflags
    posix_spawnattr_setpgroup
    posix_spawnattr_setsigdefault
    posix_spawn_file_actions_init
    posix_spawn_file_actions_destroy
    posix_spawn_file_actions_adddup2
}

/// std asks to be told when a thread ends, so as to drop what it kept for it. The only
/// thread ends with the process, where nothing is dropped: a key is a number, and
/// nobody asks for its value again.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pthread_key_create(key: *mut c_uint, _drop: *const c_void) -> c_int {
    // SAFETY: the caller gives a place for the key. 0 is a key that std asks to be replaced.
    unsafe { *key = 1 };
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn pthread_key_delete(_key: c_uint) -> c_int {
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn pthread_setspecific(_key: c_uint, _value: *const c_void) -> c_int {
    0
}
