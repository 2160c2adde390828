//! What a container sees of its control groups where its configuration mounts
//! them (`type: cgroup`).

use std::path::PathBuf;

use super::cgroup::{CgroupPlan, Layout, Mode};
use super::mount_attr::FsParam;

/// The control groups as they are mounted in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupView {
    /// One cgroup2 mount.
    V2 {
        /// Without a cgroup namespace: the host's mount, bound. It shows what a
        /// new one would; but a new one, made in the first cgroup namespace, sets
        /// options of the whole hierarchy (it takes nsdelegate away from the
        /// host) and waits some 10 ms for that (`cgroup_favor_dynmods`).
        whole: Option<PathBuf>,
        /// The container's own group on the host: bound where the kernel
        /// refuses a new mount (EPERM, EBUSY).
        own: PathBuf,
        /// The runtime's group: bound where the container has none.
        fallback: PathBuf,
    },
    /// A tmpfs with one directory a hierarchy.
    V1(Vec<V1Mount>),
    /// The host has no control groups.
    None,
}

/// One hierarchy of v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Mount {
    /// The directory's name (`cpu,cpuacct`, `systemd`).
    pub name: String,
    /// Links to it (`cpu`, `cpuacct`).
    pub links: Vec<String>,
    /// With a cgroup namespace: the options of a mount of this hierarchy.
    pub options: Option<Vec<FsParam>>,
    /// Without: the container's own group on the host, bound.
    pub own: PathBuf,
    /// The runtime's group: bound where the container has none.
    pub fallback: PathBuf,
    /// Writable although the others are not.
    pub writable: bool,
}

impl CgroupView {
    /// On v1 systemd as PID 1 needs its own hierarchy, and no other.
    pub fn let_systemd_write(&mut self) {
        if let CgroupView::V1(mounts) = self {
            for mount in mounts {
                mount.writable = mount.name == "systemd";
            }
        }
    }

    /// Whether it may write to its own.
    pub fn systemd_writes(&self) -> bool {
        matches!(self, CgroupView::V1(mounts) if mounts.iter().any(|mount| mount.writable))
    }

    /// What a container with these groups sees; `private`: it has a cgroup
    /// namespace of its own.
    pub fn new(layout: &Layout, plan: &CgroupPlan, private: bool) -> Self {
        match layout.mode {
            Mode::V2 => {
                let fallback = layout.unified.as_ref().map(|h| format!("{}{}", h.mount, h.own));
                let fallback = PathBuf::from(fallback.unwrap_or_default());
                let own = plan.unified.as_ref().map(|place| PathBuf::from(place.directory()));
                let whole = layout.unified.as_ref().filter(|_| !private);
                CgroupView::V2 {
                    whole: whole.map(|hierarchy| PathBuf::from(&hierarchy.mount)),
                    own: own.unwrap_or_else(|| fallback.clone()),
                    fallback,
                }
            }
            Mode::V1 | Mode::Hybrid => {
                let mounts = layout.v1.iter().map(|hierarchy| {
                    let fallback = PathBuf::from(format!("{}{}", hierarchy.mount, hierarchy.own));
                    let place = plan.v1.iter().find(|place| place.mount == hierarchy.mount);
                    let own = place.map(|place| PathBuf::from(place.directory()));
                    V1Mount {
                        own: own.unwrap_or_else(|| fallback.clone()),
                        fallback,
                        options: private.then(|| options(&hierarchy.controllers)),
                        ..named(&hierarchy.controllers)
                    }
                });
                CgroupView::V1(mounts.collect())
            }
            Mode::None => CgroupView::None,
        }
    }
}

fn named(controllers: &[String]) -> V1Mount {
    let name = controllers.join(",");
    let links = if controllers.len() > 1 { controllers.to_vec() } else { Vec::new() };
    V1Mount {
        name: name.strip_prefix("name=").unwrap_or(&name).to_owned(),
        links,
        options: None,
        own: PathBuf::new(),
        fallback: PathBuf::new(),
        writable: false,
    }
}

/// The options of a mount of these controllers (cgroups(7)): a named hierarchy
/// has none of them.
fn options(controllers: &[String]) -> Vec<FsParam> {
    let mut params = Vec::new();
    for controller in controllers {
        let param = match controller.strip_prefix("name=") {
            Some(name) => {
                params.push(FsParam { key: c"none".to_owned(), value: None });
                FsParam { key: c"name".to_owned(), value: std::ffi::CString::new(name).ok() }
            }
            None => FsParam {
                key: std::ffi::CString::new(controller.as_str()).unwrap_or_default(),
                value: None,
            },
        };
        params.push(param);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::Hierarchy;
    use super::*;

    fn layout(mode: Mode) -> Layout {
        let hierarchy = |controllers: &[&str], mount: &str| Hierarchy {
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
            mount: mount.to_owned(),
            own: "/run".to_owned(),
        };
        Layout {
            mode,
            v1: vec![
                hierarchy(&["cpu", "cpuacct"], "/cg/cpu,cpuacct"),
                hierarchy(&["name=systemd"], "/cg/systemd"),
            ],
            unified: Some(hierarchy(&[], "/cg")),
        }
    }

    #[test]
    fn hierarchies_have_their_conventional_names_and_links() {
        let view = CgroupView::new(&layout(Mode::Hybrid), &CgroupPlan::none(), true);
        let CgroupView::V1(mounts) = view else { panic!() };
        assert_eq!(mounts[0].name, "cpu,cpuacct");
        assert_eq!(mounts[0].links, ["cpu", "cpuacct"]);
        assert_eq!(mounts[0].options.as_ref().unwrap().len(), 2);
        assert_eq!(mounts[1].name, "systemd");
        assert_eq!(mounts[1].options.as_ref().unwrap()[1].key.as_c_str(), c"name");
        assert_eq!(mounts[1].own, PathBuf::from("/cg/systemd/run"));
    }

    #[test]
    fn v2_is_mounted_in_a_namespace_and_bound_without() {
        let own = PathBuf::from("/cg/run");
        for (private, whole) in [(false, Some(PathBuf::from("/cg"))), (true, None)] {
            let view = CgroupView::new(&layout(Mode::V2), &CgroupPlan::none(), private);
            assert_eq!(view, CgroupView::V2 { whole, own: own.clone(), fallback: own.clone() });
        }
    }
}
