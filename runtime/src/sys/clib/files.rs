//! Files, directories, descriptors, sockets.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr::null_mut;

use super::{answer, call, fail, memory, system_calls};

type Flags = c_int;

system_calls! {
    open = SYS_open(path: *const c_char, flags: Flags, mode: c_uint) -> c_int;
    open64 = SYS_open(path: *const c_char, flags: Flags, mode: c_uint) -> c_int;
    openat64 = SYS_openat(dir: c_int, path: *const c_char, flags: Flags, mode: c_uint) -> c_int;
    read = SYS_read(fd: c_int, buffer: *mut c_void, size: usize) -> isize;
    write = SYS_write(fd: c_int, buffer: *const c_void, size: usize) -> isize;
    writev = SYS_writev(fd: c_int, pieces: *const libc::iovec, count: c_int) -> isize;
    close = SYS_close(fd: c_int) -> c_int;
    lseek64 = SYS_lseek(fd: c_int, offset: i64, whence: c_int) -> i64;
    stat64 = SYS_stat(path: *const c_char, stat: *mut libc::stat64) -> c_int;
    lstat64 = SYS_lstat(path: *const c_char, stat: *mut libc::stat64) -> c_int;
    fstat = SYS_fstat(fd: c_int, stat: *mut libc::stat) -> c_int;
    fstat64 = SYS_fstat(fd: c_int, stat: *mut libc::stat64) -> c_int;
    fstatat64 = SYS_newfstatat(dir: c_int, path: *const c_char, stat: *mut libc::stat64, flags: Flags) -> c_int;
    readlink = SYS_readlink(path: *const c_char, buffer: *mut c_char, size: usize) -> isize;
    unlink = SYS_unlink(path: *const c_char) -> c_int;
    unlinkat = SYS_unlinkat(dir: c_int, path: *const c_char, flags: Flags) -> c_int;
    rename = SYS_rename(from: *const c_char, to: *const c_char) -> c_int;
    symlink = SYS_symlink(target: *const c_char, path: *const c_char) -> c_int;
    mkdir = SYS_mkdir(path: *const c_char, mode: libc::mode_t) -> c_int;
    mount = SYS_mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: usize, data: *const c_void) -> c_int;
    dup2 = SYS_dup2(from: c_int, to: c_int) -> c_int;
    fcntl = SYS_fcntl(fd: c_int, operation: c_int, argument: usize) -> c_int;
    ioctl = SYS_ioctl(fd: c_int, operation: usize, argument: usize) -> c_int;
    poll = SYS_poll(fds: *mut libc::pollfd, count: usize, timeout: c_int) -> c_int;
    pipe2 = SYS_pipe2(fds: *mut c_int, flags: Flags) -> c_int;
    socketpair = SYS_socketpair(domain: c_int, kind: c_int, protocol: c_int, fds: *mut c_int) -> c_int;
    sendmsg = SYS_sendmsg(fd: c_int, message: *const libc::msghdr, flags: Flags) -> isize;
    recvmsg = SYS_recvmsg(fd: c_int, message: *mut libc::msghdr, flags: Flags) -> isize;
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn recv(
    fd: c_int,
    buffer: *mut c_void,
    size: usize,
    flags: Flags,
) -> isize {
    let arguments = [fd as usize, buffer as usize, size, flags as usize, 0, 0];
    // SAFETY: the caller's promise; no address is asked for.
    answer(unsafe { call(libc::SYS_recvfrom, arguments) })
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn isatty(fd: c_int) -> c_int {
    // As large as the kernel's largest: `struct termios2`.
    let mut settings = [0_u8; 64];
    // SAFETY: TCGETS fills a `struct termios`, which is smaller.
    let result = unsafe { ioctl(fd, libc::TCGETS as usize, settings.as_mut_ptr() as usize) };
    c_int::from(result == 0)
}

/// With no buffer given, one is allocated (an extension that std does not use): refused.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn getcwd(buffer: *mut c_char, size: usize) -> *mut c_char {
    if buffer.is_null() {
        fail(libc::EINVAL);
        return null_mut();
    }
    // SAFETY: the caller's promise.
    let length = answer(unsafe { call(libc::SYS_getcwd, [buffer as usize, size, 0, 0, 0, 0]) });
    // SAFETY: the kernel wrote at least one byte.
    if length > 0 && unsafe { *buffer } == b'/' as c_char {
        return buffer;
    }
    if length >= 0 {
        // "(unreachable)": outside the root directory.
        fail(libc::ENOENT);
    }
    null_mut()
}

