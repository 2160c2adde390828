//! Containers of pods by an OCI runtime.

mod config;
mod ground;
mod holder;
mod life;
mod prober;
mod seccomp;
mod trial;
mod volumes;

use std::path::PathBuf;
use std::sync::Arc;

use crate::container::prepare;
use crate::error::{At, Error, Result};
use crate::runtime::Program;
use crate::source::{PreparedRoot, Reference, SourceKind, Workshop};
use crate::store::{read_json, write_json};

use super::kept::Kept;
use super::model::Pod;
use super::plugin::{Container, Plugin};
use super::setup::{PodDirs, Setup};
use super::status::PodStatus;
pub use ground::Ground;
use life::Life;

/// Runs a pod's containers.
pub struct Oci {
    setup: Setup,
    dirs: PodDirs,
    runtime: Program,
    ground: Ground,
}

impl Oci {
    /// Lays the pod's ground (namespaces, network, volumes), or finds it as it was laid.
    ///
    /// # Errors
    /// What cannot be made.
    pub fn new(setup: Setup) -> Result<Oci> {
        let dirs = setup.dirs();
        let runtime = Program {
            path: setup.runtime.clone(),
            root: setup.place().runtime_root(),
            options: Vec::new(),
        };
        let ground = Ground::lay(&setup, &dirs)?;
        Ok(Oci { setup, dirs, runtime, ground })
    }

    /// Takes away what [`Oci::new`] made, but for the volumes.
    pub fn clear(&self) {
        if self.setup.pod.share_pid {
            holder::end(&self.setup, &self.dirs);
        }
        self.ground.clear(&self.dirs);
    }

    fn dir(&self, container: &str) -> PathBuf {
        self.dirs.data.join("containers").join(container)
    }

    /// A container's source: its image by the names that were given, or the pod's one.
    fn source(&self, pod: &Pod, place: usize) -> Result<SourceKind> {
        let one = &pod.containers[place];
        let root = one.spec.as_ref().and_then(|spec| spec.pointer("/root/path")?.as_str());
        if let Some(root) = root {
            return Ok(SourceKind::Rootfs(root.into()));
        }
        let Some(image) = one.image.as_deref().or(self.setup.source.as_deref()) else {
            let what = format!("container {}: no image: give --source SOURCE", one.name);
            return Err(Error::usage(what));
        };
        let named = self.setup.images.iter().find(|(name, _)| name == image);
        let word = named.map_or(image, |(_, source)| source.as_str());
        if Reference::parse(word)?.is_some() || word.starts_with(['/', '.']) {
            return SourceKind::parse(word);
        }
        // A name of a registry, as it stands in manifests: podman's store may have it.
        Ok(SourceKind::Image(match crate::runtime::program("podman".into()) {
            Ok(_) => Reference::Podman(word.to_owned()),
            Err(_) => Reference::Registry(word.to_owned()),
        }))
    }

    fn prepared(&self, pod: &Pod, place: usize) -> Result<PreparedRoot> {
        let dir = self.dir(&pod.containers[place].name);
        std::fs::create_dir_all(&dir).at("make", dir.display())?;
        // What the life before wrote is gone, as in Kubernetes.
        volumes::undo(&dir);
        let kind = self.source(pod, place)?;
        let shop = Workshop { place: self.setup.place(), dir: dir.clone() };
        let mut root = prepare(&kind, &shop)?;
        if matches!(kind, SourceKind::Rootfs(_)) {
            volumes::overlay(&dir, &mut root)?;
        }
        write_json(&dir.join("undo.json"), &root.undo)?;
        Ok(root)
    }
}

impl Plugin for Oci {
    fn container(&self, pod: &Pod, place: usize) -> Result<Arc<dyn Container>> {
        let name = &pod.containers[place].name;
        let root = self.prepared(pod, place)?;
        let (mounts, held) = volumes::mounts(&self.setup, &self.dirs, pod, place)?;
        let whole = config::config(&self.setup, pod, place, &root, &self.ground, mounts)?;
        let dir = self.dir(name);
        write_json(&dir.join("config.json"), &whole)?;
        let id = self.setup.id_of(name);
        let log = self.setup.log_of(name);
        let signal = config::stop_signal(&whole);
        let shared = pod.share_pid || pod.host_pid;
        let life = Life::new(self.runtime.clone(), id, dir, log, signal, shared, held);
        Ok(Arc::new(life.in_network(self.ground.net.clone())))
    }

    fn adopt(&self, pod: &Pod, place: usize, pid: Option<i32>) -> Option<Arc<dyn Container>> {
        let name = &pod.containers[place].name;
        let (id, dir, log) = (self.setup.id_of(name), self.dir(name), self.setup.log_of(name));
        // Of the image, too: what the supervisor before had read.
        let whole: Option<serde_json::Value> = read_json(&dir.join("config.json")).ok().flatten();
        let signal = whole.and_then(|whole| config::stop_signal(&whole));
        let shared = pod.share_pid || pod.host_pid;
        let life = Life::new(self.runtime.clone(), id, dir, log, signal, shared, Vec::new());
        let life = life.in_network(self.ground.net.clone());
        life.adopt(pid).then(|| Arc::new(life) as Arc<dyn Container>)
    }

    fn changed(&self, kept: &Kept, status: &PodStatus) {
        let kept = write_json(&self.dirs.kept(), kept);
        if let Err(error) = kept.and_then(|()| write_json(&self.dirs.status(), status)) {
            eprintln!("{error}");
        }
    }
}

/// Removes a pod's volumes, mounts and directories; all that can be is.
///
/// # Errors
/// What remains.
pub fn remove(dirs: &PodDirs) -> Result<()> {
    if let Ok(Some(setup)) = read_json::<Setup>(&dirs.setup()) {
        for one in &setup.pod.containers {
            volumes::undo(&dirs.data.join("containers").join(&one.name));
        }
        holder::end(&setup, dirs);
    }
    Ground::found(dirs).clear(dirs);
    volumes::clear(dirs);
    for dir in [&dirs.run, &dirs.data] {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove", dir.display());
            }
            _ => {}
        }
    }
    Ok(())
}
