//! Where an environment is, and where a command of its user runs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::template::{Binary, Template};
use crate::error::{Error, Kind, Result};

/// Names the directory of shims: what it has is never what a command means.
pub const MARK: &str = ".richctl-shims";

/// The work tree that `directory` lies in, as git finds it: the nearest directory above
/// with a `.git`.
///
/// # Errors
/// There is none; it is somebody else's, whose template would be run as the caller.
pub fn work_tree(directory: &Path) -> Result<PathBuf> {
    let directory = directory.canonicalize().map_err(|error| {
        Error::system(format!("env: find the work tree of {}: {error}", directory.display()))
    })?;
    let top = directory.ancestors().find(|path| path.join(".git").exists()).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!("env: {} lies in no git work tree; an environment is one", directory.display()),
        )
    })?;
    let owner = fs::metadata(top).map(|metadata| metadata.uid());
    let own = rustix::process::getuid().as_raw();
    match owner {
        Ok(uid) if uid == own || is_trusted(top) => Ok(top.to_owned()),
        Ok(uid) => Err(Error::new(
            Kind::Refused,
            format!(
                "env: {} belongs to user {uid}, and its template would run as you; if you trust \
                 it: RICHCTL_ENV_TRUST={}",
                top.display(),
                top.display()
            ),
        )),
        Err(error) => Err(Error::system(format!("env: look at {}: {error}", top.display()))),
    }
}

fn is_trusted(top: &Path) -> bool {
    std::env::var_os("RICHCTL_ENV_TRUST")
        .is_some_and(|list| std::env::split_paths(&list).any(|path| path == top))
}

/// Where a command runs whatever else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// In a container.
    Container,
    /// On the host.
    Host,
}

/// Where a command runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Where<'a> {
    /// In a container of the environment; as one of its binaries, if it is one.
    Container(Option<&'a Binary>),
    /// On the host.
    Host,
}

/// Decides where `command` runs; `found` is where the PATH has it.
#[must_use]
pub fn decide<'a>(
    command: &OsStr,
    found: Option<&Path>,
    top: &Path,
    template: &'a Template,
    force: Option<Force>,
) -> Where<'a> {
    let name = Path::new(command).file_name().unwrap_or(command);
    let binary = template.binaries.iter().find(|binary| name == OsStr::new(&binary.name));
    let inside = found.is_some_and(|path| path.starts_with(top));
    match force {
        Some(Force::Host) => Where::Host,
        Some(Force::Container) => Where::Container(binary),
        None if inside || binary.is_some() || template.all => Where::Container(binary),
        None => Where::Host,
    }
}

/// The file that a command means on the host: a path, or what the PATH has, shims left
/// out. Directories are resolved, the last link is not: what lies inside the environment
/// and is a link to the host's own is the environment's.
#[must_use]
pub fn find(command: &OsStr, search: Option<&OsStr>, directory: &Path) -> Option<PathBuf> {
    let resolved = |path: PathBuf| -> Option<PathBuf> {
        let parent = path.parent()?.canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    };
    if command.as_encoded_bytes().contains(&b'/') {
        return resolved(directory.join(command)).filter(|path| path.exists());
    }
    let search = search?;
    std::env::split_paths(search)
        .map(|part| directory.join(part))
        .filter(|part| !part.join(MARK).exists())
        .map(|part| part.join(command))
        .find(|path| is_program(path))
        .and_then(resolved)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decided_as_the_page_says() {
        let template = super::super::read::json(r#"{"image": "x", "binaries": ["waf"]}"#).unwrap();
        let top = Path::new("/src/shop");
        let at = |command: &str, found: &str, force| {
            decide(OsStr::new(command), Some(Path::new(found)), top, &template, force)
        };
        let waf = template.binaries.first();
        assert_eq!(at("./build/app", "/src/shop/build/app", None), Where::Container(None));
        assert_eq!(at("waf", "/usr/bin/waf", None), Where::Container(waf));
        assert_eq!(at("git", "/usr/bin/git", None), Where::Host);
        assert_eq!(at("git", "/usr/bin/git", Some(Force::Container)), Where::Container(None));
        assert_eq!(at("waf", "/usr/bin/waf", Some(Force::Host)), Where::Host);
        assert_eq!(at("app", "/src/shop-other/app", None), Where::Host);
        assert_eq!(decide(OsStr::new("waf"), None, top, &template, None), Where::Container(waf));
        assert_eq!(decide(OsStr::new("no"), None, top, &template, None), Where::Host);
        let all = Template { all: true, ..template.clone() };
        assert_eq!(decide(OsStr::new("no"), None, top, &all, None), Where::Container(None));
    }
}
