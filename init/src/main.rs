//! The program: everything is in the library; this adds what a program without a C
//! library must bring itself (entry point, panic message, memory copying).
#![no_std]
#![no_main]

use rich_init::run::run;

#[path = "sys/entry.rs"]
mod sys;
