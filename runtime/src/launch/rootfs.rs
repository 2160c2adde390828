//! The container's root file system, built in its own mount namespace.
//!
//! Everything below the root may be hostile, so every path is resolved in the
//! root by descriptor and mounts are attached to descriptors.

mod cgroup;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, fstatfs, openat};
use rustix::io::Errno;

use super::bind::{self, open_path};
use super::{host_path, pid_proc};
use crate::error::{Error, Result, Step};
use crate::plan::RootPlan;
use crate::plan::cgroup_view::CgroupView;
use crate::plan::mount_attr::{FsParam, MountAttr, attr, propagation};
use crate::plan::mounts::{MountStep, What, cleaned, may_cover_proc, not_of_type_proc};
use crate::sys::procfs::{PROC_MAGIC, Procfs};
use crate::sys::{inroot, mount};

/// The root while it is built.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// The container's own procfs, before anything can be mounted over it.
    pub proc: Option<Procfs>,
    /// The pid namespace that a procfs is to show, where this process is not in it.
    pub pid_namespace: Option<OwnedFd>,
    /// What becomes read-only in the end.
    late: Vec<Late>,
}

/// A mount that becomes read-only later. No descriptor is kept: there may be many.
#[derive(Debug)]
struct Late {
    field: String,
    path: std::path::PathBuf,
    /// Its id, where the kernel tells it (Linux 5.8).
    mount: Option<u64>,
}

impl Late {
    fn new(step: &MountStep, mounted: BorrowedFd<'_>) -> Late {
        let (field, path) = (step.field.clone(), step.destination.clone());
        Late { field, path, mount: mount::id(mounted) }
    }
}

/// A place inside the root, opened.
struct Target<'a> {
    fd: OwnedFd,
    path: &'a Path,
    /// It was there before.
    existed: bool,
}

impl Root {
    /// Cuts the mount namespace off from the host's as `plan` says, and puts
    /// the root's tree into it. `tree` is the tree if the runtime has cloned it.
    ///
    /// The tree is attached where the root lies, so that hooks which mount
    /// below `root.path` before the root is pivoted reach the container. Only
    /// where a user namespace may not walk there does it lie on `/`.
    pub fn open(plan: &RootPlan, tree: Option<OwnedFd>) -> Result<Root> {
        propagate_all(plan)?;
        let step = || format!("root.path: mount {}", plan.path.display());
        let prepared = tree.is_some();
        let tree = match tree {
            Some(tree) => tree,
            None => match bind::root_tree(&plan.path)? {
                Some(tree) => tree,
                None => return old_root(&plan.path),
            },
        };
        let place = match open_path(&plan.path) {
            Err(Errno::ACCESS) if prepared => open_path(Path::new("/")),
            place => place,
        };
        mount::attach(tree.as_fd(), place.step(step)?.as_fd()).step(step)?;
        Ok(Root::of(tree))
    }

    fn of(fd: OwnedFd) -> Root {
        Root { fd, proc: None, pid_namespace: None, late: Vec::new() }
    }

    /// The root's directory.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The root of a container that runs, in its mount namespace.
    pub fn of_running() -> Result<Root> {
        open_path(Path::new("/")).step(|| "open the container's /").map(Root::of)
    }

    /// Does one step of the plan. `tree`: what is to be bound, if the runtime has
    /// cloned it.
    pub fn mount(
        &mut self,
        step: &MountStep,
        view: &CgroupView,
        tree: Option<OwnedFd>,
    ) -> Result<()> {
        let mounted = self.mount_inside(step, Some(view), tree)?;
        if let Some(mounted) = mounted
            && cleaned(&step.destination) == Path::new("/")
        {
            // It covers the root, and so is the root.
            self.fd = mounted;
        }
        Ok(())
    }

