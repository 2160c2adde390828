//! `hooks list`: which hooks a bundle's container would have, and why.

use std::path::Path;

use oci_spec::runtime::{Hook, Hooks};
use rich_hooks::Phase;
use rich_hooks::hooks_d::{self, Definition, Facts, Origin, Verdict};
use serde::Serialize;

use crate::cli::{Format, HooksListArgs};
use crate::commands::output::{indented, print};
use crate::config::Config;
use crate::config::file::Settings;
use crate::config::hooks::{directories, read};
use crate::error::{Error, Result};

/// Prints the list.
pub fn run(args: &HooksListArgs) -> Result<u8> {
    let config = Config::load(args.bundle.as_deref().unwrap_or(Path::new(".")))?;
    let settings = Settings::load()?;
    let found = read(directories(&args.hooks_dir, &settings))?;
    let verdicts = hooks_d::decide(&found.definitions, &Facts::of(&config.spec))
        .map_err(|problem| Error::config(format!("hooks directory: {problem}")))?;
    let own = config.spec.hooks().clone().unwrap_or_default();
    let file = config.bundle.join("config.json").display().to_string();
    let mut listing = Listing::of(&own, &file, &found.definitions, &verdicts);
    listing.passed_over.extend(found.skipped.iter().map(|problem| PassedOver {
        source: problem.file.display().to_string(),
        why: problem.what.clone(),
    }));
    match args.format {
        Format::Table => print(&listing.table())?,
        Format::Json => print(&(indented(&listing, "  ")? + "\n"))?,
    }
    Ok(0)
}

/// What `hooks list` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    /// In the order in which they run.
    hooks: Vec<Row>,
    /// Definitions that do not apply.
    passed_over: Vec<PassedOver>,
}

#[derive(Debug, Serialize)]
struct Row {
    phase: &'static str,
    index: usize,
    #[serde(flatten)]
    hook: Hook,
    source: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct PassedOver {
    source: String,
    why: String,
}

impl Listing {
    /// `file` is where the configuration's own hooks stand.
    fn of(own: &Hooks, file: &str, definitions: &[Definition], verdicts: &[Verdict]) -> Listing {
        let applying = hooks_d::applying(definitions, verdicts);
        let why = |definition: &Definition| {
            let at = definitions.iter().position(|other| other.file == definition.file);
            at.map_or(String::new(), |at| verdicts[at].why.clone())
        };
        let mut hooks = Vec::new();
        for phase in Phase::ALL {
            let own = phase.of(own);
            let order = hooks_d::order(phase, own.len(), &applying);
            hooks.extend(order.into_iter().enumerate().map(|(index, origin)| {
                let (hook, source, why) = match origin {
                    Origin::Own(at) => (own[at].clone(), file.to_owned(), "its own".to_owned()),
                    Origin::Definition(definition) => {
                        let source = definition.file.display().to_string();
                        (definition.hook.clone(), source, why(definition))
                    }
                };
                Row { phase: phase.name(), index, hook, source, why }
            }));
        }
        let others = definitions.iter().zip(verdicts).filter(|(_, verdict)| !verdict.applies);
        let passed_over = others.map(|(definition, verdict)| PassedOver {
            source: definition.file.display().to_string(),
            why: verdict.why.clone(),
        });
        Listing { hooks, passed_over: passed_over.collect() }
    }

    /// Aligned columns with a heading; definitions that do not apply at the end.
    fn table(&self) -> String {
        let heading = ["PHASE", "#", "PROGRAM", "WHY", "FROM"].map(str::to_owned);
        let run = self.hooks.iter().map(|row| {
            let program = row.hook.path().display().to_string();
            let (index, why, from) = (row.index.to_string(), row.why.clone(), row.source.clone());
            [row.phase.to_owned(), index, program, why, from]
        });
        let not = self.passed_over.iter().map(|one| {
            ["-".into(), "-".into(), "not run".into(), one.why.clone(), one.source.clone()]
        });
        let rows: Vec<[String; 5]> = std::iter::once(heading).chain(run).chain(not).collect();
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..4).map(width).collect();
        let line = |row: &[String; 5]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
            cells.collect::<String>() + &row[4] + "\n"
        };
        rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, more: &str) -> Definition {
        let text = format!(
            r#"{{"version":"1.0.0","hook":{{"path":"/{name}"}},"stages":["poststop"],{more}}}"#
        );
        Definition::parse(format!("/d/{name}").as_ref(), text.as_bytes()).unwrap()
    }

    #[test]
    fn every_hook_says_where_it_is_from_and_why() {
        let own =
            r#"{"prestart":[{"path":"/own"}],"poststop":[{"path":"/end","args":["end","x"]}]}"#;
        let own: Hooks = serde_json::from_str(own).unwrap();
        let definitions = [
            definition("late", r#""when":{"always":true}"#),
            definition("early", r#""priority":-1,"when":{"commands":["^/app$"]}"#),
            definition("other", r#""when":{"annotations":{"^k$":"^v$"}}"#),
        ];
        let facts = Facts { command: Some("/app".into()), ..Facts::default() };
        let verdicts = hooks_d::decide(&definitions, &facts).unwrap();
        let listing = Listing::of(&own, "/b/config.json", &definitions, &verdicts);
        assert_eq!(
            listing.table(),
            "PHASE     #  PROGRAM  WHY                     FROM\n\
             prestart  0  /own     its own                 /b/config.json\n\
             poststop  0  /early   command matches ^/app$  /d/early\n\
             poststop  1  /end     its own                 /b/config.json\n\
             poststop  2  /late    always                  /d/late\n\
             -         -  not run  no annotation ^k$=^v$   /d/other\n"
        );
        let json = serde_json::to_value(&listing).unwrap();
        assert_eq!(json["hooks"][2]["args"][1], "x");
        assert_eq!(json["hooks"][2]["path"], "/end");
        assert_eq!(json["passedOver"][0]["source"], "/d/other");
        // What is listed is what is merged.
        let mut merged = own;
        hooks_d::inject(&definitions, &facts, &mut merged).unwrap();
        let merged: Vec<&Path> = Phase::ALL
            .iter()
            .flat_map(|phase| phase.of(&merged))
            .map(|hook| hook.path().as_path())
            .collect();
        let listed: Vec<&Path> =
            listing.hooks.iter().map(|row| row.hook.path().as_path()).collect();
        assert_eq!(listed, merged);
    }
}
