//! rich-monitor's parts: the process that holds one container.
//!
//! ```text
//! richctl ── rich-monitor (one a container; subreaper, session of its own)
//!               ├─ richrun run --detach        for a moment
//!               └─ the container's first process
//! ```
//!
//! Output comes through FIFOs in the run directory. The payload's ends of them are open for
//! reading too, so that whoever dies, a reader is there: a killed monitor means no SIGPIPE. A
//! FIFO forgets its content with its last holder, and an exit code is told to who holds a pidfd:
//! so a sleeping process beside the monitor, the keeper, holds all of it a second time, and the
//! next `richctl` begins another monitor with that.

mod client;
mod journal;
mod keeper;
mod launch;
mod lines;
mod log;
mod memory;
mod network;
pub mod policy;
pub mod protocol;
mod signal;
mod sources;
mod supervise;
mod terminal;
mod undo;

pub use launch::{Lock, cgroup_of, is_held};
pub use log::numbered;
pub use memory::oom_kills;
pub use signal::signal_number;
pub use supervise::{Start, main};
pub use undo::{forget, undo};
