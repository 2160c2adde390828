//! `hooks check`: what is wrong with files of hooks.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Hooks;
use rich_hooks::{HookFile, Namespaces, Phase, hooks_d, program_problem};

use crate::cli::HooksCheckArgs;
use crate::commands::output::print;
use crate::config::file::Settings;
use crate::config::read_bounded;
use crate::error::{Error, Result};

/// Prints a line for everything that is wrong; with any, the exit status is 1.
pub fn run(args: &HooksCheckArgs) -> Result<u8> {
    let (mut files, mut directories) = (args.files.clone(), args.hooks_dir.clone());
    if files.is_empty() && directories.is_empty() {
        directories = Settings::load()?.hooks_dirs;
        files.push("config.json".into());
    }
    let mut found: Vec<Finding> = files.into_iter().map(Finding::of).collect();
    directories.into_iter().for_each(|directory| found.extend(look_into(directory)));
    print(&found.iter().map(Finding::lines).collect::<String>())?;
    match found.iter().filter(|one| !one.problems.is_empty()).count() {
        0 => Ok(0),
        wrong => Err(Error::config(format!("hooks check: {wrong} of {} are wrong", found.len()))),
    }
}

/// What is wrong with one file or directory.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: PathBuf,
    problems: Vec<String>,
}

impl Finding {
    fn of(file: PathBuf) -> Finding {
        let problems = match read_bounded(&file) {
            Ok(text) => problems(&file, &text),
            Err(error) => vec![error.to_string()],
        };
        Finding { file, problems }
    }

    /// A line each: the file and what is wrong, or that nothing is.
    fn lines(&self) -> String {
        let good = ["good".to_owned()];
        let words = if self.problems.is_empty() { &good[..] } else { &self.problems[..] };
        words.iter().map(|what| format!("{}: {what}\n", self.file.display())).collect()
    }
}

/// Every definition in a directory; the directory itself, if it cannot be read.
fn look_into(directory: PathBuf) -> Vec<Finding> {
    match hooks_d::files(&directory) {
        Ok(files) => files.into_iter().map(Finding::of).collect(),
        Err(problem) => vec![Finding { file: directory, problems: vec![problem.what] }],
    }
}

/// What is wrong with a file's text, and with the programs that it names.
pub fn problems(file: &Path, text: &[u8]) -> Vec<String> {
    let found = match HookFile::parse(file, text) {
        Ok(found) => found,
        Err(problems) => return problems,
    };
    match found {
        HookFile::Hooks(hooks) => programs(&hooks),
        HookFile::Definition(definition) => {
            // It is the same program at every stage.
            let problem = program_problem(&definition.hook);
            problem.map(|what| format!("hook.{what} (engines pass over it)")).into_iter().collect()
        }
    }
}

/// The programs that cannot be executed, of those that are looked up outside
/// the container.
fn programs(hooks: &Hooks) -> Vec<String> {
    let outside = Phase::ALL.into_iter().filter(|phase| phase.row().path_in == Namespaces::Runtime);
    outside
        .flat_map(|phase| {
            let numbered = phase.of(hooks).iter().enumerate();
            numbered.filter_map(move |(at, hook)| {
                program_problem(hook).map(|what| format!("hooks.{phase}[{at}].{what}"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<String> {
        problems(Path::new("/d/x.json"), text.as_bytes())
    }

    #[test]
    fn programs_are_looked_for_where_they_are_looked_up() {
        let hook = r#"[{"path":"/bin/sh"},{"path":"/nonexistent"}]"#;
        let text = format!(r#"{{"poststop":{hook},"startContainer":{hook}}}"#);
        let wrong = "hooks.poststop[1].path: /nonexistent: no such file or directory";
        assert_eq!(check(&text), [wrong]);
        let definition = r#"{"version":"1.0.0","hook":{"path":"/nonexistent"},"when":{"always":true},
            "stages":["poststop"]}"#;
        let wrong = "hook.path: /nonexistent: no such file or directory (engines pass over it)";
        assert_eq!(check(definition), [wrong]);
        assert!(check(&definition.replace("/nonexistent", "/bin/sh")).is_empty());
    }

    #[test]
    fn a_finding_is_a_line_for_each_problem() {
        let file = PathBuf::from("/d/x.json");
        let mut finding = Finding { file, problems: Vec::new() };
        assert_eq!(finding.lines(), "/d/x.json: good\n");
        finding.problems = vec!["a".into(), "b".into()];
        assert_eq!(finding.lines(), "/d/x.json: a\n/d/x.json: b\n");
    }
}
