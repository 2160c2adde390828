//! `run`: create, start, and wait for the end.

use std::os::fd::AsFd;
use std::time::SystemTime;

use rich_hooks::Phase;

use super::create::{self, Begin, Made};
use crate::cli::{Global, RunArgs};
use crate::error::{Kind, Result};
use crate::launch::foreground::{Child, Foreground};
use crate::launch::notify_relay::{self, NotifySocket};
use crate::launch::terminal_relay::TerminalRelay;
use crate::launch::{console, own_image};
use crate::life::delete::destroy;
use crate::life::record::{Recorder, Teller};
use crate::life::{Store, hooks};

/// Runs a container; returns its payload's exit status, or 0 with `--detach`.
pub fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    run_through(global, args).or_else(Foreground::interrupted)
}

fn run_through(global: &Global, args: &RunArgs) -> Result<u8> {
    own_image::protect()?;
    let begin = if args.detach { Begin::Detached } else { Begin::Foreground };
    // Before there is anything to wait for: no signal is lost.
    let foreground = match begin {
        Begin::Foreground => Some(Foreground::begin(!args.no_subreaper)?),
        _ => None,
    };
    let made = create::make(global, &args.launch, begin)?;
    let begun = begin_payload(args, &made).map_err(|error| made.undo(error))?;
    // Others may use the container while we wait.
    let Made { entry, launched, state, .. } = made;
    let started = SystemTime::now();
    // What is deleted at once needs no record.
    let store = Store::new(global.root());
    let recorder = args.keep.then(|| Recorder::new(&store, &args.launch.id)).transpose()?;
    drop(entry);
    let Some(foreground) = foreground else {
        if let Some(notify) = begun.notify {
            notify.wait_until_ready(launched.pidfd.as_fd(), launched.pid)?;
        }
        return Ok(0);
    };
    let child = Child { pid: launched.pid, pidfd: launched.pidfd.as_fd(), stop: state.stop_signal };
    let exit = foreground.wait(child, begun.relay, begun.notify)?;
    match recorder {
        Some(recorder) => recorder.keep(&state, exit, Teller::Parent, Some(started)),
        None => remove(&store, &args.launch.id)?,
    }
    Ok(exit.code)
}

/// What is listened to while the payload runs.
struct Begun {
    relay: TerminalRelay,
    notify: Option<NotifySocket>,
}

/// Starts the payload and runs the hooks that follow.
fn begin_payload(args: &RunArgs, made: &Made) -> Result<Begun> {
    let master = made.terminal.as_ref().map(|from| console::receive_master(from.as_fd()));
    // The terminal has its size and modes before the payload can look.
    let relay = TerminalRelay::new(master.transpose()?);
    let notify = match notify_relay::host_address() {
        Some(host) => NotifySocket::open(&made.entry.path(), &host, made.launched.pid)?,
        None => None,
    };
    made.launched.start()?;
    create::announce(&args.launch, made)?;
    let (all, state) = (&made.plan.hooks, &made.state);
    hooks::run(Phase::Poststart, all, state, made.launched.pid)?;
    Ok(Begun { relay, notify })
}

/// Deletes the container; somebody else may have done so already.
pub(super) fn remove(store: &Store, id: &str) -> Result<()> {
    match store.load(id) {
        Ok((entry, state)) => destroy(&entry, &state),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
