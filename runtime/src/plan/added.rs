//! Mounts that are added to a running container, and taken away from it, as data.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use super::mount_attr::propagation;
use super::mounts::{MountStep, What, cleaned};
use super::namespaces::Namespaces;
use super::{mount_from, mount_root, root};
use crate::config::Config;
use crate::error::{Error, Result};

/// What `mounts` does to a container.
#[derive(Debug, Clone)]
pub struct AddedPlan {
    /// What is mounted, in order.
    pub add: Vec<MountStep>,
    /// What is taken away, in order: paths inside the root, without dots.
    pub remove: Vec<PathBuf>,
    /// The container's namespaces: the mappings of its user namespace.
    pub namespaces: Namespaces,
    /// The propagation that the host's mounts have for the container.
    pub propagation: u64,
}

/// File systems that show namespaces of who mounts them. Who adds a mount is not in all of the
/// container's, so these would show the host's.
const SHOW_NAMESPACES: [&[u8]; 5] = [b"proc", b"sysfs", b"mqueue", b"binfmt_misc", b"rpc_pipefs"];

impl AddedPlan {
    /// Mounts that are added, to a container of a saved configuration.
    ///
    /// # Errors
    /// The entry that cannot be added to a running container.
    pub fn adding(config: &Config, mounts: &[Mount]) -> Result<AddedPlan> {
        let mut plan = AddedPlan::nothing(config)?;
        let root = mount_root(config);
        let from = mount_from(config, &root)?;
        for (index, mount) in mounts.iter().enumerate() {
            let step = MountStep::new(index, mount, &from)?;
            check(&step).map_err(|error| error.within(&step.field))?;
            plan.add.push(step);
        }
        Ok(plan)
    }

    /// Mounts that are taken away: their destinations alone count.
    ///
    /// # Errors
    /// The entry that names the root.
    pub fn removing(config: &Config, mounts: &[Mount]) -> Result<AddedPlan> {
        let mut plan = AddedPlan::nothing(config)?;
        let root = mount_root(config);
        let from = mount_from(config, &root)?;
        for (index, mount) in mounts.iter().enumerate() {
            let path = cleaned(&from.inside(&Path::new("/").join(mount.destination())));
            let field = format!("mounts[{index}].destination");
            is_below_the_root(&path).map_err(|error| error.within(field))?;
            plan.remove.push(path);
        }
        Ok(plan)
    }

    fn nothing(config: &Config) -> Result<AddedPlan> {
        let (add, remove) = (Vec::new(), Vec::new());
        // A parent that is shared needs no care here: nothing is pivoted.
        let propagation = match root(config, false)?.propagation {
            (propagation::UNBINDABLE, _) => propagation::PRIVATE,
            (kind, _) => kind,
        };
        Ok(AddedPlan { add, remove, namespaces: Namespaces::new(&config.spec), propagation })
    }
}

fn check(step: &MountStep) -> Result<()> {
    is_below_the_root(&cleaned(&step.destination))?;
    let shows = |kind: &str| {
        Error::config(format!(
            "{kind}: cannot be added to a running container, since it shows namespaces of who mounts it; bind one that is mounted"
        ))
    };
    match &step.what {
        What::Cgroup => Err(shows("cgroup")),
        What::Fs { kind, .. } if SHOW_NAMESPACES.contains(&kind.as_bytes()) => {
            Err(shows(&kind.to_string_lossy()))
        }
        _ => Ok(()),
    }
}

fn is_below_the_root(path: &Path) -> Result<()> {
    match path == Path::new("/") {
        true => Err(Error::config("/: the root of a running container stays what it is")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let bytes = serde_json::json!({
            "ociVersion": "1.3.0", "root": {"path": "fs"}, "linux": {},
            "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}},
        });
        Config::from_saved(Path::new("/bundle"), bytes.to_string().into_bytes()).unwrap()
    }

    fn mount(json: serde_json::Value) -> Mount {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_shows_namespaces_is_not_added() {
        for kind in ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"] {
            let asked = serde_json::json!({"destination": "/x", "type": kind, "source": kind});
            let error = AddedPlan::adding(&config(), &[mount(asked)]).unwrap_err().to_string();
            assert!(error.starts_with("mounts[0]: ") && error.contains("namespaces"), "{error}");
        }
        let tmpfs = serde_json::json!({"destination": "/x", "type": "tmpfs", "source": "x"});
        assert_eq!(AddedPlan::adding(&config(), &[mount(tmpfs)]).unwrap().add.len(), 1);
    }

    #[test]
    fn the_root_is_left_alone() {
        for path in ["/", "/x/..", "/bundle/fs", "."] {
            let asked = serde_json::json!({"destination": path, "type": "bind", "source": "/s"});
            let asked = [mount(asked)];
            assert!(AddedPlan::adding(&config(), &asked).is_err(), "{path}");
            assert!(AddedPlan::removing(&config(), &asked).is_err(), "{path}");
        }
        let asked = mount(serde_json::json!({"destination": "/bundle/fs/a/../b"}));
        let plan = AddedPlan::removing(&config(), &[asked]).unwrap();
        assert_eq!(plan.remove, [Path::new("/b")]);
    }
}
