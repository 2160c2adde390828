//! hooks.d: directories of JSON files that say which hooks every container gets that meets their
//! conditions (oci-hooks(5), schema 1.0.0), for engines that do not read them themselves.
//!
//! The files of all directories merge by name, a later directory's file in place of an earlier one's;
//! they apply in the order of their names in lower case. Reading has effects, deciding has none.

mod definition;
mod pattern;
#[cfg(test)]
mod pattern_cases;
mod when;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Hooks;

pub use definition::{Definition, Stage};
pub use when::{Facts, Verdict, When};

/// Where podman and CRI-O look, lowest precedence first.
pub const DEFAULT_DIRECTORIES: [&str; 2] =
    ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];

/// A definition larger than this many bytes is refused.
const LARGEST: u64 = 1 << 20;

/// What is wrong with one file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub file: PathBuf,
    /// What, in one line.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for Problem {}

/// What the directories hold.
#[derive(Debug, Default)]
pub struct HooksD {
    /// The definitions, merged, in the order in which they apply.
    pub definitions: Vec<Definition>,
    /// What could not be used. The engines refuse to start a container then, and so should callers.
    pub problems: Vec<Problem>,
    /// Definitions whose program does not exist: the engines pass over them in silence.
    pub skipped: Vec<Problem>,
}

/// Reads `directories`, lowest precedence first. Files that do not end in `.json` do not
/// count, nor do directories that do not exist. As with podman 4.3, except that there a tmpfs
/// that a user asks for counts as a bind mount ([`Facts::of`]).
pub fn read<P: AsRef<Path>>(directories: &[P]) -> HooksD {
    let mut merged: BTreeMap<String, Definition> = BTreeMap::new();
    let (mut problems, mut skipped) = (Vec::new(), Vec::new());
    for directory in directories {
        for file in json_files(directory.as_ref(), &mut problems) {
            match read_file(&file) {
                Ok(Some(definition)) => match missing_program(&definition) {
                    None => drop(merged.insert(definition.name.clone(), definition)),
                    Some(what) => skipped.push(Problem { file, what }),
                },
                Ok(None) => {}
                Err(what) => problems.push(Problem { file, what }),
            }
        }
    }
    let mut definitions: Vec<Definition> = merged.into_values().collect();
    definitions.sort_by_cached_key(|d| (d.priority, d.name.to_lowercase(), d.name.clone()));
    HooksD { definitions, problems, skipped }
}

/// The paths of a directory's definitions, sorted.
fn json_files(directory: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut failed = |error: std::io::Error| {
        problems.push(Problem { file: directory.to_owned(), what: cause(&error) });
    };
    let mut files = Vec::new();
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => files.push(entry.path()),
                    Err(error) => failed(error),
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => failed(error),
    }
    files.retain(|file| file.as_os_str().as_bytes().ends_with(b".json"));
    files.sort();
    files
}

/// What keeps a definition's program from being found, if it is not there.
fn missing_program(definition: &Definition) -> Option<String> {
    let program = definition.hook.path();
    let error = std::fs::metadata(program).err()?;
    Some(format!("hook.path: {}: {}", program.display(), cause(&error)))
}

/// One definition; `None` where the file has vanished or is a link that leads nowhere.
pub fn read_file(file: &Path) -> Result<Option<Definition>, String> {
    // Looked at before it is opened: opening a named pipe would wait for a writer.
    match std::fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => return Err("is not a regular file".into()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cause(&error)),
    }
    let mut text = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| cause(&error))?;
    opened.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| cause(&error))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    Definition::parse(file, &text).map(Some)
}

/// Adds to `hooks` what applies to a container with these `facts`: before the configuration's own where
/// a definition's priority is below 0, else after them. Returns the verdicts in the definitions' order.
pub fn inject(
    definitions: &[Definition],
    facts: &Facts,
    hooks: &mut Hooks,
) -> Result<Vec<Verdict>, Problem> {
    let mut verdicts = Vec::with_capacity(definitions.len());
    let mut first = [0; 6];
    for definition in definitions {
        let verdict = definition.when.decide(facts);
        let verdict = verdict.map_err(|what| Problem { file: definition.file.clone(), what })?;
        let stages = definition.stages.iter().filter(|_| verdict.applies);
        for stage in stages {
            let Stage::Phase(phase) = stage else { continue };
            let list = phase.of_mut(hooks);
            if definition.priority < 0 {
                let place = &mut first[*phase as usize];
                list.insert(*place, definition.hook.clone());
                *place += 1;
            } else {
                list.push(definition.hook.clone());
            }
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn cause(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => crate::error::errno_text(errno),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Phase;

    fn definition(name: &str, program: &str, more: &str) -> Definition {
        let json = format!(
            r#"{{"version":"1.0.0","hook":{{"path":"{program}"}},"when":{{"always":true}}{more}}}"#
        );
        Definition::parse(name.as_ref(), json.as_bytes()).unwrap()
    }

    #[test]
    fn what_applies_goes_after_the_configurations_own_or_before() {
        let stages = r#","stages":["prestart","poststop"]"#;
        let early = format!(r#"{stages},"priority":-5"#);
        let definitions = [
            definition("b", "/first", &early),
            definition("c", "/second", &early),
            definition("a", "/last", stages),
        ];
        let mut hooks: Hooks = serde_json::from_str(r#"{"prestart":[{"path":"/own"}]}"#).unwrap();
        let verdicts = inject(&definitions, &Facts::default(), &mut hooks).unwrap();
        assert!(verdicts.iter().all(|verdict| verdict.applies && verdict.why == "always"));
        let paths = |phase: Phase| -> Vec<String> {
            phase.of(&hooks).iter().map(|hook| hook.path().display().to_string()).collect()
        };
        assert_eq!(paths(Phase::Prestart), ["/first", "/second", "/own", "/last"]);
        assert_eq!(paths(Phase::Poststop), ["/first", "/second", "/last"]);
        assert!(paths(Phase::Poststart).is_empty());
    }
}
