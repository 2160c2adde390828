//! Who a process is: ids, groups, capabilities, limits, labels. Shared by the
//! container's first process and by `exec`.

use std::ffi::{CString, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, OFlags, Uid};
use rustix::io::Errno;

use super::image_file;
use super::restrict::own_procfs;
use crate::error::{Error, Result, Step};
use crate::plan::process::{CapPlan, ProcessPlan, Rlimit, home_of, variable};
use crate::sys::process::CapSets;
use crate::sys::procfs::Procfs;
use crate::sys::{inroot, process};

/// `RLIMIT_NOFILE`, as [`Rlimit::resource`] has it.
const DESCRIPTORS: u32 = libc::RLIMIT_NOFILE;

/// Sets the limits. Those that rise above the hard limit were raised by the
/// runtime, which may have the right to ([`raise_limits`]). That of descriptors
/// waits until this process needs no more of them ([`set_descriptor_limit`]).
pub fn set_limits(limits: &[Rlimit]) -> Result<()> {
    set_those(limits, |limit| limit.resource != DESCRIPTORS)
}

/// Sets the limit of descriptors, if there is one.
pub fn set_descriptor_limit(limits: &[Rlimit]) -> Result<()> {
    set_those(limits, |limit| limit.resource == DESCRIPTORS)
}

fn set_those(limits: &[Rlimit], which: impl Fn(&&Rlimit) -> bool) -> Result<()> {
    for limit in limits.iter().filter(which) {
        process::prlimit(0, limit.resource, limit.soft, limit.hard).step(|| limit_step(limit))?;
    }
    Ok(())
}

/// Runtime: raises the hard limits of process `pid` where more is asked for
/// than there is; a user namespace would take the right away.
pub fn raise_limits(pid: i32, limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let (soft, hard) = process::limit_of(limit.resource).step(|| limit_step(limit))?;
        if limit.hard > hard {
            process::prlimit(pid, limit.resource, soft, limit.hard).step(|| limit_step(limit))?;
        }
    }
    Ok(())
}

fn limit_step(limit: &Rlimit) -> String {
    format!("process.rlimits: set {} to {}:{}", limit.name, limit.soft, limit.hard)
}

/// Enters the working directory, which is looked for inside `root` and by no magic
/// link (CVE-2024-21626); `None`: not allowed yet (EPERM, EACCES), to be tried again
/// as the user. With `make` a missing one is made, as for a mount: nobody but
/// its owner may write into it.
pub fn enter_directory(root: BorrowedFd<'_>, path: &Path, make: bool) -> Result<Option<()>> {
    let found = match inroot::open(root, path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) if make => inroot::open_or_make(root, path, inroot::Make::Dir),
        found => found,
    };
    match found.and_then(rustix::process::fchdir) {
        Ok(()) => Ok(Some(())),
        Err(Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(Error::os(format!("process.cwd: chdir to {}", path.display()), errno)),
    }
}

/// The working directory must be inside the root: a descriptor of the host's
/// that leaked could have led outside (CVE-2024-21626).
pub fn check_directory() -> Result<()> {
    let outside = "process.cwd: the working directory is outside the container";
    match rustix::process::getcwd(Vec::new()) {
        Ok(cwd) if cwd.as_bytes().first() == Some(&b'/') => Ok(()),
        // Removed, or not below the root.
        Ok(_) | Err(Errno::NOENT) => Err(Error::system(outside)),
        Err(errno) => Err(Error::os("process.cwd: getcwd", errno)),
    }
}

/// Becomes the user: groups, gid, uid. Capabilities are kept across it.
pub fn become_user(process: &ProcessPlan) -> Result<()> {
    let user = &process.user;
    rustix::thread::set_keep_capabilities(true).step(|| "keep capabilities")?;
    if !user.keep_groups {
        set_groups(&user.groups)?;
    }
    let gid = Gid::from_raw(user.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .step(|| format!("process.user.gid: setresgid {}", user.gid))?;
    let uid = Uid::from_raw(user.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .step(|| format!("process.user.uid: setresuid {}", user.uid))?;
    rustix::thread::set_keep_capabilities(false).step(|| "keep capabilities")
}

fn set_groups(ids: &[u32]) -> Result<()> {
    let groups: Vec<Gid> = ids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace of an ordinary user's own making.
        Err(Errno::PERM) if groups.is_empty() && setgroups_denied()? => Ok(()),
        set => set.step(|| format!("process.user.additionalGids: setgroups {ids:?}")),
    }
}

/// Whether this user namespace has given setgroups(2) up (user_namespaces(7)).
fn setgroups_denied() -> Result<bool> {
    let step = || "read /proc/self/setgroups";
    let file = own_procfs()?.open_own("setgroups", OFlags::RDONLY).step(step)?;
    let mut text = [0; 8];
    let count = rustix::io::read(&file, &mut text).step(step)?;
    Ok(text[..count].starts_with(b"deny"))
}

/// Drops what the bounding set does not have: while it is still allowed to. What it is to
/// have and is not there any more comes back. `left`: what may be in it.
pub fn bound_capabilities(caps: &CapPlan, left: u64) -> Result<CapsHashSet> {
    let mut missing = CapsHashSet::new();
    for cap in caps::all() {
        if caps.bounding.contains(&cap) {
            if process::is_bounded(cap.index()) != Ok(true) {
                missing.insert(cap);
            }
            continue;
        }
        if left & cap.bitmask() == 0 {
            continue;
        }
        match process::drop_bounding(cap.index()) {
            // The kernel is older than the capability.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => {
                let step = format!("process.capabilities.bounding: drop {cap}");
                return Err(Error::os(step, errno));
            }
        }
    }
    Ok(missing)
}

