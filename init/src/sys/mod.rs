//! System calls of PID 1, each a thin safe function; errors are errno values.
//!
//! Raw calls rather than a library's: the program has no C library, and the runtime's
//! build script compiles it without any dependency.
#![allow(unsafe_code)]

mod arch;
pub mod bump;
mod child;
pub mod descriptors;
pub mod needs;
pub mod payload_unit;
pub mod service;
pub mod sockets;
mod spawn;
mod start;

use crate::signals::SignalSet;
use crate::time::{FOREVER, Millis};
use arch::{call, nr};

pub use arch::call6;

pub use spawn::{Failure, Spawn, Step, spawn};
pub use start::Start;

/// An errno value as the kernel returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// No such file or directory.
    pub const ENOENT: Errno = Errno(2);
    /// Operation not permitted.
    pub const EPERM: Errno = Errno(1);
    /// No such process.
    pub const ESRCH: Errno = Errno(3);
    /// Interrupted.
    pub const EINTR: Errno = Errno(4);
    /// Argument list too long.
    pub const E2BIG: Errno = Errno(7);
    /// Not an executable format.
    pub const ENOEXEC: Errno = Errno(8);
    /// No child processes.
    pub const ECHILD: Errno = Errno(10);
    /// Out of memory.
    pub const ENOMEM: Errno = Errno(12);
    /// Permission denied.
    pub const EACCES: Errno = Errno(13);
    /// Not a directory.
    pub const ENOTDIR: Errno = Errno(20);
    /// Too many open files, of the system.
    pub const ENFILE: Errno = Errno(23);
    /// Too many open files, of this process.
    pub const EMFILE: Errno = Errno(24);
    /// File name too long.
    pub const ENAMETOOLONG: Errno = Errno(36);
    /// No such system call.
    pub const ENOSYS: Errno = Errno(38);
}

/// Result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

fn check(ret: isize) -> Result<usize> {
    if (-4095..0).contains(&ret) { Err(Errno(-ret as i32)) } else { Ok(ret as usize) }
}

/// Ends the program with an exit status: all threads, or, where a seccomp filter denies that,
/// the one that there is, or by an instruction that no filter sees.
pub fn exit(status: u8) -> ! {
    // SAFETY: numbers only.
    unsafe {
        call(nr::EXIT_GROUP, [status as usize, 0, 0, 0, 0]);
        call(nr::EXIT, [status as usize, 0, 0, 0, 0]);
    }
    arch::trap()
}

/// Writes once to a descriptor; how much was written.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel only reads `bytes.len()` bytes from `bytes`.
    check(unsafe { call(nr::WRITE, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0]) })
}

/// This process's id, in its own pid namespace.
pub fn getpid() -> i32 {
    // SAFETY: no arguments.
    unsafe { call(nr::GETPID, [0; 5]) as i32 }
}

/// Milliseconds of the monotonic clock (clock_gettime(2)).
pub fn now() -> Millis {
    let mut time = [0_i64; 2];
    // SAFETY: a timespec is two 64-bit numbers, and `time` is that.
    unsafe { call(nr::CLOCK_GETTIME, [1, time.as_mut_ptr() as usize, 0, 0, 0]) };
    time[0] as u64 * 1000 + time[1] as u64 / 1_000_000
}

/// kill(2): a positive pid, the group `-pid`, or everything with -1.
pub fn kill(pid: i32, signal: u8) -> Result<()> {
    // SAFETY: numbers only.
    check(unsafe { call(nr::KILL, [pid as isize as usize, signal as usize, 0, 0, 0]) }).map(drop)
}

/// Sets the mask of blocked signals; the one before (rt_sigprocmask(2), SIG_SETMASK).
pub fn set_mask(mask: SignalSet) -> SignalSet {
    let (new, mut old) = (mask.0, 0_u64);
    // SAFETY: both are 8-byte signal sets that live through the call.
    unsafe {
        let (new, old) = (&raw const new as usize, &raw mut old as usize);
        call(nr::RT_SIGPROCMASK, [2, new, old, 8, 0])
    };
    SignalSet(old)
}

/// Gives SIGCHLD its default meaning or ignores it; whether it was ignored before.
pub fn ignore_child_signal(ignore: bool) -> bool {
    // struct kernel_sigaction: handler, flags, restorer, mask; SIG_IGN is handler 1.
    let (new, mut old) = ([usize::from(ignore), 0, 0, 0], [0_usize; 4]);
    // SAFETY: both are as large as the kernel's structure and live through the call.
    unsafe {
        let (new, old) = (new.as_ptr() as usize, old.as_mut_ptr() as usize);
        call(nr::RT_SIGACTION, [17, new, old, 8, 0])
    };
    old[0] == 1
}

/// A signal that was waiting, and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: u8,
    /// Whether a process sent it (si_code <= 0), not the kernel by itself.
    pub by_process: bool,
    /// The sender's pid, when `by_process`; 0 when it is outside of the pid namespace.
    pub sender: i32,
}

