//! What can be done with containers, as library calls.

mod prepare;

pub use prepare::prepare;
