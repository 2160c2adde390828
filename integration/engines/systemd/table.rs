//! What came of a run, as a table for each host.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;

use richrun_engines::host::Host;
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

/// What came of one host's.
#[derive(Debug, Default)]
struct Rows {
    versions: String,
    cells: BTreeMap<(&'static str, &'static str, usize), [Option<Cell>; RUNTIMES.len()]>,
}

/// What came of all.
#[derive(Debug, Default)]
pub struct Table([Rows; Host::ALL.len()]);

impl Table {
    /// Notes what a host has.
    pub fn host(&mut self, host: Host, versions: &str) {
        self.0[host as usize].versions = versions.to_owned();
    }

    /// Notes one.
    pub fn set(&mut self, (host, scenario, who, which): (Host, &Scenario, Who, usize), cell: Cell) {
        let key = (scenario.engine, scenario.name, who as usize);
        self.0[host as usize].cells.entry(key).or_default()[which] = Some(cell);
    }

    /// The tables in Markdown, and below them the reasons, which have one numbering.
    fn text(&self) -> String {
        let mut reasons: Vec<&str> = Vec::new();
        let mut text = String::new();
        for host in Host::ALL {
            let rows = &self.0[host as usize];
            if !rows.cells.is_empty() {
                rows.write(&mut text, host, &mut reasons);
            }
        }
        for (number, reason) in reasons.iter().enumerate() {
            let _infallible = writeln!(text, "{}. {reason}", number + 1);
        }
        text
    }
}

impl Rows {
    fn write<'a>(&'a self, text: &mut String, host: Host, reasons: &mut Vec<&'a str>) {
        let (name, versions) = (host.name(), &self.versions);
        let _infallible = write!(
            text,
            "## Debian {name}\n\n{versions}\n\n\
             | engine | scenario | as | richrun | crun | runc |\n|---|---|---|---|---|---|\n"
        );
        for scenario in SCENARIOS {
            for who in scenario.who {
                let (engine, name, as_whom) = (scenario.engine, scenario.name, who.name());
                let Some(row) = self.cells.get(&(engine, name, *who as usize)) else { continue };
                let cells = [2, 0, 1].map(|which| said(row[which].as_ref(), reasons));
                let cells = cells.join(" | ");
                let _infallible = writeln!(text, "| {engine} | {name} | {as_whom} | {cells} |");
            }
        }
        text.push('\n');
    }
}

/// A cell's text: of what was not tried, the number of the reason.
fn said<'a>(cell: Option<&'a Cell>, reasons: &mut Vec<&'a str>) -> String {
    match cell {
        None => String::new(),
        Some(Cell::Good) => "yes".to_owned(),
        Some(Cell::Bad) => "**no**".to_owned(),
        Some(Cell::Ignored(reason)) => {
            let number = reasons.iter().position(|one| one == reason).unwrap_or(reasons.len());
            if number == reasons.len() {
                reasons.push(reason);
            }
            format!("- ({})", number + 1)
        }
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
