//! The program with services: larger than the other one, which has none, so that only
//! containers with services pay for them.
#![no_std]
#![no_main]

use rich_init::services::run::run_services as run;

#[path = "sys/entry.rs"]
mod sys;
