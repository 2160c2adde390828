//! Direct execution without an engine: supervised containers, pods and environments.
//!
//! `richctl` is this library's command line. It drives `richrun`, or any program with
//! runc's command line, as an engine does; nothing of it is linked into `richrun`.
//! Each room imports only those listed before it (tests/layering.rs):
//!
//! - [`error`], [`sys`]: what every room needs
//! - [`store`]: where things are kept, and the records of containers
//! - [`runtime`]: the OCI runtime as typed calls
//! - [`pasta`]: a network without an engine and without a bridge
//! - [`spec`]: from options to `config.json`, pure
//! - [`users`]: those of an image, and the caller's own ids
//! - [`source`]: what can be run, as a prepared root file system
//! - [`image`]: images as sources
//! - [`monitor`]: the process that holds a container
//! - [`container`]: run, inspect, delete and the rest, as library calls
//! - [`pod`], [`env`](mod@env): on top of them
//! - [`cli`]: richctl's command line

// Its words are clap's help: brackets are what may be left out, and no links.
#[allow(rustdoc::broken_intra_doc_links)]
pub mod cli;
pub mod container;
pub mod env;
pub mod error;
pub mod image;
pub mod monitor;
pub mod pasta;
pub mod pod;
pub mod runtime;
pub mod source;
pub mod spec;
pub mod store;
pub mod sys;
pub mod users;

pub use error::{Error, Kind, Result};
