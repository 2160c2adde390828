//! What touches the kernel: starting a hook, the subreaper above it, its descriptors.
#![allow(unsafe_code)]

mod ending;
pub mod procfs;
mod running;
mod signals;
mod spawn;
mod stdio;
mod subreaper;
mod tree;

pub(crate) use ending::{Ending, StartError, Step};
pub(crate) use running::Running;
pub(crate) use signals::ReapableChildren;
pub(crate) use spawn::Exec;
pub(crate) use stdio::{OutputPipe, document};
