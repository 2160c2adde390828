//! `checkpoint`: writes a container to images, and ends it.

use std::path::Path;

use super::criu;
use crate::cli::{CheckpointArgs, Global};
use crate::config::Config;
use crate::config::file::Settings;
use crate::error::{Error, Kind, Result};
use crate::launch::criu::dump::{Dump, status_fd};
use crate::life::delete::destroy;
use crate::life::{State, Status, Store};
use crate::plan::criu::Options;
use crate::plan::{Asked, Host, Plan};
use crate::{host, log};

/// Writes the container, and deletes it unless it is to run on.
pub fn run(global: &Global, args: &CheckpointArgs) -> Result<u8> {
    let host = host::probe(global)?;
    let (entry, state) = Store::new(global.root()).load(&args.id)?;
    let status = entry.status(&state);
    let refuse = || {
        let words = format!("Container cannot be checkpointed in {status} state");
        Error::new(Kind::WrongState, words)
    };
    let init = match (status, state.init) {
        (Status::Running | Status::Paused, Some(init)) => init,
        _ => return Err(refuse()),
    };
    criu::check_rights("checkpoint", host.unprivileged)?;
    let options = options(args)?;
    let config = Config::from_saved(&state.bundle, entry.read_config()?)?;
    let plan = plan(&config, &state, &host)?;
    let directories = args.criu.directories(true)?;
    let settings = Settings::load()?;
    let dump = Dump {
        entry: &entry,
        state: &state,
        init,
        plan: &plan,
        options: &options,
        pre: args.pre_dump,
        images: directories.images,
        work: directories.work,
        status: args.status_fd.map(status_fd).transpose()?,
        config: criu::config(&config.spec, &settings),
    };
    dump.write()?;
    if !options.leave_running && !args.pre_dump {
        // It is written: what hinders its deletion can be repeated.
        destroy(&entry, &state).unwrap_or_else(log::warn);
    }
    Ok(0)
}

fn options(args: &CheckpointArgs) -> Result<Options> {
    let parent = args.parent_path.as_deref().filter(|path| !path.as_os_str().is_empty());
    Ok(Options {
        leave_running: args.leave_running,
        tcp_skip_in_flight: args.tcp_skip_in_flight,
        link_remap: args.link_remap,
        page_server: args.page_server.clone(),
        parent: parent.map(relative).transpose()?,
        ..args.criu.options()
    })
}

/// CRIU keeps the way to the earlier images as a link in the new ones.
fn relative(path: &Path) -> Result<String> {
    match path.to_str().filter(|_| path.is_relative()) {
        Some(path) => Ok(path.to_owned()),
        None => Err(Error::new(
            Kind::Usage,
            format!("--parent-path {}: must be relative to the images' directory", path.display()),
        )),
    }
}

/// What the container was made by, as far as CRIU must know.
fn plan(config: &Config, state: &State, host: &Host) -> Result<Plan> {
    let asked = Asked {
        id: state.id.clone(),
        rich: state.rich.clone(),
        no_cgroups: state.cgroup.is_none(),
        ..Asked::default()
    };
    Plan::new(config, asked, host)
}
