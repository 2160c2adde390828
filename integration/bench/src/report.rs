//! The table in Markdown, and everything as JSON.

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use crate::init::InitFigures;
use crate::orphans;
use crate::peers::{ADDED, DEEP, FLAT};
use crate::row::{HOOK_COLUMNS, Limit, MANY_HOOKS, NO_HOOKS, ONE_HOOK, Row};
use crate::sample::{Outcome, quantile};
use crate::side;
use crate::stage::{MANY, Stage};

/// The columns of the main table.
pub const COLUMNS: [&str; 5] = ["floor", "crun", "runc", "youki", "richrun"];

/// Something that must be reached: what, the figure, the bound.
struct Goal {
    what: String,
    figure: Option<f64>,
    bound: f64,
    unit: &'static str,
}

impl Goal {
    fn verdict(&self) -> &'static str {
        match self.figure {
            Some(figure) if figure <= self.bound => "pass",
            Some(_) => "**miss**",
            None => "not measured",
        }
    }
}

/// The report, to read or to paste.
pub fn markdown(stage: &Stage, rows: &[Row], figures: &InitFigures) -> String {
    let mut text = String::from("# richrun beside its peers\n\n");
    text += &machine(stage);
    text += "\nMedians; every column of a row was measured in alternating batches in one run.\n\n";
    text += "| work | floor | crun | runc | youki | richrun | of crun | of floor |\n";
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in rows.iter().filter(|row| is_main(row)) {
        let _ = write!(text, "| {} ({}) |", row.title, row.unit);
        for column in COLUMNS {
            let _ = write!(text, " {} |", cell(row, column));
        }
        let _ = writeln!(text, " {} | {} |", ratio(row, "crun"), ratio(row, "floor"));
    }
    text += &side::tables(rows, &figures.peers);
    text += "\n| must be reached | measured | at most | |\n| --- | --- | --- | --- |\n";
    for goal in goals(rows, figures) {
        let measured =
            goal.figure.map_or("-".into(), |figure| format!("{figure:.2} {}", goal.unit));
        let bound = format!("{} {}", goal.bound, goal.unit);
        let (measured, bound) = (measured.trim(), bound.trim());
        let _ = writeln!(text, "| {} | {measured} | {bound} | {} |", goal.what, goal.verdict());
    }
    text += &hooks(rows);
    text += &spread(rows);
    text += &troubles(rows, figures);
    text
}

/// Whether a row belongs to the main table: the others have tables of their own.
pub fn is_main(row: &Row) -> bool {
    const OTHERS: [&str; 7] = ["hook-v2", "rich-v2", "boot-v2", ADDED, FLAT, DEEP, orphans::KEY];
    !OTHERS.contains(&row.key.as_str())
}

/// Whether a row is drawn: not where a difference is what counts.
pub fn is_drawn(row: &Row) -> bool {
    !["hook-v2", "rich-v2", orphans::KEY].contains(&row.key.as_str())
}

fn machine(stage: &Stage) -> String {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!("Linux {}, {cpus} CPUs", line("/proc/sys/kernel/osrelease"));
    let cpuinfo = line("/proc/cpuinfo");
    if let Some(model) = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")) {
        text += &format!(" ({})", model.trim_matches(['\t', ' ', ':']));
    }
    let load = line("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    text += &format!(", load average {load} at the end.\n");
    if load.parse::<f64>().is_ok_and(|load| load > cpus as f64) {
        text += "**The machine was busy with other work: take these figures on a quiet one.**\n";
    }
    text.push('\n');
    for runtime in &stage.runtimes {
        let _ = writeln!(text, "- {}: {}", runtime.name, runtime.version);
    }
    text += "- floor: `integration/bench/floor.c`, the least that a container can cost\n";
    text
}

fn cell(row: &Row, column: &str) -> String {
    match row.cells.iter().find(|cell| cell.column == column).map(|cell| &cell.outcome) {
        Some(Outcome::Failed(_)) => "failed".into(),
        Some(Outcome::Samples(_)) => {
            row.median(column).map_or("-".into(), |median| number(median, &row.unit))
        }
        None => "-".into(),
    }
}

