//! The harness of the black-box tests: it runs the built `richrun` (or another
//! OCI runtime, for comparison) the way an engine would, and looks at what
//! containers, the kernel and the disk say.
//!
//! A *trial* is one behaviour in one view of the cgroups as one kind of user.
//! Each runs in its own process tree: a fresh pid namespace (so that nothing
//! outlives it and every leftover process is seen), a fresh mount namespace
//! (so that the host's mounts are never touched), and a tmpfs for its files.
//! See [`stage`] for how that tree is built and [`suite`] for how trials are
//! registered and run.

mod acts;
pub mod bundle;
pub mod bus;
pub mod case;
pub mod command;
pub mod container;
mod follow;
pub mod imports;
pub mod injection;
pub mod inside;
pub mod layout;
pub mod leftovers;
pub mod pages;
pub mod path_calls;
pub mod podman_caps;
pub mod resctrl;
pub mod runtime;
pub mod source;
pub mod stage;
pub mod suite;
pub mod sys;
pub mod terminal;
pub mod trial;

pub use bundle::Bundle;
pub use case::{User, View};
pub use command::Output;
pub use runtime::Kind;
pub use suite::Suite;
pub use trial::Trial;
