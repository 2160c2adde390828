//! What came of a run, as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;

use richrun_engines::machine::Who;

use crate::RUNTIMES;
use crate::scenarios::{SCENARIOS, Scenario};

/// What came of one scenario with one runtime.
#[derive(Debug, Clone)]
pub enum Cell {
    /// It holds.
    Good,
    /// It does not.
    Bad,
    /// It was not tried, for this reason.
    Ignored(String),
}

/// What came of all.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<(&'static str, &'static str, usize), [Option<Cell>; RUNTIMES.len()]>);

impl Table {
    /// Notes one.
    pub fn set(&mut self, (scenario, who, which): (&Scenario, Who, usize), cell: Cell) {
        let row = self.0.entry((scenario.engine, scenario.name, who as usize)).or_default();
        row[which] = Some(cell);
    }

    /// The table in Markdown, and the reasons below it.
    fn text(&self) -> String {
        let mut reasons: Vec<&str> = Vec::new();
        let mut text = String::from("| engine | scenario | as | richrun | crun | runc |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        for scenario in SCENARIOS {
            for who in scenario.who {
                let key = (scenario.engine, scenario.name, *who as usize);
                let Some(row) = self.0.get(&key) else { continue };
                let mut cells = [2, 0, 1].map(|which| match &row[which] {
                    None => "",
                    Some(Cell::Good) => "yes",
                    Some(Cell::Bad) => "**no**",
                    Some(Cell::Ignored(reason)) => {
                        if !reasons.contains(&reason.as_str()) {
                            reasons.push(reason);
                        }
                        reason
                    }
                });
                let notes: Vec<String> = cells
                    .iter_mut()
                    .map(|cell| match reasons.iter().position(|reason| reason == cell) {
                        Some(number) => format!("- ({})", number + 1),
                        None => (*cell).to_owned(),
                    })
                    .collect();
                let (engine, name) = (scenario.engine, scenario.name);
                let _infallible = writeln!(
                    text,
                    "| {engine} | {name} | {} | {} |",
                    who.name(),
                    notes.join(" | ")
                );
            }
        }
        for (number, reason) in reasons.iter().enumerate() {
            let _infallible = write!(text, "\n{}. {reason}", number + 1);
        }
        text.push('\n');
        text
    }
}

/// Writes it to `build/test/engines.md`.
pub fn write(table: &Mutex<Table>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/test");
    let Ok(table) = table.lock() else { return };
    let written = std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(dir.join("engines.md"), table.text()));
    if let Err(error) = written {
        eprintln!("{}: {error}", dir.display());
    }
}
