//! Pods: containers that share namespaces and volumes, start in order, are probed and
//! restarted, and end together.
//!
//! `read` makes a [`model::Pod`] of a file; `machine` decides what happens next, without
//! effects; the rest carries it out.

mod asking;
pub mod client;
pub mod controller;
pub mod generate;
pub mod kept;
pub mod listed;
pub mod machine;
pub mod metrics;
pub mod model;
pub mod oci;
pub mod plugin;
pub mod read;
pub mod serve;
pub mod setup;
pub mod status;
pub mod supervise;
pub mod tail;
