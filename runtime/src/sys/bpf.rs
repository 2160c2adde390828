//! The one use of bpf(2): device programs of cgroup v2.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::plan::cgroup::bpf::Insn;

type Result<T> = std::result::Result<T, Errno>;

/// Commands, types and flags of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const FLAG_ALLOW_MULTI: u32 = 2;
/// More programs than this are not expected on one group.
const MOST: usize = 64;

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` needs (kernel 4.15 on).
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part that `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` need.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// The part that `BPF_PROG_QUERY` needs.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

/// The part that `BPF_PROG_GET_FD_BY_ID` needs.
#[repr(C)]
#[derive(Default)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Loads a device program.
///
/// # Errors
/// `EPERM` without CAP_BPF or CAP_SYS_ADMIN in the initial user namespace.
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut name = [0_u8; 16];
    name[..15].copy_from_slice(b"richrun_devices");
    let mut attr = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: name,
        ..Load::default()
    };
    // SAFETY: `program` and `license` outlive the call, `Insn` has the layout of
    // `struct bpf_insn`, and the kernel only reads both.
    let fd = unsafe { bpf(PROG_LOAD, &mut attr) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a group, beside those that are there.
///
/// # Errors
/// The kernel's errno.
pub fn attach_device_program(group: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attr = Attach {
        target_fd: number(group.as_fd())?,
        attach_bpf_fd: number(program.as_fd())?,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: FLAG_ALLOW_MULTI,
    };
    // SAFETY: the attributes hold no pointers.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(drop)
}

/// Detaches a device program from a group.
///
/// # Errors
/// The kernel's errno.
pub fn detach_device_program(group: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attr = Attach {
        target_fd: number(group.as_fd())?,
        attach_bpf_fd: number(program.as_fd())?,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
    };
    // SAFETY: the attributes hold no pointers.
    unsafe { bpf(PROG_DETACH, &mut attr) }.map(drop)
}

/// The device programs attached to a group itself.
///
/// # Errors
/// The kernel's errno; `ENOSPC` for more than 64.
pub fn device_programs(group: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST];
    let mut attr = Query {
        target_fd: number(group.as_fd())?,
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: u32::try_from(MOST).map_err(|_| Errno::INVAL)?,
        ..Query::default()
    };
    // SAFETY: the kernel writes at most `prog_cnt` ids into `ids`, which
    // outlives the call.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).map_err(|_| Errno::INVAL)?.min(MOST);
    ids[..count].iter().filter_map(|&id| by_id(id).transpose()).collect()
}

/// A program by its id; `None` when it is gone.
fn by_id(prog_id: u32) -> Result<Option<OwnedFd>> {
    let mut attr = ById { prog_id, ..ById::default() };
    // SAFETY: the attributes hold no pointers.
    match unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) } {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn number(fd: std::os::fd::BorrowedFd<'_>) -> Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)
}

/// bpf(2). Descriptors that it makes are close-on-exec.
///
/// # Safety
/// `attr` is the part of `union bpf_attr` that `command` reads and writes, and
/// the pointers in it are valid for as much as `command` says.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<RawFd> {
    // The verifier may be interrupted; not forever.
    let mut tries = 0..10;
    loop {
        // SAFETY: the caller's promise; the size is that of `attr`.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>())
        };
        match result {
            -1 => match Errno::from_io_error(&std::io::Error::last_os_error()) {
                Some(Errno::AGAIN | Errno::INTR) if tries.next().is_some() => {}
                errno => return Err(errno.unwrap_or(Errno::IO)),
            },
            fd => return RawFd::try_from(fd).map_err(|_| Errno::OVERFLOW),
        }
    }
}
