//! `make bench`: richrun beside the kernel's floor, crun, runc, youki and systemd-nspawn;
//! rich-init beside tini, dumb-init, catatonit, s6 and supervisord.
//!
//! ```text
//! main ── prepares, then runs itself in each view of the cgroups
//!   ├─ integration/v2view richrun-bench rows v2   -> build/bench/rows-v2.json
//!   ├─ integration/v1view richrun-bench rows v1   -> build/bench/rows-v1.json
//!   └─ results.md, results.json, results.svg; docs/speed.svg
//! ```

mod boot;
mod graph;
mod init;
mod orphans;
mod peers;
mod plot;
#[path = "../../../tests/src/podman_caps.rs"]
mod podman_caps;
mod process;
mod report;
mod row;
mod sample;
mod services;
mod side;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use init::InitFigures;
use row::{Row, View};
use stage::{Result, Stage};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => everything(),
        ["rows", "v1"] => rows(View::V1),
        ["rows", "v2"] => rows(View::V2),
        ["services"] => repository().and_then(|top| {
            let figures = services::look(&Stage::prepare(&top)?);
            println!("{}", serde_json::to_string_pretty(&figures).map_err(|e| e.to_string())?);
            Ok(())
        }),
        ["boot"] => repository().and_then(|top| {
            let row = boot::row(&Stage::prepare(&top)?, runs().min(20));
            println!("{}", side::tables(&[row], &[]));
            Ok(())
        }),
        ["peers"] => repository().and_then(|top| {
            let stage = Stage::prepare(&top)?;
            let (rows, seen) = peers::look(&stage, runs());
            println!("{}", side::tables(&rows, &seen));
            Ok(())
        }),
        ["orphans"] => repository().and_then(|top| {
            let row = orphans::row(&Stage::prepare(&top)?, runs().min(10));
            println!("{}", serde_json::to_string_pretty(&row).map_err(|e| e.to_string())?);
            Ok(())
        }),
        ["medians", note, ref columns @ ..] => medians(note, columns),
        ["report"] => repository().and_then(|top| tell(&Stage::prepare(&top)?)),
        _ => {
            Err("usage: richrun-bench [rows v1|v2 | services | boot | peers | orphans | medians NOTE NAME=MS... | report]"
                .into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The repository this program was built from.
fn repository() -> Result<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    top.canonicalize().map_err(|error| format!("{}: {error}", top.display()))
}

/// At least 40 runs of everything; `RUNS` says how many.
fn runs() -> usize {
    std::env::var("RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Measures both views, each in a process of its own, then reports.
fn everything() -> Result<()> {
    let top = repository()?;
    let stage = Stage::prepare(&top)?;
    let own = std::env::current_exe().map_err(|error| format!("current executable: {error}"))?;
    for view in [View::V2, View::V1] {
        let _ = fs::remove_file(part(&stage, view));
        // A view of a host that needs no change has no mount namespace of its own.
        let status = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(top.join(format!("integration/{}view", view.name())))
            .arg(&own)
            .args(["rows", view.name()])
            .status()
            .map_err(|error| format!("integration/{}view: {error}", view.name()))?;
        if !status.success() {
            eprintln!("bench: no rows of cgroup {}: {status}", view.name());
        }
    }
    tell(&stage)
}

fn part(stage: &Stage, view: View) -> PathBuf {
    stage.out.join(format!("rows-{}.json", view.name()))
}

/// Measures one view; called inside it.
fn rows(view: View) -> Result<()> {
    let stage = Stage::prepare(&repository()?)?;
    let mut rows = row::measure(&stage, view, runs());
    if view == View::V2 {
        rows.push(boot::row(&stage, runs().min(20)));
        rows.push(orphans::row(&stage, runs().min(10)));
    }
    let figures = (view == View::V2).then(|| {
        let mut figures = init::look(&stage);
        let (more, seen) = peers::look(&stage, runs());
        rows.extend(more);
        figures.peers = seen;
        figures
    });
    let text = serde_json::to_string(&(rows, figures)).map_err(|error| error.to_string())?;
    let path = part(&stage, view);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// README's picture of medians that were measured before: `floor=2.2 richrun=3.3`.
fn medians(note: &str, columns: &[&str]) -> Result<()> {
    let read = |column: &&'_ str| {
        let (name, median) = column.split_once('=')?;
        Some((name.to_owned(), median.parse::<f64>().ok()?))
    };
    let columns: Option<Vec<(String, f64)>> = columns.iter().map(read).collect();
    let columns = columns.ok_or("medians: a column is NAME=MILLISECONDS")?;
    let columns: Vec<(&str, f64)> = columns.iter().map(|(n, ms)| (n.as_str(), *ms)).collect();
    draw(&plot::medians(&columns, note))
}

/// Replaces README's picture.
fn draw(picture: &str) -> Result<()> {
    let path = repository()?.join("docs/speed.svg");
    fs::write(&path, picture).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes the three files and prints the table.
fn tell(stage: &Stage) -> Result<()> {
    let (mut all, mut figures) = (Vec::new(), InitFigures::default());
    for view in [View::V2, View::V1] {
        let Ok(text) = fs::read_to_string(part(stage, view)) else { continue };
        let (rows, seen): (Vec<Row>, Option<InitFigures>) =
            serde_json::from_str(&text).map_err(|error| error.to_string())?;
        all.extend(rows);
        figures = seen.unwrap_or(figures);
    }
    if all.is_empty() {
        return Err("nothing was measured".into());
    }
    let markdown = report::markdown(stage, &all, &figures);
    let files = [
        ("results.md", markdown.clone()),
        ("results.json", report::json(stage, &all, &figures)),
        ("results.svg", plot::svg(&all)),
    ];
    for (name, text) in files {
        let path = stage.out.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(picture) = plot::usual(&all) {
        draw(&picture)?;
    }
    print!("{markdown}");
    println!("\nFiles: {}/results.md, results.json, results.svg", stage.out.display());
    Ok(())
}
