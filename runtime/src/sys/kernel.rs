//! Whether the kernel has something, found out without doing it.
#![allow(unsafe_code)]

use rustix::io::Errno;

use super::clone::{Cloned, clone3, last_errno};
use super::process::exit_now;

/// Whether the kernel knows a system call. Ask only for calls that refuse nonsense: each
/// argument is -1, which is no address, no descriptor and no set of flags that exists.
pub fn has_call(number: libc::c_long) -> bool {
    // SAFETY: the calls of plan/kernel.rs check their flags or sizes first and refuse these;
    // no argument is an address that could be read or written.
    let ret = unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) };
    ret != -1 || last_errno() != Errno::NOSYS
}

/// Makes a user namespace, for a child that ends at once.
///
/// # Errors
/// The kernel's answer.
pub fn try_user_namespace() -> Result<(), Errno> {
    match clone3(libc::CLONE_NEWUSER as u64, None)? {
        Cloned::Child => exit_now(0),
        Cloned::Parent(pid, _) => {
            let pid = rustix::process::Pid::from_raw(pid);
            // It has nothing to do but to end.
            let waited = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
            waited.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_told_from_what_is_not() {
        assert!(has_call(libc::SYS_openat2));
        assert!(!has_call(999_999));
    }

    #[test]
    fn asking_for_every_call_of_the_table_does_nothing() {
        use crate::plan::kernel::{FEATURES, Probe};
        for feature in FEATURES {
            let Probe::Calls(calls) = feature.probe else { continue };
            calls.iter().for_each(|call| assert!(has_call(*call), "{}", feature.name));
        }
    }
}
