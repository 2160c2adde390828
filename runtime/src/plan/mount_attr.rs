//! What a mount is given: attributes as mount_setattr(2) names them, and the
//! parameters of a file system.

use std::ffi::CString;

/// Attributes of a mount as `mount_setattr(2)` names them.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-uid.
    pub const NOSUID: u64 = 0x2;
    /// No devices.
    pub const NODEV: u64 = 0x4;
    /// No programs.
    pub const NOEXEC: u64 = 0x8;
    /// The mask of the access-time modes.
    pub const ATIME: u64 = 0x70;
    /// relatime (the mode's value is 0).
    pub const RELATIME: u64 = 0x0;
    /// noatime.
    pub const NOATIME: u64 = 0x10;
    /// strictatime.
    pub const STRICTATIME: u64 = 0x20;
    /// nodiratime.
    pub const NODIRATIME: u64 = 0x80;
    /// Id-mapped (Linux 5.12).
    pub const IDMAP: u64 = 0x0010_0000;
    /// No symbolic links followed (Linux 5.14).
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// Propagation types of mount(2) (`MS_*`, linux/mount.h).
pub mod propagation {
    /// Nothing passes, and it cannot be bound.
    pub const UNBINDABLE: u64 = 1 << 17;
    /// Nothing passes.
    pub const PRIVATE: u64 = 1 << 18;
    /// Mounts of the master appear here.
    pub const SLAVE: u64 = 1 << 19;
    /// Mounts pass both ways.
    pub const SHARED: u64 = 1 << 20;
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MountAttr {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// One of [`propagation`], or 0.
    pub propagation: u64,
    /// The user namespace of an id-mapped mount.
    pub userns_fd: u64,
}

impl MountAttr {
    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.set == 0 && self.clear == 0 && self.propagation == 0
    }

    /// Changes the propagation only.
    pub fn propagate(propagation: u64) -> Self {
        MountAttr { propagation, ..MountAttr::default() }
    }

    /// Sets attributes only.
    pub fn setting(set: u64) -> Self {
        MountAttr { set, ..MountAttr::default() }
    }
}

/// One parameter of a file system: `key` or `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsParam {
    /// The option's name.
    pub key: CString,
    /// Its value; `None` for a flag.
    pub value: Option<CString>,
}

impl std::fmt::Display for FsParam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key.to_string_lossy())?;
        match &self.value {
            Some(value) => write!(f, "={}", value.to_string_lossy()),
            None => Ok(()),
        }
    }
}
