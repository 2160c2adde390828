//! `inspect`: all that is known of a container, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::output::{indented, print};
use crate::cgroup::CgroupRecord;
use crate::cli::{Global, InspectArgs};
use crate::config::rich::RichConfig;
use crate::error::Result;
use crate::life::Store;
use crate::life::document::{Document, state_document};

/// The state document, and what it has no room for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection<'a> {
    #[serde(flatten)]
    state: Document,
    /// `null` for a container that is not rich.
    rich: Option<&'a RichConfig>,
    /// Directory by hierarchy: controllers, or `unified`.
    cgroup_paths: BTreeMap<String, String>,
}

/// Prints the document.
pub fn run(global: &Global, args: &InspectArgs) -> Result<u8> {
    let store = Store::new(global.root());
    let (state, status) = store.peek(&args.id)?;
    let document = Inspection {
        state: state_document(&store, &state, status),
        rich: state.rich.as_ref(),
        cgroup_paths: state.cgroup.as_ref().map(paths).unwrap_or_default(),
    };
    print(&(indented(&document, "  ")? + "\n"))?;
    Ok(0)
}

fn paths(record: &CgroupRecord) -> BTreeMap<String, String> {
    let v1 = record.v1.iter().map(|place| (place.controllers.join(","), place.directory()));
    let unified = record.unified.iter().map(|place| ("unified".to_owned(), place.directory()));
    v1.chain(unified).collect()
}
