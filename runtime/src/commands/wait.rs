//! `wait`: the end of a container that is not one's child.

use super::output::print;
use crate::cli::{Global, WaitArgs};
use crate::error::Result;
use crate::life::end::wait_for_exit;
use crate::life::record::{self, Recorder, Teller};
use crate::life::{Status, Store};

/// Waits for the end of the container's first process and prints its exit status as a shell has
/// it, or `unknown` where nobody can know.
pub fn run(global: &Global, args: &WaitArgs) -> Result<u8> {
    let store = Store::new(global.root());
    let (state, _) = store.peek(&args.id)?;
    let recorder = Recorder::new(&store, &args.id)?;
    let exit = state.init.map(|init| wait_for_exit(init, None)).transpose()?.flatten().flatten();
    if let Some(exit) = exit {
        recorder.keep(&state, exit, Teller::Kernel, None);
    }
    let recorded = || record::ended(&store, &state, Status::Stopped)?.code;
    let code = exit.map(|exit| exit.code).or_else(recorded);
    let word = code.map_or("unknown".to_owned(), |code| code.to_string());
    print(&format!("{word}\n"))?;
    Ok(0)
}
