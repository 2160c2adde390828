//! `restore`: a container of what `checkpoint` has written.

use std::os::fd::{AsFd, OwnedFd};

use rich_hooks::Phase;

use super::create::{self, Found, Job};
use super::descriptors::Passed;
use super::run::remove;
use super::terminal::{self, Terminal};
use super::{criu, pid_file};
use crate::cli::{Global, LaunchArgs, RestoreArgs};
use crate::config::file::Settings;
use crate::config::hooks::directories;
use crate::error::Result;
use crate::host;
use crate::launch::console;
use crate::launch::criu::restore::{Restore, own};
use crate::launch::foreground::{Child, Foreground};
use crate::launch::notify_relay::NotifySocket;
use crate::launch::terminal_relay::TerminalRelay;
use crate::life::{Entry, State, Store, hooks};
use crate::plan::criu::Options;

/// Restores a container; returns its payload's exit status, or 0 with `--detach`.
pub fn run(global: &Global, args: &RestoreArgs) -> Result<u8> {
    run_through(global, args).or_else(Foreground::interrupted)
}

/// A container that runs again.
struct Restored {
    entry: Entry,
    state: State,
    pidfd: OwnedFd,
    pid: i32,
    relay: TerminalRelay,
}

fn run_through(global: &Global, args: &RestoreArgs) -> Result<u8> {
    // Before there is anything to wait for: no signal is lost.
    let foreground = match args.detach {
        true => None,
        false => Some(Foreground::begin(!args.no_subreaper)?),
    };
    let Restored { entry, state, pidfd, pid, relay } = restore(global, args)?;
    // Others may use the container while we wait.
    drop(entry);
    let Some(foreground) = foreground else { return Ok(0) };
    let child = Child { pid, pidfd: pidfd.as_fd(), stop: state.stop_signal };
    let exit = foreground.wait(child, relay, None::<NotifySocket>)?;
    remove(&Store::new(global.root()), &args.id)?;
    Ok(exit.code)
}

fn restore(global: &Global, args: &RestoreArgs) -> Result<Restored> {
    criu::check_rights("restore", host::probe(global)?.unprivileged)?;
    let launch = LaunchArgs {
        bundle: args.bundle.clone(),
        id: args.id.clone(),
        no_pivot: false,
        ..LaunchArgs::default()
    };
    let directories = args.criu.directories(false)?;
    let options = Options {
        lsm_profile: args.lsm_profile.clone().filter(|profile| !profile.is_empty()),
        lsm_mount_context: args.lsm_mount_context.clone().filter(|context| !context.is_empty()),
        ..args.criu.options()
    };
    let own = own(&directories.images)?;
    let settings = Settings::load()?;
    let mut config = create::load(&launch)?;
    config.add_hooks(self::directories(&[], &settings))?;
    let criu_config = criu::config(&config.spec, &settings);
    let (rich, notifies) = (own.rich.clone(), own.notifies);
    let found = Found { config, settings, rich, services: None, notifies };
    let store = Store::new(global.root());
    let passed = Passed { count: 0, env: Vec::new() };
    let job = Job::of(global, &launch, &store, (found, passed))?;
    let wanted = job.plan.process.terminal;
    let Terminal { to, from } =
        terminal::prepare(wanted, args.detach, args.console_socket.as_deref())?;
    let entry = store.create(&args.id)?;
    let mut state = job.first_state();
    let make = || {
        let mut cgroup = job.place(&entry, &mut state)?;
        let moved = job.moved(state.cgroup.as_ref());
        job.join_class(&entry, &mut state)?;
        entry.save(&state)?;
        entry.save_config(&job.config.bytes)?;
        let restore = Restore {
            entry: &entry,
            plan: moved.as_ref().unwrap_or(&job.plan),
            options: &options,
            images: &directories.images,
            work: directories.work.as_ref(),
            own: &own,
            console: to,
            config: criu_config,
        };
        let init = restore.make(&mut cgroup, &mut state)?;
        let relay = announce(args, &job, &state, init.0, from.as_ref())?;
        Ok((init, relay))
    };
    match make() {
        Ok(((pid, pidfd), relay)) => Ok(Restored { entry, state, pidfd, pid, relay }),
        Err(error) => Err(create::undo(&entry, &state, error)),
    }
}

/// What follows when the container runs.
fn announce(
    args: &RestoreArgs,
    job: &Job,
    state: &State,
    pid: i32,
    terminal: Option<&OwnedFd>,
) -> Result<TerminalRelay> {
    let master = terminal.map(|from| console::receive_master(from.as_fd())).transpose()?;
    let relay = TerminalRelay::new(master);
    if let Some(path) = &args.pid_file {
        pid_file::write(path, pid)?;
    }
    hooks::run(Phase::Poststart, &job.plan.hooks, state, pid)?;
    Ok(relay)
}
