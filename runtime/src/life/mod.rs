//! What is on disk while a container lives: status, store, signals, deletion.

mod copies;
pub mod delete;
pub mod document;
pub mod end;
pub mod hooks;
pub mod lock;
pub mod members;
pub mod process;
pub mod record;
pub mod services;
pub mod signal;
pub mod status;
pub mod store;

pub use process::ProcessId;
pub use status::Status;
pub use store::{Entry, State, Store};
