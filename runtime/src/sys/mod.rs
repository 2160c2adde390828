//! System calls: the only module of this crate with `unsafe`.
//!
//! rustix and nix wrap most of what the runtime needs; what stands here is
//! what they lack, or what takes several calls to do safely (paths resolved
//! inside a root, the mount API with its fall-back).

pub mod arguments;
pub mod beside;
pub mod bpf;
#[cfg(all(test, target_env = "gnu", target_arch = "x86_64"))]
mod clib;
pub mod clone;
pub mod datagram;
mod detached;
pub mod inroot;
pub mod interrupt;
pub mod kernel;
pub mod mount;
pub mod net;
pub mod pidfd;
pub mod process;
pub mod procfs;
pub mod rtnetlink;
pub mod sched_core;
pub mod seccomp;
pub mod signals;