    /// The same; returns the mount, if it is one. `view`: what a mount of the container's
    /// control groups shows.
    pub fn mount_inside(
        &mut self,
        step: &MountStep,
        view: Option<&CgroupView>,
        tree: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>> {
        let named = |error: Error| error.within(&step.field);
        let mounted = match &step.what {
            What::Fs { kind, source, params } => {
                self.mount_fs(step, kind, source, params).map_err(named)?
            }
            What::Bind { source, recursive, idmap: _ } => {
                match self.mount_bound(step, (source, *recursive), tree).map_err(named)? {
                    Some(mounted) => mounted,
                    None => return Ok(None),
                }
            }
            What::Cgroup => {
                let view = view.ok_or_else(|| named(Error::os("mount cgroup", Errno::INVAL)))?;
                match self.mount_cgroup(step, view).map_err(named)? {
                    Some(mounted) => mounted,
                    None => return Ok(None),
                }
            }
        };
        for (kind, recursive) in &step.propagation {
            mount::set_attr(mounted.as_fd(), &MountAttr::propagate(*kind), *recursive).step(
                || format!("{}: propagation of {}", step.field, step.destination.display()),
            )?;
        }
        if step.read_only_late {
            self.late.push(Late::new(step, mounted.as_fd()));
        }
        Ok(Some(mounted))
    }

    /// Makes the places of mounts that somebody else will make, CRIU, in the order in which they are
    /// made: what is bound is bound, since the places of later ones may lie in it. What lies in a
    /// file system that comes with its content, or whose places are the kernel's, is passed over.
    pub fn make_mount_points(&self, steps: &[MountStep]) -> Result<()> {
        let mut new: Vec<std::path::PathBuf> = Vec::new();
        for step in steps {
            let place = cleaned(&step.destination);
            if place == Path::new("/") || new.iter().any(|top| place.starts_with(top)) {
                continue;
            }
            let named = |error: Error| error.within(&step.field);
            match &step.what {
                What::Bind { source, recursive, .. } => {
                    self.mount_bound(step, (source, *recursive), None).map_err(named)?;
                }
                What::Fs { .. } | What::Cgroup => {
                    self.target(step, inroot::Make::Dir).map_err(named)?;
                    new.push(place);
                }
            }
        }
        Ok(())
    }

    /// Makes read-only what had to be written to before.
    pub fn make_read_only(&self) -> Result<()> {
        for late in &self.late {
            let step = || format!("{}: make {} read-only", late.field, late.path.display());
            let mounted = inroot::open(self.fd.as_fd(), &late.path, OFlags::PATH).step(step)?;
            if mount::id(mounted.as_fd()) != late.mount {
                crate::log::warn(format!(
                    "{}: {} is covered by another mount, and stays writable below it",
                    late.field,
                    late.path.display()
                ));
                continue;
            }
            mount::set_attr(mounted.as_fd(), &MountAttr::setting(attr::RDONLY), false)
                .step(step)?;
        }
        Ok(())
    }

    /// A new mount of a file system.
    fn mount_fs(
        &mut self,
        step: &MountStep,
        kind: &CStr,
        source: &CStr,
        params: &[FsParam],
    ) -> Result<OwnedFd> {
        let target = self.target(step, inroot::Make::Dir)?;
        let tmpfs = kind == c"tmpfs";
        let mut params = params.to_vec();
        if tmpfs && target.existed && !step.has_param(b"mode") {
            // What is mounted over keeps its permissions, as with runc.
            let mode = fstat(&target.fd).step(|| describe(kind, &step.destination))?.st_mode;
            let text = format!("{:04o}", mode & 0o7777);
            params.push(FsParam {
                key: c"mode".to_owned(),
                value: std::ffi::CString::new(text).ok(),
            });
        }
        let mut why = String::new();
        let mounted =
            match self.new_fs_told(&target, (kind, source), &params, step.attr.set, &mut why) {
                Err(Errno::PERM) if kind == c"sysfs" => return self.bind_sys(step),
                other => other.step(|| describe(kind, &step.destination) + &why)?,
            };
        if step.copy_up && target.existed {
            super::copy_up::copy(target.fd.as_fd(), mounted.as_fd()).map_err(|error| {
                error.within(format!("tmpcopyup {}", step.destination.display()))
            })?;
        }
        if !step.recursive.is_empty() {
            mount::set_attr(mounted.as_fd(), &step.recursive, true)
                .step(|| describe(kind, &step.destination))?;
        }
        if kind == c"proc" && step.destination == Path::new("/proc") {
            let procfs = rustix::io::fcntl_dupfd_cloexec(&mounted, 3).and_then(Procfs::of);
            self.proc = Some(procfs.step(|| describe(kind, &step.destination))?);
        }
        Ok(mounted)
    }

    /// A user namespace that does not own its network namespace may not mount
    /// sysfs: the host's is bound, with the same attributes.
    fn bind_sys(&mut self, step: &MountStep) -> Result<OwnedFd> {
        let source = bind::source(Path::new("/sys"))?;
        let mut step = step.clone();
        step.recursive.set |= step.attr.set;
        self.bind(&step, source.as_fd(), true)
    }

    /// What a bind mount comes to; `None` for a link that was made anew.
    fn mount_bound(
        &self,
        step: &MountStep,
        (source, recursive): (&Path, bool),
        tree: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>> {
        let cloned = tree.is_some();
        let source = tree.map_or_else(|| bind::source_of(source, step.links), Ok)?;
        if step.links.copy && bind::is_link(source.as_fd())? {
            bind::copy_link(self.fd.as_fd(), source.as_fd(), &step.destination)?;
            return Ok(None);
        }
        check_on_proc(step, source.as_fd())?;
        let mounted = match cloned {
            true => self.attach_bound(step, source),
            false => self.bind(step, source.as_fd(), recursive),
        };
        mounted.map(Some)
    }

    /// A bind mount of an open file or directory of the host.
    fn bind(&self, step: &MountStep, source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
        let describe = || format!("bind on {}", step.destination.display());
        match bind::tree(source, recursive, step)? {
            Some(tree) => self.attach_bound(step, tree),
            None => {
                let target = self.target(step, make_like(source)?)?;
                mount::old_bind(source, target.fd.as_fd(), recursive).step(describe)?;
                let mounted = self.reopen(&target, step)?;
                bind::set(mounted.as_fd(), step, mount::set_attr).step(describe)?;
                Ok(mounted)
            }
        }
    }

    fn attach_bound(&self, step: &MountStep, tree: OwnedFd) -> Result<OwnedFd> {
        let target = self.target(step, make_like(tree.as_fd())?)?;
        mount::attach(tree.as_fd(), target.fd.as_fd()).map_err(|errno| {
            let why = match errno {
                Errno::NOTDIR => ": one of source and destination is a directory, the other is not",
                _ => "",
            };
            Error::os(format!("bind on {}{why}", step.destination.display()), errno)
        })?;
        Ok(tree)
    }

    /// Makes a mount of a file system and attaches it.
    fn new_fs(
        &self,
        target: &Target<'_>,
        kind: &CStr,
        source: &CStr,
        params: &[FsParam],
        attrs: u64,
    ) -> std::result::Result<OwnedFd, Errno> {
        self.new_fs_told(target, (kind, source), params, attrs, &mut String::new())
    }

    /// The same; `why` is told what the file system says of a failure.
    fn new_fs_told(
        &self,
        target: &Target<'_>,
        (kind, source): (&CStr, &CStr),
        params: &[FsParam],
        attrs: u64,
        why: &mut String,
    ) -> std::result::Result<OwnedFd, Errno> {
        // fsconfig(2) takes values of at most 255 bytes; overlay's are longer.
        let short =
            params.iter().all(|p| p.value.as_ref().is_none_or(|value| value.count_bytes() < 256));
        if short {
            let made = match self.pid_namespace.as_ref().filter(|_| kind == c"proc") {
                Some(shown) => pid_proc::new(shown.as_fd(), source, params, attrs, why),
                None => mount::new_fs_told(kind, Some(source), params, attrs, why),
            };
            match made {
                Err(Errno::NOSYS) => {}
                made => {
                    let made = made?;
                    mount::attach(made.as_fd(), target.fd.as_fd()).inspect_err(|errno| {
                        if *errno == Errno::NOTDIR {
                            ": a file is there".clone_into(why);
                        }
                    })?;
                    return Ok(made);
                }
            }
        }
        mount::old_fs(kind, Some(source), params, attrs, target.fd.as_fd())?;
        if target.path.parent().is_none() {
            // The root's own descriptor is below what was mounted on it; its name on the host,
            // where nobody but the administrator changes it, leads to the top.
            let name = host_path::name_of(target.fd.as_fd()).map_err(|_| Errno::NOENT)?;
            return host_path::open(&name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC);
        }
        inroot::open(self.fd.as_fd(), target.path, OFlags::PATH)
    }

    /// Opens the place of a mount, making it where it is missing.
    fn target<'a>(&self, step: &'a MountStep, make: inroot::Make) -> Result<Target<'a>> {
        let path = step.destination.as_path();
        let describe = || format!("mount point {}", path.display());
        if step.exact {
            return self.exact_target(path).step(describe);
        }
        let (fd, existed) = match inroot::open(self.fd.as_fd(), path, flags_of(step)) {
            Ok(fd) => (fd, true),
            Err(Errno::NOENT) => {
                (inroot::open_or_make(self.fd.as_fd(), path, make).step(describe)?, false)
            }
            Err(errno) => return Err(Error::os(describe(), errno)),
        };
        // A link may have led into /proc although the path did not.
        let in_proc = fstatfs(&fd).is_ok_and(|stat| stat.f_type == PROC_MAGIC);
        if in_proc && !may_cover_proc(&cleaned(path)) {
            return Err(Error::config(format!(
                "{} cannot be mounted because it is inside /proc",
                path.display()
            )));
        }
        Ok(Target { fd, path, existed })
    }

