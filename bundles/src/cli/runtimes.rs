//! Containers that others have made: by the state that runc's kind of runtime leaves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::output::{Style, print_documents, print_table};
use crate::error::Result;
use crate::store::Place;

/// A container of anybody's.
pub(super) struct Other {
    pub(super) owner: String,
    pub(super) id: String,
    pid: Option<i64>,
    running: bool,
    bundle: String,
}

/// Where runtimes keep their state, and who makes them do so.
const PLACES: &[(&str, &str)] = &[
    ("richrun", "/run/richrun"),
    ("runc", "/run/runc"),
    ("crun", "/run/crun"),
    ("docker", "/run/docker/runtime-runc/moby"),
    ("docker", "/run/docker/runtime-richrun/moby"),
    ("containerd", "/run/containerd/runc"),
];

/// Those that there are.
pub(super) fn found(place: &Place) -> Vec<Other> {
    let mut all = Vec::new();
    let own = ("richctl".to_owned(), place.runtime_root());
    let others = PLACES.iter().map(|(owner, dir)| ((*owner).to_owned(), PathBuf::from(dir)));
    for (owner, dir) in std::iter::once(own).chain(others) {
        if owner == "containerd" {
            for namespace in entries(&dir) {
                look(&format!("containerd/{namespace}"), &dir.join(&namespace), &mut all);
            }
        } else {
            look(&owner, &dir, &mut all);
        }
    }
    all
}

fn entries(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn look(owner: &str, dir: &Path, all: &mut Vec<Other>) {
    for id in entries(dir) {
        // runc's and richrun's name, and crun's.
        let text = fs::read(dir.join(&id).join("state.json"));
        let text = text.or_else(|_| fs::read(dir.join(&id).join("status")));
        let Ok(text) = text else { continue };
        let state: Value = serde_json::from_slice(&text).unwrap_or_default();
        let number = |path: &[&str]| {
            path.iter().try_fold(&state, |value, name| value.get(name)).and_then(Value::as_i64)
        };
        let pid = number(&["init_process_pid"])
            .or_else(|| number(&["pid"]))
            .or_else(|| number(&["init", "pid"]));
        let alive = pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
        let bundle = state.get("bundle").and_then(Value::as_str).unwrap_or_default().to_owned();
        all.push(Other { owner: owner.to_owned(), id, pid, running: alive, bundle });
    }
}

/// Prints them.
pub(super) fn print(rows: &[Other], style: &Style) -> Result<u8> {
    let word = |one: &Other| if one.running { "running" } else { "stopped" };
    if !matches!(style, Style::Table) {
        let document = |one: &Other| json!({"Owner": one.owner, "Id": one.id, "Pid": one.pid, "Status": word(one), "Bundle": one.bundle});
        print_documents(style, &rows.iter().map(document).collect::<Vec<_>>())?;
        return Ok(0);
    }
    let row = |one: &Other| {
        let pid = one.pid.filter(|_| one.running).map(|pid| pid.to_string());
        vec![one.owner.clone(), one.id.clone(), pid.unwrap_or("-".into()), word(one).to_owned()]
    };
    print_table(&["OWNER", "ID", "PID", "STATUS"], &rows.iter().map(row).collect::<Vec<_>>());
    Ok(0)
}
