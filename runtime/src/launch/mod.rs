//! Launching a container: the parent's and the child's sequences.

pub mod console;
pub mod foreground;
pub mod notify;
mod relay;
