//! `doctor`: what this host can do for containers, and what to do about the rest.

use serde::Serialize;

use super::output::{indented, print};
use crate::cli::{DoctorArgs, Format, Global};
use crate::error::{Error, Result};
use crate::host::doctor::facts;
use crate::plan::doctor::{Facts, Finding, Level, findings};
use crate::plan::kernel::FEATURES;

/// Prints the findings; the exit status is 0 when containers can run.
pub fn run(global: &Global, args: &DoctorArgs) -> Result<u8> {
    let facts = facts(global)?;
    let findings = findings(&facts);
    match args.format {
        Format::Table => print(&table(&findings))?,
        Format::Json => print(&(indented(&document(&facts, &findings), "  ")? + "\n"))?,
    }
    match findings.iter().filter(|finding| finding.level == Level::Bad).count() {
        0 => Ok(0),
        1 => Err(Error::system("doctor: containers cannot run here: 1 finding is bad")),
        bad => Err(Error::system(format!(
            "doctor: containers cannot run here: {bad} findings are bad"
        ))),
    }
}

/// A line a finding, what to paste indented below it.
fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.area.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { area, level, what, way_out } in findings {
        text += &format!("{:<4}  {area:width$}  {what}\n", level.name());
        for line in way_out.iter().flat_map(|lines| lines.lines()) {
            text += &format!(
                "{line:>indent$}\n",
                indent = if line.is_empty() { 0 } else { 8 + line.chars().count() }
            );
        }
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    can_run: bool,
    findings: Vec<Row<'a>>,
    kernel: Kernel<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    area: &'a str,
    level: &'a str,
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    way_out: Option<&'a str>,
}

#[derive(Serialize)]
struct Kernel<'a> {
    release: &'a str,
    features: Vec<Feature>,
}

#[derive(Serialize)]
struct Feature {
    group: &'static str,
    name: String,
    since: &'static str,
    present: bool,
}

fn document<'a>(facts: &'a Facts, findings: &'a [Finding]) -> Document<'a> {
    let is_absent = |name| facts.absent.iter().any(|(feature, _)| feature.name == name);
    Document {
        can_run: findings.iter().all(|finding| finding.level != Level::Bad),
        findings: findings
            .iter()
            .map(|finding| Row {
                area: finding.area,
                level: finding.level.name(),
                what: &finding.what,
                way_out: finding.way_out.as_deref(),
            })
            .collect(),
        kernel: Kernel {
            release: &facts.release,
            features: FEATURES
                .iter()
                .map(|feature| Feature {
                    group: feature.group.title(),
                    name: feature.name.replace('`', ""),
                    since: feature.since,
                    present: !is_absent(feature.name),
                })
                .collect(),
        },
    }
}
