//! How long rich-init and its peers take to reap ten thousand orphans that all end at once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::row::{Cell, Row};
use crate::sample::Outcome;
use crate::stage::{Result, Stage};

/// How many there are.
const COUNT: &str = "10000";
/// The row's key.
pub const KEY: &str = "orphans";
/// The column that is this project's.
pub const OWN: &str = "rich-init";

/// Each program as PID 1 of a pid namespace, taking turns.
pub fn row(stage: &Stage, runs: usize) -> Row {
    let mut row = Row::new(KEY, "10 000 orphans reaped", "ms", &[]);
    eprintln!("{} ({runs} runs each)", row.title);
    let beside = stage.runtime("richrun").map(|one| Path::new(&one.path).with_file_name(OWN));
    let peers = ["tini", "dumb-init", "catatonit"]
        .map(|name| (name, Some(Path::new("/usr/bin").join(name))));
    let programs: Vec<(&str, PathBuf)> = [(OWN, beside)]
        .into_iter()
        .chain(peers)
        .filter_map(|(name, path)| Some((name, path.filter(|path| path.exists())?)))
        .collect();
    let mut samples = vec![Ok(Vec::new()); programs.len()];
    for _ in 0..runs {
        for ((_, program), seen) in programs.iter().zip(&mut samples) {
            if let Ok(all) = seen {
                match once(stage, program) {
                    Ok(millis) => all.push(millis),
                    Err(reason) => *seen = Err(reason),
                }
            }
        }
    }
    let cells = programs.iter().zip(samples).map(|((name, _), seen)| Cell {
        column: (*name).to_owned(),
        outcome: seen.map_or_else(Outcome::Failed, Outcome::Samples),
    });
    row.cells = cells.collect();
    row
}

fn once(stage: &Stage, program: &Path) -> Result<f64> {
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(program)
        .arg("--")
        .arg(&stage.measure)
        .args(["orphans", COUNT])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = text.trim().parse().ok().filter(|_| output.status.success());
    figure.ok_or_else(|| {
        format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
    })
}