    /// `/proc` and `/sys`: directories of the root itself, never links.
    fn exact_target<'a>(&self, path: &'a Path) -> std::result::Result<Target<'a>, Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(&self.fd, name, flags, Mode::empty());
        match open() {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                Ok(Target { fd: open()?, path, existed: false })
            }
            found => Ok(Target { fd: found?, path, existed: true }),
        }
    }

    fn reopen(&self, target: &Target<'_>, step: &MountStep) -> Result<OwnedFd> {
        inroot::open(self.fd.as_fd(), target.path, flags_of(step))
            .step(|| format!("open {}", target.path.display()))
    }

    /// Makes this the root of the mount namespace and lets the host's go.
    pub fn enter(&self, plan: &RootPlan) -> Result<()> {
        if plan.no_pivot {
            return super::no_pivot::move_over(self.fd.as_fd(), plan);
        }
        mount::pivot_into(self.fd.as_fd()).step(|| format!("pivot_root to {}", plan.path.display()))
    }

    /// A copy of the tree is the root from now on. Returns what was, whose procfs remains.
    pub fn replace(&mut self, copy: OwnedFd) -> OwnedFd {
        std::mem::replace(&mut self.fd, copy)
    }

    /// What is done to the root last: its propagation, and read-only.
    pub fn finish(&self, plan: &RootPlan) -> Result<()> {
        if let Some(kind) = plan.final_propagation {
            mount::set_attr(self.fd.as_fd(), &MountAttr::propagate(kind), false)
                .step(|| "linux.rootfsPropagation")?;
        }
        if plan.readonly {
            mount::set_attr(self.fd.as_fd(), &MountAttr::setting(attr::RDONLY), false)
                .step(|| "root.readonly: remount the root")?;
        }
        Ok(())
    }
}

