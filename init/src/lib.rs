//! rich-init: PID 1 of rich containers, and a drop-in for tini, dumb-init and catatonit.
//!
//! The decisions are pure and stand here: what the command line asks for
//! ([`command_line`], [`options`]), what a signal means ([`signals`]), what happens after the payload has
//! ended ([`reap`]). The effects are one short story in [`run`]; system calls, and all
//! `unsafe` code, are in [`sys`].
#![cfg_attr(not(test), no_std)]

pub mod command_line;
pub mod dialect;
mod drop_in;
pub mod identity;
pub mod message;
pub mod options;
pub mod payload_unit;
pub mod processes;
pub mod reap;
pub mod run;
pub mod services;
pub mod signals;
pub mod sys;
pub mod time;
