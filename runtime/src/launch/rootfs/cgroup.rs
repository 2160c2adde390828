//! `type: cgroup` mounts, in whatever form the host has them.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Root, Target, describe};
use crate::error::{Error, Result, Step};
use crate::launch::bind;
use crate::plan::cgroup_view::{CgroupView, V1Mount};
use crate::plan::mount_attr::{FsParam, MountAttr, attr};
use crate::plan::mounts::MountStep;
use crate::sys::{inroot, mount};

impl Root {
    pub(super) fn mount_cgroup(
        &mut self,
        step: &MountStep,
        view: &CgroupView,
    ) -> Result<Option<OwnedFd>> {
        match view {
            CgroupView::None => Ok(None),
            CgroupView::V2 { whole, own, fallback } => {
                let target = self.target(step, inroot::Make::Dir)?;
                if let Some(whole) = whole
                    && let Ok(source) = bind::source(whole)
                    && let Ok(mounted) = self.bind(step, source.as_fd(), false)
                {
                    return Ok(Some(mounted));
                }
                match self.new_fs(&target, c"cgroup2", c"cgroup", &[], step.attr.set) {
                    Err(Errno::PERM | Errno::BUSY) => {}
                    mounted => {
                        let place = &step.destination;
                        return mounted.map(Some).step(|| describe(c"cgroup2", place));
                    }
                }
                let source = bind::source(own).or_else(|_| bind::source(fallback))?;
                self.bind(step, source.as_fd(), true).map(Some)
            }
            CgroupView::V1(hierarchies) => self.mount_v1(step, hierarchies).map(Some),
        }
    }

    /// v1: a tmpfs with a directory for each hierarchy.
    fn mount_v1(&mut self, step: &MountStep, hierarchies: &[V1Mount]) -> Result<OwnedFd> {
        let target = self.target(step, inroot::Make::Dir)?;
        let place = || describe(c"tmpfs", &step.destination);
        let mode = FsParam { key: c"mode".to_owned(), value: Some(c"755".to_owned()) };
        let attrs = step.attr.set & !attr::RDONLY;
        let top = self.new_fs(&target, c"tmpfs", c"tmpfs", &[mode], attrs).step(place)?;
        for hierarchy in hierarchies {
            let name = hierarchy.name.as_str();
            let step_of = || format!("mount cgroup {name}");
            rustix::fs::mkdirat(&top, name, Mode::from_raw_mode(0o755)).step(step_of)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = openat(&top, name, flags, Mode::empty()).step(step_of)?;
            let inside = step.destination.join(name);
            let target = Target { fd: directory, path: &inside, existed: true };
            let mut step = step.clone();
            if hierarchy.writable {
                step.attr.set &= !attr::RDONLY;
            }
            let step = &step;
            let fresh = match &hierarchy.options {
                Some(options) => {
                    match self.new_fs(&target, c"cgroup", c"cgroup", options, step.attr.set) {
                        // A user namespace may not; its own group is bound.
                        Err(Errno::PERM | Errno::BUSY) => false,
                        mounted => {
                            mounted.step(step_of)?;
                            true
                        }
                    }
                }
                None => false,
            };
            if !fresh {
                self.bind_group(step, hierarchy, &target)?;
            }
            for link in &hierarchy.links {
                rustix::fs::symlinkat(name, &top, link.as_str()).step(step_of)?;
            }
        }
        mount::set_attr(top.as_fd(), &MountAttr::setting(step.attr.set), false).step(place)?;
        Ok(top)
    }

    /// Binds the container's own group of a hierarchy. The directory is one that
    /// was made just now: it need not be looked for, and a hierarchy has no
    /// mounts below it.
    fn bind_group(&self, step: &MountStep, hierarchy: &V1Mount, at: &Target<'_>) -> Result<()> {
        let describe = || format!("bind on {}", at.path.display());
        let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        let tree = mount::clone_tree_at(&path(&hierarchy.own), false)
            .or_else(|_| mount::clone_tree_at(&path(&hierarchy.fallback), false));
        match tree {
            Ok(tree) => {
                mount::set_attr(tree.as_fd(), &step.attr, false).step(describe)?;
                mount::attach(tree.as_fd(), at.fd.as_fd()).step(describe)
            }
            Err(Errno::NOSYS) => {
                let source =
                    bind::source(&hierarchy.own).or_else(|_| bind::source(&hierarchy.fallback))?;
                let inside = MountStep { destination: at.path.to_owned(), ..step.clone() };
                self.bind(&inside, source.as_fd(), false).map(drop)
            }
            Err(errno) => Err(Error::os(describe(), errno)),
        }
    }
}
