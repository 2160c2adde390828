//! richrun: an OCI container runtime that brings its own PID 1.
//!
//! The modules follow the life of a container: [`config`] is read, [`plan`]
//! decides, [`launch`] acts, [`life`] keeps what is running.

pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod error;
pub mod host;
pub mod launch;
pub mod life;
pub mod log;
pub mod plan;
pub mod rich_init;
pub mod shown;
pub mod sys;
