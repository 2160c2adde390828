//! Environments: a git work tree whose programs run in containers, with the services that
//! they need.
//!
//! ```text
//! place      which work tree, and whether a command of its user runs inside or on the host
//! read       -> template    what the environment is made of; options: podman's words in it
//! engine     what can be done in an environment, whoever does it
//! native     -> pod, document, service   by richrun: a pod's namespaces, containers that join
//!            them, and services under rich-monitor
//! podman     the same by podman
//! foreground a command in front, and services restarted meanwhile when their content
//!            changes (watch)
//! ```
//!
//! All containers of an environment share network, IPC, names and processes; those of
//! another environment see nothing of them. The namespaces are held by a container of
//! their own, whose PID 1 is rich-init: so they outlive each command, and an ordinary user
//! has a process that owns his user namespace.

pub mod document;
pub mod engine;
mod foreground;
pub mod forward;
pub mod native;
pub mod options;
pub mod place;
mod pod;
pub mod podman;
pub mod read;
mod service;
mod sys;
pub mod template;
pub mod watch;

use std::path::{Path, PathBuf};

use self::options::RunOptions;
use self::read::ReadTemplate;
use self::template::Template;
use crate::error::{Error, Result};
use crate::image::digest::Digest;

/// An environment found.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its work tree.
    pub top: PathBuf,
    /// Its template.
    pub template: Template,
    /// Where the template is.
    pub path: PathBuf,
    /// podman's options in it, where they are understood.
    pub options: Result<RunOptions>,
    /// Unique on this host, and readable.
    pub id: String,
    /// What the template has and is not done.
    pub warnings: Vec<String>,
}

impl Environment {
    /// The environment of a directory; `template`: the template to take.
    ///
    /// # Errors
    /// No work tree, or somebody else's; no template, or a malformed one.
    pub fn find(directory: &Path, template: Option<&Path>) -> Result<Environment> {
        let top = place::work_tree(directory)?;
        let ReadTemplate { template, path, warnings } = read::template_of(&top, template)?;
        let options = options::parse(&template.default_run_args);
        let id = id(&top, &template.name);
        Ok(Environment { top, template, path, options, id, warnings })
    }

    /// What containers are made with, where the words are understood.
    ///
    /// # Errors
    /// Words that are not.
    pub fn run_options(&self) -> Result<&RunOptions> {
        self.options.as_ref().map_err(Error::clone)
    }
}

/// A name for people, and a part that is the work tree's alone.
fn id(top: &Path, name: &str) -> String {
    let base = top.file_name().unwrap_or_default().to_string_lossy();
    let name = if name.is_empty() { &*base } else { name };
    let fits = |one: &char| one.is_ascii_alphanumeric() || "-_".contains(*one);
    let name: String = name.chars().filter(fits).take(24).collect();
    let digest = Digest::of(top.as_os_str().as_encoded_bytes());
    format!("{}-{}", if name.is_empty() { "env" } else { &name }, &digest.hex()[..10])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_and_the_work_trees_own() {
        let one = id(Path::new("/src/a b"), "");
        assert!(one.starts_with("ab-"), "{one}");
        assert_ne!(one, id(Path::new("/other/a b"), ""));
        assert!(id(Path::new("/src"), "../../x").starts_with("x-"));
        assert!(id(Path::new("/"), "").starts_with("env-"));
    }
}
