//! hooks.d: directories of JSON files that say which hooks every container gets that meets their
//! conditions (oci-hooks(5), schema 1.0.0), for engines that do not read them themselves.
//!
//! The files of all directories merge by name, a later directory's file in place of an earlier one's;
//! they apply in the order of their names in lower case. Reading has effects, deciding has none.
//!
//! ```
//! use rich_hooks::Phase;
//! use rich_hooks::hooks_d::{self, Facts};
//!
//! # let directory = std::env::temp_dir().join(format!("hooks.d-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! // In DIRECTORY/10-greet.json:
//! let definition = r#"{
//!     "version": "1.0.0",
//!     "hook": {"path": "/bin/sh", "args": ["sh", "-c", "echo hello"]},
//!     "when": {"annotations": {"^org\\.example\\.greet$": "^yes$"}},
//!     "stages": ["poststart"]
//! }"#;
//! # std::fs::write(directory.join("10-greet.json"), definition)?;
//! let found = hooks_d::read(&[&directory]);
//! # std::fs::remove_dir_all(&directory)?;
//! if let Some(problem) = found.problems.into_iter().next() {
//!     return Err(problem.into()); // as the engines do
//! }
//! let spec: oci_spec::runtime::Spec = serde_json::from_str(
//!     r#"{"ociVersion": "1.3.0", "annotations": {"org.example.greet": "yes"}}"#,
//! )?;
//! let mut hooks = spec.hooks().clone().unwrap_or_default();
//! let verdicts = hooks_d::inject(&found.definitions, &Facts::of(&spec), &mut hooks)?;
//! assert_eq!(verdicts[0].why, "annotation org.example.greet=yes");
//! assert_eq!(Phase::Poststart.of(&hooks).len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

use crate::phase::Phase;

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
/// count, nor do directories that do not exist. As with podman 4.3, except that
///
/// - there a tmpfs that a user asks for counts as a bind mount ([`Facts::of`]);
/// - it also reads files of the schema 0.1.0, which has no conditions that must all hold;
/// - of a key that is there twice in other cases it takes the last, this one that in lower case.
pub fn read<P: AsRef<Path>>(directories: &[P]) -> HooksD {
    let mut merged: BTreeMap<String, Definition> = BTreeMap::new();
    let (mut problems, mut skipped) = (Vec::new(), Vec::new());
    for directory in directories {
        let files = match files(directory) {
            Ok(files) => files,
            Err(_) if is_missing(directory.as_ref()) => continue,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        for file in files {
            match read_file(&file) {
                Ok(Some(definition)) => match look_for_program(&definition) {
                    Ok(()) => drop(merged.insert(definition.name.clone(), definition)),
                    Err((true, what)) => skipped.push(Problem { file, what }),
                    Err((false, what)) => problems.push(Problem { file, what }),
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
///
/// # Errors
/// The directory cannot be read, or is not there.
pub fn files<P: AsRef<Path>>(directory: P) -> Result<Vec<PathBuf>, Problem> {
    let directory = directory.as_ref();
    let failed =
        |error: std::io::Error| Problem { file: directory.to_owned(), what: cause(&error) };
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|file| file.as_os_str().as_bytes().ends_with(b".json"));
    files.sort();
    Ok(files)
}

fn is_missing(directory: &Path) -> bool {
    let missing = |error: std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    std::fs::metadata(directory).is_err_and(missing)
}

/// Looks for a definition's program; an error says whether it does not exist, and what is wrong.
fn look_for_program(definition: &Definition) -> Result<(), (bool, String)> {
    let program = definition.hook.path();
    std::fs::metadata(program).map(drop).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        (missing, format!("hook.path: {}: {}", program.display(), cause(&error)))
    })
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

/// Where a hook of a merged configuration comes from.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// The configuration's own hook of this place in its list.
    Own(usize),
    /// This definition.
    Definition(&'a Definition),
}

/// The hooks of `phase` in the order in which they run, where the configuration has `own` of them and these
/// definitions apply: those with a priority below 0, the configuration's, the others.
pub fn order<'a>(phase: Phase, own: usize, applying: &[&'a Definition]) -> Vec<Origin<'a>> {
    let of = |early: bool| {
        let chosen = applying.iter().filter(move |definition| (definition.priority < 0) == early);
        chosen.flat_map(move |definition| {
            let same = move |stage: &&Stage| **stage == Stage::Phase(phase);
            let times = definition.stages.iter().filter(same);
            times.map(move |_| Origin::Definition(definition))
        })
    };
    of(true).chain((0..own).map(Origin::Own)).chain(of(false)).collect()
}

/// What each definition is for a container with these `facts`, in the definitions' order.
///
/// # Errors
/// A definition that cannot be decided.
pub fn decide(definitions: &[Definition], facts: &Facts) -> Result<Vec<Verdict>, Problem> {
    let verdicts = definitions.iter().map(|definition| {
        let verdict = definition.when.decide(facts);
        verdict.map_err(|what| Problem { file: definition.file.clone(), what })
    });
    verdicts.collect()
}

/// Those of the definitions that apply.
pub fn applying<'a>(definitions: &'a [Definition], verdicts: &[Verdict]) -> Vec<&'a Definition> {
    let pairs = definitions.iter().zip(verdicts);
    pairs.filter(|(_, verdict)| verdict.applies).map(|(definition, _)| definition).collect()
}

/// Adds to `hooks` what applies to a container with these `facts`, in [`order`]. Returns the verdicts in the
/// definitions' order.
///
/// # Errors
/// As [`decide`]; `hooks` is unchanged then.
pub fn inject(
    definitions: &[Definition],
    facts: &Facts,
    hooks: &mut Hooks,
) -> Result<Vec<Verdict>, Problem> {
    let verdicts = decide(definitions, facts)?;
    let applying = applying(definitions, &verdicts);
    for phase in Phase::ALL {
        if !applying.iter().any(|definition| definition.stages.contains(&Stage::Phase(phase))) {
            continue;
        }
        let own = std::mem::take(phase.of_mut(hooks));
        let merged = order(phase, own.len(), &applying).into_iter().map(|origin| match origin {
            Origin::Own(at) => own[at].clone(),
            Origin::Definition(definition) => definition.hook.clone(),
        });
        *phase.of_mut(hooks) = merged.collect();
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