/// The right to load a filter, lent beyond what the payload has.
#[derive(Debug)]
pub struct Lent(CapSets);

impl Lent {
    /// Takes it back.
    pub fn take_back(self) -> Result<()> {
        process::set_capabilities(self.0).step(|| "process.capabilities: capset")
    }
}

/// Sets permitted, effective, inheritable and ambient exactly, but for what this process has
/// no right to: that warns (config.md, "capabilities"), with what is `missing` already.
/// `lend`: and, for now, with CAP_SYS_ADMIN, if this process has it.
pub fn set_capabilities(
    caps: &CapPlan,
    mut missing: CapsHashSet,
    lend: bool,
) -> Result<Option<Lent>> {
    let step = || "process.capabilities: capset";
    let own = || process::capabilities().step(step);
    let admin = if lend { own()?.permitted & Capability::CAP_SYS_ADMIN.bitmask() } else { 0 };
    let with = |sets: CapSets| CapSets {
        effective: sets.effective | admin,
        permitted: sets.permitted | admin,
        ..sets
    };
    let lent = |sets: CapSets| (with(sets) != sets).then_some(Lent(sets));
    let asked = CapSets {
        effective: mask(&caps.effective),
        permitted: mask(&caps.permitted),
        inheritable: mask(&caps.inheritable),
    };
    let set = match process::set_capabilities(with(asked)) {
        Err(Errno::PERM) => {
            let able = grantable(asked, own()?, mask(&caps.bounding));
            process::set_capabilities(with(able)).step(step)?;
            missing.extend(caps::all().into_iter().filter(|cap| {
                let bit = cap.bitmask();
                bit & (asked.all() ^ able.all()) != 0
                    || bit & (asked.effective ^ able.effective) != 0
            }));
            able
        }
        set => set.step(step).map(|()| asked)?,
    };
    if !missing.is_empty() {
        let names = names(&missing);
        crate::log::warn(format!("process.capabilities: {names} cannot be granted here"));
    }
    raise_ambient(caps, set)?;
    Ok(lent(set))
}

fn raise_ambient(caps: &CapPlan, set: CapSets) -> Result<()> {
    // Others cannot be ambient (capabilities(7)).
    let able = |cap: &Capability| cap.bitmask() & set.permitted & set.inheritable != 0;
    let (able, unable): (CapsHashSet, CapsHashSet) = caps.ambient.iter().partition(|cap| able(cap));
    if !unable.is_empty() {
        let names = names(&unable);
        crate::log::warn(format!(
            "process.capabilities.ambient: {names} cannot be raised: not both permitted and inheritable"
        ));
    }
    ambient(&able)
}

/// What of the `asked` sets a process with these sets may have (capset(2)).
fn grantable(asked: CapSets, own: CapSets, bounding: u64) -> CapSets {
    let permitted = asked.permitted & own.permitted;
    let inheritable =
        asked.inheritable & (own.inheritable | own.permitted) & (own.inheritable | bounding);
    CapSets { effective: asked.effective & permitted, permitted, inheritable }
}

/// What the kernel refuses of the ambient set only warns (as runc has it).
fn ambient(wanted: &CapsHashSet) -> Result<()> {
    match caps::clear(None, CapSet::Ambient) {
        Ok(()) => {}
        // Before Linux 4.3 there is no ambient set to clear.
        Err(_) if wanted.is_empty() => return Ok(()),
        Err(error) => crate::log::warn(format!("process.capabilities.ambient: {error}")),
    }
    for cap in sorted(wanted) {
        if let Err(error) = caps::raise(None, CapSet::Ambient, cap) {
            crate::log::warn(format!("process.capabilities.ambient: {cap}: {error}"));
        }
    }
    Ok(())
}

fn sorted(set: &CapsHashSet) -> Vec<Capability> {
    let mut all: Vec<Capability> = set.iter().copied().collect();
    all.sort_by_key(Capability::index);
    all
}

