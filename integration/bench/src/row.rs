//! The rows of the table: what is measured, of whom, and what must be reached.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::sample::{self, Case, Outcome, median};
use crate::stage::{Result, Runtime, Stage};

/// How the cgroups are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// cgroup2 on `/sys/fs/cgroup` (`integration/v2view`).
    V2,
    /// The v1 hierarchies only (`integration/v1view`).
    V1,
}

impl View {
    /// `v1` or `v2`.
    pub fn name(self) -> &'static str {
        match self {
            View::V1 => "v1",
            View::V2 => "v2",
        }
    }
}

/// The most that richrun may take of another column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The other column.
    pub of: String,
    /// How much of its median.
    pub ratio: f64,
}

/// One column of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Whose.
    pub column: String,
    /// What was measured.
    pub outcome: Outcome,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Short name, for the files.
    pub key: String,
    /// What stands in the table.
    pub title: String,
    /// `ms` or `KiB`.
    pub unit: String,
    /// The columns.
    pub cells: Vec<Cell>,
    /// What richrun must reach.
    pub limits: Vec<Limit>,
}

impl Row {
    /// One without figures yet.
    pub fn new(key: &str, title: &str, unit: &str, limits: &[(&str, f64)]) -> Row {
        let limits = limits.iter().map(|&(of, ratio)| Limit { of: of.into(), ratio }).collect();
        Row { key: key.into(), title: title.into(), unit: unit.into(), cells: Vec::new(), limits }
    }

    /// The samples of a column, if it has any.
    pub fn samples(&self, column: &str) -> Option<&[f64]> {
        self.cells.iter().find(|cell| cell.column == column).and_then(|cell| match &cell.outcome {
            Outcome::Samples(samples) if !samples.is_empty() => Some(samples.as_slice()),
            _ => None,
        })
    }

    /// The median of a column, if it has samples.
    pub fn median(&self, column: &str) -> Option<f64> {
        self.samples(column).map(median)
    }

    /// Whether any column has samples.
    pub fn is_measured(&self) -> bool {
        self.cells.iter().any(|cell| self.samples(&cell.column).is_some())
    }

    /// With the reason why a column has no figures.
    pub fn without(mut self, column: &str, reason: &str) -> Row {
        eprintln!("  {column}: {reason}");
        self.cells.push(Cell { column: column.into(), outcome: Outcome::Failed(reason.into()) });
        self
    }

    /// With what was measured.
    pub fn take(mut self, cases: Vec<Case>, outcomes: Vec<Outcome>) -> Row {
        self.cells = cases
            .into_iter()
            .zip(outcomes)
            .map(|(case, outcome)| Cell { column: case.column, outcome })
            .collect();
        self
    }
}

/// So many times the runs where a small difference between two columns counts: the median
/// of sixty is uncertain by a quarter of a millisecond.
const FINE: usize = 4;

/// Takes the rows of a view, telling the progress.
pub fn measure(stage: &Stage, view: View, runs: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut steps = |row: Row, parts: Vec<(Vec<Case>, usize)>| {
        let (mut cases, mut outcomes) = (Vec::new(), Vec::new());
        for (part, runs) in parts {
            eprintln!("{} ({}, {} runs each)", row.title, view.name(), runs);
            outcomes.extend(sample::alternate(&part, runs, sample::SHORT, &stage.out));
            cases.extend(part);
        }
        rows.push(row.take(cases, outcomes));
    };
    let limits: &[(&str, f64)] = match view {
        View::V2 => &[("crun", 0.6), ("floor", 2.5)],
        View::V1 => &[("crun", 0.8)],
    };
    let key = format!("run-{}", view.name());
    let title = format!("`run /bin/true`, cgroup {}", view.name());
    steps(Row::new(&key, &title, "ms", limits), vec![(run_cases(stage), runs)]);
    if view == View::V1 {
        return rows;
    }
    let cycle =
        Row::new("cycle-v2", "`create` + `start` + `delete -f`, cgroup v2", "ms", &[("crun", 0.6)]);
    steps(cycle, vec![(cycle_cases(stage), runs)]);
    let hook = Row::new("hook-v2", "`run` with `createRuntime` hooks (`true`)", "ms", &[]);
    let long = |case: &Case| case.column.ends_with(MANY_HOOKS) || case.column.starts_with("runc");
    let (long, short) = hook_cases(stage).into_iter().partition(long);
    steps(hook, vec![(short, runs * FINE), (long, runs)]);
    let rich = Row::new("rich-v2", "`run --rich /bin/true`", "ms", &[]);
    steps(rich, vec![(rich_cases(stage), runs * FINE)]);
    rows.push(exec_row(stage, runs));
    rows.push(memory_row(stage, runs.min(40)));
    rows
}

/// A fixed id: each run removes its container before the next makes one.
pub fn id(name: &str) -> String {
    format!("bench-{}-{name}", std::process::id())
}

/// Owned words.
pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the repository's path is UTF-8")
}

fn run_words(runtime: &Runtime, bundle: &Path) -> Vec<String> {
    words(&[&runtime.path, "run", "--bundle", text(bundle), &id(runtime.name)])
}

