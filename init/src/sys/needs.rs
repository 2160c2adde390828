//! The calls that PID 1 cannot do without, tried once before anything is started: a seccomp
//! profile may deny any call, and without these PID 1 would wait for ever.

use super::arch::{call, nr};
use super::descriptors::{Poll, poll};
use super::{Errno, now};

/// A call that is denied, and with which error; 0 when it only seems to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Its name.
    pub call: &'static str,
    /// The error.
    pub errno: Errno,
}

type Result = core::result::Result<(), Denied>;

/// More than the kernel's largest pid (`PID_MAX_LIMIT`, 2^22), and than any descriptor.
const NONE: i32 = i32::MAX;

/// What waits for signals and children. To be called when all signals are blocked.
///
/// # Errors
/// The first that is denied.
pub fn of_init() -> Result {
    mask()?;
    let (nothing, at_once) = (0_u64, [0_i64; 2]);
    // SAFETY: an empty set of 8 bytes and a timespec, which live through the call.
    let ret = unsafe {
        let (set, time) = (&raw const nothing as usize, at_once.as_ptr() as usize);
        call(nr::RT_SIGTIMEDWAIT, [set, 0, time, 8, 0])
    };
    fails("rt_sigtimedwait", ret, &[Errno::EAGAIN, Errno::EINTR])?;
    wait4()
}

/// What waits for services, their descriptors and their time.
///
/// # Errors
/// The first that is denied.
pub fn of_services() -> Result {
    mask()?;
    wait4()?;
    // SAFETY: P_PID, a number; WEXITED, WNOHANG, WNOWAIT; no information is wanted.
    let ret = unsafe { call(nr::WAITID, [1, NONE as usize, 0, 4 | 1 | 0x0100_0000, 0]) };
    fails("waitid", ret, &[Errno::ECHILD])?;
    // What is no descriptor is told at once.
    let seen = poll(&mut [Poll { fd: NONE, wanted: 0, seen: 0 }], 0);
    works("ppoll", seen.map(|count| count == 1))?;
    works("clock_gettime", Ok(now() > 0))
}

/// SIGKILL is never blocked: who was answered by a filter has got no mask.
fn mask() -> Result {
    let mut mask = u64::MAX;
    // SAFETY: no new mask, and 8 bytes for the one that there is.
    let ret = unsafe { call(nr::RT_SIGPROCMASK, [0, 0, &raw mut mask as usize, 8, 0]) };
    works("rt_sigprocmask", super::check(ret).map(|_| mask != u64::MAX))
}

fn wait4() -> Result {
    // SAFETY: numbers only: WNOHANG, and neither status nor usage is wanted.
    let ret = unsafe { call(nr::WAIT4, [NONE as usize, 0, 1, 0, 0]) };
    fails("wait4", ret, &[Errno::ECHILD])
}

/// A call that there is fails with one of these, asked as it was.
fn fails(call: &'static str, ret: isize, with: &[Errno]) -> Result {
    match super::check(ret) {
        Err(errno) if with.contains(&errno) => Ok(()),
        Err(errno) => Err(Denied { call, errno }),
        Ok(_) => Err(Denied { call, errno: Errno(0) }),
    }
}

fn works(call: &'static str, did: super::Result<bool>) -> Result {
    match did {
        Ok(true) => Ok(()),
        Ok(false) => Err(Denied { call, errno: Errno(0) }),
        Err(errno) => Err(Denied { call, errno }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_denied_here() {
        assert_eq!(of_init(), Ok(()));
        assert_eq!(of_services(), Ok(()));
    }

    #[test]
    fn an_answer_that_is_not_the_kernels_is_a_denial() {
        let denied = |errno| Err(Denied { call: "x", errno: Errno(errno) });
        assert_eq!(fails("x", -10, &[Errno::ECHILD]), Ok(()));
        assert_eq!(fails("x", -1, &[Errno::ECHILD]), denied(1));
        assert_eq!(fails("x", 0, &[Errno::ECHILD]), denied(0));
        assert_eq!(works("x", Err(Errno(38))), denied(38));
    }
}
