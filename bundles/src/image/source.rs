//! An image as a SOURCE of containers.

use super::fetch::{self, Options};
use super::rootfs;
use super::store::Store;
use super::userns;
use crate::error::Result;
use crate::source::{ImageConfig, PreparedRoot, Reference, Source, Workshop};
use crate::store::Undo;

/// An image.
#[derive(Debug, Clone)]
pub struct ImageSource {
    /// Which one.
    pub reference: Reference,
    /// How it is got.
    pub options: Options,
    /// What the container writes need not survive a crash of the machine: `--rm`.
    pub ephemeral: bool,
}

impl ImageSource {
    /// The image that is named so.
    #[must_use]
    pub fn new(reference: Reference) -> ImageSource {
        ImageSource { reference, options: Options::default(), ephemeral: false }
    }
}

impl Source for ImageSource {
    fn prepare(&self, shop: &Workshop) -> Result<PreparedRoot> {
        let store = Store::open(&shop.place.data.join("images"))?;
        let record = fetch::ensure(&store, &self.reference, &self.options)?;
        let root = rootfs::prepare(&store, &record, &shop.dir, self.ephemeral, &self.options)?;
        let settings = record.config.settings();
        let user = settings.user.clone().filter(|name| !name.is_empty());
        let keys = |map: &Option<std::collections::BTreeMap<String, serde_json::Value>>| {
            map.iter().flat_map(|map| map.keys().cloned()).collect()
        };
        let config = ImageConfig {
            entrypoint: settings.entrypoint.clone().unwrap_or_default(),
            command: settings.cmd.clone().unwrap_or_default(),
            env: settings.environment(&[]),
            cwd: Some(settings.directory().to_owned()),
            user,
            labels: settings.labels.clone().unwrap_or_default(),
            stop_signal: settings.stop_signal.clone(),
            volumes: keys(&settings.volumes),
            ports: keys(&settings.exposed_ports),
        };
        let mut undo = Vec::new();
        if !userns::is_root() {
            // What the container's other users have written is not the caller's to remove.
            let program = self.options.program.display().to_string();
            let dir = shop.dir.display().to_string();
            undo.push(Undo::Run(vec![program, "image".to_owned(), "clean".to_owned(), dir]));
        }
        Ok(PreparedRoot {
            root: root.path,
            mounts: root.mount.into_iter().collect(),
            layers: root.layers,
            config,
            undo,
            ..PreparedRoot::default()
        })
    }
}
