//! `stop`: a request to end, and KILL for who does not hear it.

use std::time::Duration;

use crate::cli::{Global, StopArgs};
use crate::error::{Kind, Result};
use crate::life::delete::end_init;
use crate::life::end::wait_for_exit;
use crate::life::record::{Recorder, Teller};
use crate::life::{Store, signal};

/// Sends the signal, waits so long, kills, and waits for the end, as `delete --force` does. A
/// container that does not run is no error.
pub fn run(global: &Global, args: &StopArgs) -> Result<u8> {
    let store = Store::new(global.root());
    let (state, status) = store.peek(&args.id)?;
    let Some(init) = state.init.filter(|_| status.can_kill()) else { return Ok(0) };
    let number = signal::that_ends(&args.signal)?;
    let gone = |done: Result<()>| match done {
        Err(error) if error.kind() == Kind::NoSuchProcess => Ok(()),
        done => done,
    };
    let recorder = Recorder::new(&store, &args.id)?;
    gone(signal::kill(&state, status, number, false))?;
    if let Some(exit) = wait_for_exit(init, Some(Duration::from_secs(u64::from(args.time))))? {
        if let Some(exit) = exit {
            recorder.keep(&state, exit, Teller::Kernel, None);
        }
        return Ok(0);
    }
    gone(signal::kill(&state, status, signal::KILL, false))?;
    end_init(&state)?;
    Ok(0)
}