/// Waits for one of the (blocked) signals, at most `timeout`; None when none came.
///
/// # Errors
/// `EINTR`, and whatever a seccomp filter answers.
pub fn wait_signal(set: SignalSet, timeout: Millis) -> Result<Option<Received>> {
    let mut info = [0_i32; 32];
    let spec = [(timeout / 1000) as i64, (timeout % 1000) as i64 * 1_000_000];
    let spec = if timeout == FOREVER { 0 } else { spec.as_ptr() as usize };
    // SAFETY: the set is 8 bytes, siginfo_t 128, the timespec two 64-bit numbers or
    // null, and all of them live through the call.
    let ret = unsafe {
        let (set, info) = (&raw const set.0 as usize, info.as_mut_ptr() as usize);
        call(nr::RT_SIGTIMEDWAIT, [set, info, spec, 8, 0])
    };
    match check(ret) {
        Ok(signal) => {
            Ok(Some(Received { signal: signal as u8, by_process: info[2] <= 0, sender: info[4] }))
        }
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What [`reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// A child has ended: its pid and its wait status.
    Ended(i32, i32),
    /// There are children, and all of them live.
    AllLive,
    /// There are no children.
    NoChildren,
}

/// Takes in one ended child, without waiting (wait4(2), WNOHANG).
pub fn reap() -> Reaped {
    loop {
        match wait4(-1, 1) {
            Ok((0, _)) => return Reaped::AllLive,
            Ok((pid, status)) => return Reaped::Ended(pid, status),
            Err(Errno::EINTR) => {}
            Err(_) => return Reaped::NoChildren,
        }
    }
}

/// What [`peek`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// A child has ended: its pid.
    Ended(i32),
    /// There are children, and all of them live.
    AllLive,
    /// There are no children.
    NoChildren,
}

/// Looks for a child that has ended and leaves it to be taken in (waitid(2), WNOWAIT): until
/// then its pid, and its group's, cannot become another's, and its status is not lost.
pub fn peek() -> Peeked {
    let mut info = [0_i32; 32];
    // SAFETY: siginfo_t is 128 bytes; no usage is wanted. P_ALL; WEXITED, WNOHANG, WNOWAIT.
    let ret = unsafe {
        let options = 4 | 1 | 0x0100_0000;
        call(nr::WAITID, [0, 0, info.as_mut_ptr() as usize, options, 0])
    };
    match check(ret) {
        Err(Errno::ECHILD) => Peeked::NoChildren,
        Ok(_) if info[4] > 0 => Peeked::Ended(info[4]),
        _ => Peeked::AllLive,
    }
}

/// Takes in this ended child: its wait status.
pub fn reap_one(pid: i32) -> Option<i32> {
    wait4(pid, 1).ok().filter(|(found, _)| *found == pid).map(|(_, status)| status)
}

fn wait4(pid: i32, options: usize) -> Result<(i32, i32)> {
    let mut status = 0_i32;
    // SAFETY: the status is an int that lives through the call.
    let ret = unsafe {
        let status = &raw mut status as usize;
        call(nr::WAIT4, [pid as isize as usize, status, options, 0, 0])
    };
    check(ret).map(|pid| (pid as i32, status))
}

/// Leaves the controlling terminal, if standard input is it; whether it was that of a session
/// which this process leads, and so is its own to give away (TIOCGSID, TIOCNOTTY).
pub fn leave_terminal() -> Result<bool> {
    let mut session = 0_i32;
    // SAFETY: the first writes a pid_t that lives through the call, the second takes nothing.
    unsafe {
        check(call(nr::IOCTL, [0, 0x5429, &raw mut session as usize, 0, 0]))?;
        check(call(nr::IOCTL, [0, 0x5422, 0, 0, 0]))?;
    }
    Ok(session == getpid())
}

/// Nobody of the same user may trace this process, read its memory or take its descriptors
/// any more (PR_SET_DUMPABLE); what it executes is not bound by that.
pub fn refuse_tracing() {
    // SAFETY: numbers only.
    unsafe { call(nr::PRCTL, [4, 0, 0, 0, 0]) };
}

/// Names this process (PR_SET_NAME): what `comm` in /proc says.
pub fn set_name(name: &[u8; 16]) {
    // SAFETY: 16 bytes, which is what the kernel reads.
    unsafe { call(nr::PRCTL, [15, name.as_ptr() as usize, 0, 0, 0]) };
}

/// Asks for a signal when the parent dies (PR_SET_PDEATHSIG).
pub fn parent_death_signal(signal: u8) -> Result<()> {
    // SAFETY: numbers only.
    check(unsafe { call(nr::PRCTL, [1, signal as usize, 0, 0, 0]) }).map(drop)
}

/// Becomes the parent of orphaned descendants (PR_SET_CHILD_SUBREAPER, Linux 3.4).
pub fn become_subreaper() -> Result<()> {
    // SAFETY: numbers only.
    check(unsafe { call(nr::PRCTL, [36, 1, 0, 0, 0]) }).map(drop)
}

/// Goes to `/`, so that no mount is kept busy by PID 1.
pub fn chdir_root() {
    // SAFETY: a path that ends in NUL. It cannot fail in a way that matters.
    unsafe { call(nr::CHDIR, [c"/".as_ptr() as usize, 0, 0, 0, 0]) };
}

/// Closes every descriptor from 3 on but `kept` (close_range(2), Linux 5.9; older: nothing).
pub fn close_but(kept: Option<u32>) {
    let close = |first: u32, last: u32| {
        // SAFETY: closes descriptors that this program never uses by number.
        unsafe { call(nr::CLOSE_RANGE, [first as usize, last as usize, 0, 0, 0]) };
    };
    match kept {
        // An empty range is refused, and nothing is closed.
        Some(kept) => {
            close(3, kept - 1);
            close(kept + 1, u32::MAX);
        }
        None => close(3, u32::MAX),
    }
}

/// Flags of open(2).
mod flags {
    const ARM: bool = cfg!(target_arch = "aarch64");
    pub const DIRECTORY: usize = if ARM { 0o40000 } else { 0o200000 };
    pub const NOFOLLOW: usize = if ARM { 0o100000 } else { 0o400000 };
    /// Close-on-exec; nothing is waited for, and nothing becomes this process's terminal.
    pub const CAREFUL: usize = 0o2000000 | 0o4000 | 0o400;
}

/// A descriptor that closes itself.
pub struct File(i32);

impl File {
    /// Opens for reading.
    pub fn open(path: &core::ffi::CStr) -> Result<File> {
        File::open_for(path, 0)
    }

    /// Opens with flags of open(2); what is created is for everybody to read.
    fn open_for(path: &core::ffi::CStr, flags: usize) -> Result<File> {
        const AT_FDCWD: isize = -100;
        const O_CLOEXEC: usize = 0o2000000;
        let flags = flags | O_CLOEXEC;
        // SAFETY: `path` ends in NUL and lives through the call.
        let ret = unsafe {
            call(nr::OPENAT, [AT_FDCWD as usize, path.as_ptr() as usize, flags, 0o644, 0])
        };
        check(ret).map(|fd| File(fd as i32))
    }

    /// Opens the directory that is procfs's root: nothing else, and no part of one.
    pub fn open_procfs() -> Option<File> {
        let proc = File::open_for(c"/proc", flags::DIRECTORY | flags::NOFOLLOW | flags::CAREFUL);
        proc.ok().filter(File::is_procfs)
    }

    /// Opens a file of procfs by its path below this directory, in one step that
    /// follows no link and crosses no mount (openat2(2), Linux 5.6). Where that call is not
    /// to be had, something else may be there, but not be waited for.
    ///
    /// # Errors
    /// It is not there, or not procfs's.
    pub fn open_below(&self, path: &core::ffi::CStr) -> Result<File> {
        const NO_XDEV_NO_LINKS_BENEATH: u64 = 0x1 | 0x4 | 0x8;
        let flags = flags::CAREFUL;
        let how = [flags as u64, 0, NO_XDEV_NO_LINKS_BENEATH];
        let (at, path) = (self.0 as usize, path.as_ptr() as usize);
        // SAFETY: `path` ends in NUL and `how` is 24 bytes; both live through the calls.
        let opened = unsafe {
            match check(call(nr::OPENAT2, [at, path, how.as_ptr() as usize, 24, 0])) {
                Err(Errno::ENOSYS | Errno::EPERM) => {
                    check(call(nr::OPENAT, [at, path, flags | flags::NOFOLLOW, 0, 0]))
                }
                opened => opened,
            }
        };
        let file = File(opened? as i32);
        if file.is_procfs() { Ok(file) } else { Err(Errno::ENOENT) }
    }

    /// What the link `name` in this directory says, as far as there is room.
    pub fn link<'b>(&self, name: &core::ffi::CStr, room: &'b mut [u8]) -> Result<&'b [u8]> {
        // SAFETY: `name` ends in NUL; the kernel writes at most as many bytes as there are.
        let len = check(unsafe {
            let (name, to) = (name.as_ptr() as usize, room.as_mut_ptr() as usize);
            call(nr::READLINKAT, [self.0 as usize, name, to, room.len(), 0])
        })?;
        Ok(&room[..len])
    }

    fn is_procfs(&self) -> bool {
        const PROC_SUPER_MAGIC: i64 = 0x9fa0;
        // struct statfs: 120 bytes, the type first.
        let mut stat = [0_i64; 15];
        // SAFETY: as large as said, through the call.
        let ret =
            unsafe { call(nr::FSTATFS, [self.0 as usize, stat.as_mut_ptr() as usize, 0, 0, 0]) };
        ret == 0 && stat[0] == PROC_SUPER_MAGIC
    }

    /// Reads once; how many bytes came.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.fill(nr::READ, buffer)
    }

    /// Reads directory entries (getdents64(2)); how many bytes of them came.
    pub fn entries(&self, buffer: &mut [u8]) -> Result<usize> {
        self.fill(nr::GETDENTS64, buffer)
    }

    fn fill(&self, nr: usize, buffer: &mut [u8]) -> Result<usize> {
        // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
        let ret = unsafe {
            call(nr, [self.0 as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0])
        };
        check(ret)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        unsafe { call(nr::CLOSE, [self.0 as usize, 0, 0, 0, 0]) };
    }
}