fn run_cases(stage: &Stage) -> Vec<Case> {
    let rootfs = stage.stock.join("rootfs");
    let floor = words(&[text(&stage.floor), text(&rootfs), "/bin/true"]);
    let mut cases = vec![Case { column: "floor".into(), argv: floor }];
    cases.extend(stage.runtimes.iter().map(|runtime| Case {
        column: runtime.name.into(),
        argv: run_words(runtime, &stage.stock),
    }));
    cases
}

fn cycle_cases(stage: &Stage) -> Vec<Case> {
    let measure = text(&stage.measure);
    let case = |runtime: &Runtime| Case {
        column: runtime.name.into(),
        argv: words(&[measure, "cycle", &runtime.path, text(&stage.stock), &id(runtime.name)]),
    };
    stage.runtimes.iter().map(case).collect()
}

/// Whose hooks are measured.
pub const HOOK_COLUMNS: [&str; 3] = ["crun", "runc", "richrun"];
/// What follows the name where the configuration has one hook.
pub const ONE_HOOK: &str = " with hook";
/// The same with [`crate::stage::MANY`] hooks.
pub const MANY_HOOKS: &str = " with many hooks";
/// The same with a list of hooks that is empty.
pub const NO_HOOKS: &str = " with no hooks";

fn hook_cases(stage: &Stage) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in HOOK_COLUMNS {
        let Some(runtime) = stage.runtime(name) else { continue };
        let bundles =
            [("", &stage.stock), (ONE_HOOK, &stage.hooked), (MANY_HOOKS, &stage.much_hooked)];
        for (with, bundle) in bundles {
            let column = format!("{name}{with}");
            cases.push(Case { column, argv: run_words(runtime, bundle) });
        }
        if name == "richrun" {
            let column = format!("{name}{NO_HOOKS}");
            cases.push(Case { column, argv: run_words(runtime, &stage.unhooked) });
        }
    }
    cases
}

fn rich_cases(stage: &Stage) -> Vec<Case> {
    let Some(runtime) = stage.runtime("richrun") else { return Vec::new() };
    let mut rich = run_words(runtime, &stage.stock);
    rich.insert(2, "--rich".into());
    vec![
        Case { column: "richrun".into(), argv: run_words(runtime, &stage.stock) },
        Case { column: "richrun --rich".into(), argv: rich },
    ]
}

/// `exec` in a container of each runtime that sleeps.
fn exec_row(stage: &Stage, runs: usize) -> Row {
    let mut row =
        Row::new("exec-v2", "`exec /bin/true` in a running container, cgroup v2", "ms", &[]);
    row.limits.push(Limit { of: "crun".into(), ratio: 0.6 });
    eprintln!("{} ({runs} runs each)", row.title);
    let (mut cases, mut failed) = (Vec::new(), Vec::new());
    for runtime in &stage.runtimes {
        let column = runtime.name.to_owned();
        match start(runtime, &stage.sleeping, &id(runtime.name)) {
            Ok(()) => {
                let argv = words(&[&runtime.path, "exec", &id(runtime.name), "/bin/true"]);
                cases.push(Case { column, argv });
            }
            Err(reason) => failed.push(Cell { column, outcome: Outcome::Failed(reason) }),
        }
    }
    let outcomes = sample::alternate(&cases, runs, sample::SHORT, &stage.out);
    for runtime in &stage.runtimes {
        remove(runtime, &id(runtime.name));
    }
    let mut row = row.take(cases, outcomes);
    row.cells.extend(failed);
    row
}

/// A container in the background, its stdio on `/dev/null`.
pub fn start(runtime: &Runtime, bundle: &Path, id: &str) -> Result<()> {
    start_with(runtime, &[], bundle, id)
}

/// The same with more options of `run`.
pub fn start_with(runtime: &Runtime, options: &[&str], bundle: &Path, id: &str) -> Result<()> {
    let status = Command::new(&runtime.path)
        .arg("run")
        .args(options)
        .args(["--detach", "--bundle", text(bundle), id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .map_err(|error| format!("{}: {error}", runtime.path))?;
    if status.success() { Ok(()) } else { Err(format!("{} run --detach: {status}", runtime.name)) }
}

/// Removes a container, whatever its state.
pub fn remove(runtime: &Runtime, id: &str) {
    let _ = Command::new(&runtime.path)
        .args(["delete", "--force", id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Peak resident memory of `run`, from the rusage of what was waited for.
fn memory_row(stage: &Stage, runs: usize) -> Row {
    let mut row = Row::new("rss-v2", "peak RSS of `run /bin/true`, cgroup v2", "KiB", &[]);
    row.limits.push(Limit { of: "crun".into(), ratio: 1.0 });
    eprintln!("{} ({runs} runs each)", row.title);
    row.cells = run_cases(stage)
        .into_iter()
        .map(|case| Cell { outcome: peak(stage, &case, runs), column: case.column })
        .collect();
    row
}

fn peak(stage: &Stage, case: &Case, runs: usize) -> Outcome {
    let mut samples = Vec::new();
    for _ in 0..runs {
        let output = Command::new(&stage.measure).arg("rss").args(&case.argv).output();
        let figure = output.ok().filter(|output| output.status.success()).and_then(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().last().and_then(|line| line.trim().parse().ok())
        });
        match figure {
            Some(figure) => samples.push(figure),
            None => return Outcome::Failed("a run failed".into()),
        }
    }
    Outcome::Samples(samples)
}
