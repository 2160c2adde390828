//! Pods: containers that share namespaces and volumes, start in order, are probed and
//! restarted, and end together.
//!
//! `read` makes a [`model::Pod`] of a file; `machine` decides what happens next, without
//! effects; the rest carries it out.

pub mod machine;
pub mod model;
pub mod read;
