//! Where a container's group lies: runc's rules for `linux.cgroupsPath` with
//! the cgroupfs driver.

use super::layout::Hierarchy;
use crate::error::{Error, Result};

/// A validated `linux.cgroupsPath`, or the default for an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupPath {
    /// From the root of each hierarchy.
    Absolute(String),
    /// Below the runtime's own group.
    Relative(String),
}

impl GroupPath {
    /// Reads `linux.cgroupsPath`; without one the group is called `id` and
    /// lies below the runtime's own group, as runc has it.
    ///
    /// # Errors
    /// A `..` component is refused, and so is a path that names no group.
    pub fn new(cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        let given = match cgroups_path {
            None | Some("") => return Ok(GroupPath::Relative(id.to_owned())),
            Some(given) => given,
        };
        let mut clean = String::with_capacity(given.len() + 1);
        for part in given.split('/') {
            match part {
                "" | "." => continue,
                ".." => {
                    return Err(Error::config(format!(
                        "linux.cgroupsPath: {given:?} must not contain \"..\""
                    )));
                }
                part if part.contains(['\0', '\n']) => {
                    return Err(Error::config(format!(
                        "linux.cgroupsPath: {given:?} has a character that no group's name may have"
                    )));
                }
                part => {
                    clean.push('/');
                    clean.push_str(part);
                }
            }
        }
        if clean.is_empty() {
            return Err(Error::config(format!("linux.cgroupsPath: {given:?} names no group")));
        }
        Ok(match given.starts_with('/') {
            true => GroupPath::Absolute(clean),
            false => GroupPath::Relative(clean.split_off(1)),
        })
    }

    /// The group in a v1 hierarchy, as a path below its mount.
    pub fn in_v1(&self, hierarchy: &Hierarchy) -> String {
        match self {
            GroupPath::Absolute(path) => path.clone(),
            GroupPath::Relative(path) => join(&hierarchy.own, path),
        }
    }

    /// The group in the unified hierarchy, as a path below its mount. A
    /// relative path starts at the *parent* of the runtime's own group: that
    /// one has processes, and so may not have groups with controllers below
    /// it (cgroups(7), "no internal processes").
    pub fn in_v2(&self, hierarchy: &Hierarchy) -> String {
        match self {
            GroupPath::Absolute(path) => path.clone(),
            GroupPath::Relative(path) => {
                let parent = hierarchy.own.rsplit_once('/').map_or("", |(parent, _)| parent);
                join(parent, path)
            }
        }
    }
}

/// `name` below `base`, with one slash between.
pub fn join(base: &str, name: &str) -> String {
    format!("{}/{}", base.trim_end_matches('/'), name.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(own: &str) -> Hierarchy {
        Hierarchy { controllers: vec![], mount: "/sys/fs/cgroup".into(), own: own.into() }
    }

    #[test]
    fn the_places_that_runc_chooses() {
        for (given, own, v1, v2) in [
            (None, "/", "/id", "/id"),
            (None, "/a/b", "/a/b/id", "/a/id"),
            (Some(""), "/a", "/a/id", "/id"),
            (Some("x/./y/"), "/a/b", "/a/b/x/y", "/a/x/y"),
            (Some("//x//y"), "/a/b", "/x/y", "/x/y"),
        ] {
            let path = GroupPath::new(given, "id").unwrap();
            assert_eq!(path.in_v1(&hierarchy(own)), v1, "{given:?} from {own}");
            assert_eq!(path.in_v2(&hierarchy(own)), v2, "{given:?} from {own}");
        }
    }

    #[test]
    fn a_path_that_climbs_or_names_nothing_is_refused() {
        for bad in ["..", "/a/../b", "a/..", "/", "./", "a\nb"] {
            let error = GroupPath::new(Some(bad), "id").unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: "), "{error}");
        }
    }
}