/// A figure with as many decimals as its unit deserves.
pub fn number(figure: f64, unit: &str) -> String {
    if unit == "ms" { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

fn ratio(row: &Row, of: &str) -> String {
    quotient(row, of).map_or("-".into(), |ratio| format!("{ratio:.2}"))
}

fn quotient(row: &Row, of: &str) -> Option<f64> {
    Some(row.median("richrun")? / row.median(of)?)
}

/// How much more the second column takes than the first.
fn difference(rows: &[Row], key: &str, less: &str, more: &str) -> Option<f64> {
    let row = rows.iter().find(|row| row.key == key)?;
    Some(row.median(more)? - row.median(less)?)
}

fn goals(rows: &[Row], figures: &InitFigures) -> Vec<Goal> {
    let mut goals = Vec::new();
    for row in rows {
        for Limit { of, ratio } in &row.limits {
            let what = format!("{}, of {of}", row.title);
            goals.push(Goal { what, figure: quotient(row, of), bound: *ratio, unit: "" });
        }
    }
    let rich = difference(rows, "rich-v2", "richrun", "richrun --rich");
    let mut goal = |what: &str, figure: Option<f64>, bound: f64, unit: &'static str| {
        goals.push(Goal { what: what.into(), figure, bound, unit });
    };
    goal("`run --rich` over `run`", rich, 1.0, "ms");
    let hooks = hook_cost(rows, "richrun");
    goal("one `true` hook over none", hooks.one, 1.5, "ms");
    goal("each of 100 hooks, of one alone", hooks.linear(), 1.25, "");
    goal("empty lists of hooks over none", hooks.none, 0.2, "ms");
    let kib = figures.bytes.map(|bytes| bytes as f64 / 1024.0);
    goal("rich-init on disk", kib, 64.0, "KiB");
    let private = figures.private_kib.map(|kib| kib as f64);
    goal("rich-init's private memory as PID 1", private, 100.0, "KiB");
    goal("rich-init's wakes in 10 s idle", figures.wakes.map(|wakes| wakes as f64), 0.0, "");
    let orphans = rows.iter().find(|row| row.key == orphans::KEY);
    let orphans = orphans.and_then(|row| row.median(orphans::OWN));
    goal("rich-init reaps 10 000 orphans", orphans, 1000.0, "ms");
    let services = &figures.services;
    let kib = services.bytes.map(|bytes| bytes as f64 / 1024.0);
    goal("rich-init with services on disk", kib, 160.0, "KiB");
    let private = services.private_kib.map(|kib| kib as f64);
    goal("its private memory with 20 services and probes", private, 300.0, "KiB");
    goal("its wakes in 10 s idle", services.wakes.map(|wakes| wakes as f64), 0.0, "");
    goal("20 services, 4 deep, of the longest path", services.graph, 1.15, "");
    goal("what a probe adds to its command, of what `exec` adds", services.probe, 0.2, "");
    goals
}

/// What hooks add to a run, in milliseconds.
struct HookCost {
    /// One hook.
    one: Option<f64>,
    /// [`MANY`] hooks together.
    many: Option<f64>,
    /// Lists that are empty: of the quickest tenth, since it is less than the median's noise.
    none: Option<f64>,
}

impl HookCost {
    /// Each of many, as a part of what one alone costs.
    fn linear(&self) -> Option<f64> {
        Some(self.many? / MANY as f64 / self.one?)
    }
}

fn hook_cost(rows: &[Row], name: &str) -> HookCost {
    let over = |with: &str| difference(rows, "hook-v2", name, &format!("{name}{with}"));
    let quick = |with: &str| {
        let row = rows.iter().find(|row| row.key == "hook-v2")?;
        row.samples(&format!("{name}{with}")).map(|samples| quantile(samples, 0.1))
    };
    let none = quick(NO_HOOKS).zip(quick("")).map(|(with, without)| with - without);
    HookCost { one: over(ONE_HOOK), many: over(MANY_HOOKS), none }
}

/// What `createRuntime` hooks (a static `true`) cost each runtime.
fn hooks(rows: &[Row]) -> String {
    let mut text = format!("\n| hooks (ms over none) | one | {MANY} | {MANY}, each |\n");
    text += "| --- | --- | --- | --- |\n";
    for name in HOOK_COLUMNS {
        let cost = hook_cost(rows, name);
        let each = cost.many.map(|many| many / MANY as f64);
        let cells = [cost.one, cost.many, each]
            .map(|figure| figure.map_or("-".into(), |ms| format!("{ms:.2}")));
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

/// The spread behind every median.
fn spread(rows: &[Row]) -> String {
    let mut text = String::from("\n| work | who | runs | min | 10 % | median | 90 % | max |\n");
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        for cell in &row.cells {
            let Outcome::Samples(samples) = &cell.outcome else { continue };
            let _ = write!(
                text,
                "| {} ({}) | {} | {} |",
                row.key,
                row.unit,
                cell.column,
                samples.len()
            );
            for part in [0.0, 0.1, 0.5, 0.9, 1.0] {
                let _ = write!(text, " {} |", number(quantile(samples, part), &row.unit));
            }
            text.push('\n');
        }
    }
    text
}

fn troubles(rows: &[Row], figures: &InitFigures) -> String {
    let mut text = String::new();
    for row in rows {
        for cell in &row.cells {
            if let Outcome::Failed(reason) = &cell.outcome {
                let _ = writeln!(text, "- {} of {} failed: {reason}", row.key, cell.column);
            }
        }
    }
    for one in &figures.peers {
        if let Some(trouble) = &one.trouble {
            let _ = writeln!(text, "- {}: {trouble}", one.name);
        }
    }
    if let Some(trouble) = &figures.services.trouble {
        let _ = writeln!(text, "- services: {trouble}");
    }
    if let Some(trouble) = &figures.trouble {
        let _ = writeln!(text, "- rich-init: {trouble}");
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Everything, samples included.
pub fn json(stage: &Stage, rows: &[Row], figures: &InitFigures) -> String {
    let goals: Vec<Value> = goals(rows, figures)
        .iter()
        .map(|goal| {
            let verdict = goal.verdict().trim_matches('*');
            json!({"what": goal.what, "measured": goal.figure, "atMost": goal.bound,
                "unit": goal.unit, "verdict": verdict})
        })
        .collect();
    let versions: serde_json::Map<String, Value> =
        stage.runtimes.iter().map(|one| (one.name.into(), json!(one.version))).collect();
    let all = json!({"versions": versions, "rows": rows, "richInit": figures, "goals": goals});
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Cell;

    fn row(crun: f64, richrun: f64) -> Row {
        let cell = |column: &str, value| Cell {
            column: column.into(),
            outcome: Outcome::Samples(vec![value]),
        };
        Row {
            key: "run-v2".into(),
            title: "run".into(),
            unit: "ms".into(),
            cells: vec![cell("crun", crun), cell("richrun", richrun)],
            limits: vec![Limit { of: "crun".into(), ratio: 0.6 }],
        }
    }

    #[test]
    fn a_goal_is_reached_at_its_bound_and_missed_above() {
        let none = InitFigures::default();
        assert_eq!(goals(&[row(10.0, 6.0)], &none)[0].verdict(), "pass");
        assert_eq!(goals(&[row(10.0, 6.1)], &none)[0].verdict(), "**miss**");
    }

    #[test]
    fn what_was_not_measured_is_not_passed() {
        let mut half = row(10.0, 6.0);
        half.cells.remove(0);
        assert_eq!(goals(&[half], &InitFigures::default())[0].verdict(), "not measured");
    }

    #[test]
    fn the_cost_of_hooks_is_what_they_add() {
        let cell = |column: &str, value| Cell {
            column: column.into(),
            outcome: Outcome::Samples(vec![value]),
        };
        let mut hooked = row(1.0, 5.0);
        hooked.key = "hook-v2".into();
        hooked.cells = vec![
            cell("richrun", 5.0),
            cell("richrun with hook", 6.0),
            cell("richrun with many hooks", 95.0),
        ];
        let cost = hook_cost(&[hooked], "richrun");
        assert_eq!((cost.one, cost.many, cost.none), (Some(1.0), Some(90.0), None));
        assert_eq!(cost.linear(), Some(0.9));
    }
}
