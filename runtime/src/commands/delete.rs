//! `delete`: the end of a container.

use std::path::Path;

use super::create::planned;
use crate::cgroup::CgroupRecord;
use crate::cgroup::rdt::{RdtRecord, Resctrl};
use crate::cli::{DeleteArgs, Global};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::life::delete::{destroy, end_unreadable, settled};
use crate::life::end::wait_for_end;
use crate::life::{Entry, Store};
use crate::plan::rdt::RdtPlan;
use crate::{host, log, plan};

/// Removes a stopped or created container, with `--force` any, and none too.
pub fn run(global: &Global, args: &DeleteArgs) -> Result<u8> {
    let store = Store::new(global.root());
    if args.wait
        && let Ok((state, _)) = store.peek(&args.id)
        && let Some(init) = state.init
    {
        // Before the lock is taken: others may use the container meanwhile.
        wait_for_end(init, None)?;
    }
    let entry = match args.force {
        true => match store.entry_by_force(&args.id) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(0),
            entry => entry?,
        },
        false => store.entry(&args.id)?,
    };
    let mut state = match entry.read_state() {
        Err(error) if error.kind() == Kind::NotFound => {
            // A `create` that was cut off before it did anything.
            entry.remove()?;
            return if args.force { Ok(0) } else { Err(error) };
        }
        Err(error) if args.force => {
            log::warn(error);
            let made = made_by_configuration(global, &entry).unwrap_or_else(|error| {
                log::warn(error.within("its cgroups are left"));
                Made::default()
            });
            end_unreadable(&entry, made.groups.as_ref(), made.class.as_ref())?;
            return Ok(0);
        }
        state => state?,
    };
    if args.force && state.init.is_none() {
        state.init = entry.next_init();
    }
    let status = if args.force { entry.status(&state) } else { settled(&entry, &state) };
    if !args.force && !status.can_delete() {
        let words = format!("cannot delete container {} that is not stopped: {status}", args.id);
        return Err(Error::new(Kind::WrongState, words));
    }
    destroy(&entry, &state)?;
    Ok(0)
}

/// What was made for a container beside its processes.
#[derive(Debug, Default)]
struct Made {
    groups: Option<CgroupRecord>,
    class: Option<RdtRecord>,
}

/// That of a container whose state cannot be read, as its configuration has it: that is
/// saved when all of it is the container's.
fn made_by_configuration(global: &Global, entry: &Entry) -> Result<Made> {
    let config = Config::from_saved(Path::new("/"), entry.read_config()?)?;
    let class = RdtPlan::new(&config.spec, entry.id());
    let class = class.and_then(|plan| Resctrl::find().ok().map(|found| found.made_by(&plan)));
    let host = host::probe(global)?;
    let plan = plan::cgroup::plan(&config.spec, entry.id(), &host.cgroups, host.unprivileged)?;
    Ok(Made { groups: planned(&plan), class })
}
