//! Who the payload becomes, where PID 1 is not its user.

use core::ffi::CStr;

/// At most so many supplementary groups.
pub const MAX_GROUPS: usize = 256;

/// Who the payload is.
#[derive(Clone, Copy)]
pub struct Identity {
    /// Its working directory.
    pub cwd: &'static CStr,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, and how many of them count.
    pub groups: ([u32; MAX_GROUPS], usize),
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Whether execve may not grant rights.
    pub no_new_privs: bool,
    /// Bounding, effective, permitted, inheritable, ambient.
    pub caps: Option<[u64; 5]>,
}
