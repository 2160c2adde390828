//! What a pod's supervisor is given, and where a pod is kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::model::Pod;
use super::status::PodStatus;
use crate::error::{Error, Kind, Result};
use crate::store::{Place, read_json};

/// How a pod's network comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Its own, with nothing but the loopback interface.
    None,
    /// The host's.
    Host,
    /// Its own, connected by pasta, which publishes the ports.
    Pasta,
}

/// Everything that a supervisor has to know, as it is kept on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// The pod.
    pub pod: Pod,
    /// The user's directories.
    pub place: (PathBuf, PathBuf),
    /// The OCI runtime's program.
    pub runtime: PathBuf,
    /// Its network.
    pub network: Network,
    /// Where its containers' output goes: a file for each.
    pub logs: PathBuf,
    /// What containers without an image are made of.
    pub source: Option<String>,
    /// Images that are something else here: `NAME=SOURCE`.
    pub images: Vec<(String, String)>,
}

/// The directories of one pod.
#[derive(Debug, Clone)]
pub struct PodDirs {
    /// What lasts: the setup, bundles, volumes on disk.
    pub data: PathBuf,
    /// What does not outlive the machine's run: namespaces, the state, the socket.
    pub run: PathBuf,
}

impl PodDirs {
    /// Those of a pod.
    pub fn of(place: &Place, namespace: &str, name: &str) -> PodDirs {
        PodDirs {
            data: place.data.join("pods").join(namespace).join(name),
            run: place.run.join("pods").join(namespace).join(name),
        }
    }

    /// The setup's file.
    pub fn setup(&self) -> PathBuf {
        self.data.join("pod.json")
    }

    /// What the supervisor keeps.
    pub fn kept(&self) -> PathBuf {
        self.run.join("kept.json")
    }

    /// The pod's last status.
    pub fn status(&self) -> PathBuf {
        self.run.join("status.json")
    }

    /// The file whose lock the supervisor has.
    pub fn lock(&self) -> PathBuf {
        self.run.join("lock")
    }

    /// Where the supervisor answers.
    pub fn socket(&self) -> PathBuf {
        self.run.join("control")
    }

    /// What the supervisor has to say.
    pub fn words(&self) -> PathBuf {
        self.data.join("supervisor.log")
    }

    /// Reads the setup.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; a file that is not one.
    pub fn read_setup(&self) -> Result<Setup> {
        read_json(&self.setup())?.ok_or_else(|| {
            let name = self.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Error::new(Kind::NotFound, format!("no pod is named {name}: see 'richctl pod list'"))
        })
    }

    /// Reads what the supervisor keeps.
    ///
    /// # Errors
    /// A file that is not one.
    pub fn read_kept(&self) -> Result<Option<Kept>> {
        read_json(&self.kept())
    }

    /// Reads the last status.
    ///
    /// # Errors
    /// A file that is not one.
    pub fn read_status(&self) -> Result<Option<PodStatus>> {
        read_json(&self.status())
    }
}

impl Setup {
    /// The user's directories.
    pub fn place(&self) -> Place {
        Place { run: self.place.0.clone(), data: self.place.1.clone() }
    }

    /// The pod's directories.
    pub fn dirs(&self) -> PodDirs {
        PodDirs::of(&self.place(), &self.pod.namespace, &self.pod.name)
    }

    /// The file of a container's output.
    pub fn log_of(&self, container: &str) -> PathBuf {
        let pod = &self.pod;
        self.logs.join(&pod.namespace).join(format!("{}.{container}.log", pod.name))
    }

    /// A container's id at the runtime: `_` is in no name of Kubernetes.
    pub fn id_of(&self, container: &str) -> String {
        format!("{}_{}_{container}", self.pod.namespace, self.pod.name)
    }
}

/// The names of the pods of a place, with their namespaces.
pub fn all(place: &Place) -> Vec<(String, String)> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    let pods = place.data.join("pods");
    let each = names(&pods).into_iter().flat_map(|namespace| {
        let here = names(&pods.join(&namespace));
        here.into_iter().map(move |name| (namespace.clone(), name))
    });
    each.collect()
}
