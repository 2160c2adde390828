//! `mounts`: file systems that come into a running container and leave it.

use std::path::Path;

use oci_spec::runtime::Mount;
use serde_json::Value;

use super::input::standard_input;
use crate::cli::{Global, MountsArgs, MountsOfArgs, MountsVerb};
use crate::config::{Config, read_bounded, validate};
use crate::error::{Error, Kind, Result};
use crate::launch::added::{AddedOrder, change};
use crate::launch::own_image;
use crate::life::{Status, Store, signal};
use crate::plan::added::AddedPlan;
use crate::plan::process::ProcessPlan;
use crate::{host, log};

/// Adds or takes away.
///
/// The container's lock is not taken, as by `exec`: a file system of the container's own may
/// answer when it likes.
pub fn run(global: &Global, args: &MountsArgs) -> Result<u8> {
    let (of, adds) = match &args.verb {
        MountsVerb::Add(of) => (of, true),
        MountsVerb::Remove(of) => (of, false),
    };
    own_image::protect()?;
    let store = Store::new(global.root());
    let (state, status) = store.peek(&of.id)?;
    if matches!(status, Status::Stopped | Status::Creating) {
        return Err(signal::not_running());
    }
    let init = state.init.ok_or_else(signal::not_running)?;
    let config = Config::from_saved(&state.bundle, store.read_config(&of.id)?)?;
    let mounts = mounts(of)?;
    let plan = match adds {
        true => {
            let mut warnings = Vec::new();
            validate::each_mount(&mounts, &mut warnings)?;
            warnings.iter().for_each(log::warn);
            AddedPlan::adding(&config, &mounts)?
        }
        false => AddedPlan::removing(&config, &mounts)?,
    };
    let process = config.spec.process().as_ref();
    let user = process.map_or(Ok(ProcessPlan::none()), ProcessPlan::new)?.user;
    let host = host::probe(global)?;
    change(&AddedOrder { plan: &plan, init, user: &user, host: &host }).map(|()| 0)
}

/// The entries of the document.
fn mounts(of: &MountsOfArgs) -> Result<Vec<Mount>> {
    let (bytes, from) = match of.file == Path::new("-") {
        true => (standard_input("mounts")?, "standard input".to_owned()),
        false => (read_bounded(&of.file)?, of.file.display().to_string()),
    };
    let wrong = |what: String| Error::new(Kind::Config, format!("{from}: {what}"));
    let document: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    let Value::Array(entries) = document else {
        return Err(wrong("mounts must be an array".to_owned()));
    };
    let mut mounts = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let read = serde_json::from_value(entry);
        mounts.push(read.map_err(|error| wrong(format!("mounts[{index}]: {error}")))?);
    }
    Ok(mounts)
}
