//! What touches the kernel: starting a hook, its warden, its descriptors.
#![allow(unsafe_code)]

mod running;
mod signals;
mod spawn;
mod stdio;
mod tree;
mod warden;

pub(crate) use running::{Ending, Running};
pub(crate) use signals::ReapableChildren;
pub(crate) use spawn::{Exec, StartError, Step};
pub(crate) use stdio::{OutputPipe, document};
