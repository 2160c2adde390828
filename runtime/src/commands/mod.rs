//! One file a subcommand: load, check, act, save.
//!
//! Every command is `run(&Global, &its arguments) -> Result<u8>`; the number
//! is the exit status.

mod check;
mod checkpoint;
mod create;
mod criu;
mod delete;
mod descriptors;
mod doctor;
mod events;
mod exec;
mod exec_gate;
mod exec_prepared;
mod exec_serve;
mod features;
mod hooks;
mod input;
mod inspect;
mod kill;
mod list;
mod mounts;
mod output;
mod pause;
mod pid_file;
mod ps;
mod restore;
mod resume;
mod rich;
mod run;
mod service;
mod spec;
mod start;
mod state;
mod stop;
mod terminal;
mod update;
mod wait;

use crate::cli::{Global, Verb};
use crate::error::Result;

/// Runs the command that was asked for; returns the exit status.
pub fn run(global: &Global, verb: &Verb) -> Result<u8> {
    match verb {
        Verb::Checkpoint(args) => checkpoint::run(global, args),
        Verb::Restore(args) => restore::run(global, args),
        Verb::Check(args) => check::run(global, args),
        Verb::Delete(args) => delete::run(global, args),
        Verb::Doctor(args) => doctor::run(global, args),
        Verb::Features(args) => features::run(global, args),
        Verb::Hooks(args) => hooks::run(global, args),
        Verb::Inspect(args) => inspect::run(global, args),
        Verb::Kill(args) => kill::run(global, args),
        Verb::List(args) => list::run(global, args),
        Verb::Mounts(args) => mounts::run(global, args),
        Verb::Pause(args) => pause::run(global, args),
        Verb::Ps(args) => ps::run(global, args),
        Verb::Resume(args) => resume::run(global, args),
        Verb::Update(args) => update::run(global, args),
        Verb::Spec(args) => spec::run(global, args),
        Verb::State(args) => state::run(global, args),
        Verb::Create(args) => create::run(global, args),
        Verb::Start(args) => start::run(global, args),
        Verb::Run(args) => run::run(global, args),
        Verb::Exec(args) if args.start.is_some() => exec_prepared::start(global, args),
        Verb::Exec(args) if args.serve => exec_serve::run(global, args),
        Verb::Exec(args) => exec::run(global, args),
        Verb::Events(args) => events::run(global, args),
        Verb::Health(args) => service::health(global, args),
        Verb::Service(args) => service::run(global, args),
        Verb::Stop(args) => stop::run(global, args),
        Verb::Wait(args) => wait::run(global, args),
    }
}
