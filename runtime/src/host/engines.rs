//! Which engines are installed, and whether their settings name richrun.

use std::path::{Path, PathBuf};

use crate::plan::doctor::Engine;

/// An engine as this module looks for it.
struct Kind {
    name: &'static str,
    /// The program to look for on the PATH.
    program: &'static str,
    /// Files of settings, and directories of them; `~/` is the user's home.
    settings: &'static [&'static str],
    /// Where the lines below go.
    file: &'static str,
    /// The file of integration/setup, which the engines' trials use; empty where there is
    /// nothing to set.
    snippet: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "podman",
        program: "podman",
        settings: &[
            "/usr/share/containers/containers.conf",
            "/etc/containers/containers.conf",
            "/etc/containers/containers.conf.d",
            "~/.config/containers/containers.conf",
            "~/.config/containers/containers.conf.d",
        ],
        file: "/etc/containers/containers.conf.d/50-richrun.conf",
        snippet: include_str!("../../../integration/setup/podman/50-richrun.conf"),
    },
    Kind {
        name: "docker",
        program: "dockerd",
        settings: &["/etc/docker/daemon.json"],
        file: "/etc/docker/daemon.json",
        snippet: include_str!("../../../integration/setup/docker/daemon.json"),
    },
    Kind {
        name: "containerd",
        program: "containerd",
        settings: &["/etc/containerd/config.toml", "/etc/containerd/conf.d"],
        file: "/etc/containerd/config.toml",
        snippet: include_str!("../../../integration/setup/containerd/config-1.toml"),
    },
    Kind {
        name: "cri-o",
        program: "crio",
        settings: &["/etc/crio/crio.conf", "/etc/crio/crio.conf.d"],
        file: "/etc/crio/crio.conf.d/50-richrun.conf",
        snippet: include_str!("../../../integration/setup/crio/50-richrun.conf"),
    },
    Kind { name: "kubelet", program: "kubelet", settings: &[], file: "", snippet: "" },
];

/// The containerd settings from 2.0 on.
const CONTAINERD_2: &str = include_str!("../../../integration/setup/containerd/config-2.toml");

/// The engines that are on the PATH.
pub fn installed() -> Vec<Engine> {
    KINDS.iter().filter_map(look).collect()
}

fn look(kind: &Kind) -> Option<Engine> {
    let program = on_path(kind.program)?;
    let files: Vec<PathBuf> = kind.settings.iter().flat_map(|place| files_of(place)).collect();
    let known_in = files.iter().find(|file| names_richrun(file));
    let is_2 =
        kind.name == "containerd" && files.iter().any(|file| text(file).lines().any(is_version_3));
    Some(Engine {
        name: kind.name,
        program: program.display().to_string(),
        known_in: known_in.map(|file| file.display().to_string()),
        file: kind.file,
        snippet: if is_2 { CONTAINERD_2 } else { kind.snippet },
    })
}

/// `version = 3`: the form of containerd 2.
fn is_version_3(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, value)| (key.trim(), value.trim()) == ("version", "3"))
}

/// A program by its name, as a shell finds it; also where only the superuser's PATH looks.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).chain(usual);
    all.map(|dir| dir.join(name)).find(|file| {
        use std::os::unix::fs::PermissionsExt;
        file.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

/// A file, or the files of a directory.
fn files_of(place: &str) -> Vec<PathBuf> {
    let path = match place.strip_prefix("~/") {
        None => PathBuf::from(place),
        Some(rest) => match std::env::var_os("HOME") {
            Some(home) => PathBuf::from(home).join(rest),
            None => return Vec::new(),
        },
    };
    match std::fs::read_dir(&path) {
        Err(_) => vec![path],
        Ok(entries) => {
            let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort_unstable();
            files
        }
    }
}

fn text(path: &Path) -> String {
    crate::config::read_bounded(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Whether a value anywhere in a file (TOML or JSON) is a path of this program.
fn names_richrun(file: &Path) -> bool {
    let text = text(file);
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(document) => in_json(&document),
        Err(_) => {
            toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.values().any(in_toml))
        }
    }
}

fn is_ours(text: &str) -> bool {
    let name = Path::new(text).file_name();
    name.is_some_and(|name| name == "richrun" || name == "richrun-rich") && text.starts_with('/')
}

fn in_json(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => is_ours(text),
        serde_json::Value::Array(list) => list.iter().any(in_json),
        serde_json::Value::Object(map) => map.values().any(in_json),
        _ => false,
    }
}

fn in_toml(value: &toml::Value) -> bool {
    match value {
        toml::Value::String(text) => is_ours(text),
        toml::Value::Array(list) => list.iter().any(in_toml),
        toml::Value::Table(table) => table.values().any(in_toml),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that the documents tell to copy are recognised once they are copied.
    #[test]
    fn every_snippet_names_richrun() {
        let dir = std::env::temp_dir().join(format!("richrun-engines-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let snippets = KINDS.iter().map(|kind| kind.snippet).chain([CONTAINERD_2]);
        for snippet in snippets.filter(|text| !text.is_empty()) {
            let file = dir.join("settings");
            std::fs::write(&file, snippet).unwrap();
            assert!(names_richrun(&file), "{snippet}");
            std::fs::write(&file, snippet.replace("/richrun", "/runc")).unwrap();
            assert!(!names_richrun(&file), "{snippet}");
        }
        assert!(CONTAINERD_2.lines().any(is_version_3));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
