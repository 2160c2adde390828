//! Descriptors by number: what the services' PID 1 waits for, reads and writes.

use super::arch::{call, nr};
use super::{Errno, Result, check};
use crate::signals::SignalSet;
use crate::time::{FOREVER, Millis};
use core::ffi::CStr;

/// No descriptor.
pub const NONE: i32 = -1;
const CLOEXEC: usize = 0o2000000;
const NONBLOCK: usize = 0o4000;
const AT_FDCWD: usize = -100_isize as usize;

/// What is waited for (struct pollfd).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Poll {
    /// The descriptor; a negative one is skipped.
    pub fd: i32,
    /// What is wanted.
    pub wanted: i16,
    /// What there is.
    pub seen: i16,
}

/// Something can be read.
pub const READABLE: i16 = 1;
/// Something can be written.
pub const WRITABLE: i16 = 4;
/// Nothing: only an end is waited for, which is always told.
pub const END_ONLY: i16 = 0;

/// Waits until one of them is ready, at most `timeout` (ppoll(2)); how many are. An
/// interruption, or no memory for the moment, is as good as the end of that time.
///
/// # Errors
/// What else the kernel or a seccomp filter answers.
pub fn poll(fds: &mut [Poll], timeout: Millis) -> Result<usize> {
    let spec = [(timeout / 1000) as i64, (timeout % 1000) as i64 * 1_000_000];
    let spec = if timeout == FOREVER { 0 } else { spec.as_ptr() as usize };
    // SAFETY: the array is as long as said; the time is two 64-bit numbers or null; both
    // live through the call.
    let ret = unsafe { call(nr::PPOLL, [fds.as_mut_ptr() as usize, fds.len(), spec, 0, 8]) };
    match check(ret) {
        Err(Errno::EINTR | Errno::EAGAIN | Errno::ENOMEM) => Ok(0),
        polled => polled,
    }
}

/// A descriptor from which signals are read (signalfd(2)).
pub fn signals(set: SignalSet) -> Result<i32> {
    // SAFETY: an 8-byte set that lives through the call.
    fd(unsafe {
        call(nr::SIGNALFD4, [usize::MAX, &raw const set.0 as usize, 8, CLOEXEC | NONBLOCK, 0])
    })
}

/// Reads one signal: its number, and whether a process sent it.
pub fn read_signal(from: i32) -> Option<(u8, bool)> {
    let mut info = [0_u8; 128];
    (read(from, &mut info) == Ok(128))
        .then(|| (info[0], i32::from_le_bytes([info[8], info[9], info[10], info[11]]) <= 0))
}

/// A pipe: read end (which does not block) and write end.
pub fn pipe() -> Result<(i32, i32)> {
    let mut ends = [0_i32; 2];
    // SAFETY: room for two descriptors, through the call.
    check(unsafe { call(nr::PIPE2, [ends.as_mut_ptr() as usize, CLOEXEC, 0, 0, 0]) })?;
    // SAFETY: F_SETFL with a number.
    unsafe { call(nr::FCNTL, [ends[0] as usize, 4, NONBLOCK, 0, 0]) };
    Ok((ends[0], ends[1]))
}

/// Closes a descriptor, if it is one, and forgets it.
pub fn close(number: &mut i32) {
    if *number >= 0 {
        // SAFETY: closes one descriptor, whose number nobody keeps.
        unsafe { call(nr::CLOSE, [*number as usize, 0, 0, 0, 0]) };
    }
    *number = NONE;
}

/// Whether a descriptor survives execve(2).
pub fn close_on_exec(number: i32, on: bool) {
    // SAFETY: F_SETFD with a number.
    unsafe { call(nr::FCNTL, [number as usize, 2, usize::from(on), 0, 0]) };
}

/// Reads once.
pub fn read(from: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most as many bytes as there are.
    check(unsafe {
        call(nr::READ, [from as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0])
    })
}

/// Writes at an offset, once.
pub fn write_at(to: i32, bytes: &[u8], offset: u64) -> Result<usize> {
    // SAFETY: the kernel reads as many bytes as there are.
    check(unsafe {
        let args = [to as usize, bytes.as_ptr() as usize, bytes.len(), offset as usize, 0];
        call(nr::PWRITE64, args)
    })
}

/// Opens a file: for reading, or for appending (made if missing, 0640).
pub fn open(path: &CStr, append: bool) -> Result<i32> {
    const O_NOCTTY: usize = 0o400;
    let write = 1 | 0o100 | 0o2000 | NONBLOCK;
    let flags = CLOEXEC | O_NOCTTY | if append { write } else { NONBLOCK };
    // SAFETY: a path that ends in NUL, through the call.
    let file =
        fd(unsafe { call(nr::OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags, 0o640, 0]) })?;
    if append {
        // Only opening it must not wait (a FIFO that nobody reads); a service that writes to
        // a pipe or a terminal expects to wait, and would lose what does not fit.
        // SAFETY: F_SETFL with numbers.
        unsafe { call(nr::FCNTL, [file as usize, 4, 0o2000, 0, 0]) };
    }
    Ok(file)
}

/// Opens for reading and writing: `/dev/null`.
pub fn open_both(path: &CStr) -> Result<i32> {
    // SAFETY: a path that ends in NUL, through the call.
    fd(unsafe { call(nr::OPENAT, [AT_FDCWD, path.as_ptr() as usize, CLOEXEC | 2, 0, 0]) })
}

/// A file in memory.
pub fn memory(name: &CStr) -> Result<i32> {
    // SAFETY: a name that ends in NUL, through the call; 1 is MFD_CLOEXEC.
    fd(unsafe { call(nr::MEMFD_CREATE, [name.as_ptr() as usize, 1, 0, 0, 0]) })
}

/// A descriptor that tells of changed files (inotify(7)).
pub fn watcher() -> Result<i32> {
    // SAFETY: a number.
    fd(unsafe { call(nr::INOTIFY_INIT1, [CLOEXEC | NONBLOCK, 0, 0, 0, 0]) })
}

/// Watches a file or directory for changes of content or entries; the watch's number.
pub fn watch(watcher: i32, path: &CStr) -> Result<i32> {
    // CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF.
    const MASK: usize = 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800;
    // SAFETY: a path that ends in NUL, through the call.
    fd(unsafe {
        call(nr::INOTIFY_ADD_WATCH, [watcher as usize, path.as_ptr() as usize, MASK, 0, 0])
    })
}

/// Removes a file.
pub fn unlink(path: &CStr) {
    // SAFETY: a path that ends in NUL, through the call.
    unsafe { call(nr::UNLINKAT, [AT_FDCWD, path.as_ptr() as usize, 0, 0, 0]) };
}

/// Gives a file to a user and group.
pub fn give(path: &CStr, user: u32, group: u32) -> Result<()> {
    // SAFETY: a path that ends in NUL, through the call.
    check(unsafe {
        let path = path.as_ptr() as usize;
        call(nr::FCHOWNAT, [AT_FDCWD, path, user as usize, group as usize, 0])
    })
    .map(drop)
}

/// Sets the file mode creation mask; the one before.
pub fn mask_files(mask: u32) -> u32 {
    // SAFETY: a number.
    unsafe { call(nr::UMASK, [mask as usize, 0, 0, 0, 0]) as u32 }
}

fn fd(ret: isize) -> Result<i32> {
    check(ret).map(|number| number as i32)
}

impl Errno {
    /// Would block.
    pub const EAGAIN: Errno = Errno(11);
    /// Under way (connect(2)).
    pub const EINPROGRESS: Errno = Errno(115);
}