/// By the kernel's own look-up: the path is opened, and its name read in /proc. A path
/// that has been removed meanwhile reads as another one: the two are compared.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn realpath(
    path: *const c_char,
    resolved: *mut c_char,
) -> *mut c_char {
    const MAX: usize = libc::PATH_MAX as usize;
    let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    let mut name = [0_u8; MAX];
    // SAFETY: the caller promised a C string; the others end in NUL here; both structures
    // are plain data.
    let found = unsafe {
        let fd = open(path, libc::O_PATH | libc::O_CLOEXEC, 0);
        if fd < 0 {
            return null_mut();
        }
        decimal(fd as u32, &mut link[14..]);
        let length = readlink(link.as_ptr().cast(), name.as_mut_ptr().cast(), MAX - 1);
        let (mut opened, mut named) = (core::mem::zeroed(), core::mem::zeroed());
        let looked = length > 0
            && fstat64(fd, &raw mut opened) == 0
            && stat64(name.as_ptr().cast(), &raw mut named) == 0;
        close(fd);
        if looked && (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino) {
            fail(libc::ENOENT);
        }
        looked && (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)
    };
    if !found {
        return null_mut();
    }
    let size = name.iter().position(|byte| *byte == 0).unwrap_or(MAX - 1) + 1;
    // SAFETY: the caller promised PATH_MAX bytes, or they are allocated here.
    unsafe {
        let resolved = if resolved.is_null() { memory::malloc(size).cast() } else { resolved };
        if !resolved.is_null() {
            core::ptr::copy_nonoverlapping(name.as_ptr().cast(), resolved, size);
        }
        resolved
    }
}

/// Writes a number in decimal; returns how many digits it has.
pub(super) fn decimal(number: u32, text: &mut [u8]) -> usize {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = number;
    for place in text[..digits].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// A directory that is read.
pub(super) struct Dir {
    fd: c_int,
    /// Where the next entry begins in `entries`, and where the last one ends.
    next: usize,
    end: usize,
    entries: Entries,
}

/// The kernel's records are `struct dirent64`s.
#[repr(C, align(8))]
struct Entries([u8; 2048]);

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn opendir(path: *const c_char) -> *mut Dir {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the caller's promise; the descriptor is ours.
    unsafe {
        let fd = open(path, flags, 0);
        if fd < 0 { null_mut() } else { fdopendir(fd) }
    }
}

/// That it is a directory shows when it is read.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn fdopendir(fd: c_int) -> *mut Dir {
    // SAFETY: nothing but numbers is in it, and all of them may be 0.
    unsafe {
        let dir: *mut Dir = memory::calloc(1, size_of::<Dir>()).cast();
        if !dir.is_null() {
            (*dir).fd = fd;
        }
        dir
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn readdir64(dir: *mut Dir) -> *mut libc::dirent64 {
    // SAFETY: `opendir` or `fdopendir` made it, and nothing else looks at it meanwhile.
    let dir = unsafe { &mut *dir };
    if dir.next == dir.end {
        let entries = dir.entries.0.as_mut_ptr();
        let arguments = [dir.fd as usize, entries as usize, size_of::<Entries>(), 0, 0, 0];
        // SAFETY: the kernel writes at most as many bytes as there are.
        let read = answer(unsafe { call(libc::SYS_getdents64, arguments) });
        if read <= 0 {
            return null_mut();
        }
        (dir.next, dir.end) = (0, read as usize);
    }
    // SAFETY: the kernel put a whole record there, aligned to 8.
    unsafe {
        let entry: *mut libc::dirent64 = dir.entries.0.as_mut_ptr().add(dir.next).cast();
        dir.next += usize::from((*entry).d_reclen);
        entry
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn dirfd(dir: *mut Dir) -> c_int {
    // SAFETY: as in `readdir64`.
    unsafe { (*dir).fd }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn closedir(dir: *mut Dir) -> c_int {
    // SAFETY: as in `readdir64`; nobody uses it after this.
    unsafe {
        let result = close((*dir).fd);
        memory::free(dir.cast());
        result
    }
}
