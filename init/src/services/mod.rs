//! Services: what a container runs beside its payload, and how PID 1 keeps it running.
//!
//! The decisions are pure: the plan as it is read ([`wire`], [`rules`]), what happens to
//! the services next ([`machine`], over [`slot`]s), when a probe is taken and what it
//! means ([`probe`]), what is said over the socket ([`control`]). The effects are in
//! [`engine`] and the modules around it.

mod clients;
pub mod control;
pub mod engine;
mod io;
mod launching;
pub mod machine;
pub mod probe;
pub mod rules;
pub mod slot;
mod watches;
pub mod wire;

#[cfg(test)]
mod probing;
#[cfg(test)]
mod scenarios;
