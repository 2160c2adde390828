//! Reading a process's seccomp filters back from the kernel (ptrace(2)).

use std::io;

use libc::{c_void, sock_filter};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// `PTRACE_SECCOMP_GET_FILTER` (linux/ptrace.h, since Linux 4.4).
const GET_FILTER: i32 = 0x420c;

/// One loaded filter: code, jt, jf and k of each instruction.
pub type LoadedFilter = Vec<(u16, u8, u8, u32)>;

/// A process that is stopped for as long as this lives.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: i32) -> io::Result<Stopped> {
        let pid = Pid::from_raw(pid);
        ptrace::seize(pid, ptrace::Options::empty())?;
        let stopped = Stopped(pid);
        ptrace::interrupt(pid)?;
        waitpid(pid, Some(WaitPidFlag::__WALL))?;
        Ok(stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}

/// The filters of a process, the oldest first. Needs `CAP_SYS_ADMIN` in the
/// initial user namespace, a kernel with `CONFIG_CHECKPOINT_RESTORE`, and a
/// caller without a filter of its own.
pub fn filters(pid: i32) -> io::Result<Vec<LoadedFilter>> {
    let stopped = Stopped::new(pid)?;
    let mut found = Vec::new();
    loop {
        match filter(stopped.0, found.len()) {
            Ok(filter) => found.push(filter),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            Err(error) => return Err(error),
        }
    }
}

fn filter(pid: Pid, index: usize) -> io::Result<LoadedFilter> {
    // SAFETY: without a buffer the kernel only says how many instructions there are.
    let length = unsafe {
        libc::ptrace(GET_FILTER as _, pid.as_raw(), index, std::ptr::null_mut::<c_void>())
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut program = vec![sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; length];
    // SAFETY: the buffer holds `length` instructions, as many as the kernel
    // writes: the process is stopped, and a loaded filter never changes.
    let got = unsafe { libc::ptrace(GET_FILTER as _, pid.as_raw(), index, program.as_mut_ptr()) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(program.iter().map(|line| (line.code, line.jt, line.jf, line.k)).collect())
}
