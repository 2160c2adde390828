//! A process beside this one: with its memory, and nothing else of it.
//!
//! `exec` passes through such a process on its way into a container (`launch::exec`). A copy of
//! the memory would take as long as all that it does there.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::arguments;
use super::clone::{CLONE_INTO_CGROUP, CLONE_PIDFD, CloneArgs, last_errno};

/// The stack of such a process, and of what it makes: pages that are not touched cost nothing.
const STACK: usize = 1 << 20;

/// How a process [`beside`] this one has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// It has.
    Ended,
    /// It was killed, since `until` said so first.
    GivenUp,
}

/// Runs `body` in a process that has descriptors, namespaces, directories, credentials and
/// control groups of its own (`cgroup`, as for `clone3`), but with `shares` this one's memory,
/// of which it need not be given a copy; waits for its end.
///
/// `body` ends in `_exit`, and may clone: what it makes has neither the command line nor the
/// environment of this process (`sys::arguments`).
/// `until` waits for the end of the process behind a pidfd, and says whether it has come; it must
/// not allocate.
pub fn beside(
    shares: bool,
    cgroup: Option<BorrowedFd<'_>>,
    body: &dyn Fn() -> Infallible,
    until: impl FnOnce(BorrowedFd<'_>) -> bool,
) -> Result<Beside, Errno> {
    let ground = Ground::new()?;
    let mut pidfd: i32 = -1;
    let memory = if shares { libc::CLONE_VM as u64 } else { 0 };
    let mut args = CloneArgs {
        flags: memory | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        // What it clones as its sibling takes this over.
        exit_signal: libc::SIGCHLD as u64,
        stack: ground.stack.addr() as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    arguments::wipe();
    // SAFETY: `args` and `body` outlive the call and the process, which is awaited below and
    // has a stack of its own. This one touches neither the heap nor anything that `body`
    // sees before the other has ended (the promise about `until`).
    let pid = match unsafe { clone_onto(&raw mut args, &raw const body) } {
        NO_CLONE3 if cgroup.is_none() => {
            let flags = (args.flags | args.exit_signal) as i32;
            let body = (&raw const body).cast_mut().cast();
            // SAFETY: as above; clone(2) takes the stack's end.
            unsafe {
                let top = ground.stack.add(STACK).cast();
                match libc::clone(enter_by_clone, top, flags, body, &raw mut pidfd) {
                    -1 => Err(last_errno()),
                    _ => Ok(()),
                }
            }
        }
        pid if pid < 0 => Err(Errno::from_raw_os_error(-pid as i32)),
        _ => Ok(()),
    };
    if let Err(errno) = pid {
        ground.restore();
        return Err(errno);
    }
    // SAFETY: the kernel has just put this descriptor there for us alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let ended = until(pidfd.as_fd());
    ground.restore();
    if !ended {
        // Frozen, it may not even die now; but it will not run again.
        let _gone = super::signals::send(pidfd.as_fd(), libc::SIGKILL);
        return Ok(Beside::GivenUp);
    }
    let wait = || waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    rustix::io::retry_on_intr(wait)?;
    Ok(Beside::Ended)
}

/// The other's stack, and behind it what the command line and the environment were, where no clone
/// has a copy. It stays until the end of this process, for the next one.
struct Ground {
    stack: *mut u8,
    kept: *mut u8,
}

/// Where the ground is that was made first.
static GROUND: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

impl Ground {
    fn new() -> Result<Ground, Errno> {
        let (start, length) = arguments::area();
        let known = GROUND.load(Ordering::Relaxed);
        if !known.is_null() {
            // Whoever stood on it has ended, or is killed and will not run again.
            return Ok(Ground { stack: known, kept: known.wrapping_byte_add(STACK) });
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping, of which nobody else knows, with room for both; madvise(2) is
        // for its last pages.
        unsafe {
            let stack = mmap_anonymous(ptr::null_mut(), STACK + length, protection, flags)?;
            let kept = stack.byte_add(STACK);
            if length > 0 {
                madvise(kept, length, Advice::LinuxDontFork)?;
                ptr::copy_nonoverlapping(start, kept.cast(), length);
            }
            GROUND.store(stack.cast(), Ordering::Relaxed);
            Ok(Ground { stack: stack.cast(), kept: kept.cast() })
        }
    }

    /// Has the command line and the environment seen again.
    fn restore(&self) {
        let (start, length) = arguments::area();
        // SAFETY: both are as long; this is the process that has both.
        unsafe { ptr::copy_nonoverlapping(self.kept, start, length) };
    }
}

/// What [`clone_onto`] begins with, on the new stack.
unsafe extern "C" fn enter(body: *const &dyn Fn() -> Infallible) -> ! {
    // SAFETY: `beside` passes a pointer to its argument, which outlives this process.
    match unsafe { (*body)() } {}
}

/// The same by way of clone(3).
extern "C" fn enter_by_clone(body: *mut libc::c_void) -> libc::c_int {
    // SAFETY: as in `enter`.
    unsafe { enter(body.cast_const().cast()) }
}

/// What clone3(2) answers before Linux 5.3.
const NO_CLONE3: i64 = -(libc::ENOSYS as i64);

/// clone3(2) with a stack; the pid or a negative errno.
///
/// # Safety
/// `args` holds an aligned stack for a process that does not outlive it, and `body` neither.
unsafe fn clone_onto(args: *mut CloneArgs, body: *const &dyn Fn() -> Infallible) -> i64 {
    let result: i64;
    let size = std::mem::size_of::<CloneArgs>();
    // SAFETY: the kernel's calling convention. The new process has all registers but the
    // result's and the stack pointer, and never returns from `enter`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") args,
            in("rsi") size,
            in("r12") body,
            in("r13") enter as *const (),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args => result,
            in("x1") size,
            in("x20") body,
            in("x21") enter as *const (),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        std::arch::asm!(
            "ecall",
            "bnez a0, 2f",
            "mv a0, s2",
            "jalr s3",
            "ebreak",
            "2:",
            in("a7") libc::SYS_clone3,
            inlateout("a0") args => result,
            in("a1") size,
            in("s2") body,
            in("s3") enter as *const (),
        );
    }
    result
}