/// Without the mount API: the root bound onto itself.
fn old_root(path: &Path) -> Result<Root> {
    let step = || format!("root.path: mount {}", path.display());
    let below = open_path(path).step(step)?;
    mount::old_bind(below.as_fd(), below.as_fd(), true).step(step)?;
    Ok(Root::of(open_path(path).step(step)?))
}

/// Nothing but a procfs is bound on `/proc`.
fn check_on_proc(step: &MountStep, source: BorrowedFd<'_>) -> Result<()> {
    if !step.exact || cleaned(&step.destination) != Path::new("/proc") {
        return Ok(());
    }
    match fstatfs(source).step(|| "stat the source")?.f_type {
        PROC_MAGIC => Ok(()),
        _ => Err(Error::config(not_of_type_proc(&step.destination))),
    }
}

/// The propagation between the host's mounts and their copies here.
fn propagate_all(plan: &RootPlan) -> Result<()> {
    let top = open_path(Path::new("/")).step(|| "open /")?;
    let (kind, recursive) = plan.propagation;
    mount::set_attr(top.as_fd(), &MountAttr::propagate(kind), recursive)
        .step(|| "make / private to the container")?;
    if kind == propagation::SHARED {
        // pivot_root refuses a shared parent, and attaching the root to one
        // would reach the host.
        let parent = open_path(&mount_point_of(&plan.path)?).step(|| "open the root's parent")?;
        mount::set_attr(parent.as_fd(), &MountAttr::propagate(propagation::PRIVATE), false)
            .step(|| "make the root's parent private")?;
    }
    Ok(())
}

/// The mount point that a path lies under.
fn mount_point_of(path: &Path) -> Result<std::path::PathBuf> {
    let path = host_path::canonical(path).step(|| format!("root.path: {}", path.display()))?;
    let read = procfs::process::Process::myself().and_then(|me| me.mountinfo());
    let mounts = read.map_err(|error| Error::system(format!("read mountinfo: {error}")))?;
    let points = mounts.into_iter().map(|mount| mount.mount_point);
    let under = points.filter(|point| path.starts_with(point));
    Ok(under.max_by_key(|point| point.as_os_str().len()).unwrap_or_else(|| "/".into()))
}

/// How a mount point is opened.
fn flags_of(step: &MountStep) -> OFlags {
    if step.links.destination { OFlags::PATH | OFlags::NOFOLLOW } else { OFlags::PATH }
}

/// What a mount point must be for this source.
fn make_like(source: BorrowedFd<'_>) -> Result<inroot::Make> {
    let directory = mount::is_dir(source).step(|| "stat the source")?;
    Ok(if directory { inroot::Make::Dir } else { inroot::Make::File })
}

fn describe(kind: &CStr, place: &Path) -> String {
    format!("mount {} on {}", kind.to_string_lossy(), place.display())
}
