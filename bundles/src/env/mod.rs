//! Environments.
pub mod document;
pub mod options;
pub mod place;
pub mod read;
pub mod template;
pub mod watch;
