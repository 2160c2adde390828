//! A child that shares this process's memory until it has executed a program: no page is
//! copied, and why it could not execute comes back as a plain value.

use super::arch::clone_call;
use super::{Errno, check, wait4};
use core::ptr::addr_of_mut;

/// What a child does.
pub(super) trait Job {
    /// Why it could not be done.
    type Failure: Copy;

    /// Executes a program; returns only when that cannot be done.
    fn act(&self) -> Self::Failure;

    /// There is no child, by this error of clone(2).
    fn uncloned(errno: Errno) -> Self::Failure;
}

/// What parent and child both see.
struct Shared<'a, J: Job> {
    job: &'a J,
    failure: Option<J::Failure>,
}

const STACK: usize = 32 * 1024;
#[repr(C, align(16))]
struct Stack([u8; STACK]);
static mut CHILD_STACK: Stack = Stack([0; STACK]);

/// Starts a child that does `job`; its pid. Once at a time: this process has one thread.
pub(super) fn start<J: Job>(job: &J) -> core::result::Result<i32, J::Failure> {
    const CLONE_VM: usize = 0x100;
    const CLONE_VFORK: usize = 0x4000;
    const SIGCHLD: usize = 17;
    let mut shared = Shared { job, failure: None };
    let shared = &raw mut shared;
    // SAFETY: the stack is used by this child alone; CLONE_VFORK holds this process
    // until the child has executed or ended, so `shared` outlives its use and is never
    // touched by both at a time.
    let ret = unsafe {
        let top = addr_of_mut!(CHILD_STACK).cast::<u8>().add(STACK);
        clone_call(CLONE_VM | CLONE_VFORK | SIGCHLD, top, begin::<J>, shared.cast())
    };
    let pid = check(ret).map_err(J::uncloned)? as i32;
    // SAFETY: the child no longer uses it. Volatile, because the child wrote it.
    match unsafe { (&raw const (*shared).failure).read_volatile() } {
        None => Ok(pid),
        Some(failure) => {
            while let Err(Errno::EINTR) = wait4(pid, 0) {}
            Err(failure)
        }
    }
}

/// Where the child begins.
///
/// # Safety
/// `shared` points at a [`Shared`] of this job that nobody else uses meanwhile.
unsafe extern "C" fn begin<J: Job>(shared: *mut u8) -> ! {
    // SAFETY: the promise above.
    let shared = unsafe { &mut *shared.cast::<Shared<'_, J>>() };
    shared.failure = Some(shared.job.act());
    super::exit(127)
}
