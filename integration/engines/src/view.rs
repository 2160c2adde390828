//! The cgroup layouts that this host can show: a sandbox picks one.

use std::fs;
use std::path::{Path, PathBuf};

/// A layout of `/sys/fs/cgroup` inside a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// cgroup v1 hierarchies only.
    V1,
    /// v1 hierarchies and, beside them, `unified`.
    Hybrid,
    /// One cgroup2 mount.
    V2,
}

impl View {
    /// The views this host can show, the host's own among them.
    pub fn available() -> Vec<Self> {
        match (has_v1(), unified()) {
            (true, Some(_)) => vec![Self::V1, Self::Hybrid, Self::V2],
            (true, None) => vec![Self::V1],
            (false, Some(_)) => vec![Self::V2],
            (false, None) => Vec::new(),
        }
    }

    /// The view's name in trial names.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        }
    }

    /// Whether limits of `controller` can be set in this view.
    pub fn has(self, controller: &str) -> bool {
        match self {
            Self::V1 | Self::Hybrid => Path::new(ROOT).join(controller).is_dir(),
            Self::V2 => unified()
                .and_then(|root| fs::read_to_string(root.join("cgroup.controllers")).ok())
                .is_some_and(|list| list.split_whitespace().any(|name| name == controller)),
        }
    }

    /// The file of a knob of the cgroup `path` (as `/proc/PID/cgroup` has it),
    /// where the host sees it. `controller` is the v1 hierarchy.
    pub fn knob(self, path: &str, controller: &str, file: &str) -> PathBuf {
        let root = match self {
            Self::V1 | Self::Hybrid => Path::new(ROOT).join(controller),
            Self::V2 => unified().unwrap_or_else(|| ROOT.into()),
        };
        root.join(path.trim_start_matches('/')).join(file)
    }

    /// The path of a cgroup in the hierarchy of `controller`, from the text of a `/proc/PID/cgroup`.
    pub fn path_in(self, table: &str, controller: &str) -> Result<String, String> {
        table
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'))
            .find(|(controllers, _)| match self {
                Self::V1 | Self::Hybrid => controllers.split(',').any(|name| name == controller),
                Self::V2 => controllers.is_empty(),
            })
            .map(|(_, path)| path.to_owned())
            .ok_or_else(|| format!("no cgroup for {controller} in {table}"))
    }
}

/// Where cgroups are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The directories under which a cgroup may have left something: every
/// hierarchy of the host.
pub fn hierarchies() -> Vec<PathBuf> {
    if !has_v1() {
        return vec![ROOT.into()];
    }
    fs::read_dir(ROOT)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn has_v1() -> bool {
    Path::new(ROOT).join("memory").is_dir()
}

/// The host's cgroup2 mount.
fn unified() -> Option<PathBuf> {
    [ROOT.into(), Path::new(ROOT).join("unified")]
        .into_iter()
        .find(|root| root.join("cgroup.controllers").exists())
}
