//! Services: what a container runs beside its payload, and how PID 1 keeps it running.
//!
//! The decisions are pure: the plan as it is read ([`wire`], [`rules`]), what happens to
//! the services next ([`machine`], over the [`service_state`]s), when a probe is taken and what it
//! means ([`probe`]), what is said over the socket ([`control`]). The effects begin in
//! [`run`], which tells the story.

mod answering;
mod attending;
mod clients;
pub mod control;
mod engine;
mod io;
mod launching;
pub mod machine;
pub mod probe;
pub mod rules;
pub mod run;
pub mod service_state;
mod watches;
pub mod wire;

#[cfg(test)]
mod probing;
#[cfg(test)]
mod scenarios;