fn names(set: &CapsHashSet) -> String {
    sorted(set).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn mask(set: &CapsHashSet) -> u64 {
    set.iter().fold(0, |mask, cap| mask | cap.bitmask())
}

/// `HOME` from the container's passwd where the environment has none.
pub fn complete_environment(env: &mut Vec<String>, uid: u32, root: BorrowedFd<'_>) {
    if variable(env, "HOME").is_some_and(|home| !home.is_empty()) {
        return;
    }
    env.retain(|entry| !entry.starts_with("HOME="));
    let passwd = read_passwd(root).unwrap_or_default();
    env.push(format!("HOME={}", home_of(&passwd, uid).unwrap_or("/")));
}

/// The container's passwd; a very long one is cut.
fn read_passwd(root: BorrowedFd<'_>) -> Option<String> {
    let bytes = image_file::read(root, Path::new("/etc/passwd"), 1 << 20).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds the program that `args[0]` means, as execvp(3) would: by its path if
/// it has a slash, else along `PATH`. In the words that engines match on.
pub fn find_program(args: &[CString], env: &[String]) -> Result<CString> {
    let name = args.first().map(|arg| arg.as_bytes()).unwrap_or_default();
    let shown = String::from_utf8_lossy(name).into_owned();
    if name.contains(&b'/') {
        let path = Path::new(OsStr::from_bytes(name));
        return match executable(path) {
            Ok(()) => Ok(args[0].clone()),
            Err(Errno::NOENT) => {
                Err(Error::os(format!("exec: {shown:?}: stat {shown}"), Errno::NOENT))
            }
            // What execve(2) would say; engines know the status 126 by these words.
            Err(Errno::ISDIR) => {
                Err(Error::os(format!("exec: {shown:?}: is a directory"), Errno::ACCESS))
            }
            Err(errno) => Err(Error::os(format!("exec: {shown:?}"), errno)),
        };
    }
    let mut denied = None;
    let search = variable(env, "PATH").unwrap_or_default();
    for directory in search.split(':').filter(|_| !name.is_empty()) {
        let directory = if directory.is_empty() { "." } else { directory };
        let path = PathBuf::from(directory).join(OsStr::from_bytes(name));
        match executable(&path) {
            Ok(()) => {
                return crate::plan::process::c_string(&path.to_string_lossy(), "process.args");
            }
            Err(errno @ Errno::ACCESS) => denied = Some(errno),
            Err(_) => {}
        }
    }
    match denied {
        Some(errno) => Err(Error::os(format!("exec: {shown:?}"), errno)),
        None => Err(Error::system(format!("exec: {shown:?}: executable file not found in $PATH"))),
    }
}

/// Whether a path names a file that we may execute.
#[expect(
    clippy::disallowed_methods,
    reason = "what execve(2) gets: its path, as the payload sees it"
)]
fn executable(path: &Path) -> std::result::Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // Root may execute anything that anybody may.
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // An old kernel without faccessat2: execve will say.
        Err(Errno::NOSYS | Errno::INVAL) => Ok(()),
        checked => checked,
    }
}

/// Sets the labels that the next execve takes on, through a procfs that
/// nobody else can have changed (CVE-2019-16884, CVE-2025-52881): `proc`, the one
/// that was mounted for the container, or one of our own.
pub fn set_labels(plan: &ProcessPlan, proc: Option<&Procfs>) -> Result<()> {
    if plan.apparmor.is_none() && plan.selinux.is_none() {
        return Ok(());
    }
    let own = match proc {
        Some(_) => None,
        None => Some(own_procfs()?),
    };
    let Some(proc) = proc.or(own.as_ref()) else { return Ok(()) };
    if let Some(profile) = &plan.apparmor {
        let step = || format!("process.apparmorProfile: apply {profile:?}");
        let text = format!("exec {profile}");
        match write_label(proc, "attr/apparmor/exec", &text) {
            Err(Errno::NOENT) => write_label(proc, "attr/exec", &text).step(step)?,
            written => written.step(step)?,
        }
    }
    if let Some(label) = &plan.selinux {
        write_label(proc, "attr/exec", label)
            .step(|| format!("process.selinuxLabel: write {label:?} to /proc/self/attr/exec"))?;
    }
    Ok(())
}

/// Writes a label, and asks the kernel whether there is one now.
fn write_label(proc: &Procfs, file: &str, text: &str) -> std::result::Result<(), Errno> {
    let open = proc.open_own(file, OFlags::RDWR)?;
    rustix::io::write(&open, text.as_bytes())?;
    match rustix::io::pread(&open, &mut [0; 16], 0)? {
        0 => Err(Errno::INVAL),
        _ => Ok(()),
    }
}
