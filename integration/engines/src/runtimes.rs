//! The runtimes that trials compare, and where the programs of this build and of
//! `integration/peers.sh` are.

use std::path::PathBuf;

use crate::command::find;
use crate::view::View;

/// By this name richrun makes everything rich.
pub const RICH_NAME: &str = "richrun-rich";

/// A runtime to try.
#[derive(Clone)]
pub struct Runtime {
    /// Its name in trial names.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Why it cannot be tried here.
    pub lacks: Option<String>,
}

impl Runtime {
    /// Whether it is another runtime than richrun.
    pub fn is_peer(&self) -> bool {
        !is_richrun(self.name)
    }
}

/// Whether a runtime of that name is richrun, by whichever name.
pub fn is_richrun(name: &str) -> bool {
    name.starts_with("richrun")
}

/// The peer that can serve `view`, then richrun under both its names. crun refuses hybrid
/// hierarchies with a controller in `unified`; Debian 12's cannot start
/// anything on v2 without CAP_SYS_RESOURCE, so the newer one is taken.
pub fn runtimes(view: View) -> [Runtime; 3] {
    let newer = peers().join("bin/crun");
    let peer = match view {
        View::Hybrid => named("runc", find("runc"), "no runc"),
        View::V1 => named("crun", newer.canonicalize().ok().or_else(|| find("crun")), "no crun"),
        View::V2 => {
            named("crun", newer.canonicalize().ok(), "no newer crun: integration/peers.sh crun")
        }
    };
    [peer, named("richrun", richrun(), UNBUILT), named(RICH_NAME, richrun(), UNBUILT)]
}

/// Where `integration/peers.sh` puts what it builds.
pub fn peers() -> PathBuf {
    std::env::var_os("PEERS_DIR").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../build/peers").into(),
        PathBuf::from,
    )
}

/// The runtimes under Docker and Kubernetes: their own default, which serves every view, then richrun
/// under both its names.
pub fn docker_runtimes() -> [Runtime; 3] {
    let own = |name| named(name, richrun(), UNBUILT);
    [named("runc", find("runc"), "no runc"), own("richrun"), own(RICH_NAME)]
}

const UNBUILT: &str = "no richrun: build it, or name it in RICHRUN";

fn named(name: &'static str, path: Option<PathBuf>, lacks: &str) -> Runtime {
    let lacks = if path.is_none() { Some(lacks.to_owned()) } else { None };
    Runtime { name, path: path.unwrap_or_default(), lacks }
}

/// RICHRUN, or this build's.
fn richrun() -> Option<PathBuf> {
    match std::env::var_os("RICHRUN") {
        Some(path) => PathBuf::from(path).canonicalize().ok(),
        None => built("richrun"),
    }
}

/// This build's init as a program of its own.
pub fn rich_init() -> Option<PathBuf> {
    built("rich-init")
}

/// A program of this build: the release build's if there is one.
fn built(program: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    // target/TRIPLE/PROFILE/deps/this
    let profiles = own.ancestors().nth(3)?;
    let builds = ["release", "debug"].map(|profile| profiles.join(profile).join(program));
    builds.into_iter().find(|path| path.is_file())
}
