//! Pure decisions: what a launch will do, as data.

pub mod cgroup;
pub mod seccomp;
